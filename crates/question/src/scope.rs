//! What a question's columns and units are, over all its sources: where the rules look names up.

use std::sync::Arc;

use loda_contract::{Column, ColumnType, Contract, Protection, Role, Unit};

use crate::draft::{Join, JoinKind, Rows, Source, bare_name};
use crate::refusal::{Refusal, Rule};
use crate::rules::Rules;
use crate::units;

type Checked<T> = Result<T, Refusal>;

/// Finds a contract by its dataset's name.
pub type Contracts<'a> = &'a dyn Fn(&str) -> Option<Arc<Contract>>;

/// Sources in one question at most, at all levels together.
const SOURCE_LIMIT: usize = 8;

/// Joins that may repeat records at most: each multiplies what the node has to read.
const REPEAT_LIMIT: usize = 2;

/// Levels of per-unit derivations at most.
const LEVEL_LIMIT: usize = 3;

/// The columns that rows have, and the unit domains that contribute to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// Every dataset that is read, at every level, each once.
    pub datasets: Vec<Arc<Contract>>,
    pub columns: Vec<Column>,
    pub units: Vec<ScopeUnit>,
    pub protection: Protection,
    /// Pairs of measures whose products may be summed.
    pub pairs: Vec<(String, String)>,
    /// How many joins may repeat rows.
    pub(crate) repeats: usize,
    /// A domain that contributes to rows by unit, and that nobody could be protected by there.
    pub(crate) loose: Option<String>,
}

/// A unit domain that contributes.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeUnit {
    /// As the contract has it; `column` is the name here.
    pub unit: Unit,
    /// The place of the source that carries it.
    pub source: usize,
    /// Other columns that are equal to its column by a join.
    pub equal: Vec<String>,
    /// After a left join: which unit stands in this domain for a row without a match, as itself.
    pub stands_in: Option<usize>,
    /// Whether no column names it: it goes along with the one row of another unit.
    pub carried: bool,
    /// The sources in which it has one row, whatever joins repeat: there it says which other units that row is of.
    pub(crate) alone: Vec<usize>,
}

impl ScopeUnit {
    pub(crate) fn new(unit: Unit, source: usize) -> Self {
        let alone = if unit.max_rows == Some(1) { vec![source] } else { Vec::new() };
        Self { unit, source, equal: Vec::new(), stands_in: None, carried: false, alone }
    }

    /// Whether there is one of another unit for each of this.
    pub(crate) fn says(&self, other: &Self) -> bool {
        let place = |name: &String| name.split_once('.').and_then(|(place, _)| place.strip_prefix('t')?.parse().ok());
        let mut sources = other.equal.iter().filter_map(place).chain([other.source]);
        self.unit.max_rows == Some(1) || sources.any(|source| self.alone.contains(&source))
    }
}

impl Scope {
    /// Checks rows at every level, spells their conditions, and gives what their columns are.
    pub(crate) fn of(rows: Rows, contracts: Contracts<'_>) -> Checked<(Rows, Self)> {
        let mut names = 0;
        count_sources(&rows, 1, &mut names)?;
        let (rows, scope) = Self::build(rows, contracts)?;
        match &scope.loose {
            Some(domain) if !scope.protection.is_public() => Err(Refusal::new(
                Rule::UnitCount,
                format!("a subquery by unit leaves nothing to protect units of domain '{domain}' by"),
                "Group it by a unit that has one row in each table, or pick by it: EXISTS, IN",
            )),
            _ => Ok((rows, scope)),
        }
    }

    pub(crate) fn build(rows: Rows, contracts: Contracts<'_>) -> Checked<(Rows, Self)> {
        let plain = rows.dataset().is_some();
        let Rows { first, joins, filter } = rows;
        let (first, scope) = source(first, contracts)?;
        let mut scope = if plain { scope } else { scope.placed(0) };
        let mut checked = Vec::with_capacity(joins.len());
        for (place, join) in (1_usize..).zip(joins) {
            let (source, right) = source(join.source, contracts)?;
            let join = Join { source, ..join };
            scope = scope.joined(right, place, &join)?;
            checked.push(join);
        }
        let rules = Rules { scope: &scope };
        let filter = filter.and_then(|f| crate::rules::spelled(f, &scope));
        if let Some(filter) = &filter {
            rules.predicate(filter)?;
        }
        Ok((Rows { first, joins: checked, filter }, scope))
    }

    fn of_contract(contract: Arc<Contract>) -> Self {
        let units = contract.units.iter().map(|u| ScopeUnit::new(u.clone(), 0));
        Self {
            columns: contract.columns.clone(),
            units: units.collect(),
            protection: contract.protection,
            pairs: contract.pairs.clone(),
            repeats: 0,
            loose: None,
            datasets: vec![contract],
        }
    }

    /// The same columns under the names that a source among several has.
    fn placed(self, place: usize) -> Self {
        let named = |name: String| format!("t{place}.{name}");
        let columns = self.columns.into_iter().map(|c| Column { name: named(c.name), ..c });
        let units = self.units.into_iter().map(|u| ScopeUnit {
            unit: Unit { column: u.unit.column.map(named), ..u.unit },
            source: place,
            alone: if u.alone.is_empty() { Vec::new() } else { vec![place] },
            ..u
        });
        Self {
            columns: columns.collect(),
            units: units.collect(),
            pairs: self.pairs.into_iter().map(|(a, b)| (named(a), named(b))).collect(),
            ..self
        }
    }

    /// Finds a column by its name here.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The unit that a column names.
    #[must_use]
    pub fn unit_of_column(&self, name: &str) -> Option<&ScopeUnit> {
        self.units.iter().find(|u| u.unit.column.as_deref() == Some(name))
    }

    /// The place of the unit that a column names, also where the column is equal to another that does.
    #[must_use]
    pub fn unit_index(&self, name: &str) -> Option<usize> {
        let names = |u: &ScopeUnit| u.unit.column.as_deref() == Some(name) || u.equal.iter().any(|n| n == name);
        self.units.iter().position(names)
    }

    /// The unit whose rows COUNT(*) and SUM add up: one row each where there is such a domain, otherwise one
    /// with a declared number of rows. Its place, and how many rows of a unit count at most.
    #[must_use]
    pub fn counted(&self) -> Option<(usize, u64)> {
        let bounds = self.units.iter().enumerate().filter(|(_, u)| u.stands_in.is_none());
        let bounds = bounds.filter_map(|(i, u)| Some((i, u.unit.max_rows?)));
        bounds.min_by_key(|(place, rows)| (*rows, *place))
    }

    /// The unit whose values a column holds: one of its own source, with its place and how many rows of it count. Where a
    /// join repeats the values of a unit any number of times, there is none.
    #[must_use]
    pub fn counted_for(&self, column: &str) -> Option<(usize, u64)> {
        let place = |name: &str| name.split_once('.').map(|(place, _)| place.to_owned());
        let of = place(column);
        let own = |u: &ScopeUnit| {
            let here = of.as_deref().is_none_or(|p| p == format!("t{}", u.source));
            here || u.equal.iter().any(|name| place(name) == of)
        };
        let bounds = self.units.iter().enumerate().filter(|(_, u)| own(u) && u.stands_in.is_none());
        let bounds = bounds.filter_map(|(i, u)| Some((i, u.unit.max_rows?)));
        bounds.min_by_key(|(place, rows)| (*rows, *place))
    }

    /// The datasets' names, for logs and people.
    #[must_use]
    pub fn title(&self) -> String {
        self.datasets.iter().map(|c| c.dataset.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn joined(self, right: Self, place: usize, join: &Join) -> Checked<Self> {
        let right = right.placed(place);
        let mut equal = Vec::new();
        for (a, b) in &join.on {
            let b = format!("t{place}.{b}");
            if let Some(domain) = self.joins_on(a, &right, &b)? {
                equal.push((self.unit_index(a), right.unit_index(&b), domain));
            }
        }
        if join.on.is_empty() {
            return Err(Refusal::new(
                Rule::Join,
                "tables are joined without a key that both have",
                "Join on a unit that both sides name (person, household, property) or on a declared reference key",
            ));
        }
        if !join.kind.shows() && equal.len() < join.on.len() {
            return Err(Refusal::new(
                Rule::Join,
                "EXISTS, IN and their negations compare something other than a unit of both sides",
                "Compare the column that names the unit on both sides",
            ));
        }
        let mut datasets = self.datasets;
        for contract in &right.datasets {
            if !datasets.contains(contract) {
                datasets.push(Arc::clone(contract));
            }
        }
        let protection = mixed(self.protection, right.protection)?;
        let (mut columns, mut units, mut pairs, mut repeats) = (self.columns, self.units, self.pairs, self.repeats);
        if !join.kind.shows() && self.protection.is_public() && !right.protection.is_public() {
            return Err(Refusal::new(
                Rule::Join,
                "published records are picked by protected ones",
                "Count the protected records, by the same unit",
            ));
        }
        let published = |scope: Protection| scope.is_public() && !protection.is_public();
        let mut loose = self.loose.filter(|_| !published(self.protection));
        if !join.kind.shows() {
            return Ok(Self { datasets, columns, units, protection, pairs, repeats, loose });
        }
        loose = loose.or(right.loose.filter(|_| !published(right.protection)));
        // How many rows of the other side a row meets at most.
        let bound = |unit: Option<&ScopeUnit>| unit.and_then(|u| u.unit.max_rows);
        let of_right = equal.iter().filter_map(|(_, r, _)| bound(right.units.get((*r)?))).min();
        let of_left = equal.iter().filter_map(|(l, _, _)| bound(units.get((*l)?))).min();
        if of_right != Some(1) {
            repeats += 1;
        }
        if repeats > REPEAT_LIMIT {
            return Err(Refusal::new(
                Rule::Join,
                format!("more than {REPEAT_LIMIT} joins may repeat records, whose number then multiplies"),
                "Bring each table to one row a unit in a subquery (GROUP BY the unit), and join those",
            ));
        }
        // Bounds scale noise, so they are those of contracts: a join that repeats rows leaves a unit none, or whoever
        // asks could have any number of draws for one figure. The unit joined on keeps the greater of two where the
        // other is one.
        let bounded = |unit: &mut ScopeUnit, rows: Option<u64>| {
            unit.unit.max_rows = rows;
            unit.unit.one_row = rows == Some(1);
        };
        for (number, unit) in units.iter_mut().enumerate() {
            let own = unit.unit.max_rows;
            let joined_on = equal.iter().any(|(l, _, _)| *l == Some(number));
            bounded(
                unit,
                match (own, of_right) {
                    (own, Some(1)) => own,
                    (Some(1), right) if joined_on => right,
                    _ => None,
                },
            );
        }
        let unprotected = published(self.protection);
        if unprotected {
            units.clear();
        }
        let optional = join.kind == JoinKind::Left;
        if optional && units.is_empty() && !published(right.protection) {
            return Err(Refusal::new(
                Rule::Join,
                "published records without a match have nobody to protect them by",
                "Put the protected table on the left of LEFT JOIN",
            ));
        }
        for (number, mut unit) in right.units.into_iter().enumerate() {
            if published(right.protection) {
                continue;
            }
            // Places on the left are those of units that were there, and are not where that side is published.
            let joined_on = equal.iter().find(|(_, r, _)| *r == Some(number) && !unprotected);
            let same = joined_on.and_then(|(l, _, _)| *l);
            if let (Some(same), Some(column)) = (same, &unit.unit.column)
                && let Some(same) = units.get_mut(same)
            {
                same.equal.push(column.clone());
                same.equal.extend(unit.equal);
                same.alone.extend(unit.alone);
                continue;
            }
            let own = unit.unit.max_rows.filter(|_| of_left == Some(1));
            bounded(&mut unit, own);
            unit.stands_in = (optional || unit.stands_in.is_some()).then_some(0);
            units.push(unit);
        }
        columns.extend(right.columns.into_iter().map(|c| Column { nullable: c.nullable || optional, ..c }));
        pairs.extend(right.pairs);
        Ok(Self { datasets, columns, units, protection, pairs, repeats, loose })
    }

    /// Whether two columns may be joined; the unit domain that both name, if they do.
    fn joins_on(&self, left: &str, right: &Self, name: &str) -> Checked<Option<String>> {
        let missing = |name: &str| {
            let message = format!("column '{}' is in no contract", bare_name(name));
            Refusal::new(Rule::Unknown, message, "See the catalogue for what there is")
        };
        let a = self.column(left).ok_or_else(|| missing(left))?;
        let b = right.column(name).ok_or_else(|| missing(name))?;
        match (&a.role, &b.role) {
            (Role::Unit(x), Role::Unit(y)) if x == y => Ok(Some(x.clone())),
            (Role::Reference(x), Role::Reference(y)) if x == y && a.kind == b.kind => {
                let published = |scope: &Self| scope.protection.is_public();
                if published(self) || published(right) {
                    return Ok(None);
                }
                // One record there would decide over everybody here who shares the key.
                Err(Refusal::new(
                    Rule::Join,
                    format!("'{}' joins protected records to protected records", bare_name(left)),
                    "A reference key joins what is published of it; join protected records on a unit",
                ))
            }
            _ => Err(Refusal::new(
                Rule::Join,
                format!("'{}' and '{}' are not a key of both sides", bare_name(left), bare_name(name)),
                "Join on a unit that both sides name (person, household, property) or on a declared reference key",
            )),
        }
    }
}

/// One protection for both: methods are exclusive, and what is public joins with any.
fn mixed(a: Protection, b: Protection) -> Checked<Protection> {
    match (a, b) {
        (a, b) if a == b => Ok(a),
        (Protection::Public, other) | (other, Protection::Public) => Ok(other),
        (a, b) => Err(Refusal::new(
            Rule::MixedMethods,
            format!("records protected by {} are joined to records protected by {}", a.name(), b.name()),
            "Ask them one by one and join the results",
        )),
    }
}

/// A source checked, and its columns under their bare names.
fn source(source: Source, contracts: Contracts<'_>) -> Checked<(Source, Scope)> {
    match source {
        Source::Dataset { name, filter } => {
            let contract = contracts(&name).ok_or_else(|| {
                Refusal::new(
                    Rule::Unknown,
                    "the dataset is not held here",
                    "See the catalogue for the boroughs that hold it",
                )
            })?;
            let scope = Scope::of_contract(contract);
            let filter = filter.and_then(|f| crate::rules::spelled(f, &scope));
            if let Some(filter) = &filter {
                Rules { scope: &scope }.predicate(filter)?;
            }
            Ok((Source::Dataset { name, filter }, scope))
        }
        Source::PerUnit(per_unit) => {
            let (per_unit, scope) = units::derive(*per_unit, contracts)?;
            Ok((Source::PerUnit(Box::new(per_unit)), scope))
        }
    }
}

fn count_sources(rows: &Rows, level: usize, seen: &mut usize) -> Checked<()> {
    for (_, source) in rows.sources() {
        *seen += 1;
        if *seen > SOURCE_LIMIT || level > LEVEL_LIMIT {
            return Err(Refusal::new(
                Rule::Join,
                format!("the question reads more than {SOURCE_LIMIT} tables or nests more than {LEVEL_LIMIT} levels"),
                "Ask for parts of it, and join the results",
            ));
        }
        if let Source::PerUnit(per_unit) = source {
            count_sources(&per_unit.rows, level + 1, seen)?;
        }
    }
    Ok(())
}

/// The scale of a column's type; 0 for what has none.
#[must_use]
pub fn scale(kind: ColumnType) -> i8 {
    match kind {
        ColumnType::Decimal(scale) => scale,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ROLL: &str = include_str!("../../../deploy/contracts/electoral_roll.toml");
    const HOMES: &str = include_str!("../../../deploy/contracts/properties.toml");

    #[test]
    fn a_published_side_takes_no_unit_of_the_protected_one() {
        let contract = |text: &str| Arc::new(Contract::parse(text, "contract").unwrap());
        let published = HOMES.replace("\"cell-key\"", "\"public\"").replace("\ndimensions = 2\n", "\n");
        let known = [contract(ROLL), contract(&published)];
        let find = |name: &str| known.iter().find(|c| c.dataset == name).cloned();
        let source = |name: &str| Source::Dataset { name: name.to_owned(), filter: None };
        let on = vec![("t0.uprn".to_owned(), "uprn".to_owned())];
        let joins = vec![Join { kind: JoinKind::Inner, source: source("electoral_roll"), on }];
        let rows = Rows { first: source("properties"), joins, filter: None };
        let scope = Scope::of(rows, &find).unwrap().1;
        let domains: Vec<&str> = scope.units.iter().map(|unit| unit.unit.domain.as_str()).collect();
        assert_eq!(domains, ["person", "property"]);
        assert_eq!(scope.unit_index("t1.uprn"), Some(1));
        assert_ne!(scope.unit_index("t0.uprn"), Some(0));
    }
}

//! The sources of a question, each as it hangs on the register of one unit.

use std::collections::BTreeSet;
use std::sync::Arc;

use loda_contract::{Contract, Role, Value};

use super::ColumnRef;
use super::proposal::{self, Wanted};
use crate::draft::{Comparison, Figure, Join, JoinKind, Measure, PerUnit, Predicate, Rows, Scalar, Source, bare_name};
use crate::refusal::{Refusal, Rule};
use crate::scope::Contracts;

type Checked<T> = Result<T, Refusal>;

/// The unit that a source hangs by, and the dataset and unit column that it is reached through.
type Hung = (String, Option<(String, String)>);

/// The sources of a question over the register of one unit.
pub(super) struct Attached<'a> {
    sources: Vec<Attachment<'a>>,
    unit: String,
    /// Whether columns have bare names: there is one source alone.
    bare: bool,
}

/// How a source hangs on the register.
struct Attachment<'a> {
    contract: Arc<Contract>,
    /// The rows of the source that count.
    filter: Option<Predicate>,
    per_unit: Option<&'a PerUnit>,
    join: Option<JoinKind>,
    /// The dataset and unit column through which the source's unit is reached; `None`: it is the register's own.
    via: Option<(String, String)>,
    /// The domain of the unit that it hangs by.
    unit: String,
    /// Whether the dataset holds that unit once.
    once: bool,
    /// The source that it is joined to.
    parent: Option<usize>,
    /// What units of a subquery meet besides (HAVING), over its values.
    having: Option<Predicate>,
}

impl<'a> Attached<'a> {
    /// A dataset that the question reads.
    pub(super) fn any(&self) -> Option<ColumnRef> {
        self.sources.iter().find(|s| s.via.is_none()).map(Attachment::presence)
    }

    /// # Errors
    /// Where a source does not hang on the register.
    pub(super) fn new(rows: &'a Rows, unit: &str, contracts: Contracts<'_>) -> Checked<Self> {
        let mut found = Vec::new();
        for (join, source) in rows.sources() {
            found.push((join, source, held(source, contracts)?));
        }
        let anchor = found.iter().position(|(_, source, contract)| holds(source, contract, unit));
        let anchor = anchor.ok_or_else(|| apart(unit))?;
        // By source: the unit that it hangs by, and what that is reached through.
        let mut hung: Vec<Option<Hung>> = vec![None; found.len()];
        if let Some(place) = hung.get_mut(anchor) {
            *place = Some((unit.to_owned(), None));
        }
        // Joins that say no more than how their sources hang.
        let mut follows = BTreeSet::new();
        for _ in 0..found.len() {
            for (place, (join, ..)) in found.iter().enumerate() {
                let Some(Join { on, .. }) = join else { continue };
                let [(left, right)] = on.as_slice() else {
                    return Err(Refusal::new(
                        Rule::Join,
                        "tables about people are joined by two units at once",
                        "Join on one unit that both sides name (and borough)",
                    ));
                };
                let other = left.split_once('.').and_then(|(of, _)| of.strip_prefix('t')?.parse::<usize>().ok());
                let other = other.unwrap_or(0);
                for (from, column, to) in [(other, bare_name(left), place), (place, right.as_str(), other)] {
                    let Some(Some((by, via))) = hung.get(from).cloned() else { continue };
                    let (Some((_, source, contract)), Some((_, target, theirs))) = (found.get(from), found.get(to))
                    else {
                        continue;
                    };
                    let Some(domain) = contract.unit_of_column(column).map(|u| u.domain.clone()) else {
                        return Err(Refusal::new(
                            Rule::Join,
                            format!(
                                "'{}' joins records about people by something other than their unit",
                                bare_name(left)
                            ),
                            "Group each table in a subquery of its own, and join the results",
                        ));
                    };
                    let reached = if domain == by {
                        via.clone()
                    } else if via.is_none() && matches!(source, Source::Dataset { .. }) {
                        Some((contract.dataset.clone(), column.to_owned()))
                    } else {
                        return Err(Refusal::new(
                            Rule::Join,
                            "a unit is reached through two others",
                            "Ask of the unit between them, or of a derived value",
                        ));
                    };
                    if !holds(target, theirs, &domain) {
                        return Err(apart(&domain));
                    }
                    match hung.get_mut(to) {
                        Some(slot @ None) => {
                            *slot = Some((domain, reached));
                            follows.insert(place);
                        }
                        Some(Some(known)) if *known == (domain.clone(), reached) => {
                            follows.insert(place);
                        }
                        _ => {}
                    }
                }
            }
        }
        if follows.len().saturating_add(1) < found.len() {
            return Err(match hung.iter().any(Option::is_none) {
                true => apart(unit),
                false => Refusal::new(
                    Rule::Join,
                    "records are compared by a unit beside the one that is counted",
                    "Ask of a value of each unit that the contract derives",
                ),
            });
        }
        let mut sources = Vec::with_capacity(found.len());
        for ((join, source, contract), hung) in found.into_iter().zip(hung) {
            let (by, via) = hung.ok_or_else(|| apart(unit))?;
            let (filter, per_unit, having) = match source {
                Source::Dataset { filter, .. } => (filter.clone(), None, None),
                Source::PerUnit(per_unit) => match inner(per_unit) {
                    Some(inner) => (inner.rows.filter.clone(), Some(inner), per_unit.rows.filter.clone()),
                    None => (per_unit.rows.filter.clone(), Some(per_unit.as_ref()), None),
                },
            };
            let parent = join.and_then(|join| join.on.first()).map(|(left, _)| {
                left.split_once('.').and_then(|(of, _)| of.strip_prefix('t')?.parse::<usize>().ok()).unwrap_or(0)
            });
            let once = contract.unit(&by).is_some_and(|u| u.one_row);
            if let Some((through, _)) = &via {
                let holder = contracts(through).and_then(|c| c.unit(unit).map(|u| u.one_row));
                if holder != Some(true) {
                    return Err(Refusal::new(
                        Rule::Join,
                        format!("{through} holds a {unit} several times, so that each has no one {by}"),
                        "Count the units that the tables share",
                    ));
                }
            }
            sources.push(Attachment {
                contract,
                filter,
                per_unit,
                join: join.map(|j| j.kind),
                via,
                unit: by,
                once,
                parent,
                having,
            });
        }
        Ok(Self { sources, unit: unit.to_owned(), bare: rows.dataset().is_some() })
    }

    /// Which units are rows of the question, and which of them count.
    pub(super) fn conditions(
        &self,
        filter: Option<&Predicate>,
        condition: Option<&Predicate>,
    ) -> Checked<(Predicate, Predicate)> {
        let mut there = Vec::new();
        for source in &self.sources {
            match source.join {
                None | Some(JoinKind::Inner | JoinKind::Semi) => {
                    there.push(self.exists(source, source.filter.clone())?)
                }
                Some(JoinKind::Anti) => there.push(not_true(self.exists(source, source.filter.clone())?)),
                Some(JoinKind::Left) => {}
            }
        }
        let mut counts = there.clone();
        let rows_of = |of: Option<&Predicate>| match of {
            Some(Predicate::And(operands)) => operands.clone(),
            Some(other) => vec![other.clone()],
            None => Vec::new(),
        };
        let (filter, condition) = (rows_of(filter), rows_of(condition));
        let both: Vec<Predicate> = filter.iter().chain(&condition).cloned().collect();
        there.extend(self.operands(&filter)?);
        counts.extend(self.operands(&both)?);
        Ok((Predicate::And(there), Predicate::And(counts)))
    }

    /// Conditions over the register. Those that tell of one of several rows of a unit say together that there is such a row.
    fn operands(&self, operands: &[Predicate]) -> Checked<Vec<Predicate>> {
        let mut mapped = Vec::new();
        let mut some: Vec<(usize, Vec<Predicate>)> = Vec::new();
        for operand in operands {
            let several = self.several(operand);
            match several.iter().collect::<Vec<_>>().as_slice() {
                [] => mapped.push(self.predicate(operand)?),
                [one] => match some.iter_mut().find(|(place, _)| place == *one) {
                    Some((_, of)) => of.push(operand.clone()),
                    None => some.push((**one, vec![operand.clone()])),
                },
                _ => return Err(of_several()),
            }
        }
        for (place, operands) in some {
            let source = self.sources.get(place).ok_or_else(of_several)?;
            let mut matched = Vec::new();
            for operand in operands {
                match self.matching(source, &operand) {
                    Some(exists) => {
                        let present = self.exists(source, source.filter.clone())?;
                        mapped.push(if exists { present } else { not_true(present) });
                    }
                    None if source.join == Some(JoinKind::Left) && !is_strict(&operand) => return Err(of_several()),
                    None => {
                        let mut names = BTreeSet::new();
                        operand.columns(&mut names);
                        if names.iter().any(|name| self.source(name).is_none_or(|(of, _)| !std::ptr::eq(of, source))) {
                            return Err(of_several());
                        }
                        matched.push(operand.renamed(&|name| bare_name(&name).to_owned()));
                    }
                }
            }
            if !matched.is_empty() {
                matched.extend(source.filter.clone());
                mapped.push(self.exists(source, Some(Predicate::And(matched).normal()))?);
            }
        }
        Ok(mapped)
    }

    /// After a left join: whether a condition says that there was a match, or that there was none.
    fn matching(&self, source: &Attachment<'_>, operand: &Predicate) -> Option<bool> {
        let (missing, of) = match operand {
            Predicate::IsNull(of) => (true, of),
            Predicate::Not(inner) => match inner.as_ref() {
                Predicate::IsNull(of) => (false, of),
                _ => return None,
            },
            _ => return None,
        };
        let Scalar::Column(name) = of else { return None };
        let nullable = source.contract.column(bare_name(name)).is_none_or(|c| c.nullable);
        (source.join == Some(JoinKind::Left) && !nullable).then_some(!missing)
    }

    /// The sources with several rows a unit of which a condition reads what one row has.
    fn several(&self, predicate: &Predicate) -> BTreeSet<usize> {
        let mut names = BTreeSet::new();
        predicate.columns(&mut names);
        let mut places = BTreeSet::new();
        for (place, source) in self.sources.iter().enumerate() {
            let of_row = |name: &String| {
                self.source(name).is_some_and(|(of, bare)| {
                    std::ptr::eq(of, source) && !of.once && of.per_unit.is_none() && !of.tells_of_unit(bare)
                })
            };
            if names.iter().any(of_row) {
                places.insert(place);
            }
        }
        places
    }

    fn source<'n>(&self, name: &'n str) -> Option<(&Attachment<'a>, &'n str)> {
        if self.bare {
            return self.sources.first().map(|source| (source, name));
        }
        let (place, bare) = name.split_once('.')?;
        let place: usize = place.strip_prefix('t')?.parse().ok()?;
        self.sources.get(place).map(|source| (source, bare))
    }

    /// The column of a measure, whether it may be NULL, and that a unit is where it stands.
    pub(super) fn measure(&self, name: &str) -> Checked<(ColumnRef, bool, Predicate)> {
        let (source, bare) = self.source(name).ok_or_else(of_several)?;
        let column = source.contract.column(bare).filter(|c| matches!(c.role, Role::Measure { .. }));
        match column {
            Some(column) if source.via.is_none() && source.once && source.per_unit.is_none() => {
                let present = self.exists(source, source.filter.clone())?;
                Ok((ColumnRef::own(&source.contract.dataset, bare), column.nullable, present))
            }
            _ => Err(Refusal::new(
                Rule::PersonalSum,
                format!("'{}' is a value of another unit than each {}, and is not added up", bare, self.unit),
                "Count units by its bands, or ask of the unit whose value it is",
            )),
        }
    }

    /// That a unit has a row of a source that meets a condition over the source's bare columns, and one of the source that
    /// it is joined to.
    fn exists(&self, source: &Attachment<'_>, filter: Option<Predicate>) -> Checked<Predicate> {
        let mut holds = vec![self.has_row(source, filter)?];
        if let Some(having) = &source.having {
            holds.push(self.mapped_having(source, having)?);
        }
        let parent = source.parent.and_then(|place| self.sources.get(place));
        if let Some(parent) = parent.filter(|parent| parent.join == Some(JoinKind::Left)) {
            holds.push(self.exists(parent, parent.filter.clone())?);
        }
        Ok(if holds.len() > 1 { Predicate::And(holds) } else { holds.remove(0) })
    }

    /// What a subquery's units meet besides, over the register.
    fn mapped_having(&self, source: &Attachment<'_>, having: &Predicate) -> Checked<Predicate> {
        let alone = Attachment {
            contract: Arc::clone(&source.contract),
            filter: source.filter.clone(),
            per_unit: source.per_unit,
            join: None,
            via: source.via.clone(),
            unit: source.unit.clone(),
            once: source.once,
            parent: None,
            having: None,
        };
        Attached { sources: vec![alone], unit: self.unit.clone(), bare: false }.predicate(having)
    }

    fn has_row(&self, source: &Attachment<'_>, filter: Option<Predicate>) -> Checked<Predicate> {
        let present = Predicate::Truth(Scalar::Column(source.presence().to_string()));
        let filter = match filter {
            Some(Predicate::Constant(Some(true))) | None => return Ok(present),
            // Of another borough's records, say.
            Some(Predicate::Constant(_)) => return Ok(Predicate::Constant(Some(false))),
            Some(filter) => filter,
        };
        let mut names = BTreeSet::new();
        filter.columns(&mut names);
        if source.once || names.iter().all(|name| source.tells_of_unit(name)) {
            let map = |name: &str| source.column(name).map(Scalar::Column);
            return Ok(Predicate::And(vec![present, mapped(&filter, &map)?]));
        }
        let wanted = Wanted { measure: &Measure::Rows, filter: Some(filter) };
        let count = source.derived(&wanted, &self.unit)?;
        let one = Scalar::Literal(Value::Integer(1), loda_contract::ColumnType::Integer);
        Ok(Predicate::Compare { left: Scalar::Column(count), op: Comparison::GreaterOrEqual, right: one })
    }

    /// A condition over the question's columns as one over the register.
    fn predicate(&self, predicate: &Predicate) -> Checked<Predicate> {
        let all = |operands: &Vec<Predicate>| operands.iter().map(|o| self.predicate(o)).collect::<Checked<Vec<_>>>();
        Ok(match predicate {
            Predicate::Constant(_) => predicate.clone(),
            Predicate::Truth(of) => Predicate::Truth(self.scalar(of)?),
            Predicate::IsNull(Scalar::Column(name)) if self.names_unit(name) => {
                let (source, _) = self.source(name).ok_or_else(of_several)?;
                match source.join {
                    Some(JoinKind::Left) => not_true(self.exists(source, source.filter.clone())?),
                    _ => Predicate::Constant(Some(false)),
                }
            }
            Predicate::IsNull(of) => Predicate::IsNull(self.scalar(of)?),
            Predicate::Compare { left, op, right } => {
                self.at_bands(left, *op, right)?;
                Predicate::Compare { left: self.scalar(left)?, op: *op, right: self.scalar(right)? }
            }
            Predicate::In { of, values } => Predicate::In { of: self.scalar(of)?, values: values.clone() },
            Predicate::Not(of) => Predicate::Not(Box::new(self.predicate(of)?)),
            Predicate::And(operands) => Predicate::And(all(operands)?),
            Predicate::Or(operands) => Predicate::Or(all(operands)?),
        })
    }

    /// A value computed from the question's columns as one over the register.
    pub(super) fn scalar(&self, scalar: &Scalar) -> Checked<Scalar> {
        Ok(match scalar {
            Scalar::Column(name) => self.column(name)?,
            Scalar::Literal(..) => scalar.clone(),
            Scalar::DateTrunc(grain, of) => Scalar::DateTrunc(*grain, Box::new(self.scalar(of)?)),
            Scalar::DatePart(part, of) => Scalar::DatePart(*part, Box::new(self.scalar(of)?)),
            Scalar::Upper(of) => Scalar::Upper(Box::new(self.scalar(of)?)),
            Scalar::Lower(of) => Scalar::Lower(Box::new(self.scalar(of)?)),
            Scalar::Arithmetic(op, of, by) => Scalar::Arithmetic(*op, Box::new(self.scalar(of)?), *by),
            Scalar::Coalesce(operands) => {
                Scalar::Coalesce(operands.iter().map(|o| self.scalar(o)).collect::<Checked<_>>()?)
            }
            Scalar::Case { branches, otherwise } => Scalar::Case {
                branches: branches
                    .iter()
                    .map(|(when, then)| Ok((self.predicate(when)?, self.scalar(then)?)))
                    .collect::<Checked<_>>()?,
                otherwise: otherwise.as_ref().map(|o| Ok::<_, Refusal>(Box::new(self.scalar(o)?))).transpose()?,
            },
        })
    }

    fn names_unit(&self, name: &str) -> bool {
        let found = self.source(name).and_then(|(source, bare)| match source.per_unit {
            Some(per_unit) => Some(bare_name(&per_unit.unit) == bare),
            None => source.contract.column(bare).map(|c| matches!(c.role, Role::Unit(_))),
        });
        found.unwrap_or(false)
    }

    fn column(&self, name: &str) -> Checked<Scalar> {
        let (source, bare) = self.source(name).ok_or_else(of_several)?;
        let value = match source.per_unit {
            Some(per_unit) => {
                let place = bare.strip_prefix('d').and_then(|n| n.parse::<usize>().ok());
                match place.and_then(|place| per_unit.values.get(place)) {
                    Some(value) => source.value(value, &self.unit)?,
                    None => Scalar::Column(source.column(bare)?),
                }
            }
            None if source.once || source.tells_of_unit(bare) => Scalar::Column(source.column(bare)?),
            None => return Err(of_several()),
        };
        // After a left join a unit without a match has no value, whatever its row says that did not match.
        let hidden = source.join == Some(JoinKind::Left) && (source.filter.is_some() || source.per_unit.is_some());
        if !hidden {
            return Ok(value);
        }
        let exists = self.exists(source, source.filter.clone())?;
        Ok(Scalar::Case { branches: vec![(exists, value)], otherwise: None })
    }

    /// A value of each unit is compared where its declared bands begin.
    fn at_bands(&self, left: &Scalar, op: Comparison, right: &Scalar) -> Checked<()> {
        let (Scalar::Column(name), Scalar::Literal(value, _)) = (left, right) else { return Ok(()) };
        let Some((source, bare)) = self.source(name) else { return Ok(()) };
        let place = bare.strip_prefix('d').and_then(|n| n.parse::<usize>().ok());
        let value_of = source.per_unit.and_then(|p| p.values.get(place?));
        let Some(figure) = value_of else { return Ok(()) };
        if source.once {
            return Ok(());
        }
        let name = source.derived(&source.wanted(figure), &self.unit)?;
        let column = ColumnRef::parse(&name).and_then(|of| of.column);
        let Some(derived) = column.and_then(|name| source.contract.derived(&name)) else { return Ok(()) };
        let units = match value {
            Value::Integer(i) => i128::from(*i),
            Value::Decimal(d) => *d,
            _ => return Ok(()),
        };
        let lowest = derived.bands.first().copied().unwrap_or(units);
        let cuts = matches!(op, Comparison::GreaterOrEqual | Comparison::Less);
        if cuts && (derived.bands.contains(&units) || units <= lowest) {
            return Ok(());
        }
        let kind = derived.kind(&source.contract.columns);
        let bands = derived.bands.iter().map(|b| super::column::number(*b, kind).plain(kind)).collect::<Vec<_>>();
        Err(Refusal::new(
            Rule::BandEdge,
            format!("'{name}' is compared with {}, where no band of it begins", value.plain(kind)),
            format!("Its bands begin at {}", bands.join(", ")),
        ))
    }
}

impl Attachment<'_> {
    fn presence(&self) -> ColumnRef {
        ColumnRef { via: self.via.clone(), dataset: self.contract.dataset.clone(), column: None }
    }

    /// Whether every row of a unit says the same of a column.
    fn tells_of_unit(&self, bare: &str) -> bool {
        let column = self.contract.column(bare);
        column.is_some_and(|c| match &c.role {
            Role::Unit(domain) => *domain == self.unit,
            _ => self.contract.unit_of_attribute(c) == Some(self.unit.as_str()),
        })
    }

    /// The register's name of a column: where the contract says that another dataset has it, that one.
    fn column(&self, bare: &str) -> Checked<String> {
        let column = self.contract.column(bare);
        let column = column.ok_or_else(|| {
            Refusal::new(Rule::Unknown, format!("column '{bare}' is in no contract"), "See the catalogue")
        })?;
        if matches!(column.role, Role::Unit(_) | Role::Identifier | Role::Reference(_) | Role::Text) {
            return Err(Refusal::new(
                Rule::Table,
                format!("'{bare}' is a {}, and no column of a table about people", column.role.name()),
                "Ask of its dimensions and measures; published tables are joined to results, by a class that both have",
            ));
        }
        let (dataset, column) = match &column.attribute.same_as {
            Some((dataset, column)) => (dataset.clone(), column.clone()),
            None => (self.contract.dataset.clone(), bare.to_owned()),
        };
        Ok(ColumnRef { via: self.via.clone(), dataset, column: Some(column) }.to_string())
    }

    fn wanted<'f>(&self, figure: &'f Figure) -> Wanted<'f> {
        let filter = Predicate::both(self.filter.clone(), figure.condition.clone()).map(Predicate::normal);
        let filter = filter.filter(|f| *f != Predicate::Constant(Some(true)));
        Wanted { measure: &figure.measure, filter }
    }

    /// A value of each unit.
    fn value(&self, figure: &Figure, unit: &str) -> Checked<Scalar> {
        if !self.once {
            return Ok(Scalar::Column(self.derived(&self.wanted(figure), unit)?));
        }
        // A unit has one row: what is made of its rows is what that row has.
        let kind = loda_contract::ColumnType::Integer;
        let (value, otherwise) = match &figure.measure {
            Measure::Sum(name) | Measure::Least(name) | Measure::Greatest(name) => {
                (Scalar::Column(self.column(name)?), None)
            }
            _ => (Scalar::Literal(Value::Integer(1), kind), Some(Box::new(Scalar::Literal(Value::Integer(0), kind)))),
        };
        let Some(condition) = &figure.condition else { return Ok(value) };
        let map = |name: &str| self.column(name).map(Scalar::Column);
        Ok(Scalar::Case { branches: vec![(mapped(condition, &map)?, value)], otherwise })
    }

    fn derived(&self, wanted: &Wanted<'_>, unit: &str) -> Checked<String> {
        if self.via.is_some() {
            return Err(Refusal::new(
                Rule::Derived,
                format!(
                    "a value of each {} stands in figures of those alone, and here each {unit} is counted",
                    self.unit
                ),
                format!("Count each {}", self.unit),
            ));
        }
        let derived = proposal::find(&self.contract, &self.unit, wanted)?;
        Ok(ColumnRef::own(&self.contract.dataset, &derived.name).to_string())
    }
}

/// The grouping inside another that only picks its units: HAVING.
fn inner(per_unit: &PerUnit) -> Option<&PerUnit> {
    match &per_unit.rows.first {
        Source::PerUnit(inner)
            if per_unit.rows.joins.is_empty()
                && per_unit.values.is_empty()
                && bare_name(&inner.unit) == bare_name(&per_unit.unit) =>
        {
            Some(inner)
        }
        _ => None,
    }
}

/// The contract of the records of a source.
fn held(source: &Source, contracts: Contracts<'_>) -> Checked<Arc<Contract>> {
    let dataset = match source {
        Source::Dataset { name, .. } => name.as_str(),
        Source::PerUnit(per_unit) => {
            let of = inner(per_unit).unwrap_or(per_unit);
            // Where a unit has one row, a dimension beside it tells no more rows apart.
            let told = |dataset: &&str| {
                let contract = contracts(dataset);
                let unit = contract.as_ref().and_then(|c| c.unit_of_column(bare_name(&of.unit)));
                let of_unit = |key: &String| {
                    let column = contract.as_ref().and_then(|c| c.column(bare_name(key)));
                    column.is_some_and(|column| {
                        let attribute = contract.as_ref().and_then(|c| c.unit_of_attribute(column));
                        attribute == unit.map(|u| u.domain.as_str())
                    })
                };
                let once = unit.is_some_and(|u| u.one_row);
                per_unit.keys.iter().chain(&of.keys).all(|key| once || of_unit(key))
            };
            let plain = of.rows.dataset().filter(told);
            plain.ok_or_else(|| {
                Refusal::new(
                    Rule::Derived,
                    "a subquery about people groups more than one table by more than one unit",
                    "Group one table by its unit alone, and join that",
                )
            })?
        }
    };
    let contract = contracts(dataset);
    let contract =
        contract.ok_or_else(|| Refusal::new(Rule::Unknown, "the dataset is not held here", "See the catalogue"))?;
    if contract.protection.is_public() {
        return Err(Refusal::new(
            Rule::Join,
            format!("records about people are joined to '{dataset}', which is published"),
            "Group each in a subquery of its own (WITH a AS (…), b AS (…)) and join the results by a column that both have",
        ));
    }
    Ok(contract)
}

fn holds(source: &Source, contract: &Contract, unit: &str) -> bool {
    match source {
        Source::Dataset { .. } => contract.unit(unit).is_some(),
        Source::PerUnit(per_unit) => {
            contract.unit_of_column(bare_name(&per_unit.unit)).is_some_and(|u| u.domain == unit)
        }
    }
}

/// Conditions that do not hold where a value is missing.
fn is_strict(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::Compare { left: Scalar::Column(_), .. }
        | Predicate::In { of: Scalar::Column(_), .. }
        | Predicate::Truth(Scalar::Column(_)) => true,
        Predicate::And(operands) | Predicate::Or(operands) => operands.iter().all(is_strict),
        _ => false,
    }
}

/// A predicate over other columns.
fn mapped(predicate: &Predicate, map: &dyn Fn(&str) -> Checked<Scalar>) -> Checked<Predicate> {
    let mut names = BTreeSet::new();
    predicate.columns(&mut names);
    let mut renamed = std::collections::BTreeMap::new();
    for name in names {
        match map(&name)? {
            Scalar::Column(other) => renamed.insert(name, other),
            _ => return Err(of_several()),
        };
    }
    Ok(predicate.clone().renamed(&|name| renamed.get(&name).cloned().unwrap_or(name)))
}

/// True where a condition is false or unknown.
fn not_true(predicate: Predicate) -> Predicate {
    let truth = |b: bool| Scalar::Literal(Value::Boolean(b), loda_contract::ColumnType::Boolean);
    Predicate::Not(Box::new(Predicate::Truth(Scalar::Case {
        branches: vec![(predicate, truth(true))],
        otherwise: Some(Box::new(truth(false))),
    })))
}

fn of_several() -> Refusal {
    Refusal::new(
        Rule::Derived,
        "a figure of units reads what one of several rows of a unit has, beside or in a way that no derived value says",
        "Bring the table to one row a unit in a subquery (SELECT unit, COUNT(*) AS n … GROUP BY unit), and join that",
    )
}

fn apart(unit: &str) -> Refusal {
    Refusal::new(
        Rule::Join,
        format!("a table of the question is not joined by a unit that leads to each {unit}"),
        "Join the tables on the units that they share",
    )
}

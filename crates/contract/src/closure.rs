//! The tables about people that a contract allows: a fixed list, the same for every asker.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::parse::check_name;
use crate::{Column, ColumnType, Contract, Domain, Grain, Protection, Role, Unit, Value};

/// Weights that the columns of one table may come to, where a contract says nothing.
const DIMENSIONS: u32 = 2;

/// The most that a contract may declare: beyond that nearly everybody is alone in some table.
const MAX_DIMENSIONS: u32 = 4;

/// The least units of a released cell, where a contract says nothing, and at the least.
const THRESHOLD: u32 = 10;

/// Days after its end on which a period closes, where a contract says nothing, and at the most.
const SETTLE_DAYS: u32 = 30;
const MOST_SETTLE_DAYS: u32 = 366;

/// Classes of a derived value at most.
const MAX_BANDS: usize = 32;

/// The tables that there are about the people of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// The weights of a table's columns come to this at most.
    pub dimensions: u32,
    /// A cell is released where the perturbed number of its units is at least this.
    pub threshold: u32,
    /// How long the pinned data are served.
    pub epoch: Epoch,
    /// Sets of this dataset's columns that are a table beyond `dimensions`, each sorted.
    pub tables: Vec<BTreeSet<String>>,
    /// Values of each unit, made from several rows of it.
    pub derived: Vec<Derived>,
    /// Of rows that are appended: how they come.
    pub period: Option<Period>,
}

/// Rows come by period: part of every table as the borough is, closed some days after its end, and unchanged from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// The dimension that says when: a date, at the first day of its own grain.
    pub column: String,
    /// How long a period is: as the column's grain, or longer.
    pub every: Grain,
    /// Days after a period's end on which it closes: what comes later counts in the period that closes next.
    pub settle_days: u32,
}

/// How long a register stands unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    Month,
    Quarter,
    Year,
}

/// What a column is in tables about people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribute {
    /// The domain of the unit that it tells of; `None`: of the unit that a row describes.
    pub of: Option<String>,
    /// Where somebody lives: weighs 1 whatever unit it is of.
    pub place: bool,
    /// The (dataset, column) that holds this attribute: its value is taken from there alone.
    pub same_as: Option<(String, String)>,
    /// Near-duplicates, as (dataset, column): they never share a table.
    pub alternatives: Vec<(String, String)>,
    /// A finer level of another column: there are tables of it alone.
    pub alone: bool,
    /// The (public dataset, column) whose values an open column can have.
    pub codes_from: Option<(String, String)>,
    /// Of a reference key: the column here that has a class for each of its values, by which released cells are joined.
    pub stands_for: Option<String>,
}

/// A value of each unit of a domain, from the rows of this dataset that are its.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    pub name: String,
    /// The unit's domain.
    pub unit: String,
    pub reduction: Reduction,
    /// The rows that count: those that meet every condition.
    pub conditions: Vec<Condition>,
    /// The lower bounds of its classes, in rising order, in scaled units. What is below the first counts as the first.
    pub bands: Vec<i128>,
}

/// What becomes of a unit's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reduction {
    Rows,
    Sum(String),
    Least(String),
    Greatest(String),
}

/// One column's part in saying which rows count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub column: String,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    OneOf(Vec<Value>),
    /// From a value (included) to another (not included).
    Between {
        from: Option<Value>,
        below: Option<Value>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableEntry {
    columns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DerivedEntry {
    name: String,
    unit: String,
    /// `rows`, or what is made of a measure: `sum`, `least`, `greatest`.
    of: String,
    measure: Option<String>,
    #[serde(default, rename = "where")]
    conditions: BTreeMap<String, toml::Value>,
    bands: Vec<String>,
}

pub(crate) struct AttributeEntry {
    pub(crate) of: Option<String>,
    pub(crate) place: bool,
    pub(crate) same_as: Option<String>,
    pub(crate) alternatives: Vec<String>,
    pub(crate) alone: bool,
    pub(crate) codes_from: Option<String>,
    pub(crate) stands_for: Option<String>,
}

pub(crate) struct ClosureEntry {
    pub(crate) dimensions: Option<u32>,
    pub(crate) threshold: Option<u32>,
    pub(crate) epoch: Option<String>,
    pub(crate) tables: Vec<TableEntry>,
    pub(crate) derived: Vec<DerivedEntry>,
    pub(crate) period: Option<String>,
    pub(crate) every: Option<String>,
    pub(crate) settle_days: Option<u32>,
}

/// Checks what contracts say of each other: units that are people's in one and things' in another, and columns that are
/// named as the same or as code lists. A dataset that is named and is not there is another federation's.
///
/// # Errors
/// The first fault found, with the dataset and column it stands at, and the fix.
pub fn check_together<'c>(contracts: impl Iterator<Item = &'c Contract> + Clone) -> Result<(), String> {
    let mut about: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
    for contract in contracts.clone() {
        for unit in &contract.units {
            let (first, people) = *about.entry(&unit.domain).or_insert((&contract.dataset, unit.about_people));
            if people != unit.about_people {
                return Err(format!(
                    "unit domain '{}' is about people in one of '{first}' and '{}', and about things in the other: say the same in both",
                    unit.domain, contract.dataset
                ));
            }
        }
    }
    let find = |(dataset, column): &(String, String)| {
        let contract = contracts.clone().find(|c| c.dataset == *dataset)?;
        contract.column(column).map(|column| (contract, column))
    };
    for contract in contracts.clone() {
        for column in &contract.columns {
            let here = format!("{}.{}", contract.dataset, column.name);
            if let Some(other) = &column.attribute.same_as
                && let Some((_, same)) = find(other)
                && (same.kind != column.kind || same.role != column.role || same.attribute.same_as.is_some())
            {
                return Err(format!("{here} is not of the type and values of {}.{}: give it those", other.0, other.1));
            }
            if let Some(other) = &column.attribute.codes_from
                && let Some((list, listed)) = find(other)
                && (!list.protection.is_public() || listed.kind != column.kind)
            {
                return Err(format!(
                    "{here} takes its values from {}.{}, which is not published text",
                    other.0, other.1
                ));
            }
        }
    }
    Ok(())
}

impl Epoch {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }
}

impl Reduction {
    /// The measure that is reduced.
    #[must_use]
    pub fn measure(&self) -> Option<&str> {
        match self {
            Self::Rows => None,
            Self::Sum(name) | Self::Least(name) | Self::Greatest(name) => Some(name),
        }
    }
}

impl Derived {
    /// The declared bands that a unit's value stands in, as its lower bound.
    #[must_use]
    pub fn class(&self, value: i128) -> i128 {
        let below = self.bands.partition_point(|band| *band <= value);
        let place = below.saturating_sub(1);
        self.bands.get(place).copied().unwrap_or(value)
    }

    /// The type of its classes.
    #[must_use]
    pub fn kind(&self, columns: &[Column]) -> ColumnType {
        let of = self.reduction.measure().and_then(|name| columns.iter().find(|c| c.name == name));
        of.map_or(ColumnType::Integer, |c| c.kind)
    }
}

impl AttributeEntry {
    pub(crate) fn check(self) -> Result<Attribute, String> {
        let place = |text: &String| match text.split_once('.') {
            Some((dataset, column)) if !dataset.is_empty() && !column.is_empty() => {
                Ok((dataset.to_owned(), column.to_owned()))
            }
            _ => Err(format!("'{text}' names no column of a dataset: write dataset.column")),
        };
        Ok(Attribute {
            of: self.of,
            place: self.place,
            same_as: self.same_as.as_ref().map(place).transpose()?,
            alternatives: self.alternatives.iter().map(place).collect::<Result<_, _>>()?,
            alone: self.alone,
            codes_from: self.codes_from.as_ref().map(place).transpose()?,
            stands_for: self.stands_for,
        })
    }
}

impl ClosureEntry {
    pub(crate) fn check(self, protection: Protection, units: &[Unit], columns: &[Column]) -> Result<Closure, String> {
        let people = protection.may_be_about_people();
        let unused = self.dimensions.is_none()
            && self.threshold.is_none()
            && self.epoch.is_none()
            && self.tables.is_empty()
            && self.derived.is_empty()
            && self.period.is_none()
            && self.every.is_none()
            && self.settle_days.is_none();
        if !people && !unused {
            return Err(format!(
                "dimensions, threshold, epoch, period, [[table]] and [[derived]] are for data about people; protection is \
                 '{protection}': remove them"
            ));
        }
        let dimensions = self.dimensions.unwrap_or(DIMENSIONS);
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(format!("dimensions is 1 to {MAX_DIMENSIONS}: as a guide 2, and 3 above 20,000 people"));
        }
        let threshold = self.threshold.unwrap_or(THRESHOLD);
        if !(THRESHOLD..=1_000).contains(&threshold) {
            return Err(format!("threshold is {THRESHOLD} to 1,000: {THRESHOLD}, and 20 for special categories"));
        }
        let epoch = match self.epoch.as_deref() {
            None | Some("quarter") => Epoch::Quarter,
            Some("month") => Epoch::Month,
            Some("year") => Epoch::Year,
            Some(other) => return Err(format!("epoch '{other}' is not known: use month, quarter or year")),
        };
        for column in columns {
            let named = |why: String| format!("column '{}': {why}", column.name);
            if let Some(of) = &column.attribute.of
                && !units.iter().any(|u| u.domain == *of)
            {
                return Err(named(format!("of = '{of}' is the domain of no [[unit]] here: name one")));
            }
            let open = matches!(column.role, Role::Dimension(Domain::Open));
            if people && open && column.attribute.codes_from.is_none() {
                return Err(named(
                    "no column about people is open: give it codes, or codes-from = \"dataset.column\" of a public dataset"
                        .to_owned(),
                ));
            }
            if let Some(class) = &column.attribute.stands_for {
                let listed = columns.iter().any(|c| c.name == *class && c.attribute.codes_from.is_some());
                if !matches!(column.role, Role::Reference(_)) || !listed {
                    return Err(named(format!(
                        "stands-for = '{class}' is for a reference key, and names a column with codes-from here"
                    )));
                }
            }
            if column.attribute.codes_from.is_some() && !open {
                return Err(named("codes-from is for a text dimension with open = true: remove one".to_owned()));
            }
        }
        let mut derived: Vec<Derived> = Vec::new();
        for entry in self.derived {
            let name = entry.name.clone();
            if columns.iter().any(|c| c.name == name) || derived.iter().any(|d| d.name == name) {
                return Err(format!("derived value '{name}' has the name of a column or of another: rename it"));
            }
            derived.push(entry.check(units, columns).map_err(|why| format!("derived value '{name}': {why}"))?);
        }
        let tables = self.tables.into_iter().map(|table| {
            let set: BTreeSet<String> = table.columns.iter().cloned().collect();
            let known =
                |name: &String| columns.iter().any(|c| c.name == *name) || derived.iter().any(|d| d.name == *name);
            match table.columns.iter().find(|name| !known(name)) {
                Some(name) => Err(format!("[[table]] names '{name}', which is no column here: correct it")),
                None if set.len() < table.columns.len() => {
                    Err("a [[table]] names a column twice: remove one".to_owned())
                }
                None => Ok(set),
            }
        });
        let tables = tables.collect::<Result<Vec<_>, String>>()?;
        let period = match (self.period, self.every, self.settle_days) {
            (None, None, None) => None,
            (None, ..) => {
                let why = "every and settle-days are for rows that come by period: name period = \"column\"";
                return Err(why.to_owned());
            }
            (Some(name), every, days) => Some(period(name, every, days.unwrap_or(SETTLE_DAYS), units, columns)?),
        };
        Ok(Closure { dimensions, threshold, epoch, tables, derived, period })
    }
}

fn period(
    name: String,
    every: Option<String>,
    settle_days: u32,
    units: &[Unit],
    columns: &[Column],
) -> Result<Period, String> {
    let grain = columns.iter().find(|c| c.name == name).and_then(|column| match (&column.role, column.nullable) {
        (Role::Dimension(Domain::Dates { grain, .. }), false) if *grain != Grain::Day => Some(*grain),
        _ => None,
    });
    let Some(grain) = grain else {
        return Err(format!(
            "period = '{name}': name a date dimension that is never NULL, of grain month, quarter or year"
        ));
    };
    let every = match every {
        None => grain,
        Some(text) => Grain::from_name(&text).filter(|every| *every >= grain).ok_or_else(|| {
            format!("every = '{text}': write month, quarter or year, no shorter than the grain of '{name}'")
        })?,
    };
    if let Some(open) = columns.iter().find(|column| column.attribute.codes_from.is_some()) {
        // Another list would draw all periods again.
        return Err(format!("rows that come by period have no open column, and '{}' is one: give it codes", open.name));
    }
    if settle_days > MOST_SETTLE_DAYS {
        return Err(format!("settle-days is at most {MOST_SETTLE_DAYS}"));
    }
    match units.iter().find(|unit| unit.one_row && unit.column.is_some()) {
        // A unit that comes once for all has no period of its own: it would be counted in one, and looked for in all.
        Some(unit) => Err(format!(
            "rows of '{}' come by period, and the contract gives each one row: leave out one-row, and write max-rows = 1",
            unit.domain
        )),
        None => Ok(Period { column: name, every, settle_days }),
    }
}

impl DerivedEntry {
    fn check(self, units: &[Unit], columns: &[Column]) -> Result<Derived, String> {
        check_name("derived value", &self.name)?;
        if !units.iter().any(|u| u.domain == self.unit) {
            return Err(format!("unit = '{}' is the domain of no [[unit]] here: name one", self.unit));
        }
        let measure = |name: Option<String>| {
            let name = name.ok_or("it needs measure = \"…\"")?;
            let found = columns.iter().find(|c| c.name == name && matches!(c.role, Role::Measure { .. }));
            found.map(|_| name.clone()).ok_or_else(|| format!("measure '{name}' is no measure here: name one"))
        };
        let reduction = match (self.of.as_str(), self.measure) {
            ("rows", None) => Reduction::Rows,
            ("sum", name) => Reduction::Sum(measure(name)?),
            ("least", name) => Reduction::Least(measure(name)?),
            ("greatest", name) => Reduction::Greatest(measure(name)?),
            (other, _) => {
                return Err(format!("of = '{other}' is not known: use rows (without measure), sum, least or greatest"));
            }
        };
        let of = reduction.measure().and_then(|name| columns.iter().find(|c| c.name == name));
        let kind = of.map_or(ColumnType::Integer, |c| c.kind);
        let bands = self.bands.iter().map(|band| match Value::parse(band, kind) {
            Some(Value::Integer(i)) => Ok(i128::from(i)),
            Some(Value::Decimal(d)) => Ok(d),
            _ => Err(format!("band '{band}' is not a {kind}")),
        });
        let bands = bands.collect::<Result<Vec<i128>, String>>()?;
        if bands.is_empty() || bands.len() > MAX_BANDS || !bands.is_sorted_by(|a, b| a < b) {
            return Err(format!("bands are 1 to {MAX_BANDS} rising lower bounds"));
        }
        let mut conditions = Vec::new();
        for (name, test) in self.conditions {
            let column = columns.iter().find(|c| c.name == name);
            let column = column.ok_or_else(|| format!("where names '{name}', which is no column here"))?;
            if !matches!(column.role, Role::Dimension(_) | Role::Measure { .. }) {
                return Err(format!("where names '{name}', a {}: name a dimension or a measure", column.role.name()));
            }
            conditions.push(Condition { test: tested(&test, column)?, column: name });
        }
        Ok(Derived { name: self.name, unit: self.unit, reduction, conditions, bands })
    }
}

fn tested(test: &toml::Value, column: &Column) -> Result<Test, String> {
    let value = |of: &toml::Value| {
        let text = match of {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let value = Value::parse(&text, column.kind);
        value.ok_or_else(|| format!("where {} = {text}: that is not a {}", column.name, column.kind))
    };
    match test {
        toml::Value::Array(values) if !values.is_empty() => {
            let mut values = values.iter().map(value).collect::<Result<Vec<_>, _>>()?;
            values.sort();
            values.dedup();
            Ok(Test::OneOf(values))
        }
        toml::Value::Table(bounds) => {
            if bounds.is_empty() || bounds.keys().any(|key| key != "from" && key != "below") {
                return Err(format!("where {}: bounds are from (included) and below", column.name));
            }
            let bound = |key| bounds.get(key).map(value).transpose();
            Ok(Test::Between { from: bound("from")?, below: bound("below")? })
        }
        one => Ok(Test::OneOf(vec![value(one)?])),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::check_together;
    use crate::{Contract, Epoch, Reduction, Test, Value};

    const ROLL: &str = r#"
        dataset = "roll"
        version = 1
        title = "Roll"
        dimensions = 3
        epoch = "month"
        [[unit]]
        domain = "person"
        column = "person_key"
        about = "people"
        one-row = true
        [[unit]]
        domain = "property"
        column = "uprn"
        about = "people"
        [[column]]
        name = "person_key"
        type = "text"
        role = "unit"
        to = "person"
        [[column]]
        name = "uprn"
        type = "text"
        role = "unit"
        to = "property"
        [[column]]
        name = "adult"
        type = "boolean"
        role = "dimension"
        [[column]]
        name = "band"
        type = "text"
        role = "dimension"
        codes = ["A", "B"]
        of = "property"
        [[derived]]
        name = "adults"
        unit = "property"
        of = "rows"
        where = { adult = true, band = ["B", "A"] }
        bands = ["0", "1", "2", "5"]
        [[table]]
        columns = ["adult", "band"]
    "#;

    #[test]
    fn the_keys_of_closed_tables_are_read() {
        let contract = Contract::parse(ROLL, "roll.toml").unwrap();
        assert_eq!((contract.closure.dimensions, contract.closure.threshold), (3, 10));
        assert_eq!(contract.closure.epoch, Epoch::Month);
        let adults = contract.derived("adults").unwrap();
        assert_eq!(adults.reduction, Reduction::Rows);
        let test = adults.conditions.iter().find(|c| c.column == "band").map(|c| &c.test);
        let text = |t: &str| Value::Text(t.into());
        assert_eq!(test, Some(&Test::OneOf(vec![text("A"), text("B")])));
        assert_eq!([-1, 0, 1, 4, 5, 100].map(|n| adults.class(n)), [0, 0, 1, 2, 5, 5]);
        assert_eq!(contract.unit_of_attribute(contract.column("band").unwrap()), Some("property"));
        assert_eq!(contract.unit_of_attribute(contract.column("adult").unwrap()), Some("person"));
    }

    #[test]
    fn contracts_are_checked_together() {
        let other = |text: &str| {
            format!(
                "dataset = \"homes\"\nversion = 1\ntitle = \"Homes\"\nprotection = \"public\"\n[[unit]]\ndomain = \"{text}\"\n\
                 about = \"things\"\n[[column]]\nname = \"band\"\ntype = \"text\"\nrole = \"dimension\"\nopen = true"
            )
        };
        let parse = |text: &str| Contract::parse(text, "x.toml").unwrap();
        let roll = parse(ROLL);
        let together = |a: &Contract, b: &Contract| check_together([a, b].into_iter());
        assert_eq!(together(&roll, &parse(&other("list"))), Ok(()));
        let thing = parse(
            &ROLL.replace("domain = \"person\"", "domain = \"elector\"").replace("to = \"person\"", "to = \"elector\""),
        );
        assert!(together(&thing, &parse(&other("elector"))).unwrap_err().contains("about people in one"));
        let key = "same-as = \"homes.band\"\n        [[derived]]";
        let named = parse(&ROLL.replace("of = \"property\"\n        [[derived]]", key));
        assert!(together(&named, &parse(&other("list"))).unwrap_err().contains("not of the type and values"));
    }

    #[test]
    fn faults_of_closed_tables_name_the_fix() {
        let cases = [
            ("dimensions = 3", "dimensions = 9", "1 to 4"),
            ("dimensions = 3", "threshold = 3", "threshold is 10 to"),
            ("dimensions = 3", "period = \"adult\"", "name a date dimension"),
            ("dimensions = 3", "settle-days = 3", "name period"),
            ("epoch = \"month\"", "epoch = \"day\"", "use month, quarter or year"),
            ("of = \"property\"", "of = \"home\"", "no [[unit]] here"),
            ("codes = [\"A\", \"B\"]", "open = true", "no column about people is open"),
            ("name = \"adults\"", "name = \"adult\"", "name of a column"),
            ("of = \"rows\"", "of = \"mean\"", "use rows"),
            ("bands = [\"0\", \"1\", \"2\", \"5\"]", "bands = [\"1\", \"0\"]", "rising"),
            ("adult = true", "adult = 3", "not a boolean"),
            (
                "role = \"dimension\"\n        codes",
                "role = \"dimension\"\n        stands-for = \"adult\"\n        codes",
                "for a reference key",
            ),
            ("adult = true", "uprn = \"1\"", "name a dimension"),
            ("columns = [\"adult\", \"band\"]", "columns = [\"adult\", \"sex\"]", "no column here"),
            ("dimensions = 3", "protection = \"public\"\n        dimensions = 3", "for data about people"),
        ];
        for (from, to, expected) in cases {
            let error = Contract::parse(&ROLL.replacen(from, to, 1), "roll.toml").unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}

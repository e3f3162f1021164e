//! The settings of a contract that define the closed tables about people.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::derived::DerivedEntry;
use crate::closure::{Closure, Epoch, Period};
use crate::column::{Column, Role};
use crate::contract::Unit;
use crate::derived::Derived;
use crate::domain::{Domain, Grain};
use crate::protection::Protection;

/// The default limit on the total weight of a table's columns.
const DIMENSIONS: u32 = 2;

/// The largest `dimensions` of a contract. Above it nearly every person is alone in some table.
const MAX_DIMENSIONS: u32 = 4;

/// The default and the least number of units in a released cell.
const THRESHOLD: u32 = 10;

/// The default number of days between a period's end and its closing.
const SETTLE_DAYS: u32 = 30;
/// The largest number of days between a period's end and its closing.
const MOST_SETTLE_DAYS: u32 = 366;

/// A `[[table]]` of a contract.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableEntry {
    columns: Vec<String>,
}

/// The settings, before they are checked.
pub(super) struct ClosureEntry {
    pub(super) dimensions: Option<u32>,
    pub(super) threshold: Option<u32>,
    pub(super) epoch: Option<String>,
    pub(super) tables: Vec<TableEntry>,
    pub(super) derived: Vec<DerivedEntry>,
    pub(super) period: Option<String>,
    pub(super) every: Option<String>,
    pub(super) settle_days: Option<u32>,
}

impl ClosureEntry {
    /// # Errors
    /// The first fault found, with the fix.
    pub(super) fn check(self, protection: Protection, units: &[Unit], columns: &[Column]) -> Result<Closure, String> {
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
        // A changed list would draw new noise for all periods.
        return Err(format!("rows that come by period have no open column, and '{}' is one: give it codes", open.name));
    }
    if settle_days > MOST_SETTLE_DAYS {
        return Err(format!("settle-days is at most {MOST_SETTLE_DAYS}"));
    }
    match units.iter().find(|unit| unit.one_row && unit.column.is_some()) {
        // A unit with one row for all periods belongs to no period: a cell would count it in one, and askers expect it in all.
        Some(unit) => Err(format!(
            "rows of '{}' come by period, and the contract gives each one row: leave out one-row, and write max-rows = 1",
            unit.domain
        )),
        None => Ok(Period { column: name, every, settle_days }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{Contract, Epoch, Reduction, Test, Value, check_together};

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

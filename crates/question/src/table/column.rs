//! A column of a table, and what contracts say of it.

use std::fmt;
use std::sync::Arc;

use loda_contract::{Column, ColumnType, Contract, Domain, Period, Role, Unit, Value};

use super::RowDomain;
use crate::refusal::{Refusal, Rule};
use crate::scope::Contracts;

/// A column as contracts name it: `residents.tenure`; `residents.*`, whether the unit is in a dataset;
/// `electoral_roll.uprn>properties.epc_band`, of the home of each elector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnRef {
    /// The dataset and its unit column through which another unit is reached.
    pub via: Option<(String, String)>,
    pub dataset: String,
    /// `None`: presence.
    pub column: Option<String>,
}

/// What a row has of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// A value, or NULL.
    Value,
    /// The unit is not in the column's dataset.
    Absent,
    /// The unit is not in the dataset through which the column is reached.
    Unreached,
}

/// The values that a column tells apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Classes {
    /// In the dataset, or not.
    Presence,
    /// In the contract's order; of a measure or a derived value the least of each band.
    Coded(Vec<Value>),
    /// Those of a public dataset, which differ from borough to borough.
    Open,
}

/// A column of K.
#[derive(Clone, Debug, PartialEq)]
pub struct TableColumn {
    pub reference: ColumnRef,
    pub kind: ColumnType,
    pub classes: Classes,
    /// Whether NULL is one of its classes.
    pub nullable: bool,
    /// Whether NULL says that rows of a unit disagree, or that a value is not listed: the contract knows no NULL.
    pub differs: bool,
    /// Whether a row can be without it: a unit that is not in its dataset.
    pub optional: bool,
    /// What it is made of.
    pub made: Made,
    pub weight: u32,
    /// Of the column that holds the periods that rows come by: every table has it, and a borough lists those that are closed.
    pub period: Option<Period>,
    /// The domain of another unit that it tells of, and that a cell needs enough of.
    pub unit: Option<String>,
}

/// How a column's class follows from records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Presence,
    /// A dimension.
    Dimension,
    /// A measure by its declared edges.
    Bands,
    /// A derived value; `counts`: a unit without rows has 0, else NULL.
    Derived {
        counts: bool,
    },
}

impl ColumnRef {
    #[must_use]
    pub fn presence(&self) -> Self {
        Self { column: None, ..self.clone() }
    }

    fn name(&self) -> &str {
        self.column.as_deref().unwrap_or_default()
    }

    pub(crate) fn own(dataset: &str, column: &str) -> Self {
        Self { via: None, dataset: dataset.to_owned(), column: Some(column.to_owned()) }
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let part = |text: &str| text.split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned()));
        let (via, rest) = match text.split_once('>') {
            Some((via, rest)) => (Some(part(via)?), rest),
            None => (None, text),
        };
        let (dataset, column) = part(rest)?;
        Some(Self { via, dataset, column: (column != "*").then_some(column) })
    }
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((dataset, column)) = &self.via {
            write!(f, "{dataset}.{column}>")?;
        }
        write!(f, "{}.{}", self.dataset, self.column.as_deref().unwrap_or("*"))
    }
}

/// Follows the name of the column by which rows come by period, where periods are longer than its grain.
const PERIOD: &str = "/period";

/// The name of the column of K that holds the periods.
pub(super) fn period_name(period: &Period, column: &Column) -> String {
    let longer = matches!(&column.role, Role::Dimension(Domain::Dates { grain, .. }) if *grain < period.every);
    if longer { format!("{}{PERIOD}", column.name) } else { column.name.clone() }
}

impl TableColumn {
    /// Whether another column's value is in the period of this one's: a month in its quarter.
    pub(super) fn agrees(&self, value: &Value, other: &Self, of_other: &Value) -> bool {
        match (self.within(other), value, of_other) {
            (Some(period), Value::Date(first), Value::Date(day)) => period.every.floor(*day) == *first,
            _ => true,
        }
    }

    /// The period that a value of its column is in.
    pub(super) fn period_of(&self, value: &Value) -> Value {
        match (&self.period, value) {
            (Some(period), Value::Date(day)) => Value::Date(period.every.floor(*day)),
            _ => value.clone(),
        }
    }

    /// The period that another column says when of, where this one holds it.
    pub(super) fn within(&self, other: &Self) -> Option<&Period> {
        let of_dataset = self.reference.dataset == other.reference.dataset && self.reference != other.reference;
        self.period.as_ref().filter(|period| of_dataset && other.reference.name() == period.column)
    }
}

/// What contracts say of a column in a row domain; its weight is the table's affair.
///
/// # Errors
/// Where there is no such column.
pub(super) fn resolve(
    reference: &ColumnRef,
    domain: &RowDomain,
    contracts: Contracts<'_>,
) -> Result<(TableColumn, Vec<Arc<Contract>>), Refusal> {
    let contract = people(&reference.dataset, contracts)?;
    let mut read = vec![Arc::clone(&contract)];
    // The domain of the unit whose row the column stands in, and whether the dataset holds it once.
    let holder = match (domain, &reference.via) {
        (RowDomain::Rows(dataset), None) if *dataset == reference.dataset => None,
        (RowDomain::Rows(dataset), _) => {
            return Err(outside(reference, &format!("the rows of {dataset}")));
        }
        (RowDomain::Units(unit), None) => Some(unit.clone()),
        (RowDomain::Units(unit), Some((through, column))) => {
            let through = people(through, contracts)?;
            let other = through.unit_of_column(column).map(|u| u.domain.clone());
            let once = through.unit(unit).is_some_and(|u| u.one_row);
            read.push(Arc::clone(&through));
            match other {
                Some(other) if once && other != *unit => Some(other),
                _ => return Err(outside(reference, &format!("the register of {unit}"))),
            }
        }
    };
    let held = match &holder {
        None => None,
        Some(unit) => {
            // A row that is a unit of its own is counted in its period, and has no register beside.
            let of_rows = |unit: &&Unit| unit.column.is_none() && contract.period().is_some();
            let unit = contract.unit(unit).filter(|unit| !of_rows(unit));
            Some(unit.ok_or_else(|| outside(reference, "a register of units that the dataset does not hold"))?.clone())
        }
    };
    let own = |unit: &str| matches!(domain, RowDomain::Units(u) if u == unit);
    let Some(name) = &reference.column else {
        let Some(held) = held else { return Err(outside(reference, "the dataset's own rows")) };
        let unit = (!own(&held.domain)).then_some(held.domain);
        let column = TableColumn {
            reference: reference.clone(),
            kind: ColumnType::Boolean,
            classes: Classes::Presence,
            nullable: false,
            differs: false,
            optional: true,
            made: Made::Presence,
            weight: 0,
            period: None,
            unit,
        };
        return Ok((column, read));
    };
    if let Some(derived) = contract.derived(name) {
        let (RowDomain::Units(unit), None) = (domain, &reference.via) else {
            return Err(outside(
                reference,
                "figures of another unit: a derived value stands in those of its own alone",
            ));
        };
        if derived.unit != *unit {
            return Err(outside(reference, &format!("the register of {unit}: it is a value of each {}", derived.unit)));
        }
        let kind = derived.kind(&contract.columns);
        let counts = derived.reduction.measure().is_none();
        let column = TableColumn {
            reference: reference.clone(),
            kind,
            classes: Classes::Coded(derived.bands.iter().map(|band| number(*band, kind)).collect()),
            nullable: !counts,
            differs: false,
            optional: true,
            made: Made::Derived { counts },
            weight: 0,
            period: None,
            unit: None,
        };
        return Ok((column, read));
    }
    let (name, longer) = match name.strip_suffix(PERIOD) {
        Some(of) => (of, contract.closure.period.as_ref().filter(|period| period.column == of && held.is_none())),
        None => (name.as_str(), None),
    };
    let column = contract.column(name).filter(|_| longer.is_some() || name == reference.name());
    let column = column.ok_or_else(|| {
        Refusal::new(
            Rule::Unknown,
            format!("column '{reference}' is in no contract"),
            "See the catalogue for what there is",
        )
    })?;
    let of = contract.unit_of_attribute(column);
    if let Some(held) = &held {
        if !held.one_row && of != Some(held.domain.as_str()) {
            return Err(outside(reference, &format!("the register of {}, of which it has several", held.domain)));
        }
        if let Some((dataset, column)) = &column.attribute.same_as {
            return Err(Refusal::new(
                Rule::Table,
                format!("'{reference}' is the same attribute as {dataset}.{column}, and there is one column of it"),
                format!("Ask of {dataset}.{column}"),
            ));
        }
    }
    let period = contract.period().filter(|(of, column)| held.is_none() && reference.name() == period_name(of, column));
    let period = period.map(|(of, _)| of.clone());
    let (classes, made) = match &column.role {
        Role::Dimension(Domain::Dates { from, to, .. }) if let Some(longer) = longer => {
            let periods = Domain::Dates { from: *from, to: *to, grain: longer.every };
            (periods.values().map_or(Classes::Open, Classes::Coded), Made::Dimension)
        }
        Role::Dimension(domain) => (domain.values().map_or(Classes::Open, Classes::Coded), Made::Dimension),
        Role::Measure { lower, upper, edges, .. } => {
            let inner = edges.iter().filter(|edge| *lower < **edge && **edge <= *upper);
            let bands = std::iter::once(lower).chain(inner).map(|band| number(*band, column.kind));
            (Classes::Coded(bands.collect()), Made::Bands)
        }
        _ => return Err(outside(reference, "a table: it is no dimension, measure or derived value")),
    };
    let unit = match (&held, of) {
        (None, _) => None,
        (Some(held), _) if !own(&held.domain) => Some(held.domain.clone()),
        (Some(_), Some(of)) if !own(of) => Some(of.to_owned()),
        _ => None,
    };
    let several = held.as_ref().is_some_and(|held| !held.one_row);
    let column = TableColumn {
        reference: reference.clone(),
        kind: column.kind,
        classes,
        // Rows of one unit that disagree are of the class NULL.
        nullable: column.nullable || several || column.attribute.codes_from.is_some(),
        differs: !column.nullable,
        optional: held.is_some(),
        made,
        weight: 0,
        period,
        unit,
    };
    Ok((column, read))
}

/// The contract of a dataset about people.
pub(super) fn people(dataset: &str, contracts: Contracts<'_>) -> Result<Arc<Contract>, Refusal> {
    let contract = contracts(dataset).filter(|c| c.protection.may_be_about_people());
    contract.ok_or_else(|| {
        Refusal::new(
            Rule::Unknown,
            format!("'{dataset}' is no dataset about people here"),
            "See the catalogue for what there is",
        )
    })
}

fn outside(reference: &ColumnRef, place: &str) -> Refusal {
    Refusal::new(
        Rule::Table,
        format!("'{reference}' is no column of {place}"),
        "Ask of the columns that the catalogue shows for the unit that is counted, and of its derived values",
    )
}

/// A number of a column's type, from scaled units.
pub(super) fn number(units: i128, kind: ColumnType) -> Value {
    match kind {
        ColumnType::Decimal(_) => Value::Decimal(units),
        _ => i64::try_from(units).map_or(Value::Null, Value::Integer),
    }
}

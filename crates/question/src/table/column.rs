//! Columns of tables: their names, the states and classes that they tell apart, the periods that they hold.

use std::fmt;

use loda_contract::{Column, ColumnType, Domain, Period, Role, Value};

/// A column as contracts name it: `residents.tenure`; `residents.*`, whether the unit is in a dataset;
/// `electoral_roll.uprn>properties.epc_band`, of the home of each elector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnRef {
    /// The dataset and its unit column through which another unit is reached.
    pub via: Option<(String, String)>,
    /// The dataset that has the column.
    pub dataset: String,
    /// `None`: presence.
    pub column: Option<String>,
}

/// The state of a row in a column.
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
    /// Its name.
    pub reference: ColumnRef,
    /// The type of its values.
    pub kind: ColumnType,
    /// The values that it tells apart.
    pub classes: Classes,
    /// Whether NULL is one of its classes.
    pub nullable: bool,
    /// Whether NULL says that rows of a unit disagree, or that a value is not listed: the contract knows no NULL.
    pub differs: bool,
    /// Whether a row can be without it: a unit that is not in its dataset.
    pub optional: bool,
    /// How its classes follow from records.
    pub made: Made,
    /// Its part of the weight of a table.
    pub weight: u32,
    /// Of the column that holds the periods that rows come by: every table has it, and a borough lists those that are
    /// closed.
    pub period: Option<Period>,
    /// The domain of another unit that it tells of, and that a cell needs enough of.
    pub unit: Option<String>,
}

/// How a column's class follows from records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Whether the unit is in the dataset.
    Presence,
    /// A dimension.
    Dimension,
    /// A measure by its declared edges.
    Bands,
    /// A derived value; `counts`: a unit without rows has 0, else NULL.
    Derived {
        /// Whether it is a number of rows.
        counts: bool,
    },
}

impl ColumnRef {
    /// The presence in the same dataset, reached in the same way.
    #[must_use]
    pub fn presence(&self) -> Self {
        Self { column: None, ..self.clone() }
    }

    /// The column's own name; empty of presence.
    pub(super) fn name(&self) -> &str {
        self.column.as_deref().unwrap_or_default()
    }

    /// A column of a dataset, reached through no other.
    pub(crate) fn own(dataset: &str, column: &str) -> Self {
        Self { via: None, dataset: dataset.to_owned(), column: Some(column.to_owned()) }
    }

    /// Reads the text that `Display` writes.
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

impl ColumnRef {
    /// The column in words: where none is read, whether there is a row.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.column {
            Some(_) => self.to_string(),
            None => format!("having a row in {}", self.dataset),
        }
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
pub(super) const PERIOD: &str = "/period";

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

    /// The value of a class by its number in the contract's order.
    #[must_use]
    pub fn class(&self, number: usize) -> Option<Value> {
        match &self.classes {
            Classes::Presence => (number == 0).then_some(Value::Boolean(true)),
            Classes::Coded(values) => values.get(number).cloned(),
            Classes::Open => None,
        }
    }
}

/// A number of a column's type, from scaled units.
pub(super) fn number(units: i128, kind: ColumnType) -> Value {
    match kind {
        ColumnType::Decimal(_) => Value::Decimal(units),
        _ => i64::try_from(units).map_or(Value::Null, Value::Integer),
    }
}

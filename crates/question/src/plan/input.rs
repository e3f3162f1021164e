//! Rows while an analyst's plan is read, and the reader.
//!
//! While reading, a column is always `tN.column`, also over one dataset, and `borough` is a column of every source.

use std::collections::HashMap;

use datafusion::common::Column;
use loda_contract::{ColumnType, Value};

use super::refusals::Read;
use crate::draft::column_name::ColumnName;
use crate::draft::{Comparison, Predicate, Rows, Scalar, bare_name};
use crate::scope::Contracts;

/// The column that says which borough holds a record; it is of no contract.
pub const BOROUGH: &str = "borough";

/// The column with the name of that borough. It stands for an expression over [`BOROUGH`].
pub const BOROUGH_NAME: &str = "borough_name";

/// A small public table of the coordinator's own, one row a borough, that stands for expressions over `borough`.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Name and type of each column; `None`: of a type that the algebra does not know.
    pub columns: Vec<(String, Option<ColumnType>)>,
    /// Its rows, a value for each column.
    pub rows: Vec<Vec<Value>>,
}

/// Reads plans: contracts and reference tables are all that it knows beside them.
pub struct Reader<'a> {
    /// The contracts by dataset.
    pub contracts: Contracts<'a>,
    /// The reference tables by name.
    pub lookups: &'a dyn Fn(&str) -> Option<Lookup>,
    /// The code and the name of each borough.
    pub names: &'a [(String, String)],
}

/// Rows, and each column of the plan as a scalar over their columns.
#[derive(Clone)]
pub(super) struct Input {
    pub(super) rows: Rows,
    pub(super) columns: HashMap<Column, Read<Scalar>>,
}

impl Input {
    /// Adds a condition on the rows.
    pub(super) fn narrow(&mut self, predicate: Predicate) {
        self.rows.filter = Predicate::both(self.rows.filter.take(), Some(predicate));
    }
}

/// The name of the borough that a column holds.
pub(super) fn borough_name(borough: &str, names: &[(String, String)]) -> Scalar {
    let text = |text: &str| Scalar::Literal(Value::Text(text.into()), ColumnType::Text);
    let branches = names.iter().map(|(code, name)| {
        let left = Scalar::Column(borough.to_owned());
        (Predicate::Compare { left, op: Comparison::Equal, right: text(code) }, text(name))
    });
    Scalar::Case { branches: branches.collect(), otherwise: None }
}

/// The place of a column's source.
pub(super) fn place_of(name: &str) -> Option<usize> {
    ColumnName::of(name).source
}

/// Whether a column is the borough of a source.
pub(super) fn is_borough(name: &str) -> bool {
    bare_name(name) == BOROUGH
}

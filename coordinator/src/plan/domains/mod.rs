//! The values that columns of the catalogue can have, without any record: code lists, ranges and dates of contracts, the
//! federation's boroughs, and the texts of reference tables. An expression over such a column has the values that it gives
//! for each of them.

mod origin;
mod source;

use std::collections::BTreeSet;

use datafusion::arrow::array::AsArray;
use datafusion::common::ScalarValue;
use loda_contract::{Contract, Domain, Role};
use loda_question::plan::{BOROUGH, BOROUGH_NAME, value_scalar};

use crate::catalogue::Catalogue;

pub(crate) use source::{Source, Sources, evaluated};

/// A column with more values is not looked at.
const MOST_VALUES: usize = 10_000;

/// The tables whose columns have known values.
pub(crate) struct Domains<'a> {
    catalogue: &'a Catalogue,
    /// The code and the name of each borough.
    names: &'a [(String, String)],
}

/// The values of one column, all of one type.
pub(crate) struct Known {
    pub(crate) values: Vec<ScalarValue>,
    /// Another text for each value, where people may write that: the name beside a borough's code.
    pub(crate) others: Vec<String>,
    pub(crate) of: Of,
}

/// What the values are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Codes,
    /// Numbers or dates in order, none missing between the first and the last.
    Range,
    /// Codes or names of boroughs.
    Boroughs,
}

impl<'a> Domains<'a> {
    pub(crate) fn of(catalogue: &'a Catalogue, names: &'a [(String, String)]) -> Self {
        Self { catalogue, names }
    }

    /// Whether a dataset's column is one to group by.
    pub(crate) fn is_dimension(&self, table: &str, name: &str) -> bool {
        let Some(contract) = self.catalogue.contracts.get(table) else { return false };
        match contract.columns.iter().find(|column| column.name == name) {
            Some(column) => matches!(column.role, Role::Dimension(_)),
            None => matches!(name, BOROUGH | BOROUGH_NAME),
        }
    }

    /// The values of a table's column. `None`: they are not known, or too many.
    pub(crate) fn known(&self, table: &str, column: &str) -> Option<Known> {
        let known = match self.catalogue.contracts.get(table) {
            Some(contract) => self.of_contract(contract, column)?,
            None => self.of_reference(table, column)?,
        };
        (known.values.len() <= MOST_VALUES).then_some(known)
    }

    fn of_contract(&self, contract: &Contract, name: &str) -> Option<Known> {
        let Some(column) = contract.columns.iter().find(|column| column.name == name) else {
            let (codes, names) = self.names.iter().cloned().unzip();
            return match name {
                BOROUGH => Some(boroughs(codes, names)),
                BOROUGH_NAME => Some(boroughs(names, codes)),
                _ => None,
            };
        };
        let Role::Dimension(domain) = &column.role else { return None };
        let of = match domain {
            Domain::Codes(_) => Of::Codes,
            Domain::Range { min, max } if max.abs_diff(*min) < MOST_VALUES as u64 => Of::Range,
            Domain::Dates { .. } => Of::Range,
            Domain::Booleans => Of::Codes,
            Domain::Range { .. } | Domain::Open => return None,
        };
        let values = domain.values()?.iter().map(|value| value_scalar(value, column.kind)).collect();
        Some(Known { values, others: Vec::new(), of })
    }

    fn of_reference(&self, table: &str, name: &str) -> Option<Known> {
        let mut texts = BTreeSet::new();
        for batch in self.catalogue.reference(table)? {
            texts.extend(batch.column_by_name(name)?.as_string_opt::<i32>()?.iter().flatten());
        }
        let values: Vec<ScalarValue> = texts.into_iter().map(ScalarValue::from).collect();
        (!values.is_empty()).then_some(Known { values, others: Vec::new(), of: Of::Codes })
    }
}

fn boroughs(values: Vec<String>, others: Vec<String>) -> Known {
    Known { values: values.into_iter().map(ScalarValue::from).collect(), others, of: Of::Boroughs }
}

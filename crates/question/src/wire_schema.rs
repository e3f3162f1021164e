//! The columns of released cells, as a node sends them and the coordinator expects them.
//!
//! Keys are `k0`, `k1`, …, and figures `f0`, `f1`, …, in the order of the question. In a table about people a state follows
//! each key: `s0` says why `k0` is null.

use datafusion::arrow::datatypes::DataType;

use crate::derive::{Moment, Question};
use crate::draft::Measure;
use crate::plan::arrow_type;
use crate::rules::Counted;
use crate::scope::scale;
use crate::table::{ColumnRef, Functional, Table};

/// The name of a key's column.
#[must_use]
pub fn key(place: usize) -> String {
    format!("k{place}")
}

/// The name of the column with the state of a key.
#[must_use]
pub fn state(place: usize) -> String {
    format!("s{place}")
}

/// The name of a figure's column.
#[must_use]
pub fn figure(place: usize) -> String {
    format!("f{place}")
}

/// Names and types of the columns that answer a question.
#[must_use]
pub fn of_question(question: &Question) -> Vec<(String, DataType)> {
    let keys = question.keys().iter().enumerate().map(|(place, of)| (key(place), arrow_type(of.kind)));
    let figures = question.figures().iter().enumerate();
    keys.chain(figures.map(|(place, of)| (figure(place), figure_type(question, of)))).collect()
}

/// Names and types of the columns that answer a table about people.
#[must_use]
pub fn of_table(table: &Table) -> Vec<(String, DataType)> {
    let columns = table.columns().iter().enumerate();
    let columns = columns.flat_map(|(place, of)| [(key(place), arrow_type(of.kind)), (state(place), DataType::Int8)]);
    let figures = table.functionals().iter().enumerate();
    columns.chain(figures.map(|(place, of)| (figure(place), functional_type(table, of)))).collect()
}

fn figure_type(question: &Question, figure: &Counted) -> DataType {
    match figure.measure {
        Measure::Sum(_) | Measure::Square(_) | Measure::Product(..) => {
            DataType::Decimal128(38, question.moment(figure).map_or(0, Moment::scale))
        }
        _ => DataType::Int64,
    }
}

fn functional_type(table: &Table, functional: &Functional) -> DataType {
    let decimals = |of: &ColumnRef| {
        let column = table.contract(&of.dataset).and_then(|c| c.column(of.column.as_deref()?));
        column.map_or(0, |c| scale(c.kind))
    };
    match functional {
        Functional::Units(_) | Functional::Rows | Functional::Present(_) => DataType::Int64,
        Functional::Sum(of) => DataType::Decimal128(38, decimals(of)),
        Functional::Square(of) => DataType::Decimal128(38, decimals(of).saturating_mul(2)),
        Functional::Product(a, b) => DataType::Decimal128(38, decimals(a).saturating_add(decimals(b))),
    }
}

//! Functions over coded columns of records, as the list of what they give for each code.
//!
//! The algebra has few functions, for a node evaluates what it is asked. A function of columns whose values are known is a
//! CASE over these values, which the algebra judges like any other: `LEFT(tenure, 5)`, `TO_CHAR(month, 'YYYY-MM')`,
//! `CONCAT(tenure, ' / ', sex)`, `CAST(year AS VARCHAR)`, `upper(outcome) LIKE '%DRUGS%'`.
//!
//! *Attack: none.* A CASE of literals is what an asker could have written.

use std::cell::Cell;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Case, Expr, LogicalPlan, Operator, lit};
use loda_question::plan::bare;

use super::over_records::over_records;
use crate::plan::domains::{Domains, Of, Source, Sources, evaluated};

/// The most rows of a table of values. A longer CASE would not fit into a question to a borough.
const MOST_ROWS: usize = 400;

/// The rows of all tables of a statement together.
const MOST_ROWS_IN_ALL: usize = 20_000;

/// Functions that the algebra has itself.
const KNOWN: [&str; 8] = ["upper", "lower", "nullif", "coalesce", "date_trunc", "date_part", "struct", "named_struct"];

/// A plan in which each such function over records is a CASE.
///
/// # Errors
/// The engine's own, for a plan that it cannot type.
pub(crate) fn tabulated(
    plan: LogicalPlan,
    domains: &Domains<'_>,
    state: &SessionState,
    is_of_records: &dyn Fn(&LogicalPlan) -> bool,
) -> Result<LogicalPlan> {
    let left = Cell::new(MOST_ROWS_IN_ALL);
    over_records(plan, domains, is_of_records, &|expr, sources| case_of(expr, sources, state, &left))
}

/// An expression with a function that the algebra does not have, as a CASE over the values of its columns.
fn case_of(expr: &Expr, sources: &Sources<'_>, state: &SessionState, left: &Cell<usize>) -> Option<Expr> {
    let foreign = match expr {
        Expr::ScalarFunction(call) => !KNOWN.contains(&call.func.name()),
        // The algebra reads a pattern over a code list itself. Boroughs are in no code list.
        Expr::Like(like) => {
            let is_text = |value: &ScalarValue| value.data_type().is_string();
            let listed =
                |source: Source| source.known.of != Of::Boroughs && source.known.values.first().is_some_and(is_text);
            !matches!(bare(&like.expr), Expr::Column(_)) || sources.of(&like.expr).is_some_and(|of| !listed(of))
        }
        Expr::SimilarTo(_) => true,
        Expr::BinaryExpr(binary) => matches!(
            binary.op,
            Operator::StringConcat
                | Operator::Modulo
                | Operator::RegexMatch
                | Operator::RegexIMatch
                | Operator::RegexNotMatch
                | Operator::RegexNotIMatch
        ),
        Expr::Cast(cast) => matches!(cast.expr.as_ref(), Expr::Column(_)),
        _ => false,
    };
    if !foreign || expr.is_volatile() {
        return None;
    }
    let columns: Vec<Column> = {
        let mut columns: Vec<Column> = expr.column_refs().into_iter().cloned().collect();
        columns.sort();
        columns
    };
    let mut choices = Vec::new();
    for column in &columns {
        let source = sources.of(&Expr::Column(column.clone())).filter(|source| source.is_column())?;
        let null = ScalarValue::try_from(&source.known.values.first()?.data_type()).ok()?;
        choices.push(source.known.values.into_iter().chain([null]).collect::<Vec<_>>());
    }
    if let (Expr::Cast(cast), Some(from)) = (expr, choices.first().and_then(|values| values.first())) {
        let (from, to) = (from.data_type(), cast.field.data_type());
        let changes = (to.is_string() && !from.is_string()) || (to.is_integer() && from.is_string());
        if !changes {
            return None;
        }
    }
    let rows = choices.iter().try_fold(1_usize, |rows, values| rows.checked_mul(values.len()))?;
    if columns.is_empty() || rows > MOST_ROWS {
        return None;
    }
    left.set(left.get().checked_sub(rows)?);
    // The values of each column in each row of the table.
    let mut each = rows;
    let mut table: Vec<Vec<ScalarValue>> = Vec::new();
    for values in &choices {
        each = each.checked_div(values.len())?;
        table.push((0..rows).filter_map(|row| values.get(row.checked_div(each)? % values.len()).cloned()).collect());
    }
    let named: Vec<String> = (0..columns.len()).map(|place| format!("c{place}")).collect();
    let over = expr.clone().transform_up(|e| {
        let place = match &e {
            Expr::Column(column) => columns.iter().position(|known| known == column),
            _ => None,
        };
        let name = place.and_then(|place| named.get(place));
        Ok(name
            .map_or(Transformed::no(e.clone()), |name| Transformed::yes(Expr::Column(Column::new_unqualified(name)))))
    });
    let arrays = table.iter().map(|values| ScalarValue::iter_to_array(values.iter().cloned()).ok());
    let arrays: Vec<(&str, ArrayRef)> =
        named.iter().map(String::as_str).zip(arrays.collect::<Option<Vec<_>>>()?).collect();
    let given = evaluated(&over.ok()?.data, arrays, state)?;
    as_case(&columns, &table, &given)
}

/// `CASE WHEN columns = values THEN given … END`, with one branch for each value that is given.
fn as_case(columns: &[Column], table: &[Vec<ScalarValue>], given: &ArrayRef) -> Option<Expr> {
    let mut branches: Vec<(ScalarValue, Vec<usize>)> = Vec::new();
    for row in 0..given.len() {
        let value = ScalarValue::try_from_array(given, row).ok()?;
        if value.is_null() {
            continue;
        }
        match branches.iter_mut().find(|(known, _)| *known == value) {
            Some((_, rows)) => rows.push(row),
            None => branches.push((value, vec![row])),
        }
    }
    let of = |column: &Column, value: &ScalarValue| {
        let column = Expr::Column(column.clone());
        if value.is_null() { column.is_null() } else { column.eq(lit(value.clone())) }
    };
    let meets = |row: &usize| {
        let each = columns.iter().zip(table).filter_map(|(column, values)| Some(of(column, values.get(*row)?)));
        conjunction(each.collect::<Vec<_>>())
    };
    let mut whens = Vec::new();
    for (value, rows) in &branches {
        let condition = match (columns, table) {
            ([column], [values]) => {
                let (nulls, there): (Vec<_>, Vec<_>) =
                    rows.iter().filter_map(|row| values.get(*row)).partition(|value| value.is_null());
                let list: Vec<Expr> = there.into_iter().map(|value| lit(value.clone())).collect();
                let listed = (!list.is_empty()).then(|| Expr::Column(column.clone()).in_list(list, false));
                let missing = (!nulls.is_empty()).then(|| Expr::Column(column.clone()).is_null());
                disjunction(listed.into_iter().chain(missing))
            }
            _ => disjunction(rows.iter().filter_map(meets)),
        };
        whens.push((Box::new(condition?), Box::new(lit(value.clone()))));
    }
    (!whens.is_empty()).then(|| Expr::Case(Case::new(None, whens, None)))
}

//! Questions in the forms that the algebra reads, from the forms that people and tools write.
//!
//! | module | what it rewrites |
//! |---|---|
//! | `empty` | rows that are none, whatever the data |
//! | `on_grain` | dates between the values of a column |
//! | `tabulated` | functions over coded columns |
//! | `ones` | counts that are written as sums and means of ones |
//! | `outer_rows` | reference tables whose rows all stay beside records |
//! | `beside_results` | records that are joined to results, or compared with them |
//! | `dimension_figures` | the least and the greatest value of a dimension, and how many values it has |

mod beside_results;
mod dimension_figures;
mod empty;
mod on_grain;
mod ones;
mod outer_rows;
mod over_records;
mod tabulated;

pub(crate) use beside_results::beside_results;
pub(crate) use dimension_figures::divided;
pub(crate) use empty::without_empty_scans;
pub(crate) use on_grain::on_grain;
pub(crate) use ones::in_known_forms;
pub(crate) use outer_rows::outer_rows;
pub(crate) use tabulated::tabulated;

use datafusion::logical_expr::Expr;

/// An expression without its outer names. Its casts stay: they change its values.
fn unnamed(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unnamed(&alias.expr),
        other => other,
    }
}

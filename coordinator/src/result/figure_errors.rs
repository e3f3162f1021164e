//! Standard errors of a part's figures, from merged groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use loda_contract::Value;
use loda_question::table::Estimate;
use serde::{Deserialize, Serialize};

use crate::plan::federated_aggregate::{FederatedAggregate, Output};
use crate::plan::federated_node::NOTE;
use crate::result::cell_group::Group;
use crate::result::derived_statistics;

/// The standard error of a column: on average over its rows, and in the worst row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StandardError {
    pub(crate) mean: f64,
    pub(crate) most: f64,
}

impl StandardError {
    /// `None`: the rows are exact, or there is none.
    pub(crate) fn of(errors: &[f64]) -> Option<Self> {
        let most = errors.iter().copied().fold(0.0, f64::max);
        #[allow(clippy::cast_precision_loss, reason = "an error is a rough figure")]
        let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
        (most > 0.0 && most.is_finite()).then_some(Self { mean, most })
    }

    pub(crate) fn or_larger(self, other: Self) -> Self {
        Self { mean: self.mean.max(other.mean), most: self.most.max(other.most) }
    }
}

/// The standard error of an output. `None`: the output is exact, or nothing is known.
pub(crate) fn error(
    part: &FederatedAggregate,
    output: &Output,
    groups: &BTreeMap<Vec<Value>, Group>,
) -> Option<StandardError> {
    let errors: Vec<f64> = groups.values().filter_map(|group| error_of(part, output, group)).collect();
    StandardError::of(&errors)
}

/// The standard error in one row, in the output's own units.
fn error_of(part: &FederatedAggregate, output: &Output, group: &Group) -> Option<f64> {
    let of = |place: usize| group.figures.get(place).filter(|figure| figure.sum.is_some());
    let scale = |place: usize| 10_f64.powi(i32::from(part.scales.get(place).copied().unwrap_or(0)));
    match output {
        Output::Figure { figure, .. } => Some(Estimate::standard_error(of(*figure)?.known.variance) / scale(*figure)),
        Output::Average { sum, count } => {
            let (total, n) = (&of(*sum)?.known, as_float(of(*count)?.sum.filter(|n| *n != 0)?));
            let mean = as_float(of(*sum)?.sum?) / n;
            let variance = total.variance - 2.0 * mean * total.covariance + mean * mean * total.doubt;
            Some(Estimate::standard_error(variance) / n.abs() / scale(*sum))
        }
        Output::Quantile(bins) => {
            let variances = |figure: usize| of(figure).map(|figure| figure.known.variance);
            derived_statistics::off(bins, &|figure| of(figure)?.sum, &variances)
        }
        Output::Spread(moments) => {
            let variances = |figure: usize| of(figure).map(|figure| figure.known.variance);
            derived_statistics::spread_off(moments, part.scales_of(moments), &|figure| of(figure)?.sum, &variances)
        }
    }
}

/// How far the figures of a part are off: columns beside its cells.
///
/// ```text
/// …e3     the standard error of column 3, in each cell
/// …e3f2   the same, where the column shows figure 2
/// …w2f5   the correlation of the errors of figures 2 and 5
/// ```
pub(crate) fn columns(part: &FederatedAggregate, groups: &BTreeMap<Vec<Value>, Group>) -> Vec<(FieldRef, ArrayRef)> {
    let mut columns: Vec<(FieldRef, ArrayRef)> = Vec::new();
    let mut add = |name: String, values: Float64Array| {
        if values.iter().flatten().any(|value| value != 0.0) {
            columns.push((Arc::new(Field::new(name, DataType::Float64, true)), Arc::new(values)));
        }
    };
    for (place, output) in part.outputs.iter().enumerate() {
        let column = part.keys.len().saturating_add(place);
        let shows = match output {
            Output::Figure { figure, .. } => format!("f{figure}"),
            _ => String::new(),
        };
        let errors = groups.values().map(|group| error_of(part, output, group));
        add(format!("{NOTE}e{column}{shows}"), errors.collect());
    }
    for (over, under) in pairs(&part.wholes) {
        let of_group = |group: &Group| {
            let known = |figure: usize| group.figures.get(figure).map(|figure| figure.known);
            let (over, under) = (known(over)?, known(under)?);
            let together = over.with_whole / (over.variance * under.variance).sqrt();
            together.is_finite().then_some(together.clamp(-1.0, 1.0))
        };
        add(format!("{NOTE}w{over}f{under}"), groups.values().map(of_group).collect());
    }
    columns
}

/// The pairs of figures whose errors are drawn together. Of a figure in several, the first pair counts.
fn pairs(wholes: &BTreeMap<usize, usize>) -> BTreeMap<usize, usize> {
    let mut pairs: BTreeMap<usize, usize> = BTreeMap::new();
    for (&over, &under) in wholes {
        let used = |figure: usize| pairs.iter().any(|(over, under)| *over == figure || *under == figure);
        let under_only = pairs.values().any(|known| *known == under) || !used(under);
        if over != under && !used(over) && under_only {
            pairs.insert(over, under);
        }
    }
    pairs
}

#[allow(clippy::cast_precision_loss, reason = "an error is a rough figure")]
fn as_float(value: i128) -> f64 {
    value as f64
}

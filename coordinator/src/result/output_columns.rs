//! The output's columns and their standard errors, from merged groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{Array, ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::ScalarValue;
use loda_contract::{ColumnType, Value};
use loda_question::Measure;
use loda_question::plan::{FigureReading, arrow_type, value_scalar};

use crate::plan::federated_aggregate::{FederatedAggregate, Output, OutputKey};
use crate::plan::federated_node::Federated;
use crate::result::cell_group::Group;
use crate::result::derived_statistics;
use crate::result::figure_errors;
use crate::result::marks::{MISSING, mark_field};

/// The cells in the aggregate's schema, followed by the marks of each figure that has any, and by how far figures are
/// off. `missing`: why cells may be missing.
pub(crate) fn batch(
    part: &FederatedAggregate,
    leaf: &Federated,
    groups: &BTreeMap<Vec<Value>, Group>,
    sparse: bool,
    missing: Option<&str>,
) -> anyhow::Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    let type_of = |i: usize| leaf.schema.fields().get(i).map(|f| f.data_type().clone()).context("the schema is short");
    for (i, key) in part.keys.iter().enumerate() {
        let values = groups.keys().map(|cell| cell.get(i).cloned().unwrap_or(Value::Null));
        columns.push(cast(&key_array(values, key_type(key))?, &type_of(i)?)?);
    }
    for output in &part.outputs {
        let wanted = type_of(columns.len())?;
        columns.push(cast(&output_array(part, output, groups, sparse, &wanted)?, &wanted)?);
    }
    let mut fields: Vec<FieldRef> = leaf.schema.fields().iter().cloned().collect();
    for (place, output) in part.outputs.iter().enumerate() {
        let marks: StringArray = groups.values().map(|g| g.mark(output)).collect();
        if marks.null_count() < marks.len() {
            fields.push(mark_field(part.keys.len().saturating_add(place)));
            columns.push(Arc::new(marks));
        }
    }
    for (field, errors) in figure_errors::columns(part, groups) {
        fields.push(field);
        columns.push(errors);
    }
    let missing = missing.map(|missing| (MISSING.to_owned(), missing.to_owned()));
    let schema = Schema::new(fields).with_metadata(missing.into_iter().collect());
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

fn key_type(key: &OutputKey) -> ColumnType {
    match key {
        OutputKey::Node { kind, .. } => *kind,
        OutputKey::Borough(values) => match values.values().find(|v| **v != Value::Null) {
            Some(Value::Integer(_)) => ColumnType::Integer,
            Some(Value::Boolean(_)) => ColumnType::Boolean,
            Some(Value::Date(_)) => ColumnType::Date,
            _ => ColumnType::Text,
        },
    }
}

fn key_array(values: impl Iterator<Item = Value>, kind: ColumnType) -> anyhow::Result<ArrayRef> {
    let mut scalars = values.map(|v| value_scalar(&v, kind)).peekable();
    if scalars.peek().is_none() {
        return Ok(arrow::array::new_empty_array(&arrow_type(kind)));
    }
    Ok(ScalarValue::iter_to_array(scalars)?)
}

fn output_array(
    part: &FederatedAggregate,
    output: &Output,
    groups: &BTreeMap<Vec<Value>, Group>,
    sparse: bool,
    wanted: &DataType,
) -> anyhow::Result<ArrayRef> {
    let at = |group: &Group, figure: usize| group.figures.get(figure).and_then(|figure| figure.sum);
    // No borough has a record, so nothing is withheld: the value is SQL's own for no rows.
    let nothing = |group: &Group| group.boroughs == group.idle;
    let scale_of = |figure: usize| part.scales.get(figure).copied().unwrap_or(0);
    match output {
        Output::Figure { figure, reading } => {
            let figure = *figure;
            let sums = matches!(part.measures.get(figure), Some(Measure::Sum(_)));
            let values = groups.values().map(|g| match (at(g, figure), reading) {
                (None, FigureReading::Plain | FigureReading::EachBorough) if nothing(g) && !sums => Some(0),
                (None, FigureReading::OrZero) if sparse && g.answered > g.no_data(output) => Some(0),
                (value, _) => value,
            });
            match scale_of(figure) {
                0 if *wanted == DataType::Int64 => {
                    let numbers = values.map(|v| v.map(i64::try_from).transpose());
                    Ok(Arc::new(numbers.collect::<Result<Int64Array, _>>().context("a figure overflows")?))
                }
                scale => Ok(Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(38, scale)?)),
            }
        }
        Output::Spread(moments) => {
            let scales = part.scales_of(moments);
            let values = groups.values().map(|g| derived_statistics::spread(moments, scales, &|figure| at(g, figure)));
            Ok(Arc::new(values.collect::<Float64Array>()))
        }
        Output::Quantile(bins) => {
            let values = groups.values().map(|g| derived_statistics::quantile(bins, &|figure| at(g, figure)));
            Ok(Arc::new(values.collect::<Float64Array>()))
        }
        Output::Average { sum, count } => {
            let (sum, count) = (*sum, *count);
            let pairs = groups.values().map(|g| at(g, sum).zip(at(g, count)).filter(|(_, n)| *n != 0));
            let scale = scale_of(sum);
            if let DataType::Decimal128(precision, wanted_scale) = wanted {
                let factor = u32::try_from(wanted_scale.saturating_sub(scale)).ok();
                let factor =
                    factor.and_then(|f| 10_i128.checked_pow(f)).context("a mean has a smaller scale than its sum")?;
                let means = pairs.map(|pair| {
                    pair.map(|(s, n)| s.checked_mul(factor).and_then(|s| s.checked_div(n)).context("a mean overflows"))
                        .transpose()
                });
                let means = means.collect::<anyhow::Result<Decimal128Array>>()?;
                return Ok(Arc::new(means.with_precision_and_scale(*precision, *wanted_scale)?));
            }
            #[allow(clippy::cast_precision_loss, reason = "a mean is a float: 53 bits are what the type has")]
            let means = pairs.map(|pair| pair.map(|(s, n)| s as f64 / n as f64 / 10_f64.powi(scale.into())));
            Ok(Arc::new(means.collect::<Float64Array>()))
        }
    }
}

//! From an analyst's Aggregate over records to the parts of a draft.

use datafusion::logical_expr::{Aggregate, Expr};

use super::figures::ReadAggregate;
use super::input::Reader;
use super::refusals::{Read, operator};
use crate::draft::Scalar;

/// Reads an Aggregate.
///
/// # Errors
/// The rule that its shape breaks.
pub fn read_aggregate(aggregate: &Aggregate, reader: &Reader<'_>) -> Read<ReadAggregate> {
    let input = reader.read(&aggregate.input)?;
    let schema = aggregate.input.schema();
    let keys = aggregate.group_expr.iter().map(|k| match k {
        Expr::GroupingSet(_) => Err(operator("GROUPING SETS, ROLLUP or CUBE here", "Ask for each grouping by itself")),
        key => input.scalar(key, schema),
    });
    let keys = keys.collect::<Read<Vec<Scalar>>>()?;
    let figures = aggregate.aggr_expr.iter().map(|f| input.figure(f, schema)).collect::<Read<Vec<_>>>()?;
    input.finished(reader, keys, figures)
}

//! Rows of published datasets. Everybody may have these, so boroughs are asked for them.
//!
//! A borough groups its records by the columns that the question reads, and tells how many are alike. After the merge each
//! stands as often as it is there. What no figure of the algebra gives (MIN, a median, a window) is then made of rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, Volatility, create_udf, lit,
};

use loda_contract::Role;
use loda_question::{Refusal, Rule};

use crate::plan::advice::engine_errors::refuse;
use crate::plan::split::{Split, dataset_of, reads_records};

/// The columns of how many records are alike, and of one place for each of them.
const ALIKE: &str = "__loda_alike";
const PLACES: &str = "__loda_places";

impl Split {
    /// The rows of a published dataset in place of a scan, with the condition on them where boroughs can judge it. `used`:
    /// the names of all columns that the question reads.
    pub(crate) fn published(&self, node: LogicalPlan, used: &HashSet<String>) -> Result<Transformed<LogicalPlan>> {
        let is_scan = |plan: &LogicalPlan| match plan {
            LogicalPlan::SubqueryAlias(alias) => reads_records(&alias.input),
            other => reads_records(other),
        };
        let filtered = matches!(&node, LogicalPlan::Filter(filter) if is_scan(&filter.input));
        if !(filtered || is_scan(&node)) || !self.are_published(&node)? {
            return Ok(Transformed::no(node));
        }
        match self.rows(&node, used) {
            Ok(rows) => Ok(Transformed::new(rows, true, TreeNodeRecursion::Jump)),
            // The condition is judged after the merge.
            Err(_) if filtered => Ok(Transformed::no(node)),
            Err(refusal) => Err(refusal),
        }
    }

    fn rows(&self, records: &LogicalPlan, used: &HashSet<String>) -> Result<LogicalPlan> {
        let columns = records.schema().columns();
        let is_key = |column: &Column| used.contains(&column.name);
        let keys: Vec<Expr> = columns.iter().filter(|column| is_key(column)).cloned().map(Expr::Column).collect();
        let alike = vec![count(lit(1_i64)).alias(ALIKE)];
        let grouped = Aggregate::try_new(Arc::new(records.clone()), keys.clone(), alike)?;
        let part = match self.part(&grouped) {
            Ok(part) => part,
            Err(refusal) => return refuse(self.without_names(records, used).unwrap_or(refusal)),
        };
        let leaf = self.leaf(part, keys.len())?;
        let alike = Expr::Column(Column::new_unqualified(ALIKE));
        let places = places().call(vec![alike]).alias(PLACES);
        // A column that nothing reads has no values.
        let shown = columns.iter().zip(records.schema().fields()).map(|(column, field)| {
            if is_key(column) {
                return Ok(Expr::Column(column.clone()));
            }
            Ok(lit(ScalarValue::try_from(field.data_type())?).alias_qualified(column.relation.clone(), &column.name))
        });
        LogicalPlanBuilder::from(leaf)
            .project(keys.into_iter().chain([places]))?
            .unnest_column(Column::new_unqualified(PLACES))?
            .project(shown.collect::<Result<Vec<_>>>()?)?
            .build()
    }

    /// The refusal of a question that reads a column which nodes do not keep: names of units, identifiers, free text.
    fn without_names(&self, records: &LogicalPlan, used: &HashSet<String>) -> Option<Refusal> {
        let dataset = dataset_in(records)?;
        let contract = self.contract(&dataset)?;
        let kept = |column: &&loda_contract::Column| matches!(column.role, Role::Dimension(_) | Role::Measure { .. });
        let named = contract.columns.iter().find(|column| !kept(column) && used.contains(&column.name))?;
        let shown: Vec<&str> = contract.columns.iter().filter(kept).map(|column| column.name.as_str()).collect();
        Some(Refusal::new(
            Rule::Identifier,
            format!("rows have no '{}': nodes keep no names, identifiers and free text", named.name),
            format!("Write: SELECT borough, {} FROM {dataset}", shown.join(", ")),
        ))
    }
}

/// The dataset of the scan in a plan.
fn dataset_in(plan: &LogicalPlan) -> Option<String> {
    let mut found = None;
    // The closure never fails.
    let _walked = plan.apply(|node| {
        found = dataset_of(node).map(str::to_owned).or(found.take());
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// The most rows that are made of one batch.
const MOST: usize = 1 << 20;

/// A list of so many numbers.
fn places() -> ScalarUDF {
    let item = Arc::new(Field::new_list_field(DataType::Int64, true));
    let kind = DataType::List(Arc::clone(&item));
    let of = move |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let numbers = arrays.first().and_then(|numbers| numbers.as_primitive_opt::<Int64Type>());
        let lengths = numbers.into_iter().flatten().map(|n| usize::try_from(n.unwrap_or(0)).unwrap_or(0));
        let lengths: Vec<usize> = lengths.collect();
        let all = lengths.iter().copied().fold(0, usize::saturating_add);
        if all > MOST {
            return exec_err!("the records of a published dataset are too many");
        }
        let values = Arc::new((0..all).map(|_| Some(0)).collect::<Int64Array>());
        let lists = ListArray::try_new(Arc::clone(&item), OffsetBuffer::from_lengths(lengths), values, None)?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
    };
    create_udf("places", vec![DataType::Int64], kind, Volatility::Immutable, Arc::new(of))
}

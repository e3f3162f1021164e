//! The plan leaf for the cells that boroughs answer, in logical plans and after the merge.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchemaRef, DataFusionError, Result};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

/// The prefix of the hidden columns with the marks of values; see [`marks`](crate::result::marks).
pub(crate) const NOTE: &str = "__loda_note_";

/// The note on a figure that adds up released cells and lacks other cells that are not released.
pub(crate) const IN_PART: &str = "in part";

/// One part of a question: an aggregate that boroughs answer.
#[derive(Clone)]
pub(crate) struct Federated {
    /// The number of the part in its question.
    pub(crate) part: usize,
    /// The dataset and the question in words, for people who read the plan.
    pub(crate) words: Arc<str>,
    /// The aggregate's schema.
    pub(crate) schema: DFSchemaRef,
    /// The number of group keys. They are the first columns.
    pub(crate) keys: usize,
}

impl fmt::Debug for Federated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Federated part {}", self.part)
    }
}

impl PartialEq for Federated {
    fn eq(&self, other: &Self) -> bool {
        self.part == other.part
    }
}

impl Eq for Federated {}

impl PartialOrd for Federated {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.part.partial_cmp(&other.part)
    }
}

impl Hash for Federated {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.part.hash(state);
    }
}

/// Whether a plan reads results of boroughs.
pub(crate) fn holds_results(plan: &LogicalPlan) -> bool {
    // The closure never fails.
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Extension(e) if e.node.as_any().is::<Federated>())))
        .unwrap_or(true)
}

impl UserDefinedLogicalNodeCore for Federated {
    fn name(&self) -> &'static str {
        "Federated"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answers to question {}: {}", self.part.saturating_add(1), self.words)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }
}

/// Plans the steps after the merge, with the merged cells in place of each part.
#[derive(Debug)]
pub(crate) struct Merged(pub(crate) BTreeMap<usize, RecordBatch>);

#[async_trait]
impl ExtensionPlanner for Merged {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(federated) = node.as_any().downcast_ref::<Federated>() else { return Ok(None) };
        let batch = self
            .0
            .get(&federated.part)
            .ok_or_else(|| DataFusionError::Internal(format!("part {} was not merged", federated.part)))?;
        let plan = MemorySourceConfig::try_new_exec(&[vec![batch.clone()]], batch.schema(), None)?;
        Ok(Some(plan))
    }
}

#[async_trait]
impl QueryPlanner for Merged {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Self(self.0.clone()))]);
        planner.create_physical_plan(&without_intervals(plan)?, session).await
    }
}

/// The plan with `… IS TRUE` around conditions on decimals. DataFusion 55.2 estimates how many rows a condition leaves by
/// intervals, and fails on decimals of different precisions, such as a row number beside a figure. It estimates nothing of
/// this form, which leaves the same rows.
fn without_intervals(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.clone().transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(Transformed::no(node)) };
        let schema = filter.input.schema();
        let is_decimal = |expr: &Expr| Ok(expr.get_type(schema.as_ref()).is_ok_and(|kind| kind.is_decimal()));
        if !filter.predicate.exists(is_decimal)? {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let predicate = filter.predicate.is_true();
        Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
    })?;
    Ok(rewritten.data)
}

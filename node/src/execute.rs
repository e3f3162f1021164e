//! The (cell, unit) stage: a question compiled for DataFusion and run under limits.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::{Column, DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::options::ParquetReadOptions;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Case, Expr, cast, lit};
use datafusion::optimizer::Optimizer;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::StreamExt;
use loda_question::Question;
use loda_question::plan::{predicate_expr, scalar_expr};

use crate::config::Limits;
use crate::snapshot::{Snapshot, key_column, unit_column};

/// The engine of one node: a memory pool for all queries, and no spilling.
pub(crate) struct Engine {
    context: SessionContext,
    stage_bytes: usize,
}

impl Engine {
    pub(crate) fn new(limits: &Limits) -> Result<Self> {
        let megabytes = |n: usize| n.saturating_mul(1 << 20);
        let pool = GreedyMemoryPool::new(megabytes(limits.memory_mb));
        let three = std::num::NonZeroUsize::MIN.saturating_add(2);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackConsumersPool::new(pool, three)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
        // Snapshots hold Utf8; views would only be cast back.
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().execution.parquet.pushdown_filters = true;
        // The simplifier merges IN lists without regard to NULL. Questions come in normal form: nothing needs it.
        let defaults = Optimizer::new().rules;
        let rules = defaults.into_iter().filter(|rule| rule.name() != "simplify_expressions").collect();
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_optimizer_rules(rules)
            .build();
        let context = SessionContext::new_with_state(state);
        Ok(Self { context, stage_bytes: megabytes(limits.stage_mb) })
    }

    /// Runs the stage of a question over its snapshot. The result's columns are those that
    /// `loda_disclosure::disclose` names.
    ///
    /// # Errors
    /// Any failure of reading, memory or size: one static code for the asker, the cause for the operator.
    pub(crate) async fn stage(&self, question: &Question, snapshot: &Snapshot) -> Result<Vec<RecordBatch>> {
        let path =
            snapshot.file.to_str().ok_or_else(|| DataFusionError::External("snapshot path is not UTF-8".into()))?;
        let rows = self.context.read_parquet(path, ParquetReadOptions::default()).await?;
        let plan = compile(question, rows)?;
        let physical = plan.create_physical_plan().await?;
        let task = Arc::new(TaskContext::from(&self.context.state()));
        let mut stream = datafusion::physical_plan::execute_stream(physical, task)?;
        let (mut batches, mut bytes) = (Vec::new(), 0_usize);
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            bytes = bytes.saturating_add(batch.get_array_memory_size());
            if bytes > self.stage_bytes {
                return Err(DataFusionError::ResourcesExhausted("the stage is larger than limits.stage_mb".to_owned()));
            }
            batches.push(batch);
        }
        Ok(batches)
    }
}

/// Scan → Filter → one row for each (cell, units, mask).
fn compile(question: &Question, mut rows: DataFrame) -> Result<DataFrame> {
    if let Some(filter) = question.filter() {
        rows = rows.filter(predicate_expr(filter))?;
    }
    let column = |name: String| Expr::Column(Column::new_unqualified(name));
    let mut keys: Vec<Expr> =
        question.keys().iter().enumerate().map(|(i, k)| scalar_expr(&k.scalar).alias(format!("k{i}"))).collect();
    for unit in &question.contract().units {
        keys.push(column(unit_column(&unit.domain)));
        keys.push(column(key_column(&unit.domain)));
    }
    keys.push(cast(mask(question), DataType::UInt16).alias("mask"));
    let mut figures = vec![count(lit(1_i64)).alias("rows")];
    for (i, measure) in question.measures().into_iter().enumerate() {
        let scale = match measure.kind {
            loda_contract::ColumnType::Decimal(scale) => scale,
            _ => 0,
        };
        let value = cast(column(measure.name.clone()), DataType::Decimal128(38, scale));
        figures.push(sum(value.clone()).alias(format!("s{i}")));
        figures.push(count(value).alias(format!("n{i}")));
    }
    rows.aggregate(keys, figures)
}

/// Bit i is set where condition i holds.
fn mask(question: &Question) -> Expr {
    let bits = question.conditions().iter().enumerate().map(|(bit, condition)| {
        let weight = 1_i64.checked_shl(u32::try_from(bit).unwrap_or(0)).unwrap_or(0);
        let branch = (Box::new(predicate_expr(condition)), Box::new(lit(weight)));
        Expr::Case(Case::new(None, vec![branch], Some(Box::new(lit(0_i64)))))
    });
    bits.reduce(|a, b| a + b).unwrap_or_else(|| lit(0_i64))
}

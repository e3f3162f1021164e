//! The engine that a node uses. It compiles a question for DataFusion, and runs it under limits in this process.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::Array;
#[cfg(feature = "unprotected")]
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Case, Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::combine_partial_final_agg::CombinePartialFinalAggregate;
use datafusion::physical_optimizer::ensure_coop::EnsureCooperative;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_optimizer::join_selection::JoinSelection;
use datafusion::physical_optimizer::projection_pushdown::ProjectionPushdown;
use datafusion::physical_optimizer::sanity_checker::SanityCheckPlan;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::StreamExt;
use futures::future::BoxFuture;
use loda_contract::Contract;
use loda_question::plan::{Tables, column_expr, predicate_expr, rows_plan, scalar_expr};
use loda_question::{Moment, Question, ScopeUnit, scale, wire_schema};
use loda_service::compute;
use loda_service::memory::within;

use super::{CellStatistics, Engine, EngineError};
use crate::config::Limits;
use crate::snapshot::table_provider::Pieces;
use crate::snapshot::{Snapshot, is_kept, unit_column};

/// The memory of cell statistics, as a multiple of their bytes. Disclosure control holds them again in tables of its
/// own: by cell, and by unit.
const HELD: usize = 4;

/// DataFusion with one memory pool for all queries, and without spilling.
pub(crate) struct DataFusionEngine {
    context: SessionContext,
    stage_bytes: usize,
    /// For each dataset, the files of the newest snapshot that was asked for, and the plan that reads them.
    scans: Mutex<HashMap<String, (Vec<PathBuf>, LogicalPlan)>>,
}

impl DataFusionEngine {
    pub(crate) fn new(limits: &Limits) -> Result<Self> {
        let megabytes = |n: usize| n.saturating_mul(1 << 20);
        let pool = GreedyMemoryPool::new(megabytes(within(limits.memory_mb, "limits.memory_mb")));
        let three = std::num::NonZeroUsize::MIN.saturating_add(2);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackConsumersPool::new(pool, three)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
        // Snapshots hold Utf8, and views would only be cast back.
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().execution.parquet.pushdown_filters = true;
        // Snapshots have no Bloom filters.
        config.options_mut().execution.parquet.bloom_filter_on_read = false;
        // Questions come in normal form, so a second pass finds nothing.
        config.options_mut().optimizer.max_passes = 1;
        // No function is registered. A question holds the functions that it calls, and each step of a plan would copy
        // the registry.
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_optimizer_rules(logical_rules())
            .with_physical_optimizer_rules(physical_rules())
            .build();
        let context = SessionContext::new_with_state(state);
        Ok(Self { context, stage_bytes: megabytes(limits.stage_mb), scans: Mutex::default() })
    }

    /// A snapshot's columns under the contract's names. The plan is kept, because opening the files costs as much as a
    /// small question.
    fn scan(&self, snapshot: &Snapshot) -> Result<LogicalPlan> {
        let dataset = &snapshot.contract.dataset;
        let known = self.scans.lock().unwrap_or_else(PoisonError::into_inner).get(dataset).cloned();
        if let Some((_, plan)) = known.filter(|(files, _)| *files == snapshot.files) {
            return Ok(plan);
        }
        let files = snapshot.files.clone();
        let pieces = compute(|| Pieces::open(&files))?;
        let rows = LogicalPlanBuilder::scan(dataset.as_str(), provider_as_source(Arc::new(pieces)), None)?;
        let plan = rows.project(columns_of(&snapshot.contract))?.build()?;
        let mut scans = self.scans.lock().unwrap_or_else(PoisonError::into_inner);
        scans.insert(dataset.clone(), (files, plan.clone()));
        Ok(plan)
    }

    /// The statistics of a question over tables with the content of snapshots.
    ///
    /// # Errors
    /// As for [`Engine::statistics`].
    pub(crate) async fn statistics_over(
        &self,
        question: &Question,
        tables: &SnapshotTables,
    ) -> std::result::Result<CellStatistics, EngineError> {
        self.run(question, tables).await.map_err(typed)
    }

    async fn run(&self, question: &Question, tables: &SnapshotTables) -> Result<CellStatistics> {
        let rows = rows_plan(&question.draft().rows, question.scope(), tables)?;
        let rows = DataFrame::new(self.context.state(), rows);
        let plan = compile(question, rows)?;
        let physical = plan.create_physical_plan().await?;
        let task = Arc::new(TaskContext::from(&self.context.state()));
        let mut stream = datafusion::physical_plan::execute_stream(physical, task)?;
        let share = MemoryConsumer::new("stage").register(&self.context.runtime_env().memory_pool);
        let (mut batches, mut bytes) = (Vec::new(), 0_usize);
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            // Batches are slices of larger buffers. Each counts the part that it shows.
            let shown = batch.columns().iter().map(|c| c.to_data().get_slice_memory_size());
            let shown = shown.sum::<std::result::Result<usize, _>>()?;
            share.try_grow(shown.saturating_mul(HELD))?;
            bytes = bytes.saturating_add(shown);
            if bytes > self.stage_bytes {
                return Err(DataFusionError::External(Box::new(EngineError::TooLarge)));
            }
            batches.push(batch);
        }
        Ok(CellStatistics::new(batches, share))
    }
}

impl Engine for DataFusionEngine {
    fn statistics<'a>(
        &'a self,
        question: &'a Question,
        snapshots: &'a [Snapshot],
    ) -> BoxFuture<'a, std::result::Result<CellStatistics, EngineError>> {
        Box::pin(async move {
            let mut tables = SnapshotTables::default();
            for snapshot in snapshots {
                tables.0.insert(snapshot.contract.dataset.clone(), self.scan(snapshot).map_err(typed)?);
            }
            self.statistics_over(question, &tables).await
        })
    }

    fn forget(&self, dataset: &str) {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner).remove(dataset);
    }
}

/// An error of DataFusion, as an error that every engine can have.
fn typed(fault: DataFusionError) -> EngineError {
    match fault.find_root() {
        DataFusionError::ResourcesExhausted(_) => EngineError::Memory(fault.into()),
        DataFusionError::IoError(_) | DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) => {
            EngineError::Lost(fault.into())
        }
        DataFusionError::External(inner) if matches!(inner.downcast_ref(), Some(EngineError::TooLarge)) => {
            EngineError::TooLarge
        }
        _ => EngineError::Invalid(fault.into()),
    }
}

/// The rules that help the plans of questions, in the engine's order. These plans are joins, filters, projections and
/// aggregates in normal form. They have no subquery, order, limit or window for the other rules. The simplifier is left
/// out because it merges IN lists without regard to NULL.
fn logical_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let wanted = [
        "push_down_filter",
        "single_distinct_aggregation_to_group_by",
        "common_sub_expression_eliminate",
        "optimize_projections",
    ];
    let known = Optimizer::new().rules;
    known.into_iter().filter(|rule| wanted.contains(&rule.name())).collect()
}

/// The same for physical plans.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    vec![
        Arc::new(JoinSelection::new()),
        Arc::new(FilterPushdown::new()),
        Arc::new(EnsureRequirements::new()),
        Arc::new(CombinePartialFinalAggregate::new()),
        Arc::new(ProjectionPushdown::new()),
        // Lets a cancellation reach the computation.
        Arc::new(EnsureCooperative::new()),
        // The smaller side of a join limits the rows that are read of the larger side.
        Arc::new(FilterPushdown::new_post_optimization()),
        Arc::new(SanityCheckPlan::new()),
    ]
}

/// Snapshots as the plans of questions read them. Unit columns hold dense ids under the contract's names.
#[derive(Default)]
pub(crate) struct SnapshotTables(HashMap<String, LogicalPlan>);

#[cfg(feature = "unprotected")]
impl SnapshotTables {
    /// Adds records in memory, in the shape of a snapshot.
    pub(crate) fn hold(&mut self, contract: &Contract, records: RecordBatch) -> Result<()> {
        let table = datafusion::datasource::MemTable::try_new(records.schema(), vec![vec![records]])?;
        let source = provider_as_source(Arc::new(table));
        let plan = LogicalPlanBuilder::scan(contract.dataset.as_str(), source, None)?;
        self.0.insert(contract.dataset.clone(), plan.project(columns_of(contract))?.build()?);
        Ok(())
    }
}

impl Tables for SnapshotTables {
    fn records(&self, dataset: &str) -> Result<LogicalPlan> {
        let plan = self.0.get(dataset).cloned();
        plan.ok_or_else(|| DataFusionError::Internal("a dataset is not pinned".to_owned()))
    }

    fn unit_id(&self, domain: &str) -> Option<String> {
        Some(unit_column(domain))
    }
}

fn columns_of(contract: &Contract) -> Vec<Expr> {
    let column = |name: &str| Expr::Column(Column::new_unqualified(name));
    let kept = contract.columns.iter().filter(|c| is_kept(&c.role)).map(|c| column(&c.name));
    let units = contract.units.iter().map(|unit| {
        let id = column(&unit_column(&unit.domain));
        unit.column.as_ref().map_or(id.clone(), |name| id.alias(name))
    });
    kept.chain(units).collect()
}

/// A unit's id as a column of the question's rows.
fn id_of(unit: &ScopeUnit, question: &Question) -> Expr {
    let rows = &question.draft().rows;
    let id = unit.unit.column.clone().unwrap_or_else(|| rows.name(unit.source, &unit_column(&unit.unit.domain)));
    column_expr(&id)
}

/// If a left join found no unit, the unit of the left side stands in. It gets an id of its own, so no two units become
/// one.
fn standing_in(unit: &ScopeUnit, question: &Question) -> Expr {
    let id = id_of(unit, question);
    let Some(other) = unit.stands_in.and_then(|place| question.scope().units.get(place)) else { return id };
    let apart = id_of(other, question) + lit(ScalarValue::UInt64(Some(1 << 63)));
    let branch = (Box::new(id.clone().is_null()), Box::new(apart));
    Expr::Case(Case::new(None, vec![branch], Some(Box::new(id))))
}

/// A plan with at least one row for each (cell, units, mask).
fn compile(question: &Question, rows: DataFrame) -> Result<DataFrame> {
    let mut keys: Vec<Expr> =
        question.keys().iter().enumerate().map(|(i, k)| scalar_expr(&k.scalar).alias(wire_schema::key(i))).collect();
    for (i, unit) in question.scope().units.iter().enumerate() {
        keys.push(standing_in(unit, question).alias(format!("u{i}")));
    }
    keys.push(cast(mask(question), DataType::UInt16).alias("mask"));
    let value =
        |column: &loda_contract::Column| cast(column_expr(&column.name), DataType::Decimal128(38, scale(column.kind)));
    // A unit with one row is a group by itself. Nothing has to be added up, and no table of groups is made.
    let single = question.scope().units.iter().any(|unit| unit.unit.max_rows == Some(1));
    let mut figures = vec![if single { lit(1_i64) } else { count(lit(1_i64)) }.alias("rows")];
    for (i, moment) in question.moments().into_iter().enumerate() {
        let summed = match moment {
            Moment::Value(of) => value(of),
            Moment::Square(of) => value(of) * value(of),
            Moment::Product(a, b) => value(a) * value(b),
        };
        let summed = cast(summed, DataType::Decimal128(38, moment.scale()));
        let (summed, counted) = if single {
            (summed.clone(), cast(summed.is_not_null(), DataType::Int64))
        } else {
            (sum(summed.clone()), count(summed))
        };
        figures.push(summed.alias(format!("s{i}")));
        figures.push(counted.alias(format!("n{i}")));
    }
    if single { rows.select(keys.into_iter().chain(figures)) } else { rows.aggregate(keys, figures) }
}

/// Bit i is set where condition i is true.
fn mask(question: &Question) -> Expr {
    let bits = question.conditions().iter().enumerate().map(|(bit, condition)| {
        let weight = 1_i64.checked_shl(u32::try_from(bit).unwrap_or(0)).unwrap_or(0);
        let branch = (Box::new(predicate_expr(condition)), Box::new(lit(weight)));
        Expr::Case(Case::new(None, vec![branch], Some(Box::new(lit(0_i64)))))
    });
    bits.reduce(|a, b| a + b).unwrap_or_else(|| lit(0_i64))
}

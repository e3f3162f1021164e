//! The (cell, unit) stage: a question compiled for DataFusion and run under limits.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryReservation, TrackConsumersPool};
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
use loda_contract::Contract;
use loda_question::plan::{Tables, column_expr, predicate_expr, rows_plan, scalar_expr};
use loda_question::{Moment, Question, ScopeUnit, scale};
use loda_service::compute;
use loda_service::memory::within;

use crate::config::Limits;
use crate::scan::Pieces;
use crate::snapshot::{Snapshot, is_kept, unit_column};

/// The (cell, unit) rows of one question, and their share of the memory pool for as long as they live.
pub(crate) struct Stage {
    pub(crate) batches: Vec<RecordBatch>,
    _share: MemoryReservation,
}

impl Stage {
    pub(crate) fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Disclosure control holds the stage again in tables of its own: by cell, and by unit.
const HELD: usize = 4;

/// Whether a stage failed for want of memory: it may succeed when nothing else runs.
pub(crate) fn lacked_memory(fault: &DataFusionError) -> bool {
    matches!(fault.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// The engine of one node: a memory pool for all queries, and no spilling.
pub(crate) struct Engine {
    context: SessionContext,
    stage_bytes: usize,
    /// How each snapshot is read, by dataset: the newest that was asked for.
    scans: Mutex<HashMap<String, (Vec<PathBuf>, LogicalPlan)>>,
}

impl Engine {
    pub(crate) fn new(limits: &Limits) -> Result<Self> {
        let megabytes = |n: usize| n.saturating_mul(1 << 20);
        let pool = GreedyMemoryPool::new(megabytes(within(limits.memory_mb, "limits.memory_mb")));
        let three = std::num::NonZeroUsize::MIN.saturating_add(2);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackConsumersPool::new(pool, three)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
        // Snapshots hold Utf8; views would only be cast back.
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().execution.parquet.pushdown_filters = true;
        // Snapshots have none.
        config.options_mut().execution.parquet.bloom_filter_on_read = false;
        // Questions come in normal form: a second look at them finds nothing.
        config.options_mut().optimizer.max_passes = 1;
        // No function is registered: a question holds those that it calls, and each step of a plan copies the registry.
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_optimizer_rules(logical_rules())
            .with_physical_optimizer_rules(physical_rules())
            .build();
        let context = SessionContext::new_with_state(state);
        Ok(Self { context, stage_bytes: megabytes(limits.stage_mb), scans: Mutex::default() })
    }

    /// Runs the stage of a question over its snapshots. The result's columns are those that
    /// `loda_disclosure::disclose` names.
    ///
    /// # Errors
    /// Any failure of reading, memory or size: one static code for the asker, the cause for the operator.
    pub(crate) async fn stage(&self, question: &Question, snapshots: &[Snapshot]) -> Result<Stage> {
        let mut tables = SnapshotTables::default();
        for snapshot in snapshots {
            tables.0.insert(snapshot.contract.dataset.clone(), self.scan(snapshot)?);
        }
        self.stage_over(question, &tables).await
    }

    /// Lets go of the files of a dataset's snapshot: another is served from now on.
    pub(crate) fn forget(&self, dataset: &str) {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner).remove(dataset);
    }

    /// A snapshot's columns under the contract's names. To look into its file costs as much as a small question.
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

    /// The stage over tables that hold what snapshots hold.
    pub(crate) async fn stage_over(&self, question: &Question, tables: &SnapshotTables) -> Result<Stage> {
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
            // Batches are slices of larger buffers: each counts what it shows.
            let shown = batch.columns().iter().map(|c| c.to_data().get_slice_memory_size());
            let shown = shown.sum::<std::result::Result<usize, _>>()?;
            share.try_grow(shown.saturating_mul(HELD))?;
            bytes = bytes.saturating_add(shown);
            if bytes > self.stage_bytes {
                return Err(DataFusionError::Execution("the stage is larger than limits.stage_mb".to_owned()));
            }
            batches.push(batch);
        }
        Ok(Stage { batches, _share: share })
    }
}

/// What the stages of questions gain from, in the engine's order. They are joins, filters, projections and aggregates in
/// normal form: there is no subquery, order, limit or window for the other rules to find, and the simplifier merges IN lists
/// without regard to NULL.
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

/// Likewise.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    vec![
        Arc::new(JoinSelection::new()),
        Arc::new(FilterPushdown::new()),
        Arc::new(EnsureRequirements::new()),
        Arc::new(CombinePartialFinalAggregate::new()),
        Arc::new(ProjectionPushdown::new()),
        // So that a cancellation reaches what computes.
        Arc::new(EnsureCooperative::new()),
        // What the smaller side of a join has tells what to read of the larger.
        Arc::new(FilterPushdown::new_post_optimization()),
        Arc::new(SanityCheckPlan::new()),
    ]
}

/// Snapshots as the plans of questions read them: unit columns hold dense ids under the contract's names.
#[derive(Default)]
pub(crate) struct SnapshotTables(HashMap<String, LogicalPlan>);

#[cfg(feature = "unprotected")]
impl SnapshotTables {
    /// Records in memory, in the shape of a snapshot.
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

/// Where a left join found nobody, the left side's unit stands in: as itself, so that no two become one.
fn standing_in(unit: &ScopeUnit, question: &Question) -> Expr {
    let id = id_of(unit, question);
    let Some(other) = unit.stands_in.and_then(|place| question.scope().units.get(place)) else { return id };
    let apart = id_of(other, question) + lit(ScalarValue::UInt64(Some(1 << 63)));
    let branch = (Box::new(id.clone().is_null()), Box::new(apart));
    Expr::Case(Case::new(None, vec![branch], Some(Box::new(id))))
}

/// At least one row for each (cell, units, mask).
fn compile(question: &Question, rows: DataFrame) -> Result<DataFrame> {
    let mut keys: Vec<Expr> =
        question.keys().iter().enumerate().map(|(i, k)| scalar_expr(&k.scalar).alias(format!("k{i}"))).collect();
    for (i, unit) in question.scope().units.iter().enumerate() {
        keys.push(standing_in(unit, question).alias(format!("u{i}")));
    }
    keys.push(cast(mask(question), DataType::UInt16).alias("mask"));
    let value =
        |column: &loda_contract::Column| cast(column_expr(&column.name), DataType::Decimal128(38, scale(column.kind)));
    // A unit with one row is a group by itself: nothing is to be added up, and no table of groups to be made.
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

/// Bit i is set where condition i holds.
fn mask(question: &Question) -> Expr {
    let bits = question.conditions().iter().enumerate().map(|(bit, condition)| {
        let weight = 1_i64.checked_shl(u32::try_from(bit).unwrap_or(0)).unwrap_or(0);
        let branch = (Box::new(predicate_expr(condition)), Box::new(lit(weight)));
        Expr::Case(Case::new(None, vec![branch], Some(Box::new(lit(0_i64)))))
    });
    bits.reduce(|a, b| a + b).unwrap_or_else(|| lit(0_i64))
}

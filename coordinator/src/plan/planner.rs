//! Turns SQL into a logical plan: one SELECT over the catalogue, and nothing else.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::config::Dialect;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::functions_aggregate::variance::var_samp_udaf;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use futures::FutureExt;
use loda_question::{Refusal, Rule};

use crate::catalogue::Catalogue;
use crate::config::Limits;
use crate::plan::advice::engine_errors::{Cause, Fault, fault_of, refusal_of, unplanned};
use crate::plan::advice::{Checked, Names, check, repaired};
use crate::plan::forms::without_empty_scans;
use crate::plan::growing_functions;
use crate::plan::split::{Split, SplitPlan, Tables};
use crate::plan::syntax::sql_bounds::readable;
use crate::plan::syntax::{cte_expansion, date_formats, dropped_syntax, in_one_form};

/// The catalog and schema that tools write before a table's name.
pub(crate) const CATALOG: &str = "london";
pub(crate) const SCHEMA: &str = "public";

/// How many slips of one statement an advice mends.
const MOST_REPAIRS: usize = 6;

/// The rules that a slip or another dialect of SQL can break, or whose nearest question is known. Other refusals say what
/// may be asked.
const MENDED: [Rule; 14] = [
    Rule::Sql,
    Rule::Unknown,
    Rule::Value,
    Rule::Function,
    Rule::Operator,
    Rule::Predicate,
    Rule::Statement,
    Rule::Grain,
    Rule::Rows,
    Rule::Linkage,
    Rule::Dimensions,
    Rule::Key,
    Rule::Aggregate,
    Rule::BandEdge,
];

/// A statement with open parameters.
pub(crate) struct OpenColumns {
    pub(crate) columns: Vec<Field>,
    pub(crate) parameters: HashMap<String, Option<DataType>>,
}

/// Plans questions over one catalogue.
pub(crate) struct Planner {
    context: SessionContext,
    names: Names,
}

impl Planner {
    /// # Errors
    /// If a table cannot be registered.
    pub(crate) fn new(catalogue: &Catalogue, limits: &Limits) -> Result<Self> {
        let memory = loda_service::memory::within(limits.memory_mb, "limits.memory_mb").saturating_mul(1 << 20);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
        // The memory pool does not count the values that an expression makes of one batch. The batch size bounds them,
        // together with the limits on text length and joined texts in `sql_bounds`.
        config = config.with_default_catalog_and_schema(CATALOG, SCHEMA).with_batch_size(1_024);
        // Withheld values are NULL. They sort last, not at the top of a ranking.
        config.options_mut().sql_parser.default_null_ordering = "nulls_last".to_owned();
        // The engine's two ideas of what can be NULL differ at times. An aggregate over marks would fail for that.
        config.options_mut().execution.skip_physical_aggregate_schema_check = true;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_table_function_list(Vec::new())
            .build();
        let context = SessionContext::new_with_state(state);
        for unbounded in growing_functions::UNBOUNDED {
            context.deregister_udf(unbounded);
        }
        // As most databases and tools write it.
        context.register_udaf(var_samp_udaf().as_ref().clone().with_aliases(["variance"]));
        for (name, table) in catalogue.tables() {
            context.register_table(name, table)?;
        }
        Ok(Self { context, names: Names::of(catalogue) })
    }

    pub(crate) fn state(&self) -> SessionState {
        self.context.state()
    }

    /// Plans SQL as [`Planner::plan`] does, and turns a panic in the engine's planner into a refusal. The panic ends
    /// this question and nothing else.
    ///
    /// # Errors
    /// The rule that refuses the question.
    pub(crate) async fn plan_guarded(&self, sql: &str, split: Split) -> std::result::Result<SplitPlan, Refusal> {
        AssertUnwindSafe(self.plan(sql, split)).catch_unwind().await.unwrap_or_else(|_panic| {
            tracing::error!("the planner failed on a question");
            Err(unplanned())
        })
    }

    /// The columns of a statement with open parameters, and the type of each parameter (`$1`, `$2`, …) if the rest of
    /// the statement determines it.
    ///
    /// # Errors
    /// The fault in the statement.
    pub(crate) async fn columns(&self, sql: &str) -> std::result::Result<OpenColumns, Refusal> {
        readable(sql)?;
        let state = self.state();
        let statement = state.sql_to_statement(sql, &Dialect::Generic).map_err(|e| refusal_of(&e))?;
        dropped_syntax::check(&statement)?;
        cte_expansion::check(&statement)?;
        let statement = in_one_form(statement);
        date_formats::check(&statement)?;
        let plan = state.statement_to_plan(statement).await.map_err(|e| refusal_of(&e))?;
        only_select(&plan)?;
        let columns =
            plan.schema().fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true)).collect();
        let parameters = plan.get_parameter_types().map_err(|e| refusal_of(&e))?;
        Ok(OpenColumns { columns, parameters })
    }

    /// Plans SQL, and splits the plan into the parts for boroughs and the steps after the merge.
    ///
    /// # Errors
    /// The rule that refuses the question. Its advice is a statement that can be asked, where one is found.
    pub(crate) async fn plan(&self, sql: &str, split: Split) -> std::result::Result<SplitPlan, Refusal> {
        let tables = split.tables();
        match self.planned(sql, split).await {
            Ok(split) => Ok(split),
            Err(fault) => Err(self.advised(sql, fault, &tables).await),
        }
    }

    /// The refusal, with the statement that was meant as its advice where that can be planned.
    async fn advised(&self, sql: &str, fault: Fault, tables: &Tables) -> Refusal {
        let Fault { refusal, mut cause } = fault;
        // A statement beyond the bounds would cost every other dialect as much.
        if !MENDED.contains(&refusal.rule) || readable(sql).is_err() {
            return refusal;
        }
        let lead = match cause.as_ref() {
            Cause::Column(..) => format!("{}. ", refusal.advice),
            _ => lead(&refusal),
        };
        let mut sql = sql.to_owned();
        for _repair in 0..MOST_REPAIRS {
            let mut next = None;
            for better in repaired(&sql, &cause, &self.names) {
                match self.planned(&better, tables.split()).await {
                    Ok(_) => return Refusal { advice: format!("{lead}Write: {better}"), ..refusal },
                    Err(fault) => next = next.or(Some((better, fault.cause))),
                }
            }
            let Some(next) = next.filter(|_| *cause != Cause::Columns) else { break };
            (sql, cause) = next;
        }
        refusal
    }

    async fn planned(&self, sql: &str, split: Split) -> std::result::Result<SplitPlan, Fault> {
        let fault = |error: DataFusionError| fault_of(&error, &self.names.tables());
        readable(sql)?;
        let state = self.state();
        let statement = state.sql_to_statement(sql, &Dialect::Generic).map_err(fault)?;
        dropped_syntax::check(&statement)?;
        cte_expansion::check(&statement)?;
        let statement = in_one_form(statement);
        date_formats::check(&statement)?;
        let plan = state.statement_to_plan(statement).await.map_err(fault)?;
        let (plan, explain) = match plan {
            LogicalPlan::Explain(explain) => (Arc::unwrap_or_clone(explain.plan), true),
            plan => (plan, false),
        };
        only_select(&plan)?;
        growing_functions::check(&plan).map_err(fault)?;
        // Type coercion comes first.
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {});
        let plan = plan.map_err(fault)?;
        // The split comes before all optimiser rules. A rule can rely on a COUNT never being NULL, but a withheld COUNT
        // is NULL. The split is not a rule itself: it makes columns nullable, and a rule must keep the schema.
        let plan = without_empty_scans(plan).map_err(fault)?;
        let tables = split.tables();
        let split = match split.split(plan.clone(), &state).map_err(fault) {
            Ok(split) => split,
            // A wrong value is told before what only follows from it, and a date off its grain is mended like one.
            Err(fault) if matches!(fault.refusal.rule, Rule::Grain | Rule::Derived | Rule::Function) => {
                let what = if fault.refusal.rule == Rule::Function { Checked::Types } else { Checked::Values };
                return Err(match check(&plan, &tables.domains(), &state, what) {
                    Err(value) if fault.refusal.rule == Rule::Grain => Fault { cause: value.cause, ..fault },
                    Err(value) => value,
                    Ok(()) => fault,
                });
            }
            Err(fault) => return Err(fault),
        };
        // Last, so that a question that no rule allows is refused by that rule.
        check(&plan, &tables.domains(), &state, Checked::Values)?;
        Ok(SplitPlan { explain, ..split })
    }
}

/// What is said before a statement that has another meaning than the question.
fn lead(refusal: &Refusal) -> String {
    match refusal.rule {
        Rule::Value | Rule::Linkage | Rule::Key | Rule::Aggregate | Rule::BandEdge => format!("{}. ", refusal.advice),
        Rule::Rows => "Ask for figures. ".to_owned(),
        Rule::Dimensions => "Combine fewer columns, such as these (borough does not count). ".to_owned(),
        _ => String::new(),
    }
}

pub(crate) fn only_select(plan: &LogicalPlan) -> std::result::Result<(), Refusal> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let statement = |what: &str| {
        Err(Refusal::new(
            Rule::Statement,
            format!("{what} is not allowed: questions are one SELECT"),
            "Write SELECT … FROM … GROUP BY …",
        ))
    };
    if options.verify_plan(plan).is_err() {
        return statement("a statement that defines, writes or sets something");
    }
    let mut other = None;
    let walked = plan.apply_with_subqueries(|node| {
        other = match node {
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => {
                Some("EXPLAIN ANALYZE, or EXPLAIN inside another statement,")
            }
            LogicalPlan::RecursiveQuery(_) => Some("a recursive query"),
            LogicalPlan::DescribeTable(_) => Some("DESCRIBE (use the catalogue)"),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    });
    match (walked, other) {
        (_, Some(what)) => statement(what),
        (Err(fault), None) => Err(refusal_of(&fault)),
        (Ok(_), None) => Ok(()),
    }
}

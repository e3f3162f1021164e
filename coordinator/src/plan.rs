//! From SQL to a logical plan: one SELECT over the catalogue, and nothing else.

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
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use futures::FutureExt;
use loda_question::{Refusal, Rule};

use crate::catalogue::Catalogue;
use crate::config::Limits;
use crate::federated::NOTE;
use crate::split::{Split, SplitPlan};
use crate::syntax;

/// Names that tools write before a table's.
pub(crate) const CATALOG: &str = "london";
pub(crate) const SCHEMA: &str = "public";

/// The longest SQL text.
pub(crate) const MAX_SQL: usize = 100_000;

/// Characters of an engine's message at most.
const MAX_MESSAGE: usize = 400;

/// Full stops in one name at most: the parser's time doubles with each.
const MAX_DOTS: usize = 4;

/// Words of a question at most, and of them operators, brackets and keywords: what nests.
const MAX_WORDS: usize = 10_000;
const MAX_OPERATORS: usize = 1_000;

/// A statement whose parameters are open.
pub(crate) struct Open {
    pub(crate) columns: Vec<Field>,
    pub(crate) parameters: HashMap<String, Option<DataType>>,
}

/// Plans questions over one catalogue.
pub(crate) struct Planner {
    context: SessionContext,
}

impl Planner {
    /// # Errors
    /// Where a table cannot be registered.
    pub(crate) fn new(catalogue: &Catalogue, limits: &Limits) -> Result<Self> {
        let memory = loda_service::memory::within(limits.memory_mb, "limits.memory_mb").saturating_mul(1 << 20);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
        config = config.with_default_catalog_and_schema(CATALOG, SCHEMA);
        // Withheld values are NULL: they belong at the end of an order, not at the top of a ranking.
        config.options_mut().sql_parser.default_null_ordering = "nulls_last".to_owned();
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_table_function_list(Vec::new())
            .build();
        let context = SessionContext::new_with_state(state);
        // These make values of any size from a few bytes of SQL, outside the memory pool.
        for unbounded in ["repeat", "lpad", "rpad", "replace", "overlay", "translate", "regexp_replace"] {
            context.deregister_udf(unbounded);
        }
        for (name, table) in catalogue.tables() {
            context.register_table(name, table)?;
        }
        Ok(Self { context })
    }

    pub(crate) fn state(&self) -> SessionState {
        self.context.state()
    }

    /// Plans SQL as [`Planner::plan`] does, and takes a fault in the engine's planner for a refusal: it ends this question
    /// and nothing else.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub(crate) async fn plan_guarded(&self, sql: &str, split: Split) -> std::result::Result<SplitPlan, Refusal> {
        AssertUnwindSafe(self.plan(sql, split)).catch_unwind().await.unwrap_or_else(|_panic| {
            tracing::error!("the planner failed on a question");
            Err(Refusal::new(Rule::Sql, "the question cannot be planned", "Write it in another way"))
        })
    }

    /// The columns of a statement whose parameters are open, and the types of these, by `$1` and so on, where its other
    /// words tell them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) async fn columns(&self, sql: &str) -> std::result::Result<Open, Refusal> {
        readable(sql)?;
        let state = self.state();
        let statement = state.sql_to_statement(sql, &Dialect::Generic).map_err(|e| refusal_of(&e))?;
        syntax::check(&statement)?;
        let plan = state.statement_to_plan(statement).await.map_err(|e| refusal_of(&e))?;
        only_select(&plan)?;
        let columns =
            plan.schema().fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true)).collect();
        let parameters = plan.get_parameter_types().map_err(|e| refusal_of(&e))?;
        Ok(Open { columns, parameters })
    }

    /// Plans SQL and splits it into what boroughs answer and what follows.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub(crate) async fn plan(&self, sql: &str, split: Split) -> std::result::Result<SplitPlan, Refusal> {
        readable(sql)?;
        let state = self.state();
        let statement = state.sql_to_statement(sql, &Dialect::Generic).map_err(|e| refusal_of(&e))?;
        syntax::check(&statement)?;
        let plan = state.statement_to_plan(statement).await.map_err(|e| refusal_of(&e))?;
        let (plan, explain) = match plan {
            LogicalPlan::Explain(explain) => (Arc::unwrap_or_clone(explain.plan), true),
            plan => (plan, false),
        };
        only_select(&plan)?;
        // Type coercion first.
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {});
        let plan = plan.map_err(|e| refusal_of(&e))?;
        // Before any optimiser rule: rules may use that a COUNT is never NULL, and a withheld one is. And not itself
        // a rule: it adds columns (notes), and rules must keep the schema.
        let split = split.split(plan).map_err(|e| refusal_of(&e))?;
        Ok(SplitPlan { explain, ..split })
    }
}

/// What can be told from the words alone, before anything recurses over them.
pub(crate) fn readable(sql: &str) -> std::result::Result<(), Refusal> {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::keywords::Keyword;
    use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
    if sql.len() > MAX_SQL {
        return Err(Refusal::new(Rule::Sql, "the SQL text is too long", format!("Keep it under {MAX_SQL} bytes")));
    }
    // Text that is no SQL is the planner's to refuse.
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().unwrap_or_default();
    let (mut words, mut operators) = (0_usize, 0_usize);
    let (mut dots, mut after_dot) = (0_usize, false);
    for token in &tokens {
        match token {
            Token::Whitespace(_) => {}
            Token::Period => (dots, after_dot) = (dots + 1, true),
            // A name of its own begins.
            _ if !after_dot => dots = 0,
            _ => after_dot = false,
        }
        if dots > MAX_DOTS {
            let message = format!("a name has more than {MAX_DOTS} full stops");
            return Err(Refusal::new(Rule::Sql, message, "Write table.column"));
        }
        match token {
            Token::Whitespace(_) => continue,
            Token::Word(w) if w.keyword == Keyword::TABLESAMPLE && w.quote_style.is_none() => {
                // The planner would pass over it without a word: the answer would not be what was asked.
                let advice = "Leave out TABLESAMPLE: a sample is the asker's choice of records";
                return Err(Refusal::new(Rule::Operator, "TABLESAMPLE is not in the algebra", advice));
            }
            Token::Word(w) if w.value.to_lowercase().contains(NOTE) => {
                let message = format!("names with {NOTE} are the federation's own");
                return Err(Refusal::new(Rule::Sql, message, "Use another name"));
            }
            Token::Word(w) if w.keyword == Keyword::NoKeyword => {}
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Comma | Token::Period => {}
            _ => operators += 1,
        }
        words += 1;
    }
    if words > MAX_WORDS || operators > MAX_OPERATORS {
        return Err(Refusal::new(
            Rule::Sql,
            format!("the question has more than {MAX_WORDS} words or {MAX_OPERATORS} operators and keywords"),
            "Use IN (…) instead of long OR chains, or ask several questions",
        ));
    }
    Ok(())
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

/// The refusal inside an error, or the error as rule `sql`: it speaks of the asker's own text and the catalogue.
pub(crate) fn refusal_of(error: &DataFusionError) -> Refusal {
    let mut current: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = current {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return refusal.clone();
        }
        if let Some(DataFusionError::External(boxed)) = inner.downcast_ref::<DataFusionError>()
            && let Some(refusal) = boxed.downcast_ref::<Refusal>()
        {
            return refusal.clone();
        }
        current = inner.source();
    }
    // The engine may quote a whole syntax tree.
    let message: String = error.strip_backtrace().chars().take(MAX_MESSAGE).collect();
    Refusal::new(Rule::Sql, message, "See the catalogue for tables, columns and their types")
}

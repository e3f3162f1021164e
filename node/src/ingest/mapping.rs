//! A borough's own SQL over its own sources. It is the only way from extracts to rows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};

use crate::ingest::columns::judgement::Uses;
use crate::ingest::dates::DateRange;
use crate::ingest::per_file_plan::ensure_file_by_file;
use crate::ingest::redacted_error::{RedactedError, copied};
use crate::ingest::source::{Intake, Source, carry_origin};
use crate::ingest::sql_functions::{self, Helpers, within_range};

/// A SELECT and its sources.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub sources: Vec<Source>,
    /// One SELECT.
    pub sql: String,
    /// Code lists by name: a system's own codes, and the contract's word for each.
    pub codes: BTreeMap<String, BTreeMap<String, String>>,
}

impl Mapping {
    /// A mapping of parts that fit together.
    ///
    /// # Errors
    /// The error says which parts do not fit, and gives the fix.
    pub(crate) fn new(
        sources: Vec<Source>,
        sql: String,
        codes: BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<Self, String> {
        let appending = sources.iter().filter(|source| source.appends).count();
        if appending > 1 {
            return Err("two sources append: rows of new files would miss those of the other's earlier ones".to_owned());
        }
        if let Some(database) = sources.iter().find(|source| source.is_database()).filter(|_| appending > 0) {
            return Err(format!(
                "source '{}' is a database, and nobody can tell what changes in it: leave out `appends`",
                database.name
            ));
        }
        Ok(Self { sources, sql, codes })
    }

    /// The files that the mapping reads now. A source that cannot list its files adds none.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.sources.iter().filter_map(|source| source.files().ok()).flatten()
    }

    /// Whether the SQL calls `resident(…)`.
    pub(crate) fn asks_for_residents(&self) -> bool {
        self.sql.to_ascii_lowercase().split_whitespace().collect::<String>().contains("resident(")
    }

    /// The mapping's rows, each with its origin. They are not read yet.
    ///
    /// # Errors
    /// A source cannot be opened, or the SQL does not fit the sources.
    pub(crate) async fn rows(&self, intake: &Arc<Intake>, helpers: Helpers) -> anyhow::Result<Mapped> {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let ranges = helpers.ranges.clone();
        sql_functions::register(&context, &self.codes, helpers);
        for source in self.sources.clone() {
            let intake = Arc::clone(intake);
            let name = source.name.clone();
            // Opening files and waiting for a database must not block others.
            let table =
                tokio::task::spawn_blocking(move || source.open(&intake)).await.context("opening a source")??;
            context.register_table(name.as_str(), table.provider()?)?;
        }
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let mapped = context.sql_with_options(&self.sql, options).await.map_err(|fault| {
            let plain = "the mapping's SQL does not fit the columns of its sources";
            RedactedError::new(format!("the mapping's SQL: {fault}"), plain)
        })?;
        let (state, plan) = mapped.into_parts();
        let plan = within_ranges(plan, &ranges)?;
        for source in self.sources.iter().filter(|source| source.appends) {
            ensure_file_by_file(&plan, source)?;
        }
        let uses = uses(&plan);
        Ok(Mapped { rows: DataFrame::new(state, carry_origin(plan).context("the mapping's SQL")?), uses })
    }
}

/// The rows of a mapping, and what it does with the columns of its sources.
pub(crate) struct Mapped {
    pub(crate) rows: DataFrame,
    pub(crate) uses: Uses,
}

fn uses(plan: &LogicalPlan) -> Uses {
    let mut uses = Uses::default();
    let names = |expr: &Expr| expr.column_refs().into_iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    // The closures never fail.
    let _walked = plan.apply_with_subqueries(|node| {
        let is_condition = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
        node.apply_expressions(|expr| {
            if is_condition {
                uses.filters.extend(names(expr));
            }
            uses.columns.extend(names(expr));
            expr.apply(|e| {
                if let Expr::ScalarFunction(call) = e {
                    uses.functions.extend(names(e).into_iter().map(|name| (call.name().to_owned(), name)));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    uses
}

/// A mapping whose functions of dates know the days that their columns can have: births lie in the past, and leases end in
/// the future.
fn within_ranges(plan: LogicalPlan, ranges: &BTreeMap<String, DateRange>) -> anyhow::Result<LogicalPlan> {
    let ranged = |expr: Expr| {
        let Some(range) = ranges.get(expr.schema_name().to_string().as_str()).copied() else {
            return Ok(Transformed::no(expr));
        };
        expr.transform_up(|e| match e {
            Expr::ScalarFunction(call) => Ok(match within_range(&call.func, range) {
                Some(func) => Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: Arc::new(func), ..call })),
                None => Transformed::no(Expr::ScalarFunction(call)),
            }),
            other => Ok(Transformed::no(other)),
        })
    };
    let ranged = plan.transform_down(|node| match node {
        LogicalPlan::Projection(_) => {
            let mut node = node.map_expressions(ranged)?;
            node.tnr = TreeNodeRecursion::Jump;
            Ok(node)
        }
        // Below other steps, columns have other names.
        LogicalPlan::Union(_) | LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            Ok(Transformed::no(node))
        }
        LogicalPlan::Distinct(_) => Ok(Transformed::no(node)),
        other => Ok(Transformed::new(other, false, TreeNodeRecursion::Jump)),
    })?;
    Ok(ranged.data)
}

/// The engine's message about a mapping that failed while it ran.
fn failed(fault: &DataFusionError) -> anyhow::Error {
    RedactedError::new(format!("the mapping failed: {fault}"), "the mapping failed on a value").into()
}

/// A source's fault comes wrapped in the engine's errors. The operator gets the fault alone.
pub(crate) fn cause(fault: DataFusionError) -> anyhow::Error {
    match fault {
        DataFusionError::External(inner) => match inner.downcast::<DataFusionError>() {
            Ok(inner) => cause(*inner),
            Err(inner) => anyhow::Error::from_boxed(inner),
        },
        DataFusionError::Context(_, inner) => cause(*inner),
        // Both sides of a join may hold the same fault.
        DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => cause(inner),
            Err(inner) => match inner.find_root() {
                DataFusionError::External(inner) => copied(inner.as_ref()),
                root => failed(root),
            },
        },
        other => failed(&other),
    }
}

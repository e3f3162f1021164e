//! Refuses syntax that parses but that the planner silently ignores: the answer would not match the question.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{
    GroupByExpr, LateralView, Query, Select, SelectFlavor, SetExpr, Statement, TableFactor, Visit, Visitor,
};
use loda_question::{Refusal, Rule};

/// Refuses a statement with syntax that the planner would ignore.
///
/// # Errors
/// Rule `operator-not-allowed`. The message names the syntax.
pub(crate) fn check(parsed: &Parsed) -> Result<(), Refusal> {
    match parsed {
        Parsed::Statement(statement) => of_statement(statement),
        Parsed::Explain(explain) => check(&explain.statement),
        // All other statements define or write something. The check of the plan names it.
        _ => Ok(()),
    }
}

fn of_statement(statement: &Statement) -> Result<(), Refusal> {
    match statement.visit(&mut Dropped) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => Err(Refusal::new(
            Rule::Operator,
            format!("{what} is not understood here"),
            "Write SELECT … FROM … WHERE … GROUP BY … HAVING … ORDER BY … LIMIT",
        )),
    }
}

struct Dropped;

fn first(found: &[(bool, &'static str)]) -> ControlFlow<&'static str> {
    found.iter().find(|(there, _)| *there).map_or(ControlFlow::Continue(()), |(_, what)| ControlFlow::Break(*what))
}

impl Visitor for Dropped {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        first(&[
            (!query.locks.is_empty(), "FOR UPDATE"),
            (query.for_clause.is_some(), "FOR XML, JSON or BROWSE"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (!query.pipe_operators.is_empty(), "a pipe operator"),
            (query.fetch.as_ref().is_some_and(|f| f.with_ties || f.percent), "FETCH … PERCENT or WITH TIES"),
            (matches!(query.body.as_ref(), SetExpr::Table(_)), "TABLE"),
        ])
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let modifiers = match &select.group_by {
            GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => modifiers,
        };
        let lateral: &[LateralView] = &select.lateral_views;
        first(&[
            (!select.optimizer_hints.is_empty(), "an optimiser hint"),
            (select.select_modifiers.is_some(), "a modifier of SELECT"),
            (select.top.is_some(), "TOP"),
            (select.exclude.is_some(), "EXCLUDE"),
            (select.into.is_some(), "SELECT INTO"),
            // The engine's planner does not accept an empty SELECT list everywhere.
            (select.projection.is_empty(), "SELECT of nothing"),
            (!lateral.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.value_table_mode.is_some(), "SELECT AS STRUCT or VALUE"),
            (select.flavor != SelectFlavor::Standard, "FROM before SELECT"),
            (!modifiers.is_empty(), "GROUP BY … WITH ROLLUP, CUBE or TOTALS (write GROUP BY ROLLUP (…))"),
        ])
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table {
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => first(&[
                (!with_hints.is_empty() || !index_hints.is_empty(), "a table hint"),
                (version.is_some(), "a table version"),
                (*with_ordinality, "WITH ORDINALITY"),
                (!partitions.is_empty(), "PARTITION of a table"),
                (json_path.is_some(), "a path into a table"),
                (sample.is_some(), "TABLESAMPLE: a sample is the asker's choice of records, which"),
            ]),
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => ControlFlow::Break("PIVOT"),
            _ => ControlFlow::Break("a table that is made by a function"),
        }
    }
}

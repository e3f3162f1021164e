//! Counts the tables that a statement reads before anything is planned. The planner plans a CTE once for each reference
//! to it, at every level.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Visit, Visitor};
use loda_question::{Refusal, Rule};

/// The most tables that a statement may read. A table counts once for each time it is read.
const TABLES: u64 = 128;

/// Refuses a statement that reads too many tables once its CTEs are written out.
///
/// # Errors
/// Rule `sql`.
pub(crate) fn check(parsed: &Parsed) -> Result<(), Refusal> {
    match parsed {
        Parsed::Statement(statement) => of(statement.as_ref()),
        Parsed::Explain(explain) => check(&explain.statement),
        _ => Ok(()),
    }
}

fn of(statement: &impl Visit) -> Result<(), Refusal> {
    let mut defined = Defined::default();
    if let ControlFlow::Break(name) = statement.visit(&mut defined) {
        return Err(Refusal::new(
            Rule::Sql,
            format!("two CTEs of the statement have the name '{name}'"),
            "Give each CTE of a statement a name of its own",
        ));
    }
    let mut known = HashMap::new();
    let read = named(statement).iter().map(|name| defined.tables(name, &mut known, 0)).fold(0, u64::saturating_add);
    if read > TABLES {
        return Err(Refusal::new(
            Rule::Sql,
            format!("written out, the statement reads {read} tables; the limit is {TABLES}"),
            "Name a CTE in fewer places: each reference to it is planned anew",
        ));
    }
    Ok(())
}

/// The relations that each CTE reads, by the CTE's name. Only their scopes could tell two CTEs of one name apart, so
/// such a statement is refused.
#[derive(Default)]
struct Defined(HashMap<String, Vec<String>>);

impl Defined {
    /// The number of tables that a name stands for.
    fn tables(&self, name: &str, known: &mut HashMap<String, u64>, depth: usize) -> u64 {
        let Some(reads) = self.0.get(name) else { return 1 };
        if let Some(known) = known.get(name) {
            return *known;
        }
        // A CTE that reads its own name reads a table of that name, or the SQL is invalid.
        known.insert(name.to_owned(), 1);
        if depth > self.0.len() {
            return 1;
        }
        let each = reads.iter().map(|read| self.tables(read, known, depth.saturating_add(1)));
        let all = each.fold(0, u64::saturating_add).max(1);
        known.insert(name.to_owned(), all);
        all
    }
}

impl Visitor for Defined {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = cte.alias.name.value.to_lowercase();
            if self.0.insert(name.clone(), named(cte.query.as_ref())).is_some() {
                return ControlFlow::Break(name);
            }
        }
        ControlFlow::Continue(())
    }
}

/// The tables that a syntax tree names, each once for each time it is named.
fn named(of: &impl Visit) -> Vec<String> {
    struct Named(Vec<String>);
    impl Visitor for Named {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            let name = relation.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
            self.0.extend(name);
            ControlFlow::Continue(())
        }
    }
    let mut found = Named(Vec::new());
    let _all = of.visit(&mut found);
    found.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn judged(sql: &str) -> Result<(), Refusal> {
        check(DFParser::parse_sql(sql).unwrap().front().unwrap())
    }

    #[test]
    fn references_are_multiplied() {
        let doubling = |levels: usize, of: &str| {
            let ctes = (1..=levels).map(|n| {
                let before = if n == 1 { "c0".to_owned() } else { format!("c{}", n - 1) };
                format!("c{n} AS (SELECT x.v FROM {before} x{of})", of = of.replace('?', &before))
            });
            let all: Vec<String> = std::iter::once("c0 AS (SELECT 1 AS v)".to_owned()).chain(ctes).collect();
            format!("WITH {} SELECT * FROM c{levels}", all.join(", "))
        };
        judged(&doubling(18, "")).unwrap();
        for of in [", ? y", " JOIN ? y ON true", " WHERE EXISTS (SELECT 1 FROM ?)", " UNION ALL SELECT v FROM ?"] {
            judged(&doubling(3, of)).unwrap();
            let said = judged(&doubling(18, of)).unwrap_err().message;
            assert!(said.starts_with("written out, the statement reads "), "{said}");
            judged(&format!("EXPLAIN {}", doubling(18, of))).unwrap_err();
        }
        // One name in two scopes is refused. A CTE may have the name of the table that it reads.
        judged("WITH a AS (WITH a AS (SELECT 1 AS v) SELECT v FROM a) SELECT v FROM a").unwrap_err();
        judged("WITH boroughs AS (SELECT name FROM boroughs) SELECT name FROM boroughs").unwrap();
        judged("SELECT name FROM boroughs b, boroughs c").unwrap();
    }
}

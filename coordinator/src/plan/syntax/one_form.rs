//! One form for clauses that the engine reads in one form alone.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{
    DataType, ExactNumberInfo, Expr, LimitClause, Query, Value, VisitMut, VisitorMut,
};

use super::cast_figures::CastFigures;
use super::postgres_dates::PostgresDates;

/// A statement with LIMIT in place of FETCH FIRST … ROWS ONLY and of `LIMIT skipped, rows`, with PostgreSQL's
/// functions of dates as the engine reads them, and with the same figure under several types as casts of one.
pub(crate) fn in_one_form(parsed: Parsed) -> Parsed {
    match parsed {
        Parsed::Statement(mut statement) => {
            let _limits: ControlFlow<()> = statement.visit(&mut Limits);
            let _dates: ControlFlow<()> = statement.visit(&mut PostgresDates);
            let _figures: ControlFlow<()> = statement.visit(&mut CastFigures);
            Parsed::Statement(statement)
        }
        Parsed::Explain(mut explain) => {
            explain.statement = Box::new(in_one_form(*explain.statement));
            Parsed::Explain(explain)
        }
        other => other,
    }
}

/// Limits, and types.
struct Limits;

impl VisitorMut for Limits {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // The engine's FLOAT has seven digits. PostgreSQL's, which tools mean, is a DOUBLE.
        if let Expr::Cast { data_type: kind @ DataType::Float(ExactNumberInfo::None), .. } = expr {
            *kind = DataType::Double(ExactNumberInfo::None);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // WITH TIES and PERCENT are refused: another number of rows is meant.
        let Some(fetch) = query.fetch.take_if(|fetch| !fetch.with_ties && !fetch.percent) else {
            return ControlFlow::Continue(());
        };
        // FETCH NEXT ROW ONLY is one row.
        let rows = fetch.quantity.unwrap_or_else(|| Expr::value(Value::Number("1".to_owned(), false)));
        match &mut query.limit_clause {
            None => {
                let limit = Some(rows);
                query.limit_clause = Some(LimitClause::LimitOffset { limit, offset: None, limit_by: Vec::new() });
            }
            Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
            // Both LIMIT and FETCH: the engine says that it reads one of them.
            Some(_) => {
                query.fetch = Some(datafusion::sql::sqlparser::ast::Fetch {
                    with_ties: false,
                    percent: false,
                    quantity: Some(rows),
                })
            }
        }
        ControlFlow::Continue(())
    }
}

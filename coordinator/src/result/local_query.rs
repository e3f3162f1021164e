//! Queries that the coordinator answers itself: probes of clients, the catalogue as `information_schema`, and the
//! statement of the last answer.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider};
use datafusion::catalog::{CatalogProviderList, SchemaProvider};
use datafusion::common::config::Dialect;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use loda_proto::v1::Statement;
use loda_question::{Refusal, Rule};

use crate::catalogue::Catalogue;
use crate::plan::advice::engine_errors::refusal_of;
use crate::plan::planner::{CATALOG, Planner, SCHEMA, only_select};
use crate::plan::syntax::cte_expansion;
use crate::plan::syntax::sql_bounds::readable;
use crate::result::row_pairs::crossed;

/// The schema with tables about answers.
pub(crate) const OWN: &str = "loda";

/// What tools get as the name of the user.
const ASKER: &str = "analyst";

const PATIENCE: Duration = Duration::from_secs(5);

/// The most rows of a local answer.
const MOST: usize = 100_000;

/// Whether SQL reads no borough and no reference table.
pub(crate) fn is_local(planner: &Planner, sql: &str) -> bool {
    if readable(sql).is_err() {
        return false;
    }
    let state = planner.state();
    let Ok(statement) = state.sql_to_statement(sql, &Dialect::Generic) else { return false };
    if let Parsed::Statement(ast) = &statement
        && matches!(
            ast.as_ref(),
            Ast::ShowTables { .. }
                | Ast::ShowColumns { .. }
                | Ast::ShowVariable { .. }
                | Ast::ShowSchemas { .. }
                | Ast::ExplainTable { .. }
        )
    {
        return true;
    }
    let Parsed::Statement(ast) = &statement else { return false };
    if !matches!(ast.as_ref(), Ast::Query(_)) {
        return false;
    }
    let Ok(tables) = state.resolve_table_references(&statement) else { return false };
    tables.iter().all(|table| table.schema().is_some_and(|schema| [OWN, "information_schema"].contains(&schema)))
}

/// Whether SQL asks for the engine's settings.
fn asks_settings(planner: &Planner, statement: &Parsed) -> bool {
    let Parsed::Statement(ast) = statement else { return false };
    match ast.as_ref() {
        // SHOW TABLES also parses as a variable.
        Ast::ShowVariable { variable } => {
            !matches!(variable.as_slice(), [only] if only.value.eq_ignore_ascii_case("tables"))
        }
        Ast::Query(_) => {
            let tables = planner.state().resolve_table_references(statement).unwrap_or_default();
            tables.iter().any(|table| table.table().eq_ignore_ascii_case("df_settings"))
        }
        _ => false,
    }
}

/// Answers a local query.
///
/// # Errors
/// The fault in the SQL.
pub(crate) async fn answer(
    planner: &Planner,
    catalogue: &Catalogue,
    last: Option<&(String, Statement)>,
    sql: &str,
) -> Result<(SchemaRef, Vec<RecordBatch>), Refusal> {
    let statement = planner.state().sql_to_statement(sql, &Dialect::Generic).map_err(|fault| refusal_of(&fault))?;
    cte_expansion::check(&statement)?;
    if asks_settings(planner, &statement) {
        return Err(Refusal::new(
            Rule::Statement,
            "the settings of the engine are not for askers",
            "Ask for tables and columns: SHOW TABLES, or information_schema.tables and .columns",
        ));
    }
    let context = context(planner, catalogue, last).map_err(|fault| refusal_of(&fault))?;
    let described = match &statement {
        Parsed::Statement(ast) => match ast.as_ref() {
            Ast::ExplainTable { table_name, .. } => Some(format!("SHOW COLUMNS FROM {table_name}")),
            _ => None,
        },
        _ => None,
    };
    let sql = described.as_deref().unwrap_or(sql);
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let answered = async {
        let frame = context.sql_with_options(sql, options).await?;
        only_select(frame.logical_plan()).map_err(|refusal| DataFusionError::External(Box::new(refusal)))?;
        let frame = frame.limit(0, Some(MOST))?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let (plan, context) = (frame.clone().create_physical_plan().await?, frame.task_ctx());
        crossed(plan.as_ref())?;
        Ok((schema, datafusion::physical_plan::collect(plan, Arc::new(context)).await?))
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(answered) => answered.map_err(|fault| refusal_of(&fault)),
        Err(_late) => Err(Refusal::new(Rule::Sql, "this takes too long", "Ask for less")),
    }
}

fn context(
    planner: &Planner,
    catalogue: &Catalogue,
    last: Option<&(String, Statement)>,
) -> datafusion::common::Result<SessionContext> {
    let list = MemoryCatalogProviderList::new();
    let catalog = MemoryCatalogProvider::new();
    let (public, own) = (MemorySchemaProvider::new(), MemorySchemaProvider::new());
    for (name, table) in catalogue.tables() {
        public.register_table(name, table)?;
    }
    for (name, batch) in [("last_statement", last_statement(last)?), ("coverage", coverage(last)?)] {
        own.register_table(name.to_owned(), Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))?;
    }
    catalog.register_schema(SCHEMA, Arc::new(public))?;
    catalog.register_schema(OWN, Arc::new(own))?;
    list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    let state = planner.state();
    let config = state.config().clone().with_information_schema(true).with_create_default_catalog_and_schema(false);
    let state =
        SessionStateBuilder::new_from_existing(state).with_config(config).with_catalog_list(Arc::new(list)).build();
    let context = SessionContext::new_with_state(state);
    for (function, text) in [
        ("version", concat!("London data federation ", env!("CARGO_PKG_VERSION"))),
        ("current_catalog", CATALOG),
        ("current_database", CATALOG),
        ("current_schema", SCHEMA),
        // Who asks is between them and the door: tools show this name and nothing more.
        ("current_user", ASKER),
        ("session_user", ASKER),
        ("user", ASKER),
    ] {
        let said = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::from(text)));
        context.register_udf(create_udf(function, Vec::new(), DataType::Utf8, Volatility::Immutable, Arc::new(said)));
    }
    Ok(context)
}

/// The schemas of `loda.last_statement` and `loda.coverage`.
pub(crate) fn own_tables() -> datafusion::common::Result<[(&'static str, SchemaRef); 2]> {
    Ok([("last_statement", last_statement(None)?.schema()), ("coverage", coverage(None)?.schema())])
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringArray>())
}

/// One row if there was an answer, otherwise none.
fn last_statement(last: Option<&(String, Statement)>) -> datafusion::common::Result<RecordBatch> {
    let json = last.map(|(_, statement)| loda_answer::statement_json(statement).to_string());
    let words = last.map(|(_, statement)| loda_answer::statement(statement, loda_answer::Detail::Verbose));
    let of = |text: fn(&(String, Statement)) -> &str| texts(last.into_iter().map(text));
    let complete: BooleanArray = last.iter().map(|(_, statement)| Some(loda_answer::is_whole(statement))).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("query_id", of(|(_, statement)| &statement.query_id)),
        ("purpose", of(|(_, statement)| &statement.purpose)),
        ("sql", of(|(sql, _)| sql)),
        ("complete", Arc::new(complete)),
        ("words", texts(words.iter().map(String::as_str))),
        ("json", texts(json.iter().map(String::as_str))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// One row for each borough and part of the last answer.
fn coverage(last: Option<&(String, Statement)>) -> datafusion::common::Result<RecordBatch> {
    let parts = last.iter().flat_map(|(_, statement)| &statement.parts);
    let rows: Vec<_> = parts.flat_map(|part| part.boroughs.iter().map(move |borough| (part, borough))).collect();
    let rule = |of: &loda_proto::v1::BoroughAnswer| of.refusal.as_ref().map(|refusal| refusal.rule.clone());
    let why = |of: &loda_proto::v1::BoroughAnswer| of.refusal.as_ref().map(|refusal| refusal.message.clone());
    let number = |of: fn(&loda_proto::v1::BoroughAnswer) -> u64| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, borough)| Some(of(borough))).collect::<UInt64Array>())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("dataset", texts(rows.iter().map(|(part, _)| part.dataset.as_str()))),
        ("method", texts(rows.iter().map(|(part, _)| part.method.as_str()))),
        ("borough", texts(rows.iter().map(|(_, borough)| borough.borough.as_str()))),
        ("answer", texts(rows.iter().map(|(_, borough)| borough.answer.as_str()))),
        ("rule", Arc::new(rows.iter().map(|(_, borough)| rule(borough)).collect::<StringArray>())),
        ("message", Arc::new(rows.iter().map(|(_, borough)| why(borough)).collect::<StringArray>())),
        ("snapshot", number(|borough| borough.snapshot)),
        ("as_at", texts(rows.iter().map(|(_, borough)| borough.as_at.as_str()))),
        ("withheld", number(|borough| borough.withheld)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

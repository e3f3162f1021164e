//! The engine's errors as refusals in plain words. No word of the engine reaches a person.

use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use loda_question::{Refusal, Rule};

use super::nearest::nearest_name;

/// The most characters of a text of the engine's.
const MAX_MESSAGE: usize = 400;

/// The most columns that an advice lists.
const MAX_LISTED: usize = 30;

/// Why a statement was refused, as far as it can be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// No table has the name.
    Table(String),
    /// No column here has the name; the columns that there are.
    Column(String, Vec<String>),
    /// Several tables have the column.
    Ambiguous(String),
    /// A literal that the column beside it cannot have.
    Value {
        /// As the statement names it.
        column: String,
        said: String,
        /// The SQL of the nearest that it can have.
        near: Option<String>,
    },
    /// Records are asked for.
    Rows,
    /// A function that records do not have.
    Function,
    /// A unit is to be recognised in several boroughs.
    Linkage,
    /// A figure combines too many columns.
    Columns,
    /// A figure for each unit is asked for.
    Units,
    /// The least or greatest value of a measure.
    Extreme,
    /// A measure outside its bands.
    Bands,
    Other,
}

/// A refusal and its cause.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) refusal: Refusal,
    pub(crate) cause: Box<Cause>,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let cause = match refusal.rule {
            Rule::Rows => Cause::Rows,
            Rule::Function => Cause::Function,
            Rule::Linkage => Cause::Linkage,
            Rule::Dimensions => Cause::Columns,
            Rule::Key => Cause::Units,
            Rule::Aggregate => Cause::Extreme,
            Rule::BandEdge => Cause::Bands,
            _ => Cause::Other,
        };
        Self { refusal, cause: Box::new(cause) }
    }
}

/// The refusal inside an error. Any other error becomes rule `sql`: its text is about the asker's own
/// SQL and the catalogue.
pub(crate) fn refusal_of(error: &DataFusionError) -> Refusal {
    fault_of(error, &[]).refusal
}

/// A refusal as an error of the engine.
///
/// # Errors
/// Always.
pub(crate) fn refuse<T>(refusal: Refusal) -> Result<T, DataFusionError> {
    Err(DataFusionError::External(Box::new(refusal)))
}

/// The refusal that an error carries.
pub(crate) fn refusal_inside<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Refusal> {
    let mut current = Some(error);
    while let Some(inner) = current {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return Some(refusal);
        }
        if let Some(DataFusionError::External(boxed)) = inner.downcast_ref::<DataFusionError>()
            && let Some(refusal) = boxed.downcast_ref::<Refusal>()
        {
            return Some(refusal);
        }
        current = inner.source();
    }
    None
}

/// The refusal and its cause. `tables` are the names that a table can have.
pub(crate) fn fault_of(error: &DataFusionError, tables: &[String]) -> Fault {
    if let Some(refusal) = refusal_inside(error) {
        return refusal.clone().into();
    }
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => of_schema(schema),
        DataFusionError::SQL(parser, _) => of_parser(parser).into(),
        DataFusionError::Plan(message) if message.contains("DataFusion feature") => Refusal::new(
            Rule::Sql,
            "square brackets make no name and no list here",
            "Write a name in double quotes where it needs them: \"my column\"",
        )
        .into(),
        DataFusionError::Plan(message) => of_planner(message, tables),
        DataFusionError::NotImplemented(message) => {
            let message = match message {
                several if several.contains("single SQL statement") => {
                    "several statements stand in one question".to_owned()
                }
                begun if begun.starts_with("Unsupported SQL statement") => {
                    return Refusal::new(
                        Rule::Statement,
                        "there is nothing to begin, set or change here: questions are one SELECT",
                        "Leave it out, and write SELECT … FROM … GROUP BY …",
                    )
                    .into();
                }
                // The engine's own words, or its tree of a statement.
                own if ["ast node", "sqltorel", "DataFusion"].iter().any(|word| own.contains(word)) => {
                    "this form of SQL is not understood here".to_owned()
                }
                message => format!("this form of SQL is not understood here: {}", plain(message)),
            };
            Refusal::new(Rule::Sql, message, "Write it in another way; docs/asking.md has examples").into()
        }
        DataFusionError::Internal(message) if message.contains("failed to match any signature") => {
            of_planner(message, tables)
        }
        other => {
            let message = plain(&other.strip_backtrace());
            Refusal::new(Rule::Sql, message, "See the catalogue for tables, columns and their types").into()
        }
    }
}

fn of_schema(error: &SchemaError) -> Fault {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            if let Some(fault) = in_another_table(field, valid_fields) {
                return fault;
            }
            let known: Vec<String> = valid_fields.iter().map(|column| column.name.clone()).collect();
            let meant = nearest_name(&field.name, known.iter().map(String::as_str));
            let meant = meant.map(|meant| format!("Did you mean {}? ", quoted(meant))).unwrap_or_default();
            let mut listed: Vec<String> = known.iter().take(MAX_LISTED).map(|name| quoted(name)).collect();
            listed.dedup();
            let more = if known.len() > MAX_LISTED { ", …" } else { "" };
            let advice = if known.is_empty() {
                "Name a table after FROM".to_owned()
            } else {
                format!("{meant}The columns here are {}{more}", listed.join(", "))
            };
            let refusal = Refusal::new(Rule::Sql, format!("there is no column '{}' here", field.name), advice);
            Fault { refusal, cause: Box::new(Cause::Column(field.name.clone(), known)) }
        }
        SchemaError::AmbiguousReference { field } => Fault {
            refusal: Refusal::new(
                Rule::Sql,
                format!("more than one table here has a column '{}'", field.name),
                format!("Write the table before it: table.{}", quoted(&field.name)),
            ),
            cause: Box::new(Cause::Ambiguous(field.name.clone())),
        },
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Refusal::new(
                Rule::Sql,
                format!("two columns have the name '{name}'"),
                format!("Give one another name: … AS {}", quoted(&format!("{name}_2"))),
            )
            .into()
        }
    }
}

/// A column under the name of a table that does not have it, where another table here does.
fn in_another_table(field: &Column, known: &[Column]) -> Option<Fault> {
    let table = field.relation.as_ref()?;
    let there = known.iter().find(|column| column.name == field.name)?.relation.as_ref()?;
    let own: Vec<String> = known
        .iter()
        .filter(|column| column.relation.as_ref() == Some(table))
        .take(MAX_LISTED)
        .map(|column| quoted(&column.name))
        .collect();
    let own = if own.is_empty() { String::new() } else { format!(" The columns of {table} are {}", own.join(", ")) };
    let refusal = Refusal::new(
        Rule::Sql,
        format!("{table} has no column '{}'", field.name),
        format!("It is a column of {there}: {there}.{}.{own}", quoted(&field.name)),
    );
    Some(refusal.into())
}

fn of_parser(error: &ParserError) -> Refusal {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.as_str(),
        ParserError::RecursionLimitExceeded => {
            let advice = "Write fewer brackets, CASE and subqueries inside one another";
            return Refusal::new(Rule::Sql, "the statement is nested too deeply", advice);
        }
    };
    // "Expected: end of statement, found: foo at Line: 1, Column: 23"
    let (what, place) = message.rsplit_once(" at Line: ").unwrap_or((message, ""));
    let place = place.replace(", Column: ", ", column ");
    let place = if place.is_empty() { String::new() } else { format!("line {place}: ") };
    let said = match what.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: ")) {
        Some((expected, "EOF")) => format!("the statement ends where {expected} should follow"),
        Some((expected, found)) => format!("'{found}' stands where {expected} should follow"),
        None => what.to_owned(),
    };
    Refusal::new(
        Rule::Sql,
        format!("{place}{}", plain(&said)),
        "Write SELECT … FROM … WHERE … GROUP BY … HAVING … ORDER BY … LIMIT; texts stand in 'single quotes'",
    )
}

fn of_planner(message: &str, tables: &[String]) -> Fault {
    let between = |begin: &str, end: &str| message.strip_prefix(begin)?.split_once(end).map(|(inside, _)| inside);
    if let Some(name) = between("table '", "' not found").or_else(|| message.strip_prefix("Table not found: ")) {
        let name = name.rsplit('.').next().unwrap_or(name).to_owned();
        let meant = nearest_name(&name, tables.iter().map(String::as_str));
        let meant = meant.map(|meant| format!("Did you mean {meant}? ")).unwrap_or_default();
        let advice = if name.starts_with("pg_") {
            "Write: SELECT table_name FROM information_schema.tables".to_owned()
        } else if tables.is_empty() {
            "See the catalogue for tables".to_owned()
        } else {
            format!("{meant}The tables are {}", tables.join(", "))
        };
        let refusal = Refusal::new(Rule::Sql, format!("there is no table '{name}'"), advice);
        return Fault { refusal, cause: Box::new(Cause::Table(name)) };
    }
    if let Some(name) = between("Invalid function '", "'") {
        return Refusal::new(
            Rule::Sql,
            format!("there is no function '{name}' here"),
            "Functions are those of PostgreSQL, such as EXTRACT, DATE_TRUNC, COALESCE, ROUND; conditions are CASE or FILTER",
        )
        .into();
    }
    if message.starts_with("Column in SELECT must be in GROUP BY") {
        return Refusal::new(
            Rule::Sql,
            "a column stands beside a figure and is not in GROUP BY",
            "Add the column to GROUP BY, or count or sum it",
        )
        .into();
    }
    if message.contains("HAVING") && message.contains("aggregate") {
        return Refusal::new(
            Rule::Sql,
            "HAVING names a column that is neither a figure nor in GROUP BY",
            "Put conditions on records into WHERE, before GROUP BY",
        )
        .into();
    }
    if let Some((name, rest)) = message.split_once("Function '").and_then(|(_, rest)| rest.split_once('\''))
        && message.contains("failed to match any signature")
    {
        let given = rest.split_once("received ").map(|(_, given)| kinds_in(given)).unwrap_or_default();
        let given = given.first().copied().unwrap_or("these values");
        let advice = match name {
            "avg" | "sum" | "median" | "stddev" => {
                "Count the rows of each value instead: SELECT column, COUNT(*) … GROUP BY column"
            }
            _ => "Give it values of the type that it takes",
        };
        return Refusal::new(Rule::Sql, format!("{name} takes no {given}"), advice).into();
    }
    if message.contains("require unique expression names") {
        let advice = "Give each column of a SELECT a name of its own: … AS name";
        return Refusal::new(Rule::Sql, "two columns of one SELECT have the same name", advice).into();
    }
    if message.contains("Aggregate function calls cannot be nested") {
        return Refusal::new(
            Rule::Sql,
            "a figure stands inside a figure",
            "Use a subquery: SELECT SUM(n) FROM (SELECT …, COUNT(*) AS n FROM … GROUP BY …) AS t",
        )
        .into();
    }
    if ["Cannot infer common argument type", "Cannot coerce", "common type to coerce"]
        .iter()
        .any(|said| message.contains(said))
    {
        let kinds = kinds_in(message);
        let said = match kinds.as_slice() {
            [a, b, ..] if a != b => format!("{a} is compared or combined with {b}"),
            _ => "values of different types are compared or combined".to_owned(),
        };
        return Refusal::new(
            Rule::Sql,
            said,
            "Write both sides as one type: texts as 'text', dates as DATE '2025-01-31', numbers and true bare",
        )
        .into();
    }
    Refusal::new(Rule::Sql, plain(message), "See the catalogue for tables, columns and their types").into()
}

/// The types that an engine's message names, in plain words.
fn kinds_in(message: &str) -> Vec<&'static str> {
    const KINDS: [(&str, &str); 13] = [
        ("String", "text"),
        ("Utf8View", "text"),
        ("LargeUtf8", "text"),
        ("Utf8", "text"),
        ("Boolean", "true or false"),
        ("Int32", "a whole number"),
        ("Int64", "a whole number"),
        ("UInt64", "a whole number"),
        ("Float64", "a number"),
        ("Decimal128", "a decimal number"),
        ("Date32", "a date"),
        ("Timestamp", "a date and time"),
        ("Interval", "a length of time"),
    ];
    let mut found: Vec<(usize, &str)> = KINDS
        .iter()
        .flat_map(|(engine, plain)| message.match_indices(engine).map(move |(at, _)| (at, *plain)))
        .collect();
    found.sort_unstable();
    found.dedup_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, plain)| plain).collect()
}

/// A text of the engine's without its own prefixes and types, and not longer than people read. It may quote a whole
/// syntax tree.
fn plain(message: &str) -> String {
    let mut text = message.lines().next().unwrap_or_default().to_owned();
    for own in [
        "Internal error: ",
        "Error during planning: ",
        "Schema error: ",
        "SQL error: ",
        "This feature is not implemented: ",
    ] {
        text = text.replace(own, "");
    }
    for (engine, said) in [("Utf8View", "text"), ("LargeUtf8", "text"), ("Utf8", "text"), ("Int64", "whole number")] {
        text = text.replace(engine, said);
    }
    text.chars().take(MAX_MESSAGE).collect()
}

/// A name as SQL needs it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let bare = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') && name.chars().all(plain);
    if bare { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The refusal for a fault inside the planner. The cause is for the operator, so the asker is not told.
pub(crate) fn unplanned() -> Refusal {
    Refusal::new(Rule::Sql, "the question cannot be planned", "Write it in another way")
}

//! How other dialects of SQL write what is written otherwise here.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value, ValueWithSpan,
};
use datafusion::sql::sqlparser::dialect::{
    BigQueryDialect, ClickHouseDialect, Dialect, DuckDbDialect, GenericDialect, MsSqlDialect, MySqlDialect,
    OracleDialect, SQLiteDialect, SnowflakeDialect,
};

use super::literals::{iso_date, iso_date_month_first};
use super::names::{is_plain, parsed};

/// The dialects whose quotes and clauses are tried, in this order.
pub(super) fn dialects(sql: &str) -> [Box<dyn Dialect>; 9] {
    let others: (Box<dyn Dialect>, Box<dyn Dialect>) = (Box::new(GenericDialect {}), Box::new(MsSqlDialect {}));
    // Square brackets make a list in the generic dialect, and a name in T-SQL and Access.
    let (first, second) = if sql.contains('[') { (others.1, others.0) } else { others };
    [
        first,
        second,
        Box::new(MySqlDialect {}),
        Box::new(BigQueryDialect {}),
        Box::new(SnowflakeDialect {}),
        Box::new(OracleDialect {}),
        Box::new(DuckDbDialect {}),
        Box::new(ClickHouseDialect {}),
        Box::new(SQLiteDialect {}),
    ]
}

/// A function of another dialect, its number of arguments, and what stands for it here.
const FUNCTIONS: &[(&str, usize, &str)] = &[
    ("year", 1, "EXTRACT(YEAR FROM $1)"),
    ("toyear", 1, "EXTRACT(YEAR FROM $1)"),
    ("quarter", 1, "EXTRACT(QUARTER FROM $1)"),
    ("month", 1, "EXTRACT(MONTH FROM $1)"),
    ("tomonth", 1, "EXTRACT(MONTH FROM $1)"),
    ("day", 1, "EXTRACT(DAY FROM $1)"),
    ("tostartofmonth", 1, "DATE_TRUNC('month', $1)"),
    ("tostartofquarter", 1, "DATE_TRUNC('quarter', $1)"),
    ("tostartofyear", 1, "DATE_TRUNC('year', $1)"),
    ("iif", 3, "CASE WHEN $1 THEN $2 ELSE $3 END"),
    ("iff", 3, "CASE WHEN $1 THEN $2 ELSE $3 END"),
    ("if", 3, "CASE WHEN $1 THEN $2 ELSE $3 END"),
    ("isnull", 2, "COALESCE($1, $2)"),
    ("ifnull", 2, "COALESCE($1, $2)"),
    ("nvl", 2, "COALESCE($1, $2)"),
    ("nvl2", 3, "CASE WHEN $1 IS NOT NULL THEN $2 ELSE $3 END"),
    ("zeroifnull", 1, "COALESCE($1, 0)"),
    ("isnull", 1, "($1 IS NULL)"),
    ("countif", 1, "COUNT(*) FILTER (WHERE $1)"),
    ("count_if", 1, "COUNT(*) FILTER (WHERE $1)"),
    ("safe_divide", 2, "($1 / NULLIF($2, 0))"),
    ("div0", 2, "COALESCE($1 / NULLIF($2, 0), 0)"),
    ("len", 1, "LENGTH($1)"),
    ("ucase", 1, "UPPER($1)"),
    ("lcase", 1, "LOWER($1)"),
    ("getdate", 0, "CURRENT_DATE"),
    ("curdate", 0, "CURRENT_DATE"),
    ("sysdate", 0, "CURRENT_DATE"),
    ("count", 0, "COUNT(*)"),
    ("count_big", 1, "COUNT($1)"),
    ("countifs", 2, "COUNT(*) FILTER (WHERE $1 = $2)"),
    ("sumif", 2, "SUM($1) FILTER (WHERE $2)"),
    ("avgif", 2, "AVG($1) FILTER (WHERE $2)"),
    ("total", 1, "SUM($1)"),
    ("average", 1, "AVG($1)"),
    ("nz", 2, "COALESCE($1, $2)"),
    ("equal_null", 2, "($1 IS NOT DISTINCT FROM $2)"),
    ("try_to_number", 1, "CAST($1 AS BIGINT)"),
    ("add_months", 2, "($1 + INTERVAL '$2 months')"),
    ("group_concat", 1, "STRING_AGG($1, ',')"),
    ("group_concat", 2, "STRING_AGG($1, $2)"),
    ("listagg", 2, "STRING_AGG($1, $2)"),
    ("stdev", 1, "STDDEV($1)"),
    ("stdevp", 1, "STDDEV_POP($1)"),
    ("varp", 1, "VAR_POP($1)"),
    ("mean", 1, "AVG($1)"),
    ("quantile", 2, "PERCENTILE_CONT($2) WITHIN GROUP (ORDER BY $1)"),
    ("quantile_cont", 2, "PERCENTILE_CONT($2) WITHIN GROUP (ORDER BY $1)"),
    ("approx_count_distinct", 1, "COUNT(DISTINCT $1)"),
    ("approx_distinct", 1, "COUNT(DISTINCT $1)"),
    ("uniq", 1, "COUNT(DISTINCT $1)"),
    ("uniqexact", 1, "COUNT(DISTINCT $1)"),
    ("charindex", 2, "STRPOS($2, $1)"),
    ("instr", 2, "STRPOS($1, $2)"),
];

/// Functions that take a part of a date, and the place of the part and of the date among their arguments.
const PARTS: &[(&str, usize, usize, bool)] = &[
    ("datepart", 0, 1, false),
    ("datetrunc", 0, 1, true),
    // BigQuery's order first: a column may have the name of a part.
    ("date_trunc", 1, 0, true),
    ("date_trunc", 0, 1, true),
    ("timestamp_trunc", 1, 0, true),
    ("datetime_trunc", 1, 0, true),
    ("trunc", 1, 0, true),
];

/// The signs of Oracle's and .NET's formats of dates, and those of C, which are used here.
const SIGNS: &[(&str, &str)] = &[
    ("YYYY", "%Y"),
    ("yyyy", "%Y"),
    ("MONTH", "%B"),
    ("Month", "%B"),
    ("MON", "%b"),
    ("Mon", "%b"),
    ("MMM", "%b"),
    ("MM", "%m"),
    ("DD", "%d"),
    ("dd", "%d"),
    ("YY", "%y"),
];

/// A format of a date in the signs that are used here.
fn format_here(format: &str) -> String {
    if format.contains('%') {
        return format.to_owned();
    }
    SIGNS.iter().fold(format.to_owned(), |text, (there, here)| text.replace(there, here))
}

/// What stands here for a call of another dialect.
pub(super) fn translated(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Function(call) => {
            let name = call.name.to_string().to_lowercase();
            let args = match &call.args {
                FunctionArguments::List(list) if !is_plain(call, list) => return None,
                FunctionArguments::List(list) => {
                    let plain = |arg: &FunctionArg| match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.to_string()),
                        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Some("*".to_owned()),
                        _ => None,
                    };
                    list.args.iter().map(plain).collect::<Option<Vec<_>>>()?
                }
                FunctionArguments::None => Vec::new(),
                FunctionArguments::Subquery(_) => return None,
            };
            let text = match (name.as_str(), args.as_slice(), &call.over, &call.parameters) {
                ("ratio_to_report", [of], Some(over), _) => format!("({of} / SUM({of}) OVER {over})"),
                ("quantile" | "quantileexact", [of], None, FunctionArguments::List(share)) => {
                    let share = share.args.first()?.to_string();
                    format!("PERCENTILE_CONT({share}) WITHIN GROUP (ORDER BY {of})")
                }
                (_, _, Some(over), _) => format!("{} OVER {over}", of_call(&name, &args)?),
                _ => of_call(&name, &args)?,
            };
            parsed(&text)
        }
        // `+` joins texts in T-SQL.
        Expr::BinaryOp { left, op: BinaryOperator::Plus, right } if is_text(left) || is_text(right) => {
            Some(Expr::BinaryOp { left: left.clone(), op: BinaryOperator::StringConcat, right: right.clone() })
        }
        Expr::Convert { expr, data_type: Some(to), styles, .. } => {
            parsed(&converted(&to.to_string(), &expr.to_string(), !styles.is_empty()))
        }
        Expr::Value(ValueWithSpan { value: Value::NationalStringLiteral(text), .. }) => {
            Some(Expr::value(Value::SingleQuotedString(text.clone())))
        }
        Expr::Cast { expr, data_type, .. } => {
            let (there, here) = (data_type.to_string(), type_here(&data_type.to_string()));
            if here == there { None } else { parsed(&format!("CAST({expr} AS {here})")) }
        }
        Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("sysdate") => {
            parsed("CURRENT_DATE")
        }
        _ => None,
    }
}

fn of_call(name: &str, args: &[String]) -> Option<String> {
    if let Some((_, _, here)) = FUNCTIONS.iter().find(|(known, number, _)| *known == name && *number == args.len()) {
        return Some(filled(here, args));
    }
    // `DATE_TRUNC('month', x)` is written as it is here.
    if name == "date_trunc" && args.first().is_some_and(|part| part.starts_with('\'')) {
        return None;
    }
    for (_, part, date, truncates) in PARTS.iter().filter(|(known, ..)| *known == name) {
        if let (Some(part), Some(date), 2) =
            (args.get(*part).and_then(|part| part_of(part)), args.get(*date), args.len())
        {
            return Some(match truncates {
                true => format!("DATE_TRUNC('{part}', {date})"),
                false => format!("EXTRACT({} FROM {date})", part.to_uppercase()),
            });
        }
    }
    match (name, args) {
        ("strftime" | "to_char" | "date_format" | "format" | "format_date" | "to_varchar", [a, b]) => {
            let (format, date) = if a.starts_with('\'') { (a, b) } else { (b, a) };
            let format = format_here(format);
            Some(match format.as_str() {
                "'%Y-%m-01'" => format!("DATE_TRUNC('month', {date})"),
                "'%Y-01-01'" => format!("DATE_TRUNC('year', {date})"),
                _ => format!("TO_CHAR({date}, {format})"),
            })
        }
        ("to_date" | "str_to_date" | "parse_date", [..]) => {
            let month_first = |arg: &String| arg.starts_with("'MM") || arg.starts_with("'%m");
            let read = if args.iter().any(month_first) { iso_date_month_first } else { iso_date };
            let date = args.iter().find_map(|arg| read(arg.trim_matches('\'')))?;
            Some(format!("DATE '{date}'"))
        }
        ("dateadd", [part, number, from]) => {
            // DATEADD(month, DATEDIFF(month, 0, date) - 12, 0) is the first day of a month.
            let first = number.strip_prefix(&format!("DATEDIFF({part}, 0, ")).filter(|_| from == "0");
            Some(match first.and_then(|rest| rest.split_once(')')) {
                Some((date, "")) => format!("DATE_TRUNC('{part}', {date})"),
                Some((date, more)) => {
                    let more = more.replace(' ', "");
                    format!("(DATE_TRUNC('{part}', {date}) + INTERVAL '{more} {part}')")
                }
                None => format!("({from} + INTERVAL '{number} {part}')"),
            })
        }
        ("date_sub" | "date_add", [date, interval]) => {
            let length = interval.strip_prefix("INTERVAL ")?.replace('\'', "").to_lowercase();
            let sign = if name == "date_sub" { '-' } else { '+' };
            Some(format!("({date} {sign} INTERVAL '{length}')"))
        }
        ("convert", [to, of]) => Some(converted(to, of, false)),
        ("convert", [to, of, _style]) => Some(converted(to, of, true)),
        // date('now', 'start of month', '-12 months')
        ("date", [now, changes @ ..]) if now == "'now'" => {
            Some(changes.iter().fold("CURRENT_DATE".to_owned(), |date, change| {
                match change.trim_matches('\'').strip_prefix("start of ") {
                    Some(part) => format!("DATE_TRUNC('{part}', {date})"),
                    None => format!("({date} + INTERVAL {change})"),
                }
            }))
        }
        ("multiif", [pairs @ .., otherwise]) => {
            let whens = pairs.chunks_exact(2).filter_map(|pair| match pair {
                [when, then] => Some(format!(" WHEN {when} THEN {then}")),
                _ => None,
            });
            Some(format!("CASE{} ELSE {otherwise} END", whens.collect::<String>()))
        }
        ("decode", [of, pairs @ ..]) => {
            let chunks = pairs.chunks_exact(2);
            let otherwise = chunks.remainder().first().map(|other| format!(" ELSE {other}")).unwrap_or_default();
            let whens = chunks.filter_map(|pair| match pair {
                [when, then] => Some(format!(" WHEN {when} THEN {then}")),
                _ => None,
            });
            Some(format!("CASE {of}{}{otherwise} END", whens.collect::<String>()))
        }
        _ => None,
    }
}

/// CONVERT of T-SQL. Its styles 23, 120 and 126 are ISO dates, and the length of the text says what is left of them.
fn converted(to: &str, of: &str, styled: bool) -> String {
    let format = match to.to_lowercase().as_str() {
        "varchar(4)" | "char(4)" => Some("%Y"),
        "varchar(7)" | "char(7)" => Some("%Y-%m"),
        "varchar(10)" | "char(10)" => Some("%Y-%m-%d"),
        _ => None,
    };
    match format.filter(|_| styled) {
        Some(format) => format!("TO_CHAR({of}, '{format}')"),
        None => format!("CAST({of} AS {})", type_here(to)),
    }
}

/// The part of a date that an argument names: `month`, `'MM'`, `MONTH`.
fn part_of(arg: &str) -> Option<&'static str> {
    Some(match arg.trim_matches('\'').to_lowercase().as_str() {
        "year" | "yyyy" | "yy" | "y" => "year",
        "quarter" | "qq" | "q" => "quarter",
        "month" | "mm" | "mon" | "m" => "month",
        "week" | "ww" | "iw" => "week",
        "day" | "dd" => "day",
        _ => return None,
    })
}

fn filled(template: &str, args: &[String]) -> String {
    (1..).zip(args).fold(template.to_owned(), |text, (number, arg)| text.replace(&format!("${number}"), arg))
}

fn is_text(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => value.value.clone().into_string().is_some(),
        Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::StringConcat, right } => {
            is_text(left) || is_text(right)
        }
        _ => false,
    }
}

/// The name of a type here.
fn type_here(there: &str) -> String {
    let bare = there.split('(').next().unwrap_or(there).trim().to_uppercase();
    match bare.as_str() {
        "STRING" | "NVARCHAR" | "VARCHAR2" | "NVARCHAR2" | "LONGTEXT" | "NCHAR" | "CLOB" => "VARCHAR".to_owned(),
        "SIGNED" | "SIGNED INTEGER" | "UNSIGNED" | "INT64" | "NUMBER" | "INT8" | "INT4" => "BIGINT".to_owned(),
        "FLOAT64" | "MONEY" | "BINARY_DOUBLE" => "DOUBLE".to_owned(),
        "DATETIME" | "DATETIME2" | "SMALLDATETIME" => "TIMESTAMP".to_owned(),
        "BIT" | "BOOL" => "BOOLEAN".to_owned(),
        _ => there.to_owned(),
    }
}

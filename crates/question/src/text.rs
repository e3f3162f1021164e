//! Drafts as SQL text, and the names of columns in messages.
//!
//! The rules name scalars and figures in refusals, and a value of each unit is described by the figure that it is. The text
//! is for people: nothing parses it again.

use loda_contract::{Column, ColumnType};

use crate::draft::{Figure, JoinKind, Measure, Predicate, Rows, Scalar, Source, bare_name};

/// How the description of a value of each unit begins; no contract's can.
pub(crate) const VALUE_OF: &str = "\u{2211} ";

/// The name of a column in messages: of a value of each unit its description, of any other its bare name.
pub(crate) fn title(column: &Column) -> String {
    if is_value(column) {
        column.description.trim_start_matches(VALUE_OF).to_owned()
    } else {
        bare_name(&column.name).to_owned()
    }
}

/// Whether a column is a value of each unit.
pub(crate) fn is_value(column: &Column) -> bool {
    column.description.starts_with(VALUE_OF)
}

/// A figure as SQL with bare column names.
pub(crate) fn heading(figure: &Figure) -> String {
    let Figure { measure, condition } = figure.clone();
    figure_sql(&Figure { measure: measure.renamed(&bare), condition: condition.map(|c| c.renamed(&bare)) })
}

fn bare(name: String) -> String {
    bare_name(&name).to_owned()
}

/// A figure as SQL: the aggregate and its FILTER.
pub(crate) fn figure_sql(figure: &Figure) -> String {
    let call = match &figure.measure {
        Measure::Rows => "COUNT(*)".to_owned(),
        Measure::Units(name) => format!("COUNT(DISTINCT {name})"),
        Measure::Present(name) => format!("COUNT({name})"),
        Measure::Sum(name) => format!("SUM({name})"),
        Measure::Square(name) => format!("SUM({name} * {name})"),
        Measure::Product(a, b) => format!("SUM({a} * {b})"),
        Measure::Least(name) => format!("MIN({name})"),
        Measure::Greatest(name) => format!("MAX({name})"),
    };
    match &figure.condition {
        None => call,
        Some(condition) => format!("{call} FILTER (WHERE {})", predicate_sql(condition)),
    }
}

/// The clauses after FROM.
pub(crate) fn rows_sql(rows: &Rows) -> String {
    let mut sql = source_sql(&rows.first, 0, rows.dataset().is_some());
    let mut conditions = Vec::new();
    for (place, join) in (1..).zip(&rows.joins) {
        let on = join.on.iter().map(|(a, b)| format!("{a} = t{place}.{b}")).collect::<Vec<_>>().join(" AND ");
        let source = source_sql(&join.source, place, false);
        match join.kind {
            JoinKind::Inner => sql.push_str(&format!(" JOIN {source} ON {on}")),
            JoinKind::Left => sql.push_str(&format!(" LEFT JOIN {source} ON {on}")),
            JoinKind::Semi => conditions.push(format!("EXISTS (SELECT 1 FROM {source} WHERE {on})")),
            JoinKind::Anti => conditions.push(format!("NOT EXISTS (SELECT 1 FROM {source} WHERE {on})")),
        }
    }
    match (&rows.filter, conditions.is_empty()) {
        (Some(filter), true) => conditions.push(predicate_sql(filter)),
        (Some(filter), false) => conditions.push(format!("({})", predicate_sql(filter))),
        (None, _) => {}
    }
    if !conditions.is_empty() {
        sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
    }
    sql
}

fn source_sql(source: &Source, place: usize, bare: bool) -> String {
    match source {
        Source::Dataset { name, .. } if bare => name.clone(),
        Source::Dataset { name, filter: None } => format!("{name} AS t{place}"),
        Source::Dataset { name, filter: Some(filter) } => {
            format!("(SELECT * FROM {name} WHERE {}) AS t{place}", predicate_sql(filter))
        }
        Source::PerUnit(per_unit) => {
            let keys: Vec<&str> = std::iter::once(&per_unit.unit).chain(&per_unit.keys).map(String::as_str).collect();
            let values = (0..).zip(&per_unit.values).map(|(i, v): (usize, _)| format!(", {} AS d{i}", figure_sql(v)));
            format!(
                "(SELECT {}{} FROM {} GROUP BY {}) AS t{place}",
                keys.join(", "),
                values.collect::<String>(),
                rows_sql(&per_unit.rows),
                keys.join(", ")
            )
        }
    }
}

/// A scalar as SQL.
pub(crate) fn scalar_sql(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Column(name) => name.clone(),
        Scalar::Literal(value, kind) => value.sql(*kind),
        Scalar::DateTrunc(grain, of) => format!("CAST(date_trunc('{}', {}) AS DATE)", grain.name(), scalar_sql(of)),
        Scalar::DatePart(part, of) => format!("CAST(date_part('{}', {}) AS BIGINT)", part.name(), scalar_sql(of)),
        Scalar::Upper(of) => format!("upper({})", scalar_sql(of)),
        Scalar::Lower(of) => format!("lower({})", scalar_sql(of)),
        Scalar::Arithmetic(op, of, by) => format!("({} {} {by})", scalar_sql(of), op.sql()),
        Scalar::Coalesce(operands) => {
            format!("coalesce({})", operands.iter().map(scalar_sql).collect::<Vec<_>>().join(", "))
        }
        Scalar::Case { branches, otherwise } => {
            let branches: String = branches
                .iter()
                .map(|(when, then)| format!(" WHEN {} THEN {}", predicate_sql(when), scalar_sql(then)))
                .collect();
            let otherwise = otherwise.as_ref().map_or_else(String::new, |o| format!(" ELSE {}", scalar_sql(o)));
            format!("CASE{branches}{otherwise} END")
        }
    }
}

/// A predicate as SQL.
pub(crate) fn predicate_sql(predicate: &Predicate) -> String {
    let joined = |operands: &[Predicate], word: &str| {
        operands.iter().map(|o| format!("({})", predicate_sql(o))).collect::<Vec<_>>().join(word)
    };
    match predicate {
        Predicate::Constant(Some(true)) => "TRUE".to_owned(),
        Predicate::Constant(Some(false)) => "FALSE".to_owned(),
        Predicate::Constant(None) => "CAST(NULL AS BOOLEAN)".to_owned(),
        Predicate::Truth(of) => scalar_sql(of),
        Predicate::Compare { left, op, right } => format!("{} {} {}", scalar_sql(left), op.sql(), scalar_sql(right)),
        Predicate::In { of, values } => {
            let values: Vec<String> = values.iter().map(|(v, kind): &(_, ColumnType)| v.sql(*kind)).collect();
            format!("{} IN ({})", scalar_sql(of), values.join(", "))
        }
        Predicate::IsNull(of) => format!("{} IS NULL", scalar_sql(of)),
        Predicate::Not(of) => match of.as_ref() {
            Predicate::IsNull(of) => format!("{} IS NOT NULL", scalar_sql(of)),
            other => format!("NOT ({})", predicate_sql(other)),
        },
        Predicate::And(operands) => joined(operands, " AND "),
        Predicate::Or(operands) => joined(operands, " OR "),
    }
}

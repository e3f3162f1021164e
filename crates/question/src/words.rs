//! A question in words and in SQL, for people who sign, approve and audit.

use loda_contract::{ColumnType, Protection};

use crate::derive::Question;
use crate::draft::{Figure, JoinKind, Measure, PerUnit, Predicate, Rows, Scalar, Source, bare_name};
use crate::scope::Scope;

impl Question {
    /// One paragraph of plain English.
    #[must_use]
    pub fn words(&self) -> String {
        let scope = self.scope();
        let figures: Vec<String> = self.draft().figures.iter().map(|f| figure_words(f, scope)).collect();
        let rows = rows_words(&self.draft().rows);
        let cells = if self.keys().is_empty() {
            "in one figure".to_owned()
        } else {
            let keys: Vec<String> = self.keys().iter().map(|k| scalar_sql(&k.scalar)).collect();
            let size = self.grid().map_or_else(|| "an open list of cells".to_owned(), |n| format!("{n} cells"));
            format!("for each {} ({size} at a borough)", keys.join(", "))
        };
        let protection = match scope.protection {
            Protection::Public => "The data are already published.",
            Protection::Threshold => "Exact figures of at least ten units leave the borough; others are withheld.",
            Protection::CellKey => "Counts are perturbed by cell keys; those that come out below ten are withheld.",
        };
        let titles: Vec<String> = scope.datasets.iter().map(|c| format!("{} ({})", c.dataset, c.title)).collect();
        let units: Vec<&str> = scope.units.iter().map(|u| u.unit.domain.as_str()).collect();
        format!(
            "From {}: {}, over {rows}, {cells}. It counts {}. {protection}",
            titles.join(" and "),
            figures.join("; "),
            units.join(", ")
        )
    }

    /// One figure as SQL, for headings: columns have their bare names.
    #[must_use]
    pub fn figure_sql(&self, figure: usize) -> Option<String> {
        let shown = |name: String| shown(&name, self.scope());
        let Figure { measure, condition } = self.draft().figures.get(figure)?.clone();
        Some(figure_sql(&Figure { measure: measure.renamed(&shown), condition: condition.map(|c| c.renamed(&shown)) }))
    }

    /// One group key as SQL, for headings: columns have their bare names.
    #[must_use]
    pub fn key_sql(&self, key: usize) -> Option<String> {
        let shown = |name: String| shown(&name, self.scope());
        self.keys().get(key).map(|k| scalar_sql(&k.scalar.clone().renamed(&shown)))
    }

    /// The same question as SQL over the contract's columns.
    #[must_use]
    pub fn sql(&self) -> String {
        let draft = self.draft();
        let figures = draft.figures.iter().map(figure_sql);
        let keys: Vec<String> = draft.keys.iter().map(scalar_sql).collect();
        let select: Vec<String> = keys.iter().cloned().chain(figures).collect();
        let mut sql = format!("SELECT {} FROM {}", select.join(", "), rows_sql(&draft.rows));
        if !keys.is_empty() {
            sql.push_str(&format!(" GROUP BY {}", keys.join(", ")));
        }
        sql
    }
}

/// What a column is called in headings: a value of each unit by what it is, any other by its bare name.
fn shown(name: &str, scope: &Scope) -> String {
    match scope.column(name) {
        Some(column) if crate::rules::is_value(column) => format!("({})", crate::rules::title(column)),
        _ => bare_name(name).to_owned(),
    }
}

/// A figure as SQL with bare column names.
pub(crate) fn heading(figure: &Figure) -> String {
    let Figure { measure, condition } = figure.clone();
    figure_sql(&Figure { measure: measure.renamed(&bare), condition: condition.map(|c| c.renamed(&bare)) })
}

fn bare(name: String) -> String {
    bare_name(&name).to_owned()
}

fn rows_are(scope: &Scope) -> String {
    match scope.units.iter().find(|u| u.unit.column.is_none() && !u.carried) {
        Some(unit) => format!("records (each one {})", unit.unit.domain),
        None => "records".to_owned(),
    }
}

fn figure_words(figure: &Figure, scope: &Scope) -> String {
    let what = match &figure.measure {
        Measure::Rows => format!("the number of {}", rows_are(scope)),
        Measure::Units(name) => {
            let unit = scope.unit_index(name).and_then(|i| scope.units.get(i));
            let domain = unit.map_or(name.as_str(), |u| u.unit.domain.as_str());
            format!("the number of different units of domain '{domain}'")
        }
        Measure::Present(name) => format!("the number of {} with a {name}", rows_are(scope)),
        Measure::Sum(name) => format!("the sum of {name}"),
        Measure::Square(name) => format!("the sum of squares of {name}"),
        Measure::Product(a, b) => format!("the sum of products of {a} and {b}"),
        Measure::Least(name) => format!("the least {name}"),
        Measure::Greatest(name) => format!("the greatest {name}"),
    };
    match &figure.condition {
        None => what,
        Some(condition) => format!("{what} where {}", predicate_sql(condition)),
    }
}

fn rows_words(rows: &Rows) -> String {
    let mut words = match &rows.first {
        Source::PerUnit(per_unit) => per_unit_words(per_unit),
        Source::Dataset { .. } if rows.joins.is_empty() && rows.filter.is_none() => "all records".to_owned(),
        Source::Dataset { name, .. } if !rows.joins.is_empty() => format!("records of {name}"),
        Source::Dataset { .. } => "records".to_owned(),
    };
    for (place, join) in (1..).zip(&rows.joins) {
        let what = match &join.source {
            Source::Dataset { name, filter: None } => format!("records of {name}"),
            Source::Dataset { name, filter: Some(filter) } => {
                format!("records of {name} where {}", predicate_sql(filter))
            }
            Source::PerUnit(per_unit) => per_unit_words(per_unit),
        };
        words.push_str(&match join.kind {
            JoinKind::Inner => format!(", joined to {what} (t{place})"),
            JoinKind::Left => format!(", joined where there are any to {what} (t{place})"),
            JoinKind::Semi => format!(", only those with {what}"),
            JoinKind::Anti => format!(", only those without {what}"),
        });
    }
    if let Some(filter) = &rows.filter {
        words.push_str(&format!(" where {}", predicate_sql(filter)));
    }
    words
}

fn per_unit_words(per_unit: &PerUnit) -> String {
    let unit = bare_name(&per_unit.unit);
    let keys: String = per_unit.keys.iter().map(|k| format!(" and {}", bare_name(k))).collect();
    let values = (0..).zip(&per_unit.values).map(|(i, v): (usize, _)| format!("d{i} = {}", figure_sql(v)));
    let values = values.collect::<Vec<_>>().join(", ");
    let with = if values.is_empty() { String::new() } else { format!(" with {values}") };
    format!("one row for each {unit}{keys}{with} (of {})", rows_sql(&per_unit.rows))
}

fn figure_sql(figure: &Figure) -> String {
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

/// What stands after FROM.
fn rows_sql(rows: &Rows) -> String {
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

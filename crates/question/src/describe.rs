//! A question in words and in SQL, for people who sign, approve and audit.
//!
//! The text follows from the derived question alone, so it says which question a node runs, however the asker worded it.

use loda_contract::Protection;

use crate::derive::Question;
use crate::draft::{Figure, JoinKind, Measure, PerUnit, Rows, Source, bare_name};
use crate::scope::Scope;
use crate::text::{figure_sql, is_value, predicate_sql, rows_sql, scalar_sql, title};

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

/// The name of a column in headings: of a value of each unit its description, of any other its bare name.
fn shown(name: &str, scope: &Scope) -> String {
    match scope.column(name) {
        Some(column) if is_value(column) => format!("({})", title(column)),
        _ => bare_name(name).to_owned(),
    }
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
            format!("the number of different units ({domain})")
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

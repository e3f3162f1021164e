//! A question in words and in SQL, for people who sign, approve and audit.

use loda_contract::{ColumnType, Contract, Protection};

use crate::derive::Question;
use crate::draft::{Measure, Predicate, Scalar};

impl Question {
    /// One paragraph of plain English.
    #[must_use]
    pub fn words(&self) -> String {
        let contract = self.contract();
        let figures: Vec<String> = self
            .draft()
            .figures
            .iter()
            .map(|f| {
                let what = match &f.measure {
                    Measure::Rows => format!("the number of {}", rows_are(contract)),
                    Measure::Units(name) => {
                        let domain = contract.unit_of_column(name).map_or(name.as_str(), |u| u.domain.as_str());
                        format!("the number of different units of domain '{domain}'")
                    }
                    Measure::Present(name) => format!("the number of {} with a {name}", rows_are(contract)),
                    Measure::Sum(name) => format!("the sum of {name}"),
                };
                match &f.condition {
                    None => what,
                    Some(condition) => format!("{what} where {}", predicate_sql(condition)),
                }
            })
            .collect();
        let rows =
            self.filter().map_or_else(|| "all records".to_owned(), |f| format!("records where {}", predicate_sql(f)));
        let cells = if self.keys().is_empty() {
            "in one figure".to_owned()
        } else {
            let keys: Vec<String> = self.keys().iter().map(|k| scalar_sql(&k.scalar)).collect();
            let size = self.grid().map_or_else(|| "an open list of cells".to_owned(), |n| format!("{n} cells"));
            format!("for each {} ({size} at a borough)", keys.join(", "))
        };
        let protection = match contract.protection {
            Protection::Public => "The data are already published.",
            Protection::Threshold => "Exact figures of at least ten units leave the borough; others are withheld.",
            Protection::CellKey => "Counts are perturbed by cell keys; those that come out below ten are withheld.",
        };
        format!(
            "From {} ({}): {}, over {rows}, {cells}. {protection}",
            contract.dataset,
            contract.title,
            figures.join("; ")
        )
    }

    /// One figure as SQL.
    #[must_use]
    pub fn figure_sql(&self, figure: usize) -> Option<String> {
        let figure = self.draft().figures.get(figure)?;
        let call = match &figure.measure {
            Measure::Rows => "COUNT(*)".to_owned(),
            Measure::Units(name) => format!("COUNT(DISTINCT {name})"),
            Measure::Present(name) => format!("COUNT({name})"),
            Measure::Sum(name) => format!("SUM({name})"),
        };
        Some(match &figure.condition {
            None => call,
            Some(condition) => format!("{call} FILTER (WHERE {})", predicate_sql(condition)),
        })
    }

    /// One group key as SQL.
    #[must_use]
    pub fn key_sql(&self, key: usize) -> Option<String> {
        self.keys().get(key).map(|k| scalar_sql(&k.scalar))
    }

    /// The same question as SQL over the contract's columns.
    #[must_use]
    pub fn sql(&self) -> String {
        let draft = self.draft();
        let figures = (0..draft.figures.len()).filter_map(|i| self.figure_sql(i));
        let keys: Vec<String> = draft.keys.iter().map(scalar_sql).collect();
        let select: Vec<String> = keys.iter().cloned().chain(figures).collect();
        let mut sql = format!("SELECT {} FROM {}", select.join(", "), draft.dataset);
        if let Some(filter) = &draft.filter {
            sql.push_str(&format!(" WHERE {}", predicate_sql(filter)));
        }
        if !keys.is_empty() {
            sql.push_str(&format!(" GROUP BY {}", keys.join(", ")));
        }
        sql
    }
}

fn rows_are(contract: &Contract) -> String {
    match contract.units.iter().find(|u| u.column.is_none()) {
        Some(unit) => format!("records (each one {})", unit.domain),
        None => "records".to_owned(),
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

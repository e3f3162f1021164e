//! One value of a contract column.

use std::fmt;
use std::sync::Arc;

use crate::ColumnType;

/// A value as contracts, questions and grids use it. Decimals are in scaled units: the scale is
/// the column's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Decimal(i128),
    /// Days since 1970-01-01.
    Date(i32),
    /// Shared: a large table names its few classes many times.
    Text(Arc<str>),
}

impl Value {
    /// Reads a value of a column's type from text, as contracts and literals write it.
    #[must_use]
    pub fn parse(text: &str, kind: ColumnType) -> Option<Self> {
        match kind {
            ColumnType::Text => Some(Self::Text(text.into())),
            ColumnType::Integer => text.parse().ok().map(Self::Integer),
            ColumnType::Boolean => text.parse().ok().map(Self::Boolean),
            ColumnType::Date => text.parse::<chrono::NaiveDate>().ok().and_then(days).map(Self::Date),
            ColumnType::Decimal(scale) => parse_decimal(text, scale).map(Self::Decimal),
        }
    }

    /// Writes the value in SQL, with a decimal's scale.
    #[must_use]
    pub fn sql(&self, kind: ColumnType) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Self::Date(_) => format!("DATE '{}'", self.plain(kind)),
            _ => self.plain(kind),
        }
    }

    /// Writes the value for a person to read.
    #[must_use]
    pub fn plain(&self, kind: ColumnType) -> String {
        match (self, kind) {
            (Self::Null, _) => "null".to_owned(),
            (Self::Boolean(b), _) => b.to_string(),
            (Self::Integer(i), _) => i.to_string(),
            (Self::Decimal(units), ColumnType::Decimal(scale)) => format_decimal(*units, scale),
            (Self::Decimal(units), _) => units.to_string(),
            (Self::Date(d), _) => date(*d).map_or_else(|| format!("day {d}"), |d| d.to_string()),
            (Self::Text(text), _) => text.to_string(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plain(ColumnType::Text))
    }
}

/// Days since 1970-01-01 of a date.
pub(crate) fn days(date: chrono::NaiveDate) -> Option<i32> {
    i32::try_from(date.signed_duration_since(chrono::NaiveDate::default()).num_days()).ok()
}

/// The date that is this many days after 1970-01-01.
pub(crate) fn date(days: i32) -> Option<chrono::NaiveDate> {
    chrono::NaiveDate::default().checked_add_signed(chrono::TimeDelta::days(i64::from(days)))
}

fn parse_decimal(text: &str, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || fraction.len() > scale || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let units: i128 = format!("{whole}{fraction:0<scale$}").parse().ok()?;
    Some(if negative { -units } else { units })
}

fn format_decimal(units: i128, scale: i8) -> String {
    let Ok(scale) = usize::try_from(scale) else { return units.to_string() };
    if scale == 0 {
        return units.to_string();
    }
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_survive_text() {
        for (text, units) in [("0.5", 50), ("-1.25", -125), ("12", 1200), ("3.10", 310), ("0.00", 0)] {
            assert_eq!(parse_decimal(text, 2), Some(units), "{text}");
            assert_eq!(parse_decimal(&format_decimal(units, 2), 2), Some(units));
        }
        for text in ["", ".", "1.234", "1e5", "--1", "+1", "1,000"] {
            assert_eq!(parse_decimal(text, 2), None, "{text}");
        }
    }

    #[test]
    fn sql_text_is_escaped() {
        assert_eq!(Value::Text("O'Neill".into()).sql(ColumnType::Text), "'O''Neill'");
    }
}

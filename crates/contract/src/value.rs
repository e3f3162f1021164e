//! One value of a contract column, and its type.

use std::fmt;
use std::sync::Arc;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColumnType {
    /// Text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// Fixed point with this many decimals and at most 38 digits.
    Decimal(i8),
    /// A date.
    Date,
    /// True or false.
    Boolean,
}

/// A value as contracts, questions and grids use it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A decimal in scaled units. The column's type holds the scale.
    Decimal(i128),
    /// A date, in days since 1970-01-01.
    Date(i32),
    /// A text. It is shared, because a large table names its few classes many times.
    Text(Arc<str>),
}

impl Value {
    /// Reads a value of a column's type from text, as contracts and literals write it; `None` if the text is no such value.
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

    /// Writes the value in SQL. A decimal gets the scale of `kind`.
    #[must_use]
    pub fn sql(&self, kind: ColumnType) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Self::Date(_) => format!("DATE '{}'", self.plain(kind)),
            _ => self.plain(kind),
        }
    }

    /// Writes the value for a person to read. A decimal gets the scale of `kind`.
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

/// The number of days from 1970-01-01 to a date.
pub(crate) fn days(date: chrono::NaiveDate) -> Option<i32> {
    i32::try_from(date.signed_duration_since(chrono::NaiveDate::default()).num_days()).ok()
}

/// The date this many days after 1970-01-01.
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

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Integer => f.write_str("integer"),
            Self::Decimal(scale) => write!(f, "decimal({scale})"),
            Self::Date => f.write_str("date"),
            Self::Boolean => f.write_str("boolean"),
        }
    }
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

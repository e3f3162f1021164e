//! What makes a dimension's values enumerable.

use chrono::Datelike;

use crate::Value;
use crate::value::{date, days};

/// The values that a dimension can take, as far as the contract knows them.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// A closed code list, in the contract's order.
    Codes(Vec<String>),
    /// Every whole number from `min` to `max`, both included.
    Range { min: i64, max: i64 },
    /// Dates from `from` to `to`, both included, kept at the first day of their grain.
    Dates { from: i32, to: i32, grain: Grain },
    /// `true` and `false`.
    Booleans,
    /// Anything: only groups that pass protection are ever named.
    Open,
}

/// The finest date that may be asked about; dates are kept at the first day of their grain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grain {
    Day,
    Month,
    Quarter,
    Year,
}

impl Domain {
    /// Every value in order, NULL aside; `None` where the domain is open.
    #[must_use]
    pub fn values(&self) -> Option<Vec<Value>> {
        match self {
            Self::Codes(codes) => Some(codes.iter().map(|code| Value::Text(code.as_str().into())).collect()),
            Self::Range { min, max } => Some((*min..=*max).map(Value::Integer).collect()),
            Self::Booleans => Some(vec![Value::Boolean(false), Value::Boolean(true)]),
            Self::Dates { from, to, grain } => {
                let mut values = Vec::new();
                let mut day = grain.floor(*from);
                while day <= *to {
                    values.push(Value::Date(day));
                    day = grain.next(day);
                }
                Some(values)
            }
            Self::Open => None,
        }
    }

    /// Whether a value stands in the domain (NULL is the column's affair).
    #[must_use]
    pub fn contains(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Codes(codes), Value::Text(text)) => codes.iter().any(|code| **code == **text),
            (Self::Range { min, max }, Value::Integer(i)) => (min..=max).contains(&i),
            (Self::Booleans, Value::Boolean(_)) | (Self::Open, _) => true,
            (Self::Dates { from, to, grain }, Value::Date(day)) => {
                grain.floor(*day) == *day && *day >= grain.floor(*from) && day <= to
            }
            _ => false,
        }
    }
}

impl Grain {
    /// The first day of the grain that a day stands in.
    #[must_use]
    pub fn floor(self, day: i32) -> i32 {
        let Some(d) = date(day) else { return day };
        let first = match self {
            Self::Day => Some(d),
            Self::Month => d.with_day(1),
            Self::Quarter => d.with_day(1).and_then(|d| d.with_month(3 * (d.month0() / 3) + 1)),
            Self::Year => d.with_day(1).and_then(|d| d.with_month(1)),
        };
        first.and_then(days).unwrap_or(day)
    }

    /// The first day of the following grain.
    #[must_use]
    pub fn next(self, day: i32) -> i32 {
        let longest = match self {
            Self::Day => return day.saturating_add(1),
            Self::Month => 31,
            Self::Quarter => 92,
            Self::Year => 366,
        };
        self.floor(self.floor(day).saturating_add(longest))
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Day, Self::Month, Self::Quarter, Self::Year].into_iter().find(|g| g.name() == name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ColumnType;

    fn day(text: &str) -> i32 {
        match Value::parse(text, ColumnType::Date) {
            Some(Value::Date(d)) => d,
            _ => unreachable!("{text}"),
        }
    }

    #[test]
    fn grains_step_over_leap_years_and_year_ends() {
        let count = |from, to, grain| {
            let domain = Domain::Dates { from: day(from), to: day(to), grain };
            let values = domain.values().unwrap();
            assert!(values.iter().all(|v| domain.contains(v)));
            values.len()
        };
        assert_eq!(count("2020-01-01", "2020-12-31", Grain::Day), 366);
        assert_eq!(count("2019-11-15", "2020-03-01", Grain::Month), 5);
        assert_eq!(count("2019-11-15", "2020-12-31", Grain::Quarter), 5);
        assert_eq!(count("1999-02-28", "2024-02-29", Grain::Year), 26);
    }
}

//! Domains: the values of a dimension, as far as a contract lists them.

use chrono::Datelike;

use crate::value::{Value, date, days};

/// The largest product of the sizes of all group-key domains at one node, without `borough`.
pub const GRID_LIMIT: u64 = 100_000;

/// The values that a dimension can take, as far as the contract lists them.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// A closed code list, in the contract's order.
    Codes(Vec<String>),
    /// The whole numbers of a range.
    Range {
        /// The first number.
        min: i64,
        /// The last number.
        max: i64,
    },
    /// The dates of a range, each stored as the first day of its grain. Days are counted from 1970-01-01.
    Dates {
        /// The first day.
        from: i32,
        /// The last day, included.
        to: i32,
        /// The grain.
        grain: Grain,
    },
    /// `true` and `false`.
    Booleans,
    /// Any value. Only groups that pass protection are ever named.
    Open,
}

/// The finest level at which dates may be asked about. A date is stored as the first day of its grain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grain {
    /// A day.
    Day,
    /// A calendar month.
    Month,
    /// A calendar quarter.
    Quarter,
    /// A calendar year.
    Year,
}

impl Domain {
    /// Every value in order, without NULL; `None` if the domain is open.
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

    /// Whether the domain contains a value other than NULL. NULL depends on the column.
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
    /// The first day of the grain that contains a day. Days are counted from 1970-01-01.
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

    /// The name that contracts use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The grain of a name; `None` if there is no such grain.
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

//! Dates as people write them in extracts.

use chrono::{Datelike, NaiveDate};

/// Which of two numbers before a year is the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DayOrder {
    DayFirst,
    MonthFirst,
}

/// The first and the last day that a column can have. Years of two digits are read so that they lie between.
pub(crate) type DateRange = (NaiveDate, NaiveDate);

/// Reads a date as people in the United Kingdom write it.
pub(crate) fn uk_date(text: &str) -> Option<NaiveDate> {
    date(text, DayOrder::DayFirst, None)
}

/// Reads a date. `None`: it is none.
pub(crate) fn date(text: &str, order: DayOrder, range: Option<DateRange>) -> Option<NaiveDate> {
    let text = text.trim();
    let day = text.split(['T', ' ']).next().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))?;
    // `31 December 2025` contains spaces.
    let whole = text.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let parts: Vec<&str> = if day.contains(['/', '-', '.']) || day.len() == 8 {
        day.split(['/', '-', '.']).collect()
    } else {
        whole.split(' ').collect()
    };
    match parts.as_slice() {
        [all] if all.len() == 8 && all.bytes().all(|b| b.is_ascii_digit()) => NaiveDate::from_ymd_opt(
            all.get(..4)?.parse().ok()?,
            all.get(4..6)?.parse().ok()?,
            all.get(6..)?.parse().ok()?,
        ),
        [year, month, day] if year.len() == 4 => {
            NaiveDate::from_ymd_opt(year.parse().ok()?, month_of(month)?, day.parse().ok()?)
        }
        [first, second, year] => {
            let (day, month) = match order {
                // A month in letters stands where it stands.
                DayOrder::MonthFirst if second.bytes().all(|b| b.is_ascii_digit()) => (second, first),
                _ => (first, second),
            };
            let (month, day) = (month_of(month)?, day.parse().ok()?);
            match year.len() {
                4 => NaiveDate::from_ymd_opt(year.parse().ok()?, month, day),
                2 => of_short_year(year.parse().ok()?, month, day, range),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A year of two digits is that of the range's century in which the date lies nearest to today. Without a range, it is in the
/// hundred years that end twenty years from now.
fn of_short_year(short: i32, month: u32, day: u32, range: Option<DateRange>) -> Option<NaiveDate> {
    let of = |century: i32| NaiveDate::from_ymd_opt(century.checked_add(short)?, month, day);
    let today = chrono::Utc::now().date_naive();
    let within = |(from, until): DateRange| {
        let dates = [2100, 2000, 1900, 1800].into_iter().filter_map(of).filter(|date| (from..=until).contains(date));
        dates.min_by_key(|date| (*date - today).num_days().abs())
    };
    range.and_then(within).or_else(|| {
        let now = today.year();
        let century = now - now % 100;
        of(if century + short > now + 20 { century - 100 } else { century })
    })
}

fn month_of(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = text.get(..3)?.to_ascii_lowercase();
    months.iter().position(|month| *month == start).and_then(|at| u32::try_from(at + 1).ok())
}

/// The orders in which two numbers before a year are a date: the day first, and the month first. `None`: no such numbers.
pub(crate) fn orders(text: &str) -> Option<(bool, bool)> {
    let mut parts = text.trim().split(['T', ' ']).next()?.split(['/', '-', '.']);
    let (first, second, year) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| (1..=2).contains(&text.len()));
    let (first, second) = (number(first)?, number(second)?);
    if parts.next().is_some() || !matches!(year.len(), 2 | 4) || !year.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let is = |day: u32, month: u32| (1..=31).contains(&day) && (1..=12).contains(&month);
    Some((is(first, second), is(second, first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(y: i32, m: u32, d: u32) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(y, m, d)
    }

    #[test]
    fn dates_as_councils_write_them() {
        for (text, expected) in [
            ("01-Apr-05", day(2005, 4, 1)),
            ("31/12/1999", day(1999, 12, 31)),
            ("1.2.2024", day(2024, 2, 1)),
            ("2024-02-29T10:00:00Z", day(2024, 2, 29)),
            ("20240229", day(2024, 2, 29)),
            ("29/02/2023", None),
            ("03/04/2024 00:00", day(2024, 4, 3)),
            ("3 April 2024", day(2024, 4, 3)),
            ("12/31/2024", None),
            ("01/01/68", day(1968, 1, 1)),
            ("TBC", None),
            ("", None),
        ] {
            assert_eq!(uk_date(text), expected, "{text}");
        }
    }

    #[test]
    fn the_month_may_stand_first() {
        for (text, expected) in [
            ("3/30/16", day(2016, 3, 30)),
            ("12/31/2024 11:59 PM", day(2024, 12, 31)),
            ("2024-03-04", day(2024, 3, 4)),
            ("4-Mar-2024", day(2024, 3, 4)),
            ("30/3/16", None),
        ] {
            assert_eq!(date(text, DayOrder::MonthFirst, None), expected, "{text}");
        }
        assert_eq!(orders("3/30/16"), Some((false, true)));
        assert_eq!(orders("30/3/2016 10:00"), Some((true, false)));
        assert_eq!(orders("3/4/2016"), Some((true, true)));
        for no in ["2016-03-04", "3 April 2016", "1/2", "1/2/3/4", "a/b/2016", ""] {
            assert_eq!(orders(no), None, "{no}");
        }
    }

    #[test]
    fn a_year_of_two_digits_lies_where_its_column_can() {
        let of = |text, from, until| date(text, DayOrder::DayFirst, day(from, 1, 1).zip(day(until, 12, 31)));
        assert_eq!(of("12/05/38", 1900, 2026), day(1938, 5, 12));
        assert_eq!(of("12/05/38", 2000, 2150), day(2038, 5, 12));
        assert_eq!(of("12/05/24", 1900, 2026), day(2024, 5, 12));
        assert_eq!(of("12/05/2038", 1900, 2026), day(2038, 5, 12));
        assert_eq!(of("12/05/50", 1990, 2020), day(1950, 5, 12));
    }
}

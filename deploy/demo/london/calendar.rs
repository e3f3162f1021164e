//! Days as numbers: 0 is 1 January 1970, as in Arrow's `Date32`, in the Gregorian calendar.

/// 31 December 2025, the day that all extracts describe.
pub(crate) const AS_AT: i32 = 20_453;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The number of a day. Days beyond the month's end continue into the next month.
pub(crate) fn day(year: i32, month: i32, day: i32) -> i32 {
    // A year that starts in March has its leap day at the end.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
        - 719_469
}

/// Year, month and day of a number.
pub(crate) fn parts(number: i32) -> (i32, i32, i32) {
    // A guess that is never too late, for days before and after 1970.
    let guess = 1970 + number.div_euclid(366).min(number.div_euclid(365));
    let year = (guess..).find(|y| number < day(y + 1, 1, 1)).unwrap_or(guess);
    let month = (1..12).find(|m| number < day(year, m + 1, 1)).unwrap_or(12);
    (year, month, number - day(year, month, 1) + 1)
}

pub(crate) fn month_name(month: i32) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|m| MONTHS.get(m)).copied().unwrap_or("Dec")
}

pub(crate) fn iso(number: i32) -> String {
    let (year, month, day) = parts(number);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree() {
        assert_eq!((day(1970, 1, 1), day(2000, 2, 29) + 1, day(2025, 12, 31)), (0, day(2000, 3, 1), AS_AT));
        for number in -40_000..30_000 {
            let (y, m, d) = parts(number);
            assert_eq!(day(y, m, d), number);
            assert!((1..=12).contains(&m) && (1..=31).contains(&d), "{y} {m} {d}");
        }
        assert_eq!(iso(AS_AT), "2025-12-31");
    }
}

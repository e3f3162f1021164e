//! The profile of a column.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use loda_identity::Gss;

use super::markers::{Marker, marker};
use super::vocabulary::{is_personal, words};
use crate::ingest::dates::{DayOrder, orders, uk_date};
use crate::ingest::readings::{borough_in, money, nhs_number, nino, postcode, uprn};

/// Every value of so many rows is looked at, and after them every sixteenth.
const LOOKED_AT: u64 = 100_000;

/// A code stands for many rows. A value in fewer rows than this may be a person.
const SOMEBODY: u64 = 5;

/// The number of distinct values of a column that are remembered, and of markers.
const DISTINCT: usize = 5_000;
const MARKERS: usize = 50;

/// The numbers of a column that are remembered.
const NUMBERS: usize = 1_000_000;

/// The share of values that must be of a kind. The others are faults that the check will name.
const MOST: f64 = 0.98;

/// A date of birth lies anywhere in a life. Few other dates go back so far.
const LIFETIME: i64 = 40 * 365;

/// The digits at its end that a spreadsheet makes zeros of a long number.
const ROUNDED: &str = "000";

/// Whether a text is a long number as a spreadsheet shows it: `1.00021E+11`.
fn has_exponent(text: &str) -> bool {
    let Some((number, exponent)) = text.split_once(['E', 'e']) else { return false };
    let Some(exponent) = exponent.strip_prefix('+') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(&number.replacen('.', "", 1)) && exponent.parse::<u32>().is_ok_and(|exponent| (8..=20).contains(&exponent))
}

/// One column of a source.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) rows: u64,
    pub(crate) filled: u64,
    /// Values and their numbers of rows, until there are too many.
    pub(crate) values: BTreeMap<String, u64>,
    pub(super) overflowed: bool,
    looked_at: u64,
    /// Texts that may stand for nothing, and their numbers of rows.
    markers: BTreeMap<String, (Marker, u64)>,
    /// Those of them that are values elsewhere, such as `1-4`.
    among_numbers: u64,
    /// Whether one of its values begins with a zero that a number would lose.
    zeros: bool,
    fits: BTreeMap<ValueKind, u64>,
    pub(crate) dates: Option<(NaiveDate, NaiveDate)>,
    pub(crate) numbers: Vec<f64>,
    decimals: usize,
    /// Numbers with a sign for per cent.
    pub(crate) percents: u64,
    /// Rows of each London borough that it names, and their spellings.
    pub(crate) boroughs: BTreeMap<Gss, u64>,
    spellings: BTreeMap<String, Gss>,
    /// Dates with two numbers before the year that have the day first, the month first, or either.
    pub(crate) day_first: u64,
    pub(crate) month_first: u64,
    pub(crate) either_first: u64,
    /// Long numbers, and those of them that end in zeros.
    long_numbers: u64,
    rounded: u64,
}

/// The kinds that a text can be read as, with the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ValueKind {
    NhsNumber,
    Nino,
    Postcode,
    YesNo,
    Date,
    Uprn,
    Integer,
    Amount,
    Text,
}

impl Profile {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(crate) fn add(&mut self, value: Option<&str>) {
        self.rows = self.rows.saturating_add(1);
        let Some(text) = value.map(str::trim).filter(|text| !text.is_empty()) else { return };
        self.filled = self.filled.saturating_add(1);
        // Of many rows, a part represents all. The check looks at every row.
        if self.rows > LOOKED_AT && !self.rows.is_multiple_of(16) {
            return;
        }
        if let Some(found) = marker(text) {
            if self.markers.len() < MARKERS || self.markers.contains_key(text) {
                let (_, rows) = self.markers.entry(text.to_owned()).or_insert((found, 0));
                *rows = rows.saturating_add(1);
            }
            if found != Marker::AmongNumbers {
                return;
            }
            self.among_numbers = self.among_numbers.saturating_add(1);
        }
        self.looked_at = self.looked_at.saturating_add(1);
        self.zeros |= text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        let has_room = self.values.len() < DISTINCT;
        match self.values.get_mut(text) {
            Some(rows) => *rows = rows.saturating_add(1),
            None if has_room => {
                self.values.insert(text.to_owned(), 1);
                // A name is looked up once, and a column of many values names no boroughs.
                if let Some(gss) = borough_in(text) {
                    self.spellings.insert(text.to_owned(), gss);
                }
            }
            None => self.overflowed = true,
        }
        let mut fits = |kind| *self.fits.entry(kind).or_default() += 1;
        if nhs_number(text).is_some() {
            fits(ValueKind::NhsNumber);
        }
        if nino(text).is_some() {
            fits(ValueKind::Nino);
        }
        if postcode(text).is_some() {
            fits(ValueKind::Postcode);
        }
        if ["y", "n", "yes", "no", "true", "false"].contains(&text.to_ascii_lowercase().as_str()) {
            fits(ValueKind::YesNo);
        }
        if text.contains(['/', '-', '.', ' '])
            && let Some(date) = uk_date(text)
        {
            fits(ValueKind::Date);
            self.dates = Some(self.dates.map_or((date, date), |(from, to)| (from.min(date), to.max(date))));
        }
        match orders(text) {
            Some((true, true)) => self.either_first = self.either_first.saturating_add(1),
            Some((true, false)) => self.day_first = self.day_first.saturating_add(1),
            Some((false, true)) => self.month_first = self.month_first.saturating_add(1),
            _ => {}
        }
        let number = text.trim_end_matches(".0");
        let with_exponent = has_exponent(text);
        if with_exponent || (number.len() >= 9 && number.bytes().all(|b| b.is_ascii_digit())) {
            self.long_numbers = self.long_numbers.saturating_add(1);
            self.rounded = self.rounded.saturating_add(u64::from(with_exponent || number.ends_with(ROUNDED)));
        }
        if uprn(text).is_some() && text.len() >= 7 {
            fits(ValueKind::Uprn);
        }
        if text.parse::<i64>().is_ok() {
            fits(ValueKind::Integer);
        }
        if let Some(number) = money(text)
            && let Ok(number_value) = number.parse::<f64>()
        {
            fits(ValueKind::Amount);
            self.percents = self.percents.saturating_add(u64::from(text.ends_with('%')));
            self.decimals = self.decimals.max(number.split_once('.').map_or(0, |(_, fraction)| fraction.len()));
            if self.numbers.len() < NUMBERS {
                self.numbers.push(number_value);
            }
        }
        if let Some(gss) = self.spellings.get(text) {
            let rows = self.boroughs.entry(gss.clone()).or_default();
            *rows = rows.saturating_add(1);
        }
    }

    /// The kind of nearly all its values, aside from those that stand for nothing.
    pub(crate) fn kind(&self) -> ValueKind {
        let values = self.looked_at.saturating_sub(self.among_numbers);
        let number = |kind: &ValueKind| {
            let fits = self.fits.get(kind).copied().unwrap_or(0);
            // A date that has the month first is one too.
            if *kind == ValueKind::Date { fits.saturating_add(self.month_first) } else { fits }
        };
        let most = |kind: &ValueKind| number(kind) > 0 && number(kind) as f64 >= values as f64 * MOST;
        let name = self.name.to_lowercase();
        let kinds = [
            ValueKind::NhsNumber,
            ValueKind::Nino,
            ValueKind::Postcode,
            ValueKind::YesNo,
            ValueKind::Date,
            ValueKind::Uprn,
            ValueKind::Integer,
            ValueKind::Amount,
        ];
        let fitting = kinds.into_iter().filter(most).find(|kind| match kind {
            // Long numbers can be of many kinds, so the name decides.
            ValueKind::Uprn => name.contains("uprn"),
            ValueKind::NhsNumber => name.contains("nhs"),
            // A value that keeps its zeros, or names something, is no number.
            ValueKind::Integer | ValueKind::Amount => {
                !self.zeros && !self.names_something() && !is_personal(&self.name)
            }
            _ => true,
        });
        fitting.unwrap_or(ValueKind::Text)
    }

    /// Whether no value occurs twice and none is missing.
    pub(crate) fn names_rows(&self) -> bool {
        // This is unknown beyond the remembered values, but the column may still be tried as a name.
        self.rows > 1 && self.present() == self.rows && self.values.values().all(|n| *n == 1)
    }

    /// The texts that stand for nothing in this column, and their numbers of rows.
    pub(crate) fn missing(&self) -> Vec<(&str, Marker, u64)> {
        let typed = self.kind() != ValueKind::Text;
        let counts = |found: &Marker| typed || *found != Marker::AmongNumbers;
        let found = self.markers.iter().filter(|(_, (found, _))| counts(found));
        found.map(|(text, (found, rows))| (text.as_str(), *found, *rows)).collect()
    }

    /// A letter that stands for nothing in another column of the source stands for nothing in this one too.
    pub(crate) fn stands_for_nothing(&mut self, text: &str) {
        let Some((found, rows)) = self.markers.get_mut(text).filter(|(found, _)| *found == Marker::AmongNumbers) else {
            return;
        };
        *found = Marker::Word;
        self.looked_at = self.looked_at.saturating_sub(*rows);
        self.among_numbers = self.among_numbers.saturating_sub(*rows);
        self.values.remove(text);
    }

    /// Whether it has more values than are remembered.
    pub(crate) fn overflows(&self) -> bool {
        self.overflowed
    }

    /// The rows with a value that stands for something. Of many rows it is about the number.
    pub(crate) fn present(&self) -> u64 {
        let nothing: u64 = self.missing().iter().map(|(_, _, rows)| rows).sum();
        self.filled.saturating_sub(nothing)
    }

    /// The order of the day and the month in its dates. `None`: both orders stand in it.
    pub(crate) fn day_order(&self) -> Option<DayOrder> {
        match (self.day_first, self.month_first) {
            (_, 0) => Some(DayOrder::DayFirst),
            (0, _) => Some(DayOrder::MonthFirst),
            _ => None,
        }
    }

    /// Whether its dates may be people's births: they go back over a lifetime, and none lies ahead.
    pub(crate) fn may_be_births(&self) -> bool {
        let today = chrono::Utc::now().date_naive();
        self.kind() == ValueKind::Date
            && self.dates.is_some_and(|(from, to)| (to - from).num_days() > LIFETIME && to <= today)
    }

    /// Whether a spreadsheet has rounded its long numbers: the share of those that end in zeros. One in a thousand does by
    /// chance.
    pub(crate) fn rounded(&self) -> Option<f64> {
        let share = self.rounded as f64 / self.long_numbers.max(1) as f64;
        (self.long_numbers >= 20 && self.long_numbers * 2 >= self.looked_at && share > 0.25).then_some(share)
    }

    /// The number of values that stand for few rows.
    pub(crate) fn rare(&self) -> usize {
        self.values.values().filter(|n| **n < SOMEBODY).count()
    }

    /// Whether its name says that it identifies something.
    fn names_something(&self) -> bool {
        words(&self.name)
            .last()
            .is_some_and(|last| ["id", "no", "ref", "number", "code", "key"].contains(&last.as_str()))
    }

    /// Whether most of its values name boroughs, and none of them this one. Where not every value was looked at, a few rows
    /// of this one may stand among those of several.
    pub(crate) fn holds_others(&self, own: &Gss) -> bool {
        let named: u64 = self.boroughs.values().sum();
        let certain = self.boroughs.len() == 1 || (self.rows <= LOOKED_AT && !self.overflowed);
        named > 0 && named * 2 >= self.looked_at && !self.boroughs.contains_key(own) && certain
    }

    /// Whether it tells to which borough a row belongs: nearly all its values name one, and not all the same.
    pub(crate) fn holds_boroughs(&self) -> bool {
        let named: u64 = self.boroughs.values().sum();
        self.boroughs.len() >= 2 && named * 2 >= self.looked_at
    }

    /// The decimal places that its values have.
    pub(crate) fn scale(&self) -> usize {
        self.decimals
    }

    /// Multiplies all counts by the number of columns that become rows.
    pub(crate) fn times(&mut self, times: u64) {
        self.rows = self.rows.saturating_mul(times);
        self.filled = self.filled.saturating_mul(times);
        self.looked_at = self.looked_at.saturating_mul(times);
        self.values.values_mut().for_each(|n| *n = n.saturating_mul(times));
        self.fits.values_mut().for_each(|n| *n = n.saturating_mul(times));
        self.boroughs.values_mut().for_each(|n| *n = n.saturating_mul(times));
    }

    /// A column of the names of columns.
    pub(crate) fn of_names<'a>(name: &str, names: impl Iterator<Item = &'a str>, times: u64) -> Self {
        let mut profile = Self::named(name);
        names.for_each(|value| profile.add(Some(value)));
        profile.times(times);
        profile
    }

    /// One column with the values of several columns.
    pub(crate) fn together(name: &str, columns: Vec<Self>) -> Self {
        let mut profile = Self::named(name);
        for column in columns {
            profile.rows = profile.rows.saturating_add(column.rows);
            profile.filled = profile.filled.saturating_add(column.filled);
            profile.looked_at = profile.looked_at.saturating_add(column.looked_at);
            profile.overflowed |= column.overflowed;
            column.values.into_iter().for_each(|(value, n)| *profile.values.entry(value).or_default() += n);
            column.fits.into_iter().for_each(|(kind, n)| *profile.fits.entry(kind).or_default() += n);
            profile.numbers.extend(column.numbers);
            profile.decimals = profile.decimals.max(column.decimals);
            for (text, (found, rows)) in column.markers {
                profile.markers.entry(text).or_insert((found, 0)).1 += rows;
            }
        }
        profile
    }

    /// The number below which this share of the values lies.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let mut numbers = self.numbers.clone();
        numbers.sort_by(f64::total_cmp);
        let at = (numbers.len().checked_sub(1)? as f64 * share).round() as usize;
        numbers.get(at).copied()
    }
}

/// Whether a name is a month, as in `201904` or `2019-04`.
pub(crate) fn is_month(name: &str) -> bool {
    let digits: String = name.chars().filter(|c| *c != '-').collect();
    let month = digits.get(4..).and_then(|m| m.parse::<u32>().ok());
    digits.len() == 6 && digits.starts_with(['1', '2']) && month.is_some_and(|m| (1..=12).contains(&m))
}

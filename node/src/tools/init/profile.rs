//! Profiles of the columns of a source.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use chrono::NaiveDate;
use loda_identity::Gss;

use crate::ingest::source::{Reader, Sink};
use crate::ingest::sql_functions::{money, nhs_number, nino, postcode, uk_date, uprn};

/// Every value of so many rows is looked at, and after them every sixteenth.
const LOOKED_AT: u64 = 100_000;

/// A code stands for many rows. A value in fewer rows than this may be a person.
const SOMEBODY: u64 = 5;

/// Words in a column's name that point to a person, or to something that names one.
const PERSONAL: [&str; 24] = [
    "name",
    "surname",
    "forename",
    "person",
    "tenant",
    "applicant",
    "claimant",
    "contact",
    "email",
    "mail",
    "phone",
    "mobile",
    "tel",
    "address",
    "note",
    "notes",
    "comment",
    "comments",
    "dob",
    "birth",
    "nino",
    "nhs",
    "ssn",
    "details",
];

/// The number of distinct values of a column that are remembered.
const DISTINCT: usize = 5_000;

/// The share of values that must be of a kind. The others are faults that the check will name.
const MOST: f64 = 0.98;

/// One column of a source.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) rows: u64,
    pub(crate) filled: u64,
    /// Values and their numbers of rows, until there are too many.
    pub(crate) values: BTreeMap<String, u64>,
    overflowed: bool,
    looked_at: u64,
    /// Whether one of its values begins with a zero that a number would lose.
    zeros: bool,
    fits: BTreeMap<ValueKind, u64>,
    pub(crate) dates: Option<(NaiveDate, NaiveDate)>,
    pub(crate) numbers: Vec<f64>,
    decimals: usize,
    boroughs: BTreeSet<Gss>,
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
    fn add(&mut self, value: Option<&str>) {
        self.rows = self.rows.saturating_add(1);
        let Some(text) = value.map(str::trim).filter(|text| !text.is_empty()) else { return };
        self.filled = self.filled.saturating_add(1);
        // Of many rows, a part represents all. The check looks at every row.
        if self.rows > LOOKED_AT && !self.rows.is_multiple_of(16) {
            return;
        }
        self.looked_at = self.looked_at.saturating_add(1);
        self.zeros |= text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        if self.values.len() < DISTINCT || self.values.contains_key(text) {
            *self.values.entry(text.to_owned()).or_default() += 1;
        } else {
            self.overflowed = true;
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
            self.decimals = self.decimals.max(number.split_once('.').map_or(0, |(_, fraction)| fraction.len()));
            if self.numbers.len() < 1_000_000 {
                self.numbers.push(number_value);
            }
        }
        let gss = text.parse::<Gss>().ok().filter(|gss| gss.name().is_some()).or_else(|| Gss::named(text));
        if let Some(gss) = gss {
            self.boroughs.insert(gss);
        }
    }

    /// The kind of nearly all its values.
    pub(crate) fn kind(&self) -> ValueKind {
        let most = |kind: &ValueKind| self.fits.get(kind).is_some_and(|n| *n as f64 >= self.looked_at as f64 * MOST);
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
            ValueKind::Integer | ValueKind::Amount => !self.zeros && !self.names_something() && !self.is_personal(),
            _ => true,
        });
        if self.filled == 0 { ValueKind::Text } else { fitting.unwrap_or(ValueKind::Text) }
    }

    /// Whether no value occurs twice and none is missing.
    pub(crate) fn names_rows(&self) -> bool {
        // This is unknown beyond the remembered values, but the column may still be tried as a name.
        self.rows > 1 && self.filled == self.rows && self.values.values().all(|n| *n == 1)
    }

    /// Its codes, if they are few and each stands for many rows. Rare values are left out, because a code list is
    /// published.
    pub(crate) fn codes(&self) -> Option<Vec<&str>> {
        let codes = self.values.iter().filter(|(_, n)| **n >= SOMEBODY).map(|(value, _)| value.as_str());
        let codes: Vec<&str> = codes.filter(|value| value.chars().count() <= 60).collect();
        let rare: u64 = self.values.values().filter(|n| **n < SOMEBODY).sum();
        let few = !self.overflowed && codes.len() <= 60 && rare * 50 <= self.looked_at;
        let plain = !codes.iter().any(|value| value.starts_with(['{', '[']));
        (few && plain && !codes.is_empty() && !self.is_personal()).then_some(codes)
    }

    /// The number of values that stand for few rows.
    pub(crate) fn rare(&self) -> usize {
        self.values.values().filter(|n| **n < SOMEBODY).count()
    }

    /// Whether its name points to a person.
    pub(crate) fn is_personal(&self) -> bool {
        words(&self.name).iter().any(|word| PERSONAL.contains(&word.as_str()))
    }

    /// Whether its name says that it identifies something.
    fn names_something(&self) -> bool {
        words(&self.name)
            .last()
            .is_some_and(|last| ["id", "no", "ref", "number", "code", "key"].contains(&last.as_str()))
    }

    /// Whether a value shows that its row is not a row of data.
    pub(crate) fn has_total(&self) -> bool {
        let total = |value: &String| {
            let value = value.to_lowercase();
            ["total", "grand total", "note:", "notes:", "source:"].iter().any(|word| value.starts_with(word))
        };
        self.values.keys().any(total) || self.values.contains_key(&self.name)
    }

    /// Whether it tells to which of many boroughs a row belongs.
    pub(crate) fn holds_boroughs(&self) -> bool {
        self.boroughs.len() >= 5
    }

    /// The spelling of a borough in it, if it holds many boroughs.
    pub(crate) fn spelling_of(&self, borough: &Gss) -> Option<&str> {
        if !self.holds_boroughs() {
            return None;
        }
        let is = |text: &&String| {
            text.parse::<Gss>().ok().as_ref() == Some(borough) || Gss::named(text).as_ref() == Some(borough)
        };
        self.values.keys().find(is).map(String::as_str)
    }

    pub(crate) fn scale(&self) -> usize {
        self.decimals.min(4)
    }

    /// Multiplies all counts by the number of columns that become rows.
    pub(crate) fn times(&mut self, times: u64) {
        self.rows = self.rows.saturating_mul(times);
        self.filled = self.filled.saturating_mul(times);
        self.looked_at = self.looked_at.saturating_mul(times);
        self.values.values_mut().for_each(|n| *n = n.saturating_mul(times));
        self.fits.values_mut().for_each(|n| *n = n.saturating_mul(times));
    }

    /// A column of the names of columns.
    pub(crate) fn of_names<'a>(name: &str, names: impl Iterator<Item = &'a str>, times: u64) -> Self {
        let mut profile = Self { name: name.to_owned(), ..Self::default() };
        names.for_each(|value| profile.add(Some(value)));
        profile.times(times);
        profile
    }

    /// One column with the values of several columns.
    pub(crate) fn together(name: &str, columns: Vec<Self>) -> Self {
        let mut profile = Self { name: name.to_owned(), ..Self::default() };
        for column in columns {
            profile.rows = profile.rows.saturating_add(column.rows);
            profile.filled = profile.filled.saturating_add(column.filled);
            profile.looked_at = profile.looked_at.saturating_add(column.looked_at);
            profile.overflowed |= column.overflowed;
            column.values.into_iter().for_each(|(value, n)| *profile.values.entry(value).or_default() += n);
            column.fits.into_iter().for_each(|(kind, n)| *profile.fits.entry(kind).or_default() += n);
            profile.numbers.extend(column.numbers);
            profile.decimals = profile.decimals.max(column.decimals);
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

/// The profiles of a source, and the rows that could not be read.
pub(crate) struct Profiles {
    pub(crate) columns: Vec<Profile>,
    pub(crate) bad: Vec<(u64, String)>,
}

/// Reads all of a source, and profiles its columns.
pub(crate) fn profile(reader: &dyn Reader) -> anyhow::Result<Profiles> {
    let columns = reader.columns();
    let named = columns.fields().iter().map(|f| Profile { name: f.name().clone(), ..Profile::default() });
    let mut profiling = Profiling { schema: SchemaRef::clone(&columns), columns: named.collect(), bad: Vec::new() };
    reader.read(&mut profiling)?;
    Ok(Profiles { columns: profiling.columns, bad: profiling.bad })
}

struct Profiling {
    schema: SchemaRef,
    columns: Vec<Profile>,
    bad: Vec<(u64, String)>,
}

impl Sink for Profiling {
    fn row(&mut self, _line: u64, values: &[Option<&str>]) -> anyhow::Result<()> {
        self.columns.iter_mut().zip(values).for_each(|(column, value)| column.add(*value));
        Ok(())
    }

    fn batch(&mut self, _line: u64, batch: RecordBatch) -> anyhow::Result<()> {
        for (column, field) in self.columns.iter_mut().zip(self.schema.fields()) {
            let values = batch.column_by_name(field.name()).context("a column is missing")?;
            let texts = cast(values, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>();
            (0..texts.len()).for_each(|row| column.add(texts.is_valid(row).then(|| texts.value(row))));
        }
        Ok(())
    }

    fn bad(&mut self, line: u64, why: String) {
        self.bad.push((line, why));
    }

    fn blank(&mut self) {}

    fn file(&mut self, _path: &str, _how: String) {}
}

/// Whether a name is a month, as in `201904` or `2019-04`.
pub(super) fn is_month(name: &str) -> bool {
    let digits: String = name.chars().filter(|c| *c != '-').collect();
    let month = digits.get(4..).and_then(|m| m.parse::<u32>().ok());
    digits.len() == 6 && digits.starts_with(['1', '2']) && month.is_some_and(|m| (1..=12).contains(&m))
}

/// The words of a name in lower case. It is split at spaces, signs and capitals.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in name.chars() {
        let begins = !before.is_alphanumeric() || (before.is_lowercase() && c.is_uppercase());
        if c.is_alphanumeric() {
            if begins || words.is_empty() {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(c.to_lowercase());
            }
        }
        before = c;
    }
    words
}

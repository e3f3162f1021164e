//! SQL functions for mappings that councils need and SQL does not have.
//!
//! | function | gives |
//! |---|---|
//! | `uk_date(text)` | a date: 31/12/2025, 31-Dec-25, 31.12.2025, 2025-12-31, with or without a time; the day first |
//! | `uprn(text)` | twelve digits, with zeros in front, or NULL |
//! | `postcode(text)` | `SW2 1RW`: capitals and one space, or NULL |
//! | `nhs_number(text)` | ten digits with the right check digit, or NULL |
//! | `nino(text)` | a National Insurance number without spaces, or NULL |
//! | `yes_no(text)` | true for y, yes, true, t, 1; false for n, no, false, f, 0 |
//! | `money(text)` | a plain number: £1,234.50 is 1234.50, (12.00) is -12.00; any other text stays, and the check reports it |
//! | `code('list', text)` | the contract's word in `[dataset.codes.list]`; an unknown code stays as it is, and is reported |
//! | `resident('service', key)` | the person of a service's record, over all services of `[residents]` |
//!
//! A value that a function cannot read becomes NULL. The report counts it by its shape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::{Datelike, NaiveDate};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;

use crate::ingest::residents::Residents;

/// The things that the functions of one mapping know in addition to their arguments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Helpers {
    pub(crate) unread: Arc<Unread>,
    /// The residents index. `None` where the configuration has no `[residents]`.
    pub(crate) residents: Option<Arc<Residents>>,
}

/// Registers all functions for one mapping.
pub(crate) fn register(context: &SessionContext, codes: &BTreeMap<String, BTreeMap<String, String>>, helpers: Helpers) {
    let Helpers { unread, residents } = helpers;
    let texts: [(&'static str, TextReader); 5] =
        [("uprn", uprn), ("postcode", postcode), ("nhs_number", nhs_number), ("nino", nino), ("money", amount)];
    let helper = |name, kind| Helper::new(name, kind, &unread);
    let mut functions: Vec<Helper> = texts.into_iter().map(|(name, f)| helper(name, HelperKind::Text(f))).collect();
    functions.push(helper("uk_date", HelperKind::Date));
    functions.push(helper("yes_no", HelperKind::YesNo));
    functions.push(helper("code", HelperKind::Code(Arc::new(codes.clone()))));
    functions.push(helper("resident", HelperKind::Resident(residents)));
    for function in functions {
        context.register_udf(ScalarUDF::new_from_impl(function));
    }
}

#[derive(Debug, Clone)]
struct Helper {
    name: &'static str,
    kind: HelperKind,
    signature: Signature,
    unread: Arc<Unread>,
}

/// The number of shapes that are kept for one function.
const SHAPES: usize = 10;

/// Values that functions could not read, by function and shape. In a shape, 9 stands for a digit and A for a letter.
#[derive(Debug, Default)]
pub(crate) struct Unread(Mutex<BTreeMap<&'static str, BTreeMap<String, u64>>>);

impl Unread {
    fn add(&self, function: &'static str, text: &str) {
        let shape = |c: char| match c {
            _ if c.is_ascii_digit() => '9',
            _ if c.is_alphabetic() => 'A',
            _ => c,
        };
        let shape: String = text.trim().chars().take(24).map(shape).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shapes = all.entry(function).or_default();
        let shape =
            if shapes.len() < SHAPES || shapes.contains_key(&shape) { shape } else { "other shapes".to_owned() };
        *shapes.entry(shape).or_default() += 1;
    }

    pub(crate) fn report(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(function, shapes)| ((*function).to_owned(), shapes.clone())).collect()
    }
}

/// Returns a text in its proper form, or `None` if it has none.
type TextReader = fn(&str) -> Option<String>;

#[derive(Debug, Clone)]
enum HelperKind {
    Text(TextReader),
    Date,
    YesNo,
    Code(Arc<BTreeMap<String, BTreeMap<String, String>>>),
    Resident(Option<Arc<Residents>>),
}

impl Helper {
    fn new(name: &'static str, kind: HelperKind, unread: &Arc<Unread>) -> Self {
        let arguments = if matches!(kind, HelperKind::Code(_) | HelperKind::Resident(_)) { 2 } else { 1 };
        // Arguments of any type are read as text.
        let signature = Signature::new(TypeSignature::Any(arguments), Volatility::Immutable);
        Self { name, kind, signature, unread: Arc::clone(unread) }
    }
}

/// Within one mapping, a name stands for one function.
impl PartialEq for Helper {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Helper {}

impl std::hash::Hash for Helper {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Helper {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            HelperKind::Text(_) | HelperKind::Code(_) | HelperKind::Resident(_) => DataType::Utf8,
            HelperKind::Date => DataType::Date32,
            HelperKind::YesNo => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let Some(value) = arguments.args.last() else { return exec_err!("{} wants a value", self.name) };
        let texts = cast(&value.clone().into_array(rows)?, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let result: ArrayRef = match &self.kind {
            HelperKind::Text(of) => Arc::new(texts.iter().map(|t| t.and_then(of)).collect::<StringArray>()),
            HelperKind::Date => {
                let days = texts.iter().map(|t| t.and_then(uk_date).map(days_since_1970));
                Arc::new(days.collect::<Date32Array>())
            }
            HelperKind::YesNo => Arc::new(texts.iter().map(|t| t.and_then(yes_no)).collect::<BooleanArray>()),
            HelperKind::Code(lists) => {
                let Some(list) = first_word(&arguments).and_then(|name| lists.get(name)) else {
                    return exec_err!("code(): the first argument names a list of [dataset.codes], as text");
                };
                // Spaces and capitals do not distinguish codes.
                let words: BTreeMap<String, &str> = list.iter().map(|(from, to)| (fold(from), to.as_str())).collect();
                let word =
                    |text: &str| words.get(&fold(text)).map_or_else(|| text.trim().to_owned(), |w| (*w).to_owned());
                Arc::new(texts.iter().map(|t| t.map(word)).collect::<StringArray>())
            }
            HelperKind::Resident(None) => {
                return exec_err!("resident(): node.toml has no [residents], which says who is who");
            }
            HelperKind::Resident(Some(residents)) => {
                let known = |name: &&str| residents.services().iter().any(|service| service == name);
                let Some(service) = first_word(&arguments).filter(known) else {
                    return exec_err!(
                        "resident(): the first argument names a service of [residents], as text: {}",
                        residents.services().join(", ")
                    );
                };
                let who = |key: &str| residents.resident(service, key);
                Arc::new(texts.iter().map(|t| t.and_then(who)).collect::<StringArray>())
            }
        };
        for row in (0..result.len()).filter(|row| result.is_null(*row) && texts.is_valid(*row)) {
            let text = texts.value(row);
            if !text.trim().is_empty() {
                self.unread.add(self.name, text);
            }
        }
        Ok(ColumnarValue::Array(result))
    }
}

fn first_word(arguments: &ScalarFunctionArgs) -> Option<&str> {
    match arguments.args.first() {
        Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(word)))) => Some(word),
        _ => None,
    }
}

fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn days_since_1970(date: NaiveDate) -> i32 {
    date.num_days_from_ce().saturating_sub(719_163)
}

/// Reads a date as people in the United Kingdom write it.
pub(crate) fn uk_date(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    let day = text.split(['T', ' ']).next().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))?;
    // `31 December 2025` contains spaces.
    let whole = text.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let parts: Vec<&str> = if day.contains(['/', '-', '.']) || day.len() == 8 {
        day.split(['/', '-', '.']).collect()
    } else {
        whole.split(' ').collect()
    };
    let (year, month, day) = match parts.as_slice() {
        [all] if all.len() == 8 && all.bytes().all(|b| b.is_ascii_digit()) => {
            (all.get(..4)?.parse().ok()?, all.get(4..6)?.parse().ok()?, all.get(6..)?.parse().ok()?)
        }
        [year, month, day] if year.len() == 4 => (year.parse().ok()?, month_of(month)?, day.parse().ok()?),
        [day, month, year] => (year_of(year)?, month_of(month)?, day.parse().ok()?),
        _ => return None,
    };
    NaiveDate::from_ymd_opt(year, month, day)
}

fn year_of(text: &str) -> Option<i32> {
    let year: i32 = text.parse().ok()?;
    match text.len() {
        4 => Some(year),
        // A year of two digits is in the hundred years that end twenty years from now.
        2 => {
            let now = chrono::Utc::now().year();
            let year = now - now % 100 + year;
            Some(if year > now + 20 { year - 100 } else { year })
        }
        _ => None,
    }
}

fn month_of(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = text.get(..3)?.to_ascii_lowercase();
    months.iter().position(|month| *month == start).and_then(|at| u32::try_from(at + 1).ok())
}

/// Reads a Unique Property Reference Number: up to twelve digits.
pub(crate) fn uprn(text: &str) -> Option<String> {
    let digits = text.trim().trim_end_matches(".0").trim_start_matches('0');
    let valid = (1..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| format!("{digits:0>12}"))
}

/// Reads a postcode of the United Kingdom, by its shape.
pub(crate) fn postcode(text: &str) -> Option<String> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    if !bare.is_ascii() || !(5..=7).contains(&bare.len()) {
        return None;
    }
    let (outward, inward) = bare.split_at(bare.len() - 3);
    let shape = |text: &str| -> String {
        text.chars()
            .map(|c| {
                if c.is_ascii_digit() {
                    '9'
                } else if c.is_ascii_alphabetic() {
                    'A'
                } else {
                    '?'
                }
            })
            .collect()
    };
    let known = ["A9", "A99", "AA9", "AA99", "A9A", "AA9A"].contains(&shape(outward).as_str());
    (known && shape(inward) == "9AA").then(|| format!("{outward} {inward}"))
}

/// Reads an NHS number with the right check digit (modulus 11).
pub(crate) fn nhs_number(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) || digits.bytes().all(|b| b == b'0') {
        return None;
    }
    let mut values = digits.bytes().map(|b| u32::from(b - b'0'));
    let sum: u32 = values.clone().take(9).zip((2..=10).rev()).map(|(digit, weight)| digit * weight).sum();
    let check = (11 - sum % 11) % 11;
    (values.next_back() == Some(check)).then_some(digits)
}

/// Reads a National Insurance number, by its published shape.
pub(crate) fn nino(text: &str) -> Option<String> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    let bytes = bare.as_bytes();
    let [first, second, digits @ .., last] = bytes else { return None };
    let prefix = bare.get(..2)?;
    let valid = bytes.len() == 9
        && first.is_ascii_uppercase()
        && second.is_ascii_uppercase()
        && !b"DFIQUV".contains(first)
        && !b"DFIQUVO".contains(second)
        && !["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].contains(&prefix)
        && digits.iter().all(u8::is_ascii_digit)
        && (b'A'..=b'D').contains(last);
    valid.then_some(bare)
}

fn yes_no(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "t" | "1" => Some(true),
        "n" | "no" | "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// An amount as [`money`] reads it. Any other text stays as it is, and is no number for the contract.
fn amount(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| money(text).unwrap_or_else(|| text.to_owned()))
}

/// Reads an amount without currency and thousands. Brackets mean a minus.
pub(crate) fn money(text: &str) -> Option<String> {
    let text = text.trim();
    let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
    let bare: String =
        inner.unwrap_or(text).chars().filter(|c| !c.is_whitespace() && !['£', '\u{a0}'].contains(c)).collect();
    let (minus, digits) = match bare.strip_prefix('-').or_else(|| bare.strip_suffix('-')) {
        Some(digits) => (true, digits),
        None => (inner.is_some(), bare.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    // A comma separates thousands, and nothing else. In 12,34 it may be a decimal comma, which only people can decide.
    let whole = match whole.split(',').collect::<Vec<_>>().as_slice() {
        [alone] => (*alone).to_owned(),
        [first, groups @ ..] if (1..=3).contains(&first.len()) && groups.iter().all(|g| g.len() == 3) => {
            whole.replace(',', "")
        }
        _ => return None,
    };
    let valid = (!whole.is_empty() || !fraction.is_empty()) && number(&whole) && number(fraction);
    let whole = if whole.is_empty() { "0".to_owned() } else { whole };
    let point = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    valid.then(|| format!("{}{whole}{point}", if minus { "-" } else { "" }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dates_as_councils_write_them() {
        let date = |y, m, d| NaiveDate::from_ymd_opt(y, m, d);
        for (text, expected) in [
            ("01-Apr-05", date(2005, 4, 1)),
            ("31/12/1999", date(1999, 12, 31)),
            ("1.2.2024", date(2024, 2, 1)),
            ("2024-02-29T10:00:00Z", date(2024, 2, 29)),
            ("20240229", date(2024, 2, 29)),
            ("29/02/2023", None),
            ("03/04/2024 00:00", date(2024, 4, 3)),
            ("3 April 2024", date(2024, 4, 3)),
            ("12/31/2024", None),
            ("01/01/68", date(1968, 1, 1)),
            ("TBC", None),
            ("", None),
        ] {
            assert_eq!(uk_date(text), expected, "{text}");
        }
    }

    #[test]
    fn identifiers_are_checked() {
        assert_eq!(uprn("100021892955").as_deref(), Some("100021892955"));
        assert_eq!(uprn(" 21892955.0").as_deref(), Some("000021892955"));
        assert_eq!(uprn("1234567890123"), None);
        assert_eq!(postcode("sw21rw").as_deref(), Some("SW2 1RW"));
        assert_eq!(postcode("EC1A 1BB").as_deref(), Some("EC1A 1BB"));
        assert_eq!(postcode("SW2"), None);
        // The example of the NHS Data Dictionary.
        assert_eq!(nhs_number("943 476 5919").as_deref(), Some("9434765919"));
        assert_eq!(nhs_number("943 476 5918"), None);
        assert_eq!(nino("ab 12 34 56 c").as_deref(), Some("AB123456C"));
        assert_eq!(nino("BG123456C"), None);
        assert_eq!(money("£1,234.50").as_deref(), Some("1234.50"));
        assert_eq!(money("(12.00)").as_deref(), Some("-12.00"));
        assert_eq!(money(".5").as_deref(), Some("0.5"));
        // A decimal comma must not make an amount a hundred times as large.
        for no in ["n/a", "100,50", "1.234,56", "12,34", "1234,5", "1,2,3.00", "", "£", "1e5"] {
            assert_eq!(money(no), None, "{no}");
        }
    }
}

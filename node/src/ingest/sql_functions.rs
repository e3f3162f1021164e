//! SQL functions for mappings that councils need and SQL does not have.
//!
//! | function | gives |
//! |---|---|
//! | `uk_date(text)` | a date: 31/12/2025, 31-Dec-25, 31.12.2025, 2025-12-31, with or without a time; the day first |
//! | `us_date(text)` | the same with the month first: 12/31/2025 |
//! | `borough(text)` | the code of a London borough, from its name in any spelling or its code, or NULL |
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

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;

use crate::ingest::dates::{DateRange, DayOrder, date};
use crate::ingest::readings::{amount, borough, nhs_number, nino, postcode, uprn, yes_no};
use crate::ingest::residents::Residents;

/// The things that the functions of one mapping know in addition to their arguments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Helpers {
    pub(crate) unread: Arc<Unread>,
    /// The residents index. `None` where the configuration has no `[residents]`.
    pub(crate) residents: Option<Arc<Residents>>,
    /// The days that columns of the mapping's result can have.
    pub(crate) ranges: BTreeMap<String, DateRange>,
}

/// Registers all functions for one mapping.
pub(crate) fn register(context: &SessionContext, codes: &BTreeMap<String, BTreeMap<String, String>>, helpers: Helpers) {
    let Helpers { unread, residents, .. } = helpers;
    let texts: [(&'static str, TextReader); 6] = [
        ("uprn", uprn),
        ("postcode", postcode),
        ("nhs_number", nhs_number),
        ("nino", nino),
        ("money", amount),
        ("borough", borough),
    ];
    let helper = |name, kind| Helper::new(name, kind, &unread);
    let mut functions: Vec<Helper> = texts.into_iter().map(|(name, f)| helper(name, HelperKind::Text(f))).collect();
    functions.push(helper("uk_date", HelperKind::Date(DayOrder::DayFirst, None)));
    functions.push(helper("us_date", HelperKind::Date(DayOrder::MonthFirst, None)));
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
pub(crate) struct Unread(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    shapes: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// The values that each function was given, NULL and empty ones aside.
    given: BTreeMap<&'static str, u64>,
}

impl Unread {
    fn add(&self, function: &'static str, text: &str) {
        let shape = |c: char| match c {
            _ if c.is_ascii_digit() => '9',
            _ if c.is_alphabetic() => 'A',
            _ => c,
        };
        let shape: String = text.trim().chars().take(24).map(shape).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shapes = all.shapes.entry(function).or_default();
        let shape =
            if shapes.len() < SHAPES || shapes.contains_key(&shape) { shape } else { "other shapes".to_owned() };
        *shapes.entry(shape).or_default() += 1;
    }

    pub(crate) fn report(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.shapes.iter().map(|(function, shapes)| ((*function).to_owned(), shapes.clone())).collect()
    }

    fn given(&self, function: &'static str, values: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let given = all.given.entry(function).or_default();
        *given = given.saturating_add(values);
    }

    /// For each function: the values that it could not read, and those that it was given.
    pub(crate) fn shares(&self) -> BTreeMap<String, (u64, u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(function, given): (&&'static str, &u64)| {
            let unread = all.shapes.get(*function).map_or(0, |shapes| shapes.values().sum());
            ((*function).to_owned(), (unread, *given))
        };
        all.given.iter().map(of).collect()
    }
}

/// Returns a text in its proper form, or `None` if it has none.
type TextReader = fn(&str) -> Option<String>;

#[derive(Debug, Clone)]
enum HelperKind {
    Text(TextReader),
    Date(DayOrder, Option<DateRange>),
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
        let range = |helper: &Self| match helper.kind {
            HelperKind::Date(_, range) => range,
            _ => None,
        };
        self.name == other.name && range(self) == range(other)
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
            HelperKind::Date(..) => DataType::Date32,
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
            HelperKind::Date(order, range) => {
                let read = |text| date(text, *order, *range).map(Date32Type::from_naive_date);
                Arc::new(texts.iter().map(|t| t.and_then(read)).collect::<Date32Array>())
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
        // A place that is no borough is no fault.
        if self.name == "borough" {
            return Ok(ColumnarValue::Array(result));
        }
        let filled = |row: &usize| texts.is_valid(*row) && !texts.value(*row).trim().is_empty();
        let filled: Vec<usize> = (0..result.len()).filter(filled).collect();
        self.unread.given(self.name, filled.len() as u64);
        filled.iter().filter(|row| result.is_null(**row)).for_each(|row| self.unread.add(self.name, texts.value(*row)));
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

/// A function of dates for a column that can have dates of a range alone. `None`: it is another function.
pub(crate) fn within_range(function: &ScalarUDF, range: DateRange) -> Option<ScalarUDF> {
    let inner: &dyn Any = function.inner().as_ref();
    let helper = inner.downcast_ref::<Helper>()?;
    let HelperKind::Date(order, _) = helper.kind else { return None };
    Some(ScalarUDF::new_from_impl(Helper { kind: HelperKind::Date(order, Some(range)), ..helper.clone() }))
}

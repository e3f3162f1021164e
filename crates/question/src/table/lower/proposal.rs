//! The derived value that a figure needs: one that a contract names, or the TOML to propose.
//!
//! *Attack: a value of the asker's choice.* A value of each unit from its rows is a column like others, and with a free
//! condition it could tell whatever the asker wants of each unit. So a contract names each of them with its bands, and a
//! figure that needs another is refused with the text to propose to the contract's owners.

use loda_contract::{Column, ColumnType, Condition, Contract, Derived, Reduction, Role, Test, Value};

use crate::draft::{Comparison, Measure, Predicate, Scalar, bare_name};
use crate::refusal::{Refusal, Rule};
use crate::table::column::number;

/// Characters of a proposed name at most: contracts take no longer one.
const MAX_NAME: usize = 64;

/// A value of each unit, from the rows that meet a condition over the dataset's bare columns.
pub(super) struct ProposedColumn<'a> {
    /// The measure that is made of the rows.
    pub(super) measure: &'a Measure,
    /// Which rows; `None`: all.
    pub(super) filter: Option<Predicate>,
}

/// The contract's derived value that is the wanted one.
///
/// # Errors
/// Where it names none: with the TOML to propose.
pub(super) fn find<'c>(
    contract: &'c Contract,
    unit: &str,
    wanted: &ProposedColumn<'_>,
) -> Result<&'c Derived, Refusal> {
    let reduction = reduction(contract, wanted.measure);
    let known = contract.closure.derived.iter().find(|derived| {
        derived.unit == unit
            && Some(&derived.reduction) == reduction.as_ref()
            && predicate(contract, derived) == wanted.filter
    });
    known.ok_or_else(|| {
        Refusal::new(
            Rule::Derived,
            format!("the contract of {} names no such value of each {unit}", contract.dataset),
            match reduction.as_ref().and_then(|of| proposed(contract, unit, of, wanted.filter.as_ref())) {
                Some(text) => format!(
                    "Ask with a value that it names ({}), or propose to its owners: {text}",
                    names(contract, unit)
                ),
                None => format!("Ask with a value that it names: {}", names(contract, unit)),
            },
        )
    })
}

fn names(contract: &Contract, unit: &str) -> String {
    let of_unit = contract.closure.derived.iter().filter(|d| d.unit == unit);
    let names = of_unit.map(|d| d.name.as_str()).collect::<Vec<_>>().join(", ");
    if names.is_empty() { "there is none".to_owned() } else { names }
}

/// Rows that are all of different units are those units.
fn reduction(contract: &Contract, measure: &Measure) -> Option<Reduction> {
    let bare = |name: &String| bare_name(name).to_owned();
    match measure {
        Measure::Rows => Some(Reduction::Rows),
        Measure::Units(name) => {
            let unit = contract.unit_of_column(bare_name(name))?;
            unit.one_row.then_some(Reduction::Rows)
        }
        Measure::Present(name) => {
            let column = contract.column(bare_name(name))?;
            (!column.nullable).then_some(Reduction::Rows)
        }
        Measure::Sum(name) => Some(Reduction::Sum(bare(name))),
        Measure::Least(name) => Some(Reduction::Least(bare(name))),
        Measure::Greatest(name) => Some(Reduction::Greatest(bare(name))),
        Measure::Square(_) | Measure::Product(..) => None,
    }
}

/// The rows that a derived value counts, as questions spell it; `None`: all.
pub(super) fn predicate(contract: &Contract, derived: &Derived) -> Option<Predicate> {
    let operands = derived.conditions.iter().filter_map(|condition| {
        let column = contract.column(&condition.column)?;
        Some(Predicate::And(tests(column, &condition.test)))
    });
    let operands: Vec<Predicate> = operands.collect();
    (!operands.is_empty()).then(|| Predicate::And(operands).normal())
}

fn tests(column: &Column, test: &Test) -> Vec<Predicate> {
    let of = || Scalar::Column(column.name.clone());
    let compare =
        |op, value: &Value| Predicate::Compare { left: of(), op, right: Scalar::Literal(value.clone(), column.kind) };
    match test {
        Test::OneOf(values) if column.kind == ColumnType::Boolean => match values.as_slice() {
            [Value::Boolean(true)] => vec![Predicate::Truth(of())],
            [Value::Boolean(false)] => vec![Predicate::Not(Box::new(Predicate::Truth(of())))],
            _ => Vec::new(),
        },
        Test::OneOf(values) => {
            vec![Predicate::In { of: of(), values: values.iter().map(|v| (v.clone(), column.kind)).collect() }]
        }
        Test::Between { from, below } => {
            let from = from.iter().map(|value| compare(Comparison::GreaterOrEqual, value));
            from.chain(below.iter().map(|value| compare(Comparison::Less, value))).collect()
        }
    }
}

/// A derived value as a contract writes it; `None` where contracts cannot say it.
fn proposed(contract: &Contract, unit: &str, reduction: &Reduction, filter: Option<&Predicate>) -> Option<String> {
    let conditions = match filter {
        None => Vec::new(),
        Some(Predicate::And(operands)) => {
            let mut all: Vec<Condition> = Vec::new();
            for operand in operands {
                let next = condition(contract, operand)?;
                match all.iter_mut().find(|known| known.column == next.column) {
                    Some(known) => known.test = both(&known.test, &next.test)?,
                    None => all.push(next),
                }
            }
            all
        }
        Some(one) => vec![condition(contract, one)?],
    };
    let (of, bands) = match reduction {
        Reduction::Rows => {
            (format!("of = \"{}\"", of_word(reduction)), ["0", "1", "2", "3", "4", "5"].map(str::to_owned).to_vec())
        }
        Reduction::Sum(name) | Reduction::Least(name) | Reduction::Greatest(name) => {
            let column = contract.column(name)?;
            let Role::Measure { lower, edges, .. } = &column.role else { return None };
            let bands: Vec<String> =
                std::iter::once(lower).chain(edges).map(|b| number(*b, column.kind).plain(column.kind)).collect();
            (format!("of = \"{}\"\nmeasure = \"{name}\"", of_word(reduction)), bands)
        }
    };
    let what = match reduction {
        Reduction::Rows => "rows",
        Reduction::Sum(name) | Reduction::Least(name) | Reduction::Greatest(name) => name,
    };
    let which = conditions.iter().map(|c| format!("_{}", plain(&test_toml(&c.test, contract, &c.column))));
    let name = format!("{}_{}{}", of_word(reduction), what, which.collect::<String>()).replacen("rows_rows", "rows", 1);
    let name: String = name.chars().take(MAX_NAME).collect();
    let name = name.trim_end_matches('_');
    let bands = bands.iter().map(|b| format!("\"{b}\"")).collect::<Vec<_>>().join(", ");
    let filter = if conditions.is_empty() {
        String::new()
    } else {
        let tests = conditions.iter().map(|c| format!("{} = {}", c.column, test_toml(&c.test, contract, &c.column)));
        format!("where = {{ {} }}\n", tests.collect::<Vec<_>>().join(", "))
    };
    Some(format!("\n[[derived]]\nname = \"{name}\"\nunit = \"{unit}\"\n{of}\n{filter}bands = [{bands}]\n"))
}

/// The letters and figures of some text, in a name.
fn plain(text: &str) -> String {
    let letters = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    let words = letters.collect::<String>();
    words.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

/// As contracts write it.
fn of_word(reduction: &Reduction) -> &'static str {
    match reduction {
        Reduction::Rows => "rows",
        Reduction::Sum(_) => "sum",
        Reduction::Least(_) => "least",
        Reduction::Greatest(_) => "greatest",
    }
}

/// Two bounds of one column as one test; `None`: contracts cannot say it.
fn both(a: &Test, b: &Test) -> Option<Test> {
    match (a, b) {
        (Test::Between { from: Some(from), below: None }, Test::Between { from: None, below: Some(below) })
        | (Test::Between { from: None, below: Some(below) }, Test::Between { from: Some(from), below: None }) => {
            Some(Test::Between { from: Some(from.clone()), below: Some(below.clone()) })
        }
        _ => None,
    }
}

fn condition(contract: &Contract, predicate: &Predicate) -> Option<Condition> {
    let named = |of: &Scalar| match of {
        Scalar::Column(name) => contract.column(name).map(|c| c.name.clone()),
        _ => None,
    };
    let one = |of: &Scalar, test: Test| Some(Condition { column: named(of)?, test });
    match predicate {
        Predicate::Truth(of) => one(of, Test::OneOf(vec![Value::Boolean(true)])),
        Predicate::Not(inner) => match inner.as_ref() {
            Predicate::Truth(of) => one(of, Test::OneOf(vec![Value::Boolean(false)])),
            _ => None,
        },
        Predicate::In { of, values } => one(of, Test::OneOf(values.iter().map(|(v, _)| v.clone()).collect())),
        Predicate::Compare { left, op, right: Scalar::Literal(value, _) } => match op {
            Comparison::Equal => one(left, Test::OneOf(vec![value.clone()])),
            Comparison::GreaterOrEqual => one(left, Test::Between { from: Some(value.clone()), below: None }),
            Comparison::Less => one(left, Test::Between { from: None, below: Some(value.clone()) }),
            _ => None,
        },
        _ => None,
    }
}

fn test_toml(test: &Test, contract: &Contract, column: &str) -> String {
    let kind = contract.column(column).map_or(ColumnType::Text, |c| c.kind);
    let value = |value: &Value| match value {
        Value::Boolean(b) => b.to_string(),
        other => format!("\"{}\"", other.plain(kind).replace('\\', "\\\\").replace('"', "\\\"")),
    };
    match test {
        Test::OneOf(values) => match values.as_slice() {
            [one] => value(one),
            several => format!("[{}]", several.iter().map(value).collect::<Vec<_>>().join(", ")),
        },
        Test::Between { from, below } => {
            let bound = |name: &str, of: &Option<Value>| of.as_ref().map(|v| format!("{name} = {}", value(v)));
            let bounds: Vec<String> = [bound("from", from), bound("below", below)].into_iter().flatten().collect();
            format!("{{ {} }}", bounds.join(", "))
        }
    }
}

//! Evaluation of scalars and predicates on contract values, as DataFusion evaluates them on rows.
//!
//! Grids, structural zeros and the pruning of boroughs rest on this. A property test in the integration suite compares it
//! with DataFusion: if the two differed, a cell with units could be taken for empty by contract.

use loda_contract::{Grain, Value};

use crate::draft::{Comparison, DatePart, Predicate, Scalar};

/// The value that each column has in a row.
type Row<'a> = &'a dyn Fn(&str) -> Value;

impl Scalar {
    /// The value in a row; NULL where a column has another type than the operation takes.
    pub(crate) fn evaluate(&self, row: Row<'_>) -> Value {
        match self {
            Self::Column(name) => row(name),
            Self::Literal(value, _) => value.clone(),
            Self::DateTrunc(grain, of) => match of.evaluate(row) {
                Value::Date(day) => Value::Date(grain.floor(day)),
                _ => Value::Null,
            },
            Self::DatePart(part, of) => match of.evaluate(row) {
                Value::Date(day) => part.of(day),
                _ => Value::Null,
            },
            Self::Upper(of) => of.evaluate(row).map_text(|t| t.to_uppercase()),
            Self::Lower(of) => of.evaluate(row).map_text(|t| t.to_lowercase()),
            Self::Arithmetic(op, of, literal) => match of.evaluate(row) {
                // Arithmetic that overflows is refused when the key's image is computed.
                Value::Integer(i) => op.apply(i, *literal).map_or(Value::Null, Value::Integer),
                _ => Value::Null,
            },
            Self::Coalesce(operands) => {
                operands.iter().map(|o| o.evaluate(row)).find(|v| *v != Value::Null).unwrap_or(Value::Null)
            }
            Self::Case { branches, otherwise } => branches
                .iter()
                .find(|(when, _)| when.evaluate(row) == Some(true))
                .map(|(_, then)| then)
                .or(otherwise.as_deref())
                .map_or(Value::Null, |chosen| chosen.evaluate(row)),
        }
    }

    /// Whether no column is read, so that the value is the same in every row.
    pub(crate) fn is_constant(&self) -> bool {
        let mut columns = std::collections::BTreeSet::new();
        self.columns(&mut columns);
        columns.is_empty()
    }
}

impl Predicate {
    /// Whether the predicate holds in a row; `None`: unknown.
    #[must_use]
    pub fn evaluate(&self, row: Row<'_>) -> Option<bool> {
        match self {
            Self::Constant(truth) => *truth,
            Self::Truth(of) => match of.evaluate(row) {
                Value::Boolean(truth) => Some(truth),
                _ => None,
            },
            Self::Compare { left, op, right } => op.holds(&left.evaluate(row), &right.evaluate(row)),
            // Nothing is in an empty list, not even something unknown.
            Self::In { values, .. } if values.is_empty() => Some(false),
            Self::In { of, values } => match of.evaluate(row) {
                Value::Null => None,
                value if values.iter().any(|(v, _)| *v == value) => Some(true),
                _ if values.iter().any(|(v, _)| *v == Value::Null) => None,
                _ => Some(false),
            },
            Self::IsNull(of) => Some(of.evaluate(row) == Value::Null),
            Self::Not(of) => of.evaluate(row).map(|truth| !truth),
            Self::And(operands) => connect(operands, row, false),
            Self::Or(operands) => connect(operands, row, true),
        }
    }
}

/// AND (`dominant` false) and OR (`dominant` true) under three-valued logic.
fn connect(operands: &[Predicate], row: Row<'_>, dominant: bool) -> Option<bool> {
    let mut result = Some(!dominant);
    for operand in operands {
        match operand.evaluate(row) {
            Some(truth) if truth == dominant => return Some(dominant),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> Option<bool> {
        if *left == Value::Null || *right == Value::Null {
            return None;
        }
        Some(match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        })
    }
}

impl DatePart {
    fn of(self, day: i32) -> Value {
        let text = Value::Date(day).plain(loda_contract::ColumnType::Date);
        let mut fields = text.rsplitn(3, '-');
        let (_, month, year) = (fields.next(), fields.next(), fields.next());
        let number = |field: Option<&str>| field.and_then(|f| f.parse::<i64>().ok());
        match (self, number(year), number(month)) {
            (Self::Year, Some(year), _) => Value::Integer(year),
            (Self::Month, _, Some(month)) => Value::Integer(month),
            (Self::Quarter, _, Some(month)) => Value::Integer((month - 1) / 3 + 1),
            _ => Value::Null,
        }
    }

    /// The coarsest grain that still tells this part apart.
    pub(crate) const fn grain(self) -> Grain {
        match self {
            Self::Year => Grain::Year,
            Self::Quarter => Grain::Quarter,
            Self::Month => Grain::Month,
        }
    }
}

/// Functions of a text; NULL of every other value.
trait MapText {
    fn map_text(self, f: impl Fn(&str) -> String) -> Self;
}

impl MapText for Value {
    fn map_text(self, f: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Text(text) => Self::Text(f(&text).into()),
            _ => Self::Null,
        }
    }
}

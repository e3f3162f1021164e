//! Evaluation of scalars and predicates on contract values, as DataFusion evaluates them on rows.
//!
//! Grids, structural zeros and the pruning of boroughs rest on this. A property test in the
//! integration suite holds it equal to DataFusion.

use loda_contract::{Grain, Value};

use crate::draft::{Comparison, DatePart, Predicate, Scalar};

/// The value that each column has in a row.
type Row<'a> = &'a dyn Fn(&str) -> Value;

impl Scalar {
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
                // What overflows is refused when the key's image is computed.
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

    /// This scalar where a column has a known value.
    #[must_use]
    pub fn fix(&self, column: &str, value: &Self) -> Self {
        let fix = |of: &Self| Box::new(of.fix(column, value));
        match self {
            Self::Column(name) if name == column => value.clone(),
            Self::Column(_) | Self::Literal(..) => self.clone(),
            Self::DateTrunc(grain, of) => Self::DateTrunc(*grain, fix(of)),
            Self::DatePart(part, of) => Self::DatePart(*part, fix(of)),
            Self::Upper(of) => Self::Upper(fix(of)),
            Self::Lower(of) => Self::Lower(fix(of)),
            Self::Arithmetic(op, of, literal) => Self::Arithmetic(*op, fix(of), *literal),
            Self::Coalesce(operands) => Self::Coalesce(operands.iter().map(|o| o.fix(column, value)).collect()),
            Self::Case { branches, otherwise } => Self::Case {
                branches: branches.iter().map(|(w, t)| (w.replace(column, value), t.fix(column, value))).collect(),
                otherwise: otherwise.as_ref().map(|o| fix(o)),
            },
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

    /// This predicate where a column has a known value, with what became constant folded.
    #[must_use]
    pub fn fix(&self, column: &str, value: &Scalar) -> Self {
        self.replace(column, value).normal()
    }

    fn replace(&self, column: &str, value: &Scalar) -> Self {
        match self {
            Self::Constant(_) => self.clone(),
            Self::Truth(of) => Self::Truth(of.fix(column, value)),
            Self::IsNull(of) => Self::IsNull(of.fix(column, value)),
            Self::In { of, values } => Self::In { of: of.fix(column, value), values: values.clone() },
            Self::Compare { left, op, right } => {
                Self::Compare { left: left.fix(column, value), op: *op, right: right.fix(column, value) }
            }
            Self::Not(of) => Self::Not(Box::new(of.replace(column, value))),
            Self::And(operands) => Self::And(operands.iter().map(|o| o.replace(column, value)).collect()),
            Self::Or(operands) => Self::Or(operands.iter().map(|o| o.replace(column, value)).collect()),
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

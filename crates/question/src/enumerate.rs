//! The values that columns and scalars can have, from contracts alone.
//!
//! Everything is enumerated over *representatives*: each value of an enumerable dimension; for an open dimension the
//! literals that it is compared with, and others beside, between and beyond them; for a measure one value in each band; and
//! NULL where the contract allows it. No record takes part, so grids, refusals and structural zeros tell nothing of the
//! data.
//!
//! *Attack: a small fragment that overloads a node.* The work of one enumeration is counted before it begins
//! ([`ENUMERATION_LIMIT`]).

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::{ColumnType, Domain, Role, Value};

use crate::draft::{Predicate, Scalar};
use crate::refusal::{Refusal, Rule};
use crate::scope::Scope;

/// The most work that one enumeration may be: combinations of representatives times the nodes evaluated for each.
pub(crate) const ENUMERATION_LIMIT: usize = 3_000_000;

/// The values of a key: the image of its columns' domains. `None`: open.
pub(crate) fn image(scalar: &Scalar, scope: &Scope) -> Result<Option<Vec<Value>>, Refusal> {
    let mut columns = BTreeSet::new();
    scalar.columns(&mut columns);
    let names: Vec<&String> = columns.iter().collect();
    if names.iter().any(|n| !is_enumerable(scope, n)) {
        return match scalar {
            Scalar::Case { branches, otherwise } => case_image(branches, otherwise.as_deref()).map(Some),
            _ => Ok(None),
        };
    }
    let mut literals = Literals::default();
    literals.of_scalar(scalar);
    let choices: Vec<Vec<Value>> = names.iter().map(|n| representatives(scope, n, &literals)).collect();
    evaluated(scalar, &names, &choices).map(Some)
}

/// A CASE over an open dimension or a measure can have any of its branches' values, as long as those are literals.
fn case_image(branches: &[(Predicate, Scalar)], otherwise: Option<&Scalar>) -> Result<Vec<Value>, Refusal> {
    let null = Scalar::Literal(Value::Null, ColumnType::Text);
    let results = branches.iter().map(|(_, then)| then).chain([otherwise.unwrap_or(&null)]);
    let literal = |result: &Scalar| match result {
        Scalar::Literal(value, _) => Ok(value.clone()),
        _ => Err(Refusal::new(
            Rule::Grid,
            "a CASE over a column that is not enumerable gives something other than literals",
            "Give each branch a literal",
        )),
    };
    let image = results.map(literal).collect::<Result<BTreeSet<Value>, Refusal>>()?;
    Ok(image.into_iter().collect())
}

fn evaluated(scalar: &Scalar, names: &[&String], choices: &[Vec<Value>]) -> Result<Vec<Value>, Refusal> {
    let total = choices.iter().try_fold(scalar.size(), |n, c| n.checked_mul(c.len()));
    if total.is_none_or(|n| n > ENUMERATION_LIMIT) {
        return Err(Refusal::new(
            Rule::Grid,
            "a group key combines columns with too many values",
            "Group by the columns one by one, or band them",
        ));
    }
    let mut image = BTreeSet::new();
    for_each_combination(choices, &mut |values| {
        let row = |column: &str| {
            names.iter().position(|n| *n == column).and_then(|i| values.get(i)).map_or(Value::Null, |v| (*v).clone())
        };
        image.insert(scalar.evaluate(&row));
    });
    Ok(image.into_iter().collect())
}

fn is_enumerable(scope: &Scope, name: &str) -> bool {
    scope.column(name).is_some_and(|c| matches!(&c.role, Role::Dimension(d) if *d != Domain::Open))
}

impl Scalar {
    /// Nodes to evaluate.
    pub(crate) fn size(&self) -> usize {
        1 + match self {
            Self::Literal(..) | Self::Column(_) => 0,
            Self::DateTrunc(_, of)
            | Self::DatePart(_, of)
            | Self::Upper(of)
            | Self::Lower(of)
            | Self::Arithmetic(_, of, _) => of.size(),
            Self::Coalesce(operands) => operands.iter().map(Self::size).sum(),
            Self::Case { branches, otherwise } => {
                let branches = branches.iter().map(|(when, then)| when.size() + then.size()).sum::<usize>();
                branches + otherwise.as_ref().map_or(0, |o| o.size())
            }
        }
    }
}

impl Predicate {
    /// Nodes to evaluate.
    pub(crate) fn size(&self) -> usize {
        1 + match self {
            Self::Constant(_) => 0,
            Self::Truth(of) | Self::IsNull(of) => of.size(),
            Self::In { of, values } => of.size() + values.len(),
            Self::Compare { left, right, .. } => left.size() + right.size(),
            Self::Not(of) => of.size(),
            Self::And(operands) | Self::Or(operands) => operands.iter().map(Self::size).sum(),
        }
    }
}

/// The literals that each column is compared with.
#[derive(Default)]
pub(crate) struct Literals(BTreeMap<String, BTreeSet<Value>>);

impl Literals {
    fn note(&mut self, of: &Scalar, value: &Value) {
        let mut columns = BTreeSet::new();
        of.columns(&mut columns);
        for column in columns {
            self.0.entry(column).or_default().insert(value.clone());
        }
    }

    /// Notes those of a condition.
    pub(crate) fn of_predicate(&mut self, predicate: &Predicate) {
        match predicate {
            Predicate::Constant(_) => {}
            Predicate::Truth(of) | Predicate::IsNull(of) => self.of_scalar(of),
            Predicate::In { of, values } => {
                values.iter().for_each(|(v, _)| self.note(of, v));
                self.of_scalar(of);
            }
            Predicate::Compare { left, right, .. } => {
                if let Scalar::Literal(value, _) = right {
                    self.note(left, value);
                }
                self.of_scalar(left);
                self.of_scalar(right);
            }
            Predicate::Not(of) => self.of_predicate(of),
            Predicate::And(operands) | Predicate::Or(operands) => operands.iter().for_each(|o| self.of_predicate(o)),
        }
    }

    /// Notes those of the conditions inside a scalar.
    pub(crate) fn of_scalar(&mut self, scalar: &Scalar) {
        match scalar {
            Scalar::Case { branches, otherwise } => {
                for (when, then) in branches {
                    self.of_predicate(when);
                    self.of_scalar(then);
                }
                otherwise.iter().for_each(|o| self.of_scalar(o));
            }
            Scalar::Coalesce(operands) => operands.iter().for_each(|o| self.of_scalar(o)),
            Scalar::DateTrunc(_, of)
            | Scalar::DatePart(_, of)
            | Scalar::Upper(of)
            | Scalar::Lower(of)
            | Scalar::Arithmetic(_, of, _) => self.of_scalar(of),
            Scalar::Column(_) | Scalar::Literal(..) => {}
        }
    }
}

/// One value for each way in which the question can tell values of this column apart.
pub(crate) fn representatives(scope: &Scope, name: &str, literals: &Literals) -> Vec<Value> {
    let Some(column) = scope.column(name) else { return vec![Value::Null] };
    let mut values = match &column.role {
        Role::Dimension(domain) => domain.values().unwrap_or_else(|| open_values(literals.0.get(name))),
        Role::Measure { lower, edges, .. } => {
            // The lower bound and each edge: one value in each band.
            let band = |units: &i128| match column.kind {
                ColumnType::Decimal(_) => Value::Decimal(*units),
                _ => i64::try_from(*units).map_or(Value::Null, Value::Integer),
            };
            let mut bands: Vec<Value> = std::iter::once(lower).chain(edges).map(band).collect();
            bands.sort();
            bands.dedup();
            bands
        }
        _ => vec![Value::Text("".into())],
    };
    if column.nullable {
        values.push(Value::Null);
    }
    values
}

/// The literals themselves, and something beside, between and beyond them.
fn open_values(literals: Option<&BTreeSet<Value>>) -> Vec<Value> {
    let mut values = BTreeSet::from([Value::Text("".into()), Value::Text("\u{10FFFF}".into())]);
    for literal in literals.into_iter().flatten() {
        if let Value::Text(text) = literal {
            let beside = [text.to_string(), format!("{text}\0"), text.to_uppercase(), text.to_lowercase()];
            values.extend(beside.map(|text| Value::Text(text.into())));
        }
    }
    values.into_iter().collect()
}

/// Calls a function with each combination of one value of each list.
pub(crate) fn for_each_combination(choices: &[Vec<Value>], f: &mut dyn FnMut(&[&Value])) {
    fn step<'a>(choices: &'a [Vec<Value>], chosen: &mut Vec<&'a Value>, f: &mut dyn FnMut(&[&Value])) {
        let Some((first, rest)) = choices.split_first() else { return f(chosen) };
        for value in first {
            chosen.push(value);
            step(rest, chosen, f);
            chosen.pop();
        }
    }
    step(choices, &mut Vec::new(), f);
}

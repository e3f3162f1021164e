//! One spelling for conditions on measures, in which the rules judge them.
//!
//! Of whole units `> 20` says `>= 21`, and `= 20` says the band between two edges. A rule that knew `<` and `>=` alone would
//! refuse questions that say something allowed, and a condition in two spellings would count as two.

use loda_contract::{Column, ColumnType, Role, Value};

use crate::draft::{Comparison, Predicate, Scalar};
use crate::scope::Scope;

/// A condition in the spelling that the rules judge; `None`: it says nothing.
///
/// On a measure `> v` whose next unit is an edge says `>= edge`, `= v` says a band between two edges, and
/// `coalesce(measure, v)` says whether a missing value meets the condition.
pub(crate) fn spelled(predicate: Predicate, scope: &Scope) -> Option<Predicate> {
    match map_leaves(predicate.normal(), &|leaf| edge_spelling(leaf, scope)).normal() {
        Predicate::Constant(Some(true)) => None,
        other => Some(other),
    }
}

/// A scalar whose conditions are spelled so.
pub(crate) fn spelled_scalar(scalar: Scalar, scope: &Scope) -> Scalar {
    let spell = |p: Predicate| spelled(p, scope).unwrap_or(Predicate::Constant(Some(true)));
    map_conditions(scalar, &spell)
}

/// The conditions inside a scalar's CASE.
fn map_conditions(key: Scalar, f: &dyn Fn(Predicate) -> Predicate) -> Scalar {
    match key {
        Scalar::Case { branches, otherwise } => Scalar::Case {
            branches: branches.into_iter().map(|(when, then)| (f(when), map_conditions(then, f))).collect(),
            otherwise: otherwise.map(|o| Box::new(map_conditions(*o, f))),
        },
        other => other,
    }
}

fn map_leaves(predicate: Predicate, f: &dyn Fn(Predicate) -> Predicate) -> Predicate {
    let all = |operands: Vec<Predicate>| operands.into_iter().map(|o| map_leaves(o, f)).collect();
    match predicate {
        Predicate::And(operands) => Predicate::And(all(operands)),
        Predicate::Or(operands) => Predicate::Or(all(operands)),
        Predicate::Not(of) => Predicate::Not(Box::new(map_leaves(*of, f))),
        leaf => f(leaf),
    }
}

fn edge_spelling(leaf: Predicate, scope: &Scope) -> Predicate {
    let is_measure = |of: &Scalar| match of {
        Scalar::Column(name) => scope.column(name).filter(|c| matches!(c.role, Role::Measure { .. })),
        _ => None,
    };
    let is_filled = |of: &Scalar| match of {
        Scalar::Coalesce(operands) => match operands.as_slice() {
            [measure, Scalar::Literal(..)] => is_measure(measure).is_some(),
            _ => false,
        },
        _ => false,
    };
    match leaf {
        Predicate::In { of, values } if is_measure(&of).is_some() || is_filled(&of) => {
            let equal = |(value, kind)| {
                let right = Scalar::Literal(value, kind);
                edge_spelling(Predicate::Compare { left: of.clone(), op: Comparison::Equal, right }, scope)
            };
            Predicate::Or(values.into_iter().map(equal).collect())
        }
        Predicate::Compare { left: Scalar::Coalesce(mut operands), op, right: Scalar::Literal(value, kind) }
            if is_filled(&Scalar::Coalesce(operands.clone())) =>
        {
            let right = Scalar::Literal(value, kind);
            let (Some(filler), Some(measure)) = (operands.pop(), operands.pop()) else {
                return Predicate::Constant(None);
            };
            let missing = Predicate::IsNull(measure.clone());
            let filled = Predicate::Compare { left: filler, op, right: right.clone() }.evaluate(&|_| Value::Null);
            let compared = edge_spelling(Predicate::Compare { left: measure, op, right }, scope);
            if filled == Some(true) {
                Predicate::Or(vec![compared, missing])
            } else {
                Predicate::And(vec![compared, Predicate::Not(Box::new(missing))])
            }
        }
        Predicate::Compare { left, op, right: Scalar::Literal(value, kind) } => match is_measure(&left) {
            Some(column) => at_edges(column, left, op, value, kind),
            None => Predicate::Compare { left, op, right: Scalar::Literal(value, kind) },
        },
        other => other,
    }
}

fn at_edges(column: &Column, left: Scalar, op: Comparison, value: Value, kind: ColumnType) -> Predicate {
    let next = match value {
        Value::Integer(i) => i.checked_add(1).map(Value::Integer),
        Value::Decimal(d) => d.checked_add(1).map(Value::Decimal),
        _ => None,
    };
    let compare = |op, value| Predicate::Compare { left: left.clone(), op, right: Scalar::Literal(value, kind) };
    let (Some(next), true) = (next, kind == column.kind) else { return compare(op, value) };
    // A value that is never below 0 is not below it, and is at least 0.
    let least = match (&column.role, &value) {
        (Role::Measure { lower: 0.., .. }, Value::Integer(0) | Value::Decimal(0)) => !column.nullable,
        _ => false,
    };
    match op {
        Comparison::GreaterOrEqual if least => Predicate::Constant(Some(true)),
        Comparison::Less if least => Predicate::Constant(Some(false)),
        Comparison::Equal if least => compare(Comparison::Less, next),
        Comparison::NotEqual if least => compare(Comparison::GreaterOrEqual, next),
        Comparison::Greater => compare(Comparison::GreaterOrEqual, next),
        Comparison::LessOrEqual => compare(Comparison::Less, next),
        Comparison::Equal => {
            Predicate::And(vec![compare(Comparison::GreaterOrEqual, value), compare(Comparison::Less, next)])
        }
        Comparison::NotEqual => {
            Predicate::Or(vec![compare(Comparison::Less, value), compare(Comparison::GreaterOrEqual, next)])
        }
        op => compare(op, value),
    }
}

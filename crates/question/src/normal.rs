//! One spelling for each predicate: conditions that are worded differently and mean the same encode the same.
//!
//! *Attack: one question in many wordings.* `a = 1 OR a = 2`, `a IN (2, 1)` and `NOT (a <> 1 AND a <> 2)` are one condition.
//! If each wording were a question of its own, its bytes would not show that it is asked again, and the order of its
//! conditions would follow from the wording. Constants are folded, negations stand at the leaves, operands are flat, sorted
//! and single, and equalities on one scalar are gathered into IN.

use std::collections::BTreeMap;

use loda_contract::{ColumnType, Value};

use crate::draft::column_name::qualified;
use crate::draft::{
    Arithmetic, Comparison, Draft, Figure, Join, JoinKind, Measure, PerUnit, Predicate, Rows, Scalar, Source,
};

impl Draft {
    /// The draft in normal form. Keys and figures keep their order: results come back in it.
    #[must_use]
    pub fn normal(self) -> Self {
        Self {
            rows: self.rows.normal(),
            figures: self.figures.into_iter().map(Figure::normal).collect(),
            keys: self.keys.into_iter().map(Scalar::normal).collect(),
        }
    }
}

impl Figure {
    fn normal(self) -> Self {
        let measure = match self.measure {
            Measure::Product(a, b) if b < a => Measure::Product(b, a),
            other => other,
        };
        Self { measure, condition: self.condition.and_then(kept) }
    }
}

/// The condition in normal form, where it says something.
fn kept(predicate: Predicate) -> Option<Predicate> {
    match predicate.normal() {
        Predicate::Constant(Some(true)) => None,
        other => Some(other),
    }
}

impl Rows {
    /// Conditions stand once, and as far out as they can: on the rows, not on a source that is joined by an inner join.
    #[must_use]
    pub fn normal(self) -> Self {
        let alone = self.joins.is_empty();
        let (first, mut lifted) = self.first.lifted(0, alone);
        let mut joins = Vec::with_capacity(self.joins.len());
        for (place, join) in (1..).zip(self.joins) {
            let mut on = join.on;
            on.sort();
            on.dedup();
            let source = if join.kind == JoinKind::Inner {
                let (source, filter) = join.source.lifted(place, false);
                lifted.extend(filter);
                source
            } else {
                join.source.normal()
            };
            joins.push(Join { kind: join.kind, source, on });
        }
        let filter = lifted.into_iter().chain(self.filter).reduce(|a, b| Predicate::And(vec![a, b]));
        Self { first, joins, filter: filter.and_then(kept) }
    }
}

impl Source {
    fn normal(self) -> Self {
        match self {
            Self::Dataset { name, filter } => Self::Dataset { name, filter: filter.and_then(kept) },
            Self::PerUnit(per_unit) => {
                let PerUnit { rows, unit, mut keys, values } = *per_unit;
                keys.sort();
                keys.dedup();
                let values = values.into_iter().map(Figure::normal).collect();
                Self::PerUnit(Box::new(PerUnit { rows: rows.normal(), unit, keys, values }))
            }
        }
    }

    /// The source without its condition, and that condition over the joined rows.
    fn lifted(self, place: usize, alone: bool) -> (Self, Vec<Predicate>) {
        match self {
            Self::Dataset { name, filter: Some(filter) } => {
                let filter = if alone { filter } else { filter.qualified(place) };
                (Self::Dataset { name, filter: None }, vec![filter])
            }
            other => (other.normal(), Vec::new()),
        }
    }
}

impl Scalar {
    /// The scalar with its constant parts evaluated.
    #[must_use]
    pub fn folded(self) -> Self {
        self.normal()
    }

    /// The type of a scalar that reads no column.
    fn constant_kind(&self) -> ColumnType {
        match self {
            Self::Literal(_, kind) => *kind,
            Self::DateTrunc(..) => ColumnType::Date,
            Self::DatePart(..) | Self::Arithmetic(..) => ColumnType::Integer,
            Self::Upper(_) | Self::Lower(_) | Self::Column(_) => ColumnType::Text,
            Self::Coalesce(operands) => operands.first().map_or(ColumnType::Text, Self::constant_kind),
            Self::Case { branches, otherwise } => {
                let first = branches.first().map(|(_, then)| then).or(otherwise.as_deref());
                first.map_or(ColumnType::Text, Self::constant_kind)
            }
        }
    }

    fn normal(self) -> Self {
        if self.is_constant() && !matches!(self, Self::Literal(..)) {
            let value = self.evaluate(&|_| Value::Null);
            return Self::Literal(value, self.constant_kind());
        }
        match self {
            Self::DateTrunc(grain, of) => Self::DateTrunc(grain, Box::new(of.normal())),
            Self::DatePart(part, of) => Self::DatePart(part, Box::new(of.normal())),
            Self::Upper(of) => Self::Upper(Box::new(of.normal())),
            Self::Lower(of) => Self::Lower(Box::new(of.normal())),
            Self::Arithmetic(op, of, literal) => match (op, literal) {
                (Arithmetic::Add | Arithmetic::Subtract, 0) | (Arithmetic::Multiply | Arithmetic::Divide, 1) => {
                    of.normal()
                }
                _ => Self::Arithmetic(op, Box::new(of.normal()), literal),
            },
            Self::Coalesce(operands) => Self::Coalesce(operands.into_iter().map(Self::normal).collect()),
            Self::Case { branches, otherwise } => Self::Case {
                branches: branches.into_iter().map(|(w, t)| (w.normal(), t.normal())).collect(),
                otherwise: otherwise
                    .map(|o| o.normal())
                    .filter(|o| !matches!(o, Self::Literal(Value::Null, _)))
                    .map(Box::new),
            },
            leaf => leaf,
        }
    }
}

impl Scalar {
    /// The scalar with every column renamed.
    #[must_use]
    pub fn renamed(self, name: &dyn Fn(String) -> String) -> Self {
        let all = |operands: Vec<Self>| operands.into_iter().map(|o| o.renamed(name)).collect();
        match self {
            Self::Column(column) => Self::Column(name(column)),
            Self::Literal(..) => self,
            Self::DateTrunc(grain, of) => Self::DateTrunc(grain, Box::new(of.renamed(name))),
            Self::DatePart(part, of) => Self::DatePart(part, Box::new(of.renamed(name))),
            Self::Upper(of) => Self::Upper(Box::new(of.renamed(name))),
            Self::Lower(of) => Self::Lower(Box::new(of.renamed(name))),
            Self::Arithmetic(op, of, literal) => Self::Arithmetic(op, Box::new(of.renamed(name)), literal),
            Self::Coalesce(operands) => Self::Coalesce(all(operands)),
            Self::Case { branches, otherwise } => Self::Case {
                branches: branches.into_iter().map(|(w, t)| (w.renamed(name), t.renamed(name))).collect(),
                otherwise: otherwise.map(|o| Box::new(o.renamed(name))),
            },
        }
    }
}

impl Measure {
    /// The measure with every column renamed.
    #[must_use]
    pub fn renamed(self, name: &dyn Fn(String) -> String) -> Self {
        match self {
            Self::Rows => Self::Rows,
            Self::Units(c) => Self::Units(name(c)),
            Self::Present(c) => Self::Present(name(c)),
            Self::Sum(c) => Self::Sum(name(c)),
            Self::Square(c) => Self::Square(name(c)),
            Self::Product(a, b) => Self::Product(name(a), name(b)),
            Self::Least(c) => Self::Least(name(c)),
            Self::Greatest(c) => Self::Greatest(name(c)),
        }
    }
}

impl Scalar {
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
}

impl Predicate {
    /// This predicate where a column has a known value, with constant parts folded.
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

impl Predicate {
    /// The predicate over bare columns, as one over the columns of a source among several.
    fn qualified(self, place: usize) -> Self {
        self.renamed(&|bare| qualified(place, &bare))
    }

    /// The predicate with every column renamed.
    #[must_use]
    pub fn renamed(self, name: &dyn Fn(String) -> String) -> Self {
        let all = |operands: Vec<Self>| operands.into_iter().map(|o| o.renamed(name)).collect();
        match self {
            Self::Constant(_) => self,
            Self::Truth(of) => Self::Truth(of.renamed(name)),
            Self::IsNull(of) => Self::IsNull(of.renamed(name)),
            Self::In { of, values } => Self::In { of: of.renamed(name), values },
            Self::Compare { left, op, right } => {
                Self::Compare { left: left.renamed(name), op, right: right.renamed(name) }
            }
            Self::Not(of) => Self::Not(Box::new(of.renamed(name))),
            Self::And(operands) => Self::And(all(operands)),
            Self::Or(operands) => Self::Or(all(operands)),
        }
    }

    /// The predicate in normal form: constants folded, negations at the leaves, operands flat,
    /// sorted and single, equalities on one scalar gathered into IN.
    #[must_use]
    pub fn normal(self) -> Self {
        match self {
            Self::Constant(_) => self,
            Self::Truth(of) => folded(Self::Truth(of.normal())),
            Self::IsNull(of) => folded(Self::IsNull(of.normal())),
            Self::Compare { left, op, right } => {
                let (left, right) = (left.normal(), right.normal());
                // Literals stand on the right; of two columns the lesser name stands on the left.
                let exchange = left.is_constant() || (!right.is_constant() && right < left);
                folded(if exchange {
                    Self::Compare { left: right, op: op.flipped(), right: left }
                } else {
                    Self::Compare { left, op, right }
                })
            }
            Self::In { of, values } => {
                let mut values = values;
                values.sort();
                values.dedup();
                let of = of.normal();
                match values.as_slice() {
                    [] => Self::Constant(Some(false)),
                    [(value, kind)] => {
                        let right = Scalar::Literal(value.clone(), *kind);
                        folded(Self::Compare { left: of, op: Comparison::Equal, right })
                    }
                    _ => folded(Self::In { of, values }),
                }
            }
            Self::Not(of) => match of.normal() {
                Self::Constant(truth) => Self::Constant(truth.map(|t| !t)),
                Self::Not(inner) => *inner,
                Self::Compare { left, op, right } => Self::Compare { left, op: op.negated(), right },
                // De Morgan holds in three-valued logic.
                Self::And(operands) => Self::Or(negated(operands)).normal(),
                Self::Or(operands) => Self::And(negated(operands)).normal(),
                leaf => Self::Not(Box::new(leaf)),
            },
            Self::And(operands) => gathered(operands, false),
            Self::Or(operands) => gathered(operands, true),
        }
    }
}

fn negated(operands: Vec<Predicate>) -> Vec<Predicate> {
    operands.into_iter().map(|o| Predicate::Not(Box::new(o))).collect()
}

/// A leaf that reads no column is a constant.
fn folded(leaf: Predicate) -> Predicate {
    let mut columns = std::collections::BTreeSet::new();
    leaf.columns(&mut columns);
    if columns.is_empty() { Predicate::Constant(leaf.evaluate(&|_| Value::Null)) } else { leaf }
}

fn gathered(operands: Vec<Predicate>, or: bool) -> Predicate {
    let mut flat = Vec::new();
    for operand in operands {
        match operand.normal() {
            Predicate::And(inner) if !or => flat.extend(inner),
            Predicate::Or(inner) if or => flat.extend(inner),
            Predicate::Constant(Some(truth)) if truth == or => return Predicate::Constant(Some(or)),
            Predicate::Constant(Some(_)) => {}
            other => flat.push(other),
        }
    }
    if or {
        flat = equalities_as_in(flat);
    }
    flat.sort();
    flat.dedup();
    match flat.len() {
        0 => Predicate::Constant(Some(!or)),
        1 => flat.pop().unwrap_or(Predicate::Constant(Some(!or))),
        _ if or => Predicate::Or(flat),
        _ => Predicate::And(flat),
    }
}

/// `x = 1 OR x IN (2, 3)` is `x IN (1, 2, 3)`.
fn equalities_as_in(operands: Vec<Predicate>) -> Vec<Predicate> {
    let mut lists: BTreeMap<Scalar, Vec<(Value, ColumnType)>> = BTreeMap::new();
    let mut rest = Vec::new();
    for operand in operands {
        match operand {
            Predicate::Compare { left, op: Comparison::Equal, right: Scalar::Literal(value, kind) } => {
                lists.entry(left).or_default().push((value, kind));
            }
            Predicate::In { of, values } => lists.entry(of).or_default().extend(values),
            other => rest.push(other),
        }
    }
    rest.extend(lists.into_iter().map(|(of, values)| Predicate::In { of, values }.normal()));
    rest
}

//! One spelling for each predicate: what is worded differently and means the same encodes the same.

use std::collections::BTreeMap;

use loda_contract::{ColumnType, Value};

use crate::draft::{Comparison, Draft, Figure, Predicate, Scalar};

impl Draft {
    /// The draft in normal form. Keys and figures keep their order: results come back in it.
    #[must_use]
    pub fn normal(self) -> Self {
        let keep = |p: Predicate| match p.normal() {
            Predicate::Constant(Some(true)) => None,
            p => Some(p),
        };
        Self {
            filter: self.filter.and_then(keep),
            figures: self
                .figures
                .into_iter()
                .map(|f| Figure { measure: f.measure, condition: f.condition.and_then(keep) })
                .collect(),
            keys: self.keys.into_iter().map(Scalar::normal).collect(),
            dataset: self.dataset,
        }
    }
}

impl Scalar {
    /// The scalar with what is constant evaluated.
    #[must_use]
    pub fn folded(self) -> Self {
        self.normal()
    }

    /// The type of a scalar that reads no column.
    fn constant_kind(&self) -> ColumnType {
        match self {
            Self::Literal(_, kind) => *kind,
            Self::DateTrunc(..) => ColumnType::Date,
            Self::DatePart(..) => ColumnType::Integer,
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

impl Predicate {
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

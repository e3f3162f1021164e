//! The cells that a question has, and the condition masks possible in each, from the contract alone.
//!
//! Everything is enumerated over *representatives*: each value of an enumerable dimension; for an open
//! dimension the literals it is compared with and one other; for a measure one value in each band; and
//! NULL where the contract allows it. What no representative reaches is structurally empty.

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::{ColumnType, Domain, Role, Value};

use crate::derive::Question;
use crate::draft::{Predicate, Scalar};
use crate::refusal::{Refusal, Rule};
use crate::scope::Scope;

/// The most work that one enumeration may be: combinations of representatives times the nodes evaluated for each.
const ENUMERATION_LIMIT: usize = 3_000_000;

/// The values of a question's group keys in one cell.
pub type Cell = Vec<Value>;

/// The condition masks that contract and logic allow in each cell; what is absent cannot occur.
/// Cells are told apart by their *closed* keys: an open key stands as NULL.
#[derive(Clone, Debug)]
pub struct Possible {
    masks: BTreeMap<Cell, BTreeSet<u16>>,
    open: Vec<bool>,
}

impl Possible {
    /// The masks possible in a cell.
    #[must_use]
    pub fn masks(&self, cell: &[Value]) -> Option<&BTreeSet<u16>> {
        let closed: Cell =
            cell.iter().zip(&self.open).map(|(v, open)| if *open { Value::Null } else { v.clone() }).collect();
        self.masks.get(&closed)
    }

    /// Every cell, where no key is open, in order.
    #[must_use]
    pub fn cells(&self) -> Option<impl Iterator<Item = &Cell>> {
        (!self.open.contains(&true)).then(|| self.masks.keys())
    }
}

impl Question {
    /// Enumerates cells and masks. `None` where they are too many to enumerate: then every mask has to
    /// be taken as possible, which withholds more, never less.
    #[must_use]
    pub fn possible(&self) -> Option<Possible> {
        let open: Vec<bool> = self.keys().iter().map(|k| k.values.is_none()).collect();
        let mut columns = BTreeSet::new();
        let mut open_columns = BTreeSet::new();
        for key in self.keys() {
            key.scalar.columns(if key.values.is_none() { &mut open_columns } else { &mut columns });
        }
        self.conditions().iter().for_each(|c| c.columns(&mut columns));
        // What reads an open key's column depends on the very value of the key, and what does more to an open column
        // than compare it with literals has no representatives: not enumerable.
        let closed = self.keys().iter().filter(|k| k.values.is_some());
        let plain = self.conditions().iter().all(|c| c.is_plain(self.scope()))
            && closed.clone().all(|k| k.scalar.is_plain(self.scope()));
        if columns.iter().any(|c| open_columns.contains(c)) || !plain {
            return None;
        }
        // Only the filter's operands over these columns narrow what is possible; the others cannot widen it.
        let operands = match self.filter() {
            Some(Predicate::And(operands)) => operands.iter().collect(),
            Some(other) => vec![other],
            None => Vec::new(),
        };
        let narrowing: Vec<&Predicate> = operands
            .into_iter()
            .filter(|p| {
                let mut read = BTreeSet::new();
                p.columns(&mut read);
                read.is_subset(&columns) && p.is_plain(self.scope())
            })
            .collect();
        let names: Vec<&String> = columns.iter().collect();
        let mut literals = Literals::default();
        self.filter().iter().for_each(|p| literals.of_predicate(p));
        self.conditions().iter().for_each(|p| literals.of_predicate(p));
        self.keys().iter().for_each(|k| literals.of_scalar(&k.scalar));
        let choices: Vec<Vec<Value>> =
            names.iter().map(|name| representatives(self.scope(), name, &literals)).collect();
        let nodes = self.conditions().iter().map(Predicate::size).chain(narrowing.iter().map(|p| p.size()));
        let nodes = nodes.chain(closed.map(|k| k.scalar.size())).sum::<usize>().saturating_add(1);
        let total = choices.iter().try_fold(nodes, |n, c| n.checked_mul(c.len()));
        if total.is_none_or(|n| n > ENUMERATION_LIMIT) {
            return None;
        }
        let mut masks: BTreeMap<Cell, BTreeSet<u16>> = BTreeMap::new();
        for_each_combination(&choices, &mut |values| {
            let row = |column: &str| {
                names
                    .iter()
                    .position(|n| *n == column)
                    .and_then(|i| values.get(i))
                    .map_or(Value::Null, |v| (*v).clone())
            };
            if narrowing.iter().any(|p| p.evaluate(&row) != Some(true)) {
                return;
            }
            let cell = self
                .keys()
                .iter()
                .map(|k| if k.values.is_none() { Value::Null } else { k.scalar.evaluate(&row) })
                .collect();
            let mask = self.conditions().iter().enumerate().fold(0_u16, |mask, (bit, condition)| {
                let holds = condition.evaluate(&row) == Some(true);
                mask | u16::from(holds).checked_shl(u32::try_from(bit).unwrap_or(16)).unwrap_or(0)
            });
            masks.entry(cell).or_default().insert(mask);
        });
        Some(Possible { masks, open })
    }

    /// Every cell of the grid in order, as far as contract and filter allow it; `None` where a key is open.
    #[must_use]
    pub fn cells(&self) -> Option<Vec<Cell>> {
        if self.keys().is_empty() {
            // Without GROUP BY there is always one row, whatever the filter.
            return Some(vec![Vec::new()]);
        }
        let mut without_conditions = self.clone();
        without_conditions.forget_conditions();
        if let Some(possible) = without_conditions.possible() {
            return possible.cells().map(|cells| cells.cloned().collect());
        }
        let choices = self.keys().iter().map(|k| k.values.clone()).collect::<Option<Vec<_>>>()?;
        let mut cells = Vec::new();
        for_each_combination(&choices, &mut |values| cells.push(values.iter().map(|v| (*v).clone()).collect()));
        Some(cells)
    }
}

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
    /// Whether open columns stand in it only where they are compared with literals.
    fn is_plain(&self, scope: &Scope) -> bool {
        match self {
            Self::Literal(..) => true,
            Self::Column(name) => !is_open(scope, name),
            Self::DateTrunc(_, of)
            | Self::DatePart(_, of)
            | Self::Upper(of)
            | Self::Lower(of)
            | Self::Arithmetic(_, of, _) => of.is_plain(scope),
            Self::Coalesce(operands) => operands.iter().all(|o| o.is_plain(scope)),
            Self::Case { branches, otherwise } => {
                branches.iter().all(|(when, then)| when.is_plain(scope) && then.is_plain(scope))
                    && otherwise.as_ref().is_none_or(|o| o.is_plain(scope))
            }
        }
    }

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
    fn is_plain(&self, scope: &Scope) -> bool {
        match self {
            Self::Constant(_)
            | Self::IsNull(Scalar::Column(_))
            | Self::In { of: Scalar::Column(_), .. }
            | Self::Compare { left: Scalar::Column(_), right: Scalar::Literal(..), .. } => true,
            Self::Truth(of) | Self::IsNull(of) | Self::In { of, .. } => of.is_plain(scope),
            Self::Compare { left, right, .. } => left.is_plain(scope) && right.is_plain(scope),
            Self::Not(of) => of.is_plain(scope),
            Self::And(operands) | Self::Or(operands) => operands.iter().all(|o| o.is_plain(scope)),
        }
    }

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

fn is_open(scope: &Scope, name: &str) -> bool {
    scope.column(name).is_some_and(|c| c.role == Role::Dimension(Domain::Open))
}

/// The literals that each column is compared with.
#[derive(Default)]
struct Literals(BTreeMap<String, BTreeSet<Value>>);

impl Literals {
    fn note(&mut self, of: &Scalar, value: &Value) {
        let mut columns = BTreeSet::new();
        of.columns(&mut columns);
        for column in columns {
            self.0.entry(column).or_default().insert(value.clone());
        }
    }

    fn of_predicate(&mut self, predicate: &Predicate) {
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

    fn of_scalar(&mut self, scalar: &Scalar) {
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
fn representatives(scope: &Scope, name: &str, literals: &Literals) -> Vec<Value> {
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

fn for_each_combination(choices: &[Vec<Value>], f: &mut dyn FnMut(&[&Value])) {
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

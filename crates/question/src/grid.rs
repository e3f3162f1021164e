//! The cells that a question has, and the condition masks possible in each, from the contract alone.
//!
//! A mask has one bit for each of the question's conditions. A mask that no combination of representatives reaches
//! ([`crate::enumerate`]) is structurally empty: the method of protection need not withhold a condition for it.
//!
//! *Attack: a part that is empty in truth and not by contract.* If a mask were taken for impossible because no record has
//! it, the released figures would tell that nobody does. Masks follow from contract and logic, and where they are too many
//! to enumerate, every mask counts as possible, which withholds more and never less.

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::{Domain, Role, Value};

use crate::derive::Question;
use crate::draft::{Predicate, Scalar};
use crate::enumerate::{ENUMERATION_LIMIT, Literals, for_each_combination, representatives};
use crate::scope::Scope;

/// The values of a question's group keys in one cell.
pub type Cell = Vec<Value>;

/// The condition masks that contract and logic allow in each cell; a mask that is absent cannot occur.
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
        // A condition that reads an open key's column depends on the very value of the key, and one that does more to an
        // open column than compare it with literals has no representatives: not enumerable.
        let closed = self.keys().iter().filter(|k| k.values.is_some());
        let plain = self.conditions().iter().all(|c| c.is_plain(self.scope()))
            && closed.clone().all(|k| k.scalar.is_plain(self.scope()));
        if columns.iter().any(|c| open_columns.contains(c)) || !plain {
            return None;
        }
        // Only the filter's operands over these columns narrow the possible masks; the others cannot widen them.
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
}

fn is_open(scope: &Scope, name: &str) -> bool {
    scope.column(name).is_some_and(|c| c.role == Role::Dimension(Domain::Open))
}

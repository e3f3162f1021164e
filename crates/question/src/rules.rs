//! What may stand in a condition, a scalar and a group key: the rules over one scope.

use loda_contract::{Column, ColumnType, Domain, GRID_LIMIT, Grain, Role, Value};

use crate::derive::Key;
use crate::draft::{Comparison, Predicate, Scalar, bare_name};
use crate::refusal::{Refusal, Rule};
use crate::scope::Scope;

type Checked<T> = Result<T, Refusal>;

pub(crate) struct Rules<'a> {
    pub(crate) scope: &'a Scope,
}

impl Rules<'_> {
    pub(crate) fn column(&self, name: &str) -> Checked<&Column> {
        self.scope.column(name).ok_or_else(|| unknown(&format!("column '{}'", bare_name(name))))
    }

    pub(crate) fn predicate(&self, predicate: &Predicate) -> Checked<()> {
        match predicate {
            Predicate::Constant(_) => Ok(()),
            Predicate::And(operands) | Predicate::Or(operands) => operands.iter().try_for_each(|o| self.predicate(o)),
            Predicate::Not(of) => self.predicate(of),
            Predicate::IsNull(Scalar::Column(name)) => match self.column(name)?.role {
                Role::Dimension(_) | Role::Measure { .. } | Role::Text => Ok(()),
                // After a left join: whether there was a match.
                Role::Unit(_) if self.column(name)?.nullable => Ok(()),
                _ => Err(not_compared(self.column(name)?)),
            },
            Predicate::IsNull(of) => self.scalar(of).map(drop),
            Predicate::Truth(of) => self.expect(of, ColumnType::Boolean),
            Predicate::In { of, values } => {
                let kind = self.scalar(of)?;
                for (value, literal) in values {
                    self.literal_fits(of, kind, Comparison::Equal, value, *literal)?;
                }
                Ok(())
            }
            Predicate::Compare { left: Scalar::Column(name), op, right: Scalar::Literal(value, kind) }
                if matches!(self.column(name)?.role, Role::Measure { .. }) =>
            {
                self.at_edge(self.column(name)?, *op, value, *kind)
            }
            Predicate::Compare { left, op, right } => {
                let kind = self.scalar(left)?;
                match right {
                    Scalar::Literal(value, literal) => self.literal_fits(left, kind, *op, value, *literal),
                    column => self.expect(column, kind),
                }
            }
        }
    }

    /// A scalar over dimensions, and its type.
    pub(crate) fn scalar(&self, scalar: &Scalar) -> Checked<ColumnType> {
        match scalar {
            Scalar::Literal(_, kind) => Ok(*kind),
            Scalar::Column(name) => {
                let column = self.column(name)?;
                match column.role {
                    Role::Dimension(_) => Ok(column.kind),
                    _ => Err(not_compared(column)),
                }
            }
            Scalar::DateTrunc(grain, of) => {
                self.expect(of, ColumnType::Date)?;
                self.at_grain(of, *grain)?;
                Ok(ColumnType::Date)
            }
            Scalar::DatePart(part, of) => {
                self.expect(of, ColumnType::Date)?;
                self.at_grain(of, part.grain())?;
                Ok(ColumnType::Integer)
            }
            Scalar::Arithmetic(op, of, literal) => {
                self.expect(of, ColumnType::Integer)?;
                let values = crate::grid::image(of, self.scope)?.unwrap_or_default();
                let fits = |v: &Value| !matches!(v, Value::Integer(i) if op.apply(*i, *literal).is_none());
                if values.is_empty() || !values.iter().all(fits) {
                    return Err(Refusal::new(
                        Rule::Function,
                        "arithmetic that overflows, divides by zero, or is not over an integer dimension",
                        "Band an integer dimension with literals: age / 10 * 10",
                    ));
                }
                Ok(ColumnType::Integer)
            }
            Scalar::Upper(of) | Scalar::Lower(of) => {
                self.expect(of, ColumnType::Text)?;
                Ok(ColumnType::Text)
            }
            Scalar::Coalesce(operands) => self.same_type(operands.iter()),
            Scalar::Case { branches, otherwise } => {
                branches.iter().try_for_each(|(when, _)| self.predicate(when))?;
                self.same_type(branches.iter().map(|(_, then)| then).chain(otherwise.as_deref()))
            }
        }
    }

    fn same_type<'s>(&self, scalars: impl Iterator<Item = &'s Scalar>) -> Checked<ColumnType> {
        let mut kind = None;
        for scalar in scalars.filter(|s| !matches!(s, Scalar::Literal(Value::Null, _))) {
            match kind {
                None => kind = Some(self.scalar(scalar)?),
                Some(kind) => self.expect(scalar, kind)?,
            }
        }
        kind.ok_or_else(|| {
            Refusal::new(Rule::Function, "an expression has no value but NULL", "Give it a column or a literal")
        })
    }

    fn expect(&self, scalar: &Scalar, kind: ColumnType) -> Checked<()> {
        let found = self.scalar(scalar)?;
        if found == kind {
            return Ok(());
        }
        Err(Refusal::new(
            Rule::Predicate,
            format!("a {kind} is compared or combined with a {found}"),
            format!("Write both sides as {kind}"),
        ))
    }

    fn literal_fits(
        &self,
        of: &Scalar,
        kind: ColumnType,
        op: Comparison,
        value: &Value,
        literal: ColumnType,
    ) -> Checked<()> {
        if literal != kind {
            return Err(Refusal::new(
                Rule::Predicate,
                format!("a {kind} is compared with a {literal} literal"),
                format!("Write the literal as {kind}"),
            ));
        }
        // Dates are kept at their grain: a literal off it would ask for something finer.
        let (Value::Date(day), Some(grain)) = (value, self.grain_of(of)) else { return Ok(()) };
        let boundary = match op {
            // `<= last day of the grain` means the same as `< first day of the next`.
            Comparison::LessOrEqual | Comparison::Greater => {
                let next = day.saturating_add(1);
                grain.floor(*day) == *day || grain.floor(next) == next
            }
            _ => grain.floor(*day) == *day,
        };
        if boundary {
            return Ok(());
        }
        Err(Refusal::new(
            Rule::Grain,
            format!("{} is not the first day of a {}", value.plain(kind), grain.name()),
            format!("Compare with {}", Value::Date(grain.floor(*day)).plain(kind)),
        ))
    }

    /// The grain at which a date scalar moves.
    fn grain_of(&self, scalar: &Scalar) -> Option<Grain> {
        match scalar {
            Scalar::Column(name) => match &self.scope.column(name)?.role {
                Role::Dimension(Domain::Dates { grain, .. }) => Some(*grain),
                _ => None,
            },
            Scalar::DateTrunc(grain, of) => self.grain_of(of).map(|g| g.max(*grain)),
            _ => None,
        }
    }

    fn at_grain(&self, of: &Scalar, grain: Grain) -> Checked<()> {
        match self.grain_of(of) {
            Some(finest) if grain >= finest => Ok(()),
            Some(finest) => Err(Refusal::new(
                Rule::Grain,
                format!("the date is kept by {}, not by {}", finest.name(), grain.name()),
                format!("Use {} or coarser", finest.name()),
            )),
            None => Err(Refusal::new(
                Rule::Function,
                "a date function is applied to something that is not a date dimension",
                "Apply it to a date column of the catalogue",
            )),
        }
    }

    fn at_edge(&self, column: &Column, op: Comparison, value: &Value, kind: ColumnType) -> Checked<()> {
        let Role::Measure { edges, .. } = &column.role else { return Ok(()) };
        let units = match value {
            Value::Integer(i) => Some(i128::from(*i)),
            Value::Decimal(d) => Some(*d),
            _ => None,
        };
        // Scaled units mean nothing without their scale: the literal has the column's own type.
        let at_edge = kind == column.kind && units.is_some_and(|u| edges.contains(&u));
        if at_edge && matches!(op, Comparison::Less | Comparison::GreaterOrEqual) {
            return Ok(());
        }
        let plain = |e: &i128| match column.kind {
            ColumnType::Decimal(_) => Value::Decimal(*e).plain(column.kind),
            _ => e.to_string(),
        };
        let list = edges.iter().map(plain).collect::<Vec<_>>().join(", ");
        let advice = if edges.is_empty() {
            format!("'{}' declares no band edges: filter by another column", title(column))
        } else {
            format!("Compare '{}' with < or >= at one of its edges: {list}", title(column))
        };
        Err(Refusal::new(
            Rule::BandEdge,
            format!("measure '{}' may be compared at its declared band edges only", title(column)),
            advice,
        ))
    }

    pub(crate) fn key(&self, scalar: &Scalar) -> Checked<Key> {
        if scalar.is_constant() {
            return Err(Refusal::new(
                Rule::Operator,
                "a group key is a constant",
                "Leave it out of GROUP BY and write it in the SELECT list",
            ));
        }
        if let Scalar::Column(name) = scalar {
            let column = self.column(name)?;
            let name = bare_name(name);
            match column.role {
                Role::Unit(_) => {
                    return Err(Refusal::new(
                        Rule::Key,
                        format!("grouping by '{name}' would give a figure for each {}", column.role.name()),
                        format!("Group by a dimension, and count with COUNT(DISTINCT {name})"),
                    ));
                }
                Role::Measure { .. } => {
                    return Err(Refusal::new(
                        Rule::BandEdge,
                        format!("measure '{}' cannot be grouped by its values", title(column)),
                        "Band it at its edges: CASE WHEN value < edge THEN 'low' ELSE 'high' END",
                    ));
                }
                _ => {}
            }
        }
        let kind = self.scalar(scalar)?;
        Ok(Key { scalar: scalar.clone(), kind, values: crate::grid::image(scalar, self.scope)? })
    }

    pub(crate) fn grid(&self, keys: &[Key]) -> Checked<Option<u64>> {
        let mut product: u64 = 1;
        let mut open = false;
        for key in keys {
            match &key.values {
                Some(values) => product = product.saturating_mul(values.len() as u64),
                None => open = true,
            }
        }
        if product <= GRID_LIMIT {
            return Ok((!open).then_some(product));
        }
        let largest =
            keys.iter().filter_map(|k| k.values.as_ref().map(|v| (v.len(), &k.scalar))).max_by_key(|(n, _)| *n);
        let advice = largest.map_or_else(String::new, |(size, scalar)| {
            let left = product / u64::try_from(size).unwrap_or(1).max(1);
            let name = crate::words::scalar_sql(scalar);
            if left <= GRID_LIMIT {
                format!("Leave out or band {name} ({size} values): grid {product} → {left} and upwards")
            } else {
                format!("Group by fewer keys, or band {name} ({size} values)")
            }
        });
        Err(Refusal::new(
            Rule::Grid,
            format!("the group keys span {product} cells at a node; the limit is {GRID_LIMIT}"),
            advice,
        ))
    }
}

/// What a column is called in messages: a value of each unit by what it is, any other by its name.
pub(crate) fn title(column: &Column) -> String {
    if is_value(column) {
        column.description.trim_start_matches(VALUE_OF).to_owned()
    } else {
        bare_name(&column.name).to_owned()
    }
}

/// Whether a column is a value of each unit.
pub(crate) fn is_value(column: &Column) -> bool {
    column.description.starts_with(VALUE_OF)
}

/// How the description of a value of each unit begins; no contract's can.
pub(crate) const VALUE_OF: &str = "\u{2211} ";

pub(crate) fn unknown(what: &str) -> Refusal {
    Refusal::new(Rule::Unknown, format!("{what} is in no contract"), "See the catalogue for what there is")
}

fn not_compared(column: &Column) -> Refusal {
    let name = &title(column);
    match &column.role {
        Role::Unit(_) | Role::Reference(_) => Refusal::new(
            Rule::Key,
            format!("'{name}' is a joinable key: it is never compared, computed with or grouped"),
            "Filter and group by dimensions",
        ),
        Role::Identifier => Refusal::new(
            Rule::Identifier,
            format!("'{name}' identifies somebody or something: it is never compared, grouped or shown"),
            "Filter and group by dimensions",
        ),
        Role::Measure { .. } => Refusal::new(
            Rule::BandEdge,
            format!("measure '{name}' stands in an expression"),
            "Compare the bare column at its declared band edges, or sum it",
        ),
        _ => Refusal::new(
            Rule::Text,
            format!("'{name}' is free text: only whether it is there may be asked"),
            format!("Use {name} IS NULL or IS NOT NULL"),
        ),
    }
}

/// A condition in the spelling that the rules judge; `None`: it says nothing.
///
/// On a measure `> v` whose next unit is an edge says `>= edge`, `= v` says a band between two edges, and
/// `coalesce(measure, v)` says what happens where there is none.
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
    // What is never below nothing is not below it, and is at least it.
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

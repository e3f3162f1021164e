//! Conditions and scalars: which of them may be asked.
//!
//! *Identifiers, units, reference keys* are never compared with a literal, computed with or shown. A condition on one would
//! pick a single unit, and every figure would then be about that unit.
//!
//! *Measures* are compared bare, with `<` or `>=`, at the band edges that the contract declares. At edges of the asker's
//! choice two counts could be taken on both sides of one value, and their difference would say whose value it is. CASE may
//! hold such comparisons; other functions of measures have no rule.
//!
//! *Dates* are compared and truncated at the grain of the contract or a coarser one: a finer one would split its groups.
//!
//! *Free text* may be asked for presence alone: a text may occur once, and may name a person.
//!
//! *Arithmetic* is refused where a value that the contract allows overflows or is divided by zero. An error at run time
//! would tell that a record has that value.
//!
//! *NULL* of a unit is asked after a left join alone, where it says that there was no match.

use loda_contract::{Column, ColumnType, Domain, Grain, Role, Value};

use crate::draft::{Comparison, Predicate, Scalar, bare_name};
use crate::enumerate::image;
use crate::refusal::{Checked, Refusal, Rule};
use crate::scope::Scope;
use crate::text::title;

/// The rules over one scope.
pub(crate) struct Rules<'a> {
    pub(crate) scope: &'a Scope,
}

impl Rules<'_> {
    /// A column of the scope.
    ///
    /// # Errors
    /// Rule `unknown-name`.
    pub(crate) fn column(&self, name: &str) -> Checked<&Column> {
        self.scope.column(name).ok_or_else(|| unknown(&format!("column '{}'", bare_name(name))))
    }

    /// Whether a condition may stand over these rows.
    ///
    /// # Errors
    /// The rule that refuses it.
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
                let values = image(of, self.scope)?.unwrap_or_default();
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
}

fn unknown(what: &str) -> Refusal {
    Refusal::new(Rule::Unknown, format!("{what} is in no contract"), "See the catalogue for what there is")
}

fn not_compared(column: &Column) -> Refusal {
    let name = &title(column);
    match &column.role {
        Role::Unit(_) | Role::Reference(_) => Refusal::new(
            Rule::Key,
            format!("'{name}' names single records for joins: it is never compared, computed with or grouped"),
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

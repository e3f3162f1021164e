//! The rules: from a draft and a contract to a question, or a refusal.

use std::collections::BTreeSet;
use std::sync::Arc;

use loda_contract::{Column, ColumnType, Contract, Domain, GRID_LIMIT, Grain, Protection, Role, Value};

use crate::draft::{Comparison, Draft, Measure, Predicate, Scalar};
use crate::refusal::{Refusal, Rule};

/// The most conditions whose cross-tabulation a question may ask for.
pub(crate) const CONDITION_LIMIT: usize = 16;

/// A draft with a derivation: the only thing that a node runs.
#[derive(Clone, Debug)]
pub struct Question {
    draft: Draft,
    contract: Arc<Contract>,
    keys: Vec<Key>,
    conditions: Vec<Predicate>,
    figures: Vec<Counted>,
    grid: Option<u64>,
}

/// A group key with its type and, where enumerable, its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub scalar: Scalar,
    pub kind: ColumnType,
    /// The image of its sources' domains, NULL included where it can occur; `None`: open.
    pub values: Option<Vec<Value>>,
}

/// A figure over a set of conditions (bits of a mask, in the order of [`Question::conditions`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub measure: Measure,
    pub requires: u16,
    /// Figures with equal numbers are parts of one derived figure: withheld together.
    pub together: usize,
}

type Checked<T> = Result<T, Refusal>;

impl Question {
    /// Derives a question.
    ///
    /// # Errors
    /// The rule that failed, with advice, from contract and draft alone.
    pub fn derive(draft: Draft, contract: Arc<Contract>) -> Checked<Self> {
        if draft.dataset != contract.dataset {
            return Err(unknown(&format!("dataset '{}'", draft.dataset)));
        }
        let draft = measure_edges(draft.normal(), &contract).normal();
        let rules = Rules { contract: &contract };
        if let Some(filter) = &draft.filter {
            rules.predicate(filter)?;
        }
        let keys = draft.keys.iter().map(|k| rules.key(k)).collect::<Checked<Vec<Key>>>()?;
        if draft.figures.is_empty() {
            return Err(Refusal::new(
                Rule::Rows,
                "a question without a figure would list rows",
                "Ask for COUNT(*), COUNT(DISTINCT unit), SUM or AVG of a measure",
            ));
        }
        let conditions = rules.conditions(&draft)?;
        let figures = rules.figures(&draft, &conditions)?;
        let grid = rules.grid(&keys)?;
        Ok(Self { draft, contract, keys, conditions, figures, grid })
    }

    #[must_use]
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    #[must_use]
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    #[must_use]
    pub fn filter(&self) -> Option<&Predicate> {
        self.draft.filter.as_ref()
    }

    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The distinct conditions of all figures, in canonical order; at most 16.
    #[must_use]
    pub fn conditions(&self) -> &[Predicate] {
        &self.conditions
    }

    #[must_use]
    pub fn figures(&self) -> &[Counted] {
        &self.figures
    }

    /// The measures that figures sum, in order of first use.
    #[must_use]
    pub fn measures(&self) -> Vec<&Column> {
        let mut seen = Vec::new();
        for figure in &self.figures {
            if let Measure::Sum(name) | Measure::Present(name) = &figure.measure
                && let Some(column) = self.contract.column(name)
                && !seen.contains(&column)
            {
                seen.push(column);
            }
        }
        seen
    }

    /// The same cells without what figures ask of them.
    pub(crate) fn forget_conditions(&mut self) {
        self.conditions.clear();
    }

    /// The product of the keys' domains; `None` where one is open.
    #[must_use]
    pub fn grid(&self) -> Option<u64> {
        self.grid
    }
}

/// `> v` on a measure whose next unit is an edge says `>= edge`: write it so, before the rule is applied.
fn measure_edges(draft: Draft, contract: &Contract) -> Draft {
    let rewrite = |p: Predicate| map_leaves(p, &|leaf| edge_spelling(leaf, contract));
    Draft {
        keys: draft.keys.into_iter().map(|k| map_conditions(k, &rewrite)).collect(),
        filter: draft.filter.map(rewrite),
        figures: draft
            .figures
            .into_iter()
            .map(|f| crate::draft::Figure { measure: f.measure, condition: f.condition.map(rewrite) })
            .collect(),
        ..draft
    }
}

/// The conditions inside a key's CASE.
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

fn edge_spelling(leaf: Predicate, contract: &Contract) -> Predicate {
    let Predicate::Compare { left: Scalar::Column(name), op, right: Scalar::Literal(value, kind) } = &leaf else {
        return leaf;
    };
    let is_measure = contract.column(name).is_some_and(|c| matches!(c.role, Role::Measure { .. }));
    let next = match value {
        Value::Integer(i) => i.checked_add(1).map(Value::Integer),
        Value::Decimal(d) => d.checked_add(1).map(Value::Decimal),
        _ => None,
    };
    let (Some(next), true) = (next, is_measure) else { return leaf };
    let op = match op {
        Comparison::Greater => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Less,
        _ => return leaf,
    };
    Predicate::Compare { left: Scalar::Column(name.clone()), op, right: Scalar::Literal(next, *kind) }
}

struct Rules<'a> {
    contract: &'a Contract,
}

impl Rules<'_> {
    fn column(&self, name: &str) -> Checked<&Column> {
        self.contract.column(name).ok_or_else(|| unknown(&format!("column '{name}'")))
    }

    fn predicate(&self, predicate: &Predicate) -> Checked<()> {
        match predicate {
            Predicate::Constant(_) => Ok(()),
            Predicate::And(operands) | Predicate::Or(operands) => operands.iter().try_for_each(|o| self.predicate(o)),
            Predicate::Not(of) => self.predicate(of),
            Predicate::IsNull(Scalar::Column(name)) => match self.column(name)?.role {
                Role::Dimension(_) | Role::Measure { .. } | Role::Text => Ok(()),
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
    fn scalar(&self, scalar: &Scalar) -> Checked<ColumnType> {
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
            Scalar::Column(name) => match &self.contract.column(name)?.role {
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
            format!("'{}' declares no band edges: filter by another column", column.name)
        } else {
            format!("Compare '{}' with < or >= at one of its edges: {list}", column.name)
        };
        Err(Refusal::new(
            Rule::BandEdge,
            format!("measure '{}' may be compared at its declared band edges only", column.name),
            advice,
        ))
    }

    fn key(&self, scalar: &Scalar) -> Checked<Key> {
        if scalar.is_constant() {
            return Err(Refusal::new(
                Rule::Operator,
                "a group key is a constant",
                "Leave it out of GROUP BY and write it in the SELECT list",
            ));
        }
        if let Scalar::Column(name) = scalar {
            let column = self.column(name)?;
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
                        format!("measure '{name}' cannot be grouped"),
                        format!("Use FILTER (WHERE {name} >= edge) at its declared band edges"),
                    ));
                }
                _ => {}
            }
        }
        let kind = self.scalar(scalar)?;
        Ok(Key { scalar: scalar.clone(), kind, values: crate::grid::image(scalar, self.contract)? })
    }

    fn grid(&self, keys: &[Key]) -> Checked<Option<u64>> {
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

    /// The condition under which a figure counts, with the NULLs that its measure skips where those say something.
    fn condition(&self, figure: &crate::draft::Figure) -> Checked<Option<Predicate>> {
        let skips = match &figure.measure {
            Measure::Sum(name) | Measure::Present(name) if self.null_says_something(name)? => {
                Some(Predicate::Not(Box::new(Predicate::IsNull(Scalar::Column(name.clone())))))
            }
            _ => None,
        };
        Ok(match Predicate::both(figure.condition.clone(), skips).map(Predicate::normal) {
            Some(Predicate::Constant(Some(true))) => None,
            condition => condition,
        })
    }

    fn null_says_something(&self, name: &str) -> Checked<bool> {
        let column = self.column(name)?;
        Ok(column.nullable && matches!(column.role, Role::Measure { null_is_meaningful: true, .. }))
    }

    fn conditions(&self, draft: &Draft) -> Checked<Vec<Predicate>> {
        let mut distinct = BTreeSet::new();
        for figure in &draft.figures {
            if let Some(condition) = &figure.condition {
                self.predicate(condition)?;
            }
            if let Some(condition) = self.condition(figure)? {
                distinct.insert(condition);
            }
        }
        if distinct.len() > CONDITION_LIMIT {
            return Err(Refusal::new(
                Rule::Conditions,
                format!(
                    "{} different conditions stand in one question; the limit is {CONDITION_LIMIT}",
                    distinct.len()
                ),
                "Group by the column instead of filtering each figure by it",
            ));
        }
        Ok(distinct.into_iter().collect())
    }

    fn figures(&self, draft: &Draft, conditions: &[Predicate]) -> Checked<Vec<Counted>> {
        let mut figures: Vec<Counted> = Vec::new();
        for (number, figure) in draft.figures.iter().enumerate() {
            self.measure(&figure.measure)?;
            let condition = self.condition(figure)?;
            let requires = condition
                .and_then(|c| conditions.iter().position(|known| *known == c))
                .map_or(0, |bit| 1_u16.checked_shl(u32::try_from(bit).unwrap_or(0)).unwrap_or(0));
            // SUM and COUNT over the same set are the parts of AVG: withheld together.
            let together = figures.iter().find(|f| f.requires == requires && averages(&f.measure, &figure.measure));
            let together = together.map_or(number, |f| f.together);
            figures.push(Counted { measure: figure.measure.clone(), requires, together });
        }
        Ok(figures)
    }

    fn measure(&self, measure: &Measure) -> Checked<()> {
        let personal = self.contract.protection == Protection::CellKey;
        match measure {
            Measure::Rows if personal && !self.contract.one_row_a_unit() => {
                let unit = self.contract.units.iter().find_map(|u| u.column.as_deref()).unwrap_or("unit");
                Err(Refusal::new(
                    Rule::UnitCount,
                    "rows about people are not counted: one person may have many",
                    format!("Count people: COUNT(DISTINCT {unit})"),
                ))
            }
            Measure::Rows => Ok(()),
            Measure::Units(name) => {
                let column = self.column(name)?;
                if matches!(column.role, Role::Unit(_)) {
                    return Ok(());
                }
                let units: Vec<&str> = self.contract.units.iter().filter_map(|u| u.column.as_deref()).collect();
                let advice = if units.is_empty() {
                    "Use COUNT(*): each row is a unit here".to_owned()
                } else {
                    format!("Use COUNT(DISTINCT {})", units.join(" or "))
                };
                Err(Refusal::new(Rule::UnitCount, format!("'{name}' does not name a unit"), advice))
            }
            Measure::Sum(name) | Measure::Present(name) => {
                let column = self.column(name)?;
                if !matches!(column.role, Role::Measure { .. }) {
                    return Err(Refusal::new(
                        Rule::MeasureExpression,
                        format!("'{name}' is a {}, not a measure", column.role.name()),
                        "SUM and AVG take a column whose role is measure",
                    ));
                }
                if personal {
                    return Err(Refusal::new(
                        Rule::PersonalSum,
                        format!("sums and means of '{name}' are about people"),
                        "Count people by its bands: COUNT(DISTINCT unit) FILTER (WHERE measure >= edge)",
                    ));
                }
                Ok(())
            }
        }
    }
}

fn averages(a: &Measure, b: &Measure) -> bool {
    match (a, b) {
        (Measure::Sum(a), Measure::Present(b)) | (Measure::Present(a), Measure::Sum(b)) => a == b,
        _ => false,
    }
}

fn unknown(what: &str) -> Refusal {
    Refusal::new(Rule::Unknown, format!("{what} is in no contract"), "See the catalogue for what there is")
}

fn not_compared(column: &Column) -> Refusal {
    let name = &column.name;
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

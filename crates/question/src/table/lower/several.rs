//! Conditions on one of several rows of a unit, as values of the unit.
//!
//! *Attack: a row that is picked.* A condition on one of several rows of a unit says that there is such a row. It becomes a
//! value of the unit that a contract names: a number of rows, or the least or greatest of a measure, compared where a band
//! of it begins. A condition that no contract names in this way is refused.

use std::collections::BTreeSet;

use loda_contract::{Contract, Role, Value};

use super::attach::Attachment;
use super::proposal::{self, ProposedColumn};
use crate::draft::{Comparison, Figure, Measure, Predicate, Scalar};
use crate::refusal::{Checked, Refusal, Rule};
use crate::table::ColumnRef;
use crate::table::column::number;

/// Combinations of classes that are tried for whether a condition always holds.
const TRIED: usize = 10_000;

/// A condition over rows without the operands that hold for every row; `None`: all of them do.
pub(super) fn without_truisms(filter: Predicate, contract: &Contract) -> Option<Predicate> {
    let operands = match filter {
        Predicate::And(operands) => operands,
        one => vec![one],
    };
    let mut kept: Vec<Predicate> = operands.into_iter().filter(|operand| !always(operand, contract)).collect();
    match kept.len() {
        0 => None,
        1 => kept.pop(),
        _ => Some(Predicate::And(kept)),
    }
}

fn always(predicate: &Predicate, contract: &Contract) -> bool {
    let mut names = BTreeSet::new();
    predicate.columns(&mut names);
    let mut rows: Vec<Vec<(&str, Value)>> = vec![Vec::new()];
    for name in &names {
        let Some(column) = contract.column(name) else { return false };
        let mut values = match &column.role {
            Role::Dimension(domain) => match domain.values() {
                Some(values) => values,
                None => return false,
            },
            // Conditions tell values apart at edges alone.
            Role::Measure { lower, edges, .. } => {
                std::iter::once(lower).chain(edges).map(|units| number(*units, column.kind)).collect()
            }
            _ => return false,
        };
        if column.nullable {
            values.push(Value::Null);
        }
        if rows.len().saturating_mul(values.len()) > TRIED {
            return false;
        }
        let mut longer = Vec::with_capacity(rows.len().saturating_mul(values.len()));
        for row in &rows {
            for value in &values {
                longer.push([row.as_slice(), &[(name.as_str(), value.clone())]].concat());
            }
        }
        rows = longer;
    }
    let value = |row: &[(&str, Value)], name: &str| {
        row.iter().find(|(of, _)| *of == name).map_or(Value::Null, |(_, value)| value.clone())
    };
    !names.is_empty() && rows.iter().all(|row| predicate.evaluate(&|name| value(row, name)) == Some(true))
}

/// Some row of a unit on one side of an edge of a measure: the greatest of them, or the least, is.
pub(super) struct Extreme {
    /// The greatest or the least of a measure.
    pub(super) measure: Measure,
    /// Which rows count besides.
    pub(super) filter: Option<Predicate>,
    /// On which side of the edge it is.
    pub(super) op: Comparison,
    /// The edge.
    pub(super) edge: Value,
}

/// The extreme that a condition over rows asks for; `None`: it asks for something else.
pub(super) fn extreme(contract: &Contract, filter: &Predicate) -> Option<Extreme> {
    let operands = match filter {
        Predicate::And(operands) => operands.as_slice(),
        one => std::slice::from_ref(one),
    };
    let of = |operand: &Predicate| match operand {
        Predicate::Compare { left: Scalar::Column(name), op, right: Scalar::Literal(edge, _) } => {
            let measures = contract.column(name).is_some_and(|c| matches!(c.role, Role::Measure { .. }));
            let measure = match op {
                Comparison::GreaterOrEqual => Measure::Greatest(name.clone()),
                Comparison::Less => Measure::Least(name.clone()),
                _ => return None,
            };
            measures.then(|| (measure, *op, edge.clone()))
        }
        _ => None,
    };
    let mut found = operands.iter().enumerate().filter_map(|(place, operand)| Some((place, of(operand)?)));
    let (place, (measure, op, edge)) = found.next().filter(|_| found.next().is_none())?;
    let others = operands.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, o)| o.clone());
    let others: Vec<Predicate> = others.collect();
    let filter = (!others.is_empty()).then(|| Predicate::And(others).normal());
    Some(Extreme { measure, filter, op, edge })
}

impl Attachment<'_> {
    /// A value of each unit is compared where its declared bands begin.
    ///
    /// # Errors
    /// Rule `band-edge`, with the bands.
    pub(super) fn at_band(&self, name: &str, op: Comparison, value: &Value) -> Checked<()> {
        let column = ColumnRef::parse(name).and_then(|of| of.column);
        let Some(derived) = column.and_then(|name| self.contract.derived(&name)) else { return Ok(()) };
        let units = match value {
            Value::Integer(i) => i128::from(*i),
            Value::Decimal(d) => *d,
            _ => return Ok(()),
        };
        let lowest = derived.bands.first().copied().unwrap_or(units);
        let cuts = matches!(op, Comparison::GreaterOrEqual | Comparison::Less);
        if cuts && (derived.bands.contains(&units) || units <= lowest) {
            return Ok(());
        }
        let kind = derived.kind(&self.contract.columns);
        let bands = derived.bands.iter().map(|b| number(*b, kind).plain(kind)).collect::<Vec<_>>();
        Err(Refusal::new(
            Rule::BandEdge,
            format!("'{name}' is compared with {}, where no band of it begins", value.plain(kind)),
            format!("Its bands begin at {}", bands.join(", ")),
        ))
    }

    /// Whether every row of a unit says the same of a column.
    pub(super) fn tells_of_unit(&self, bare: &str) -> bool {
        let column = self.contract.column(bare);
        column.is_some_and(|c| match &c.role {
            Role::Unit(domain) => *domain == self.unit,
            _ => self.contract.unit_of_attribute(c) == Some(self.unit.as_str()),
        })
    }

    /// The register's name of a column: where the contract says that another dataset has it, that one.
    ///
    /// # Errors
    /// Where it is no dimension and no measure.
    pub(super) fn column(&self, bare: &str) -> Checked<String> {
        let column = self.contract.column(bare);
        let column = column.ok_or_else(|| {
            Refusal::new(Rule::Unknown, format!("column '{bare}' is in no contract"), "See the catalogue")
        })?;
        if matches!(column.role, Role::Unit(_) | Role::Identifier | Role::Reference(_) | Role::Text) {
            return Err(Refusal::new(
                Rule::Table,
                format!("'{bare}' is a {}, and no column of a table about people", column.role.name()),
                "Ask of its dimensions and measures; published tables are joined to results, by a class that both have",
            ));
        }
        let (dataset, column) = match &column.attribute.same_as {
            Some((dataset, column)) => (dataset.clone(), column.clone()),
            None => (self.contract.dataset.clone(), bare.to_owned()),
        };
        Ok(ColumnRef { via: self.via.clone(), dataset, column: Some(column) }.to_string())
    }

    /// The value of each unit that a figure of its rows is.
    pub(super) fn wanted<'f>(&self, figure: &'f Figure) -> ProposedColumn<'f> {
        let filter = Predicate::both(self.filter.clone(), figure.condition.clone()).map(Predicate::normal);
        let filter = filter.filter(|f| *f != Predicate::Constant(Some(true)));
        ProposedColumn { measure: &figure.measure, filter }
    }

    /// A value of each unit.
    ///
    /// # Errors
    /// Where no contract names it.
    pub(super) fn value(&self, figure: &Figure, unit: &str) -> Checked<Scalar> {
        if !self.once {
            return Ok(Scalar::Column(self.derived(&self.wanted(figure), unit)?));
        }
        // A unit has one row: a value made of its rows is a value of that row.
        let kind = loda_contract::ColumnType::Integer;
        let (value, otherwise) = match &figure.measure {
            Measure::Sum(name) | Measure::Least(name) | Measure::Greatest(name) => {
                (Scalar::Column(self.column(name)?), None)
            }
            _ => (Scalar::Literal(Value::Integer(1), kind), Some(Box::new(Scalar::Literal(Value::Integer(0), kind)))),
        };
        let Some(condition) = &figure.condition else { return Ok(value) };
        let map = |name: &str| self.column(name).map(Scalar::Column);
        Ok(Scalar::Case { branches: vec![(mapped(condition, &map)?, value)], otherwise })
    }

    /// The register's name of the derived value that is wanted.
    ///
    /// # Errors
    /// Rule `derived-value`, with the value to propose.
    pub(super) fn derived(&self, wanted: &ProposedColumn<'_>, unit: &str) -> Checked<String> {
        if self.via.is_some() {
            return Err(Refusal::new(
                Rule::Derived,
                format!(
                    "a value of each {} stands in figures of those alone, and here each {unit} is counted",
                    self.unit
                ),
                format!("Count each {}", self.unit),
            ));
        }
        let derived = proposal::find(&self.contract, &self.unit, wanted)?;
        Ok(ColumnRef::own(&self.contract.dataset, &derived.name).to_string())
    }
}

/// A predicate over other columns.
///
/// # Errors
/// Where one of its columns is no column there.
pub(super) fn mapped(predicate: &Predicate, map: &dyn Fn(&str) -> Checked<Scalar>) -> Checked<Predicate> {
    let mut names = BTreeSet::new();
    predicate.columns(&mut names);
    let mut renamed = std::collections::BTreeMap::new();
    for name in names {
        match map(&name)? {
            Scalar::Column(other) => renamed.insert(name, other),
            _ => return Err(of_several()),
        };
    }
    Ok(predicate.clone().renamed(&|name| renamed.get(&name).cloned().unwrap_or(name)))
}

/// The refusal of a figure that reads one of several rows of a unit.
pub(super) fn of_several() -> Refusal {
    Refusal::new(
        Rule::Derived,
        "a figure of units reads what one of several rows of a unit has, beside or in a way that no derived value says",
        "Bring the table to one row a unit in a subquery (SELECT unit, COUNT(*) AS n … GROUP BY unit), and join that",
    )
}

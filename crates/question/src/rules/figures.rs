//! Figures: which counts and sums a cell may have.
//!
//! *Attack: one record as a figure.* MIN and MAX show the value of one record. A product of any two columns adds up records
//! by weights of the asker's choice, so products are those of the pairs that a contract declares.
//!
//! *Attack: parts beside their whole.* A question's conditions are judged by their cross-tabulation, in 16 bits: more of
//! them would cut cells into parts that no mask tells apart. Sum, count and squares of one set follow from each other, so
//! they carry one number and are withheld together.
//!
//! *Attack: noise that is too small.* About people, rows and values are added up only where a unit has a declared number of
//! rows and values have declared bounds, because noise is scaled by both. Values that are known of everybody (a count that
//! nobody has) would show the noise by itself, so a value of each unit is not summed.

use std::collections::BTreeSet;

use loda_contract::{Column, Role};

use super::conditions::Rules;
use crate::draft::{Draft, Figure, Measure, Predicate, Scalar, bare_name};
use crate::refusal::{Checked, Refusal, Rule};
use crate::scope::{Scope, UNBOUNDED};
use crate::text::{is_value, title};

/// The most conditions whose cross-tabulation a question may ask for.
pub(crate) const CONDITION_LIMIT: usize = 16;

/// A figure over a set of conditions (bits of a mask, in the order of
/// [`Question::conditions`](crate::Question::conditions)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The measure that is counted or added up.
    pub measure: Measure,
    /// The conditions that a row has to meet: one bit, or none.
    pub requires: u16,
    /// Figures with equal numbers are parts of one derived figure: withheld together.
    pub together: usize,
}

impl Rules<'_> {
    /// The condition under which a figure counts, with the NULLs that its measure skips where those say something.
    fn condition(&self, figure: &Figure) -> Checked<Option<Predicate>> {
        let skips = match &figure.measure {
            Measure::Sum(name) | Measure::Present(name) | Measure::Square(name)
                if self.null_says_something(name)? =>
            {
                Some(Predicate::Not(Box::new(Predicate::IsNull(Scalar::Column(name.clone())))))
            }
            // After a left join a unit is counted where there is one.
            Measure::Units(name) if self.column(name)?.nullable => {
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
        Ok(self.column(name)?.nullable && self.scope.protection.judges_nulls())
    }

    /// The distinct conditions of all figures, judged, in canonical order.
    ///
    /// # Errors
    /// The rule that refuses one, or rule `too-many-conditions`.
    pub(crate) fn conditions(&self, draft: &Draft) -> Checked<Vec<Predicate>> {
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

    /// The figures, judged, each with its bit in the mask of conditions.
    ///
    /// # Errors
    /// The rule that refuses one.
    pub(crate) fn figures(&self, draft: &Draft, conditions: &[Predicate]) -> Checked<Vec<Counted>> {
        let mut figures: Vec<Counted> = Vec::new();
        let mut linked = Vec::new();
        for (number, figure) in draft.figures.iter().enumerate() {
            self.measure(&figure.measure)?;
            let condition = self.condition(figure)?;
            let requires = condition
                .and_then(|c| conditions.iter().position(|known| *known == c))
                .map_or(0, |bit| 1_u16.checked_shl(u32::try_from(bit).unwrap_or(0)).unwrap_or(0));
            // Moments of the same set are the parts of means and variances: withheld together.
            for other in figures.iter().filter(|f| f.requires == requires && parts_of_one(&f.measure, &figure.measure))
            {
                linked.push((other.together, number));
            }
            figures.push(Counted { measure: figure.measure.clone(), requires, together: number });
        }
        for (to, from) in linked {
            let least = |figures: &[Counted], number: usize| figures.get(number).map_or(number, |f| f.together);
            let (to, from) = (least(&figures, to), least(&figures, from));
            let (to, from) = (to.min(from), to.max(from));
            figures.iter_mut().filter(|f| f.together == from).for_each(|f| f.together = to);
        }
        Ok(figures)
    }

    fn measure(&self, measure: &Measure) -> Checked<()> {
        match measure {
            Measure::Rows => self.adds_up(None),
            Measure::Units(name) => {
                let column = self.column(name)?;
                if self.scope.unit_index(name).is_some() {
                    return Ok(());
                }
                let advice = match counted_names(self.scope).as_str() {
                    "" => "Use COUNT(*): each row is a unit here".to_owned(),
                    units => format!("Use COUNT(DISTINCT {units})"),
                };
                let name = bare_name(&column.name);
                Err(Refusal::new(
                    Rule::UnitCount,
                    format!("'{name}' does not name a unit that is counted here"),
                    advice,
                ))
            }
            Measure::Sum(name) | Measure::Present(name) | Measure::Square(name) => {
                self.adds_up(Some(self.measure_column(name)?))
            }
            Measure::Product(a, b) => {
                self.adds_up(Some(self.measure_column(a)?))?;
                self.adds_up(Some(self.measure_column(b)?))?;
                let declared = self.scope.pairs.iter().any(|(x, y)| (x == a && y == b) || (x == b && y == a));
                if declared {
                    return Ok(());
                }
                let pairs = self.scope.pairs.iter().map(|(x, y)| format!("{} and {}", bare_name(x), bare_name(y)));
                let pairs = pairs.collect::<Vec<_>>().join("; ");
                Err(Refusal::new(
                    Rule::MeasureExpression,
                    format!("the contract declares no pair of '{}' and '{}'", bare_name(a), bare_name(b)),
                    if pairs.is_empty() {
                        "Ask for VAR or STDDEV of each: no pair is declared here".to_owned()
                    } else {
                        format!("Declared pairs: {pairs}")
                    },
                ))
            }
            Measure::Least(name) | Measure::Greatest(name) => Err(Refusal::new(
                Rule::Aggregate,
                format!("MIN or MAX of '{}' can show one record and is not released", bare_name(name)),
                "Use a quantile on the declared band edges, or MIN and MAX for each unit in a subquery",
            )),
        }
    }

    /// A column whose role is measure.
    ///
    /// # Errors
    /// Rule `measure-expression`, or `unknown-name`.
    pub(crate) fn measure_column(&self, name: &str) -> Checked<&Column> {
        let column = self.column(name)?;
        if matches!(column.role, Role::Measure { .. }) {
            return Ok(column);
        }
        Err(Refusal::new(
            Rule::MeasureExpression,
            format!("'{}' is a {}, not a measure", bare_name(name), column.role.name()),
            "SUM and AVG take a column whose role is measure",
        ))
    }

    /// Whether rows, or a measure over them, may be added up: about people only between declared bounds.
    fn adds_up(&self, measure: Option<&Column>) -> Checked<()> {
        if !self.scope.protection.bounds_contributions() {
            return Ok(());
        }
        let counted = measure.map_or_else(|| self.scope.counted(), |m| self.scope.counted_for(&m.name));
        if counted.is_none() {
            let units = counted_names(self.scope);
            let what = measure.map_or_else(|| "rows".to_owned(), |m| format!("values of '{}'", bare_name(&m.name)));
            return Err(Refusal::new(
                Rule::UnitCount,
                format!("{what} about people are not added up: one unit may have any number of rows here"),
                format!(
                    "Count units: COUNT(DISTINCT {units}); or make one row a unit with GROUP BY {units} in a subquery"
                ),
            ));
        }
        // Values that are known of everybody (a count that nobody has) would show the noise by itself.
        if let Some(m) = measure.filter(|m| is_value(m)) {
            return Err(Refusal::new(
                Rule::PersonalSum,
                format!("'{}' is a value of each unit, and those about people are not summed", title(m)),
                "Count units by its bands, or divide a count of records by a count of units",
            ));
        }
        let bounded = |m: &Column| match m.role {
            Role::Measure { lower, upper, .. } => lower > -UNBOUNDED && upper < UNBOUNDED,
            _ => false,
        };
        match measure {
            Some(m) if !bounded(m) => Err(Refusal::new(
                Rule::PersonalSum,
                format!("'{}' has no declared bounds, and noise is scaled by them", bare_name(&m.name)),
                "Count units by its bands: COUNT(*) FILTER (WHERE value >= edge)",
            )),
            _ => Ok(()),
        }
    }
}

/// The columns that name units, for advice.
fn counted_names(scope: &Scope) -> String {
    let names: Vec<&str> = scope.units.iter().filter_map(|u| u.unit.column.as_deref()).collect();
    names.iter().map(|n| bare_name(n)).collect::<Vec<_>>().join(" or ")
}

/// Whether two measures of one set are parts of one derived figure.
fn parts_of_one(a: &Measure, b: &Measure) -> bool {
    let moment =
        |m: &Measure| matches!(m, Measure::Sum(_) | Measure::Present(_) | Measure::Square(_) | Measure::Product(..));
    moment(a) && moment(b) && a.columns().iter().any(|c| b.columns().contains(c))
}

//! One figure of a question as columns, a functional, and conditions over cells.
//!
//! *Attack: units counted several times.* Distinct units that stand in several cells do not add up. Over rows such a figure
//! is answered only where each of its groups is one cell; over a register each unit stands in one cell.

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::Value;

use super::attach::Attached;
use super::depends::{ENUMERATED, FigureDraft};
use crate::derive::Question;
use crate::draft::{Comparison, Measure, Predicate, Scalar};
use crate::refusal::{Checked, Refusal, Rule};
use crate::scope::Contracts;
use crate::table::possible::{choices, follows, set_period};
use crate::table::readings::{self, value_of};
use crate::table::resolve::people;
use crate::table::{ColumnRef, Functional, RowDomain, State, TableColumn};

/// One figure as a draft: over the register of the unit that it counts, or over the rows of a dataset.
///
/// # Errors
/// The rule that refuses it.
pub(super) fn lowered(
    question: &Question,
    measure: &Measure,
    condition: Option<&Predicate>,
    contracts: Contracts<'_>,
) -> Checked<FigureDraft> {
    let scope = question.scope();
    let rows = &question.draft().rows;
    let counted = match measure {
        Measure::Rows => scope.counted(),
        Measure::Units(name) => {
            let unit = scope.unit_index(name);
            let unit = unit.and_then(|place| Some((place, scope.units.get(place)?)));
            let Some((_, unit)) = unit else { return Err(nobody()) };
            let register = FigureDraft::of_register(question, &unit.unit.domain, measure, condition, contracts);
            let several = rows.dataset().and_then(contracts).filter(|c| !c.one_row_a_unit());
            return match (register, several) {
                (Err(refusal), Some(contract)) => {
                    let rows = FigureDraft::of_rows(question, &contract.dataset, measure, condition, contracts);
                    let of_period = |refusal: Refusal| match contract.period() {
                        None => refusal,
                        Some((period, column)) => Refusal {
                            advice: format!(
                                "Ask of one {0} at a time, GROUP BY date_trunc('{0}', {1}) among others; or: {2}",
                                period.every.name(),
                                column.name,
                                refusal.advice
                            ),
                            ..refusal
                        },
                    };
                    rows.and_then(|draft| draft.single_celled(contracts)).map_err(|_| of_period(refusal))
                }
                (register, _) => register,
            };
        }
        moment => moment.columns().first().and_then(|name| scope.counted_for(name)),
    };
    let of_rows = rows.dataset().and_then(contracts).filter(|c| c.one_row_a_unit() && c.period().is_some());
    match (counted, rows.dataset()) {
        (Some(_), Some(dataset)) if of_rows.is_some() => {
            FigureDraft::of_rows(question, dataset, measure, condition, contracts)
        }
        (Some((place, 1)), _) => {
            let unit = scope.units.get(place).ok_or_else(nobody)?;
            FigureDraft::of_register(question, &unit.unit.domain, measure, condition, contracts)
        }
        (Some(_), Some(dataset)) => FigureDraft::of_rows(question, dataset, measure, condition, contracts),
        _ => Err(Refusal::new(
            Rule::UnitCount,
            "rows that a join repeats, or that belong to a unit beside other tables of it, are not counted or added up",
            "Count units: COUNT(DISTINCT unit); or ask of the table's own rows alone",
        )),
    }
}

fn nobody() -> Refusal {
    Refusal::new(Rule::UnitCount, "nothing here says who is counted", "Use COUNT(DISTINCT unit)")
}

impl FigureDraft {
    /// A figure over the register of a unit: joins, left joins, EXISTS and per-unit values are predicates over it.
    fn of_register(
        question: &Question,
        unit: &str,
        measure: &Measure,
        condition: Option<&Predicate>,
        contracts: Contracts<'_>,
    ) -> Checked<Self> {
        let rows = &question.draft().rows;
        let attached = Attached::new(rows, unit, contracts)?;
        let (there, counts) = attached.conditions(rows.filter.as_ref(), condition)?;
        let mut counts = counts;
        let units = Functional::Units(unit.to_owned());
        let mut counted = None;
        let functional = match measure {
            Measure::Rows | Measure::Units(_) => units,
            Measure::Present(name) => {
                let (of, nullable, present) = attached.measure(name)?;
                counts = Predicate::And(vec![counts, present]);
                if nullable { Functional::Present(of) } else { units }
            }
            Measure::Sum(name) => {
                let (of, nullable, present) = attached.measure(name)?;
                counts = Predicate::And(vec![counts, present]);
                counted = Some(if nullable { Functional::Present(of.clone()) } else { units });
                Functional::Sum(of)
            }
            Measure::Square(name) => {
                let (of, _, present) = attached.measure(name)?;
                counts = Predicate::And(vec![counts, present]);
                Functional::Square(of)
            }
            Measure::Product(a, b) => {
                let ((a, _, present), (b, ..)) = (attached.measure(a)?, attached.measure(b)?);
                counts = Predicate::And(vec![counts, present]);
                if a < b { Functional::Product(a, b) } else { Functional::Product(b, a) }
            }
            Measure::Least(_) | Measure::Greatest(_) => return Err(nobody()),
        };
        let keys = question.draft().keys.iter().map(|key| attached.scalar(key)).collect::<Checked<Vec<_>>>()?;
        let domain = RowDomain::Units(unit.to_owned());
        let (columns, dropped) = (BTreeSet::new(), BTreeMap::new());
        let counted = counted.unwrap_or_else(|| functional.clone());
        Self { domain, columns, dropped, functional, counted, rows: there, counts, keys }
            .with_columns(attached.any(), contracts)
    }

    /// A figure over a dataset's own rows and columns.
    fn of_rows(
        question: &Question,
        dataset: &str,
        measure: &Measure,
        condition: Option<&Predicate>,
        contracts: Contracts<'_>,
    ) -> Checked<Self> {
        let own = |name: String| ColumnRef::own(dataset, &name).to_string();
        let measured = |name: &String| ColumnRef::own(dataset, name);
        let contract = people(dataset, contracts)?;
        let rows = match contract.units.iter().find(|unit| unit.one_row) {
            Some(unit) => Functional::Units(unit.domain.clone()),
            None => Functional::Rows,
        };
        let present = |name: &String| match contract.column(name) {
            Some(column) if !column.nullable => rows.clone(),
            _ => Functional::Present(measured(name)),
        };
        let functional = match measure {
            Measure::Rows => rows.clone(),
            Measure::Units(name) => match contract.unit_of_column(name) {
                Some(unit) => Functional::Units(unit.domain.clone()),
                None => return Err(nobody()),
            },
            Measure::Present(name) => present(name),
            Measure::Sum(name) => Functional::Sum(measured(name)),
            Measure::Square(name) => Functional::Square(measured(name)),
            Measure::Product(a, b) if a < b => Functional::Product(measured(a), measured(b)),
            Measure::Product(a, b) => Functional::Product(measured(b), measured(a)),
            Measure::Least(_) | Measure::Greatest(_) => return Err(nobody()),
        };
        let counted = match measure {
            Measure::Sum(name) => present(name),
            _ => functional.clone(),
        };
        let there = question.filter().cloned().unwrap_or(Predicate::Constant(Some(true))).renamed(&own);
        let counts = match condition {
            Some(condition) => Predicate::And(vec![there.clone(), condition.clone().renamed(&own)]),
            None => there.clone(),
        };
        let keys = question.draft().keys.iter().map(|key| key.clone().renamed(&own)).collect();
        let domain = RowDomain::Rows(dataset.to_owned());
        let (columns, dropped) = (BTreeSet::new(), BTreeMap::new());
        Self { domain, columns, dropped, functional, counted, rows: there, counts, keys }.with_columns(None, contracts)
    }

    /// Units that stand in several cells do not add up: a figure of them is one cell for each group.
    fn single_celled(self, contracts: Contracts<'_>) -> Checked<Self> {
        let columns = self.resolved(contracts)?;
        let several = || {
            Refusal::new(
                Rule::UnitCount,
                "units that stand in several cells of the table cannot be added up",
                "Ask for one value of each column, or for a derived value",
            )
        };
        let one_value = |column: &TableColumn| {
            let name = column.reference.to_string();
            let key = self.keys.iter().any(|key| matches!(key, Scalar::Column(of) if *of == name));
            let value = fixed(&self.counts, &name).or_else(|| key.then(|| Value::Text("".into())))?;
            Some(vec![(State::Value, value)])
        };
        let choices = columns.iter().map(|column| match follows(&columns, column) {
            Some(_) => Some(vec![(State::Value, Value::Null)]),
            None => choices(column).or_else(|| one_value(column)),
        });
        let choices: Vec<Vec<(State, Value)>> = choices.collect::<Option<_>>().ok_or_else(several)?;
        let total = choices.iter().try_fold(1_usize, |n, c| n.checked_mul(c.len()));
        if total.is_none_or(|n| n > ENUMERATED) {
            return Err(several());
        }
        let readings = readings::readings(&columns, &self.dropped, &self.names());
        let mut groups = BTreeSet::new();
        let mut at = vec![0_usize; columns.len()];
        for _ in 0..total.unwrap_or(0) {
            let mut cell: Vec<(State, Value)> =
                choices.iter().zip(&at).filter_map(|(of, place)| of.get(*place).cloned()).collect();
            set_period(&columns, &mut cell);
            let row = |name: &str| value_of(&readings, &cell, name);
            if self.counts.evaluate(&row) == Some(true)
                && !groups.insert(self.keys.iter().map(|key| key.evaluate(&row)).collect::<Vec<Value>>())
            {
                return Err(several());
            }
            for (place, of) in at.iter_mut().zip(&choices).rev() {
                *place += 1;
                if *place < of.len() {
                    break;
                }
                *place = 0;
            }
        }
        Ok(self)
    }
}

/// The one value of a column for which a condition can hold.
fn fixed(predicate: &Predicate, name: &str) -> Option<Value> {
    match predicate {
        Predicate::Compare { left: Scalar::Column(of), op: Comparison::Equal, right: Scalar::Literal(value, _) } => {
            (of == name).then(|| value.clone())
        }
        Predicate::And(operands) => operands.iter().find_map(|operand| fixed(operand, name)),
        _ => None,
    }
}

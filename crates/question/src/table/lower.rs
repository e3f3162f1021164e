//! Question → tables, and what is added up from their cells.
//!
//! The columns that a figure reads are its K. Its condition and its keys are evaluated over released cells, so that OR, NOT,
//! IN, CASE and functions make no new draw, and nothing of an asker's reaches a record. Columns that a figure cannot depend
//! on are dropped, by enumeration of their classes.

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::Value;

use super::attach::Attached;
use super::released::Reading;
use super::{Classes, ColumnRef, Functional, RowDomain, State, Table, TableColumn};
use crate::derive::Question;
use crate::draft::{Comparison, Measure, Predicate, Scalar};
use crate::refusal::{Refusal, Rule};
use crate::scope::Contracts;

type Checked<T> = Result<T, Refusal>;

/// Combinations of classes that are tried for whether a figure depends on a column.
pub(super) const ENUMERATED: usize = 30_000;

/// Tables that one question may need.
const MAX_TABLES: usize = 8;

/// A question about people as tables, and how its figures follow from their cells.
#[derive(Clone, Debug)]
pub struct Lowered {
    pub(super) tables: Vec<Table>,
    pub(super) figures: Vec<Figure>,
}

/// One figure of the question.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// The place of its table, and of its functional there.
    pub(super) table: usize,
    pub(super) functional: usize,
    /// Of a sum the functional that counts what it adds up; of a count itself.
    pub(super) counted: usize,
    /// The places in the table's K of the columns that it reads, and those columns.
    pub(super) places: Vec<usize>,
    pub(super) columns: Vec<TableColumn>,
    /// Where the names of rows, counts and keys stand in a cell of those columns.
    pub(super) readings: BTreeMap<String, Reading>,
    /// Which cells hold rows of the question, and which of those count here.
    pub(super) rows: Predicate,
    pub(super) counts: Predicate,
    pub(super) keys: Vec<Scalar>,
}

/// A figure before its table is known.
pub(super) struct Draft {
    pub(super) domain: RowDomain,
    pub(super) columns: BTreeSet<ColumnRef>,
    /// Columns of which only presence is read, and those that are not read at all.
    pub(super) dropped: BTreeMap<ColumnRef, TableColumn>,
    pub(super) functional: Functional,
    pub(super) counted: Functional,
    pub(super) rows: Predicate,
    pub(super) counts: Predicate,
    pub(super) keys: Vec<Scalar>,
}

impl Lowered {
    /// The tables of a question about people.
    ///
    /// # Errors
    /// The rule that refuses it, with what would be allowed: columns to leave out, or a derived value to declare.
    pub fn of(question: &Question, contracts: Contracts<'_>) -> Checked<Self> {
        let mut drafts = Vec::new();
        for (place, figure) in question.figures().iter().enumerate() {
            let condition = match figure.requires {
                0 => None,
                bits => question.conditions().get(usize::try_from(bits.trailing_zeros()).unwrap_or(usize::MAX)),
            };
            let draft = lowered(question, &figure.measure, condition, contracts);
            drafts.push(draft.map_err(|refusal| named(refusal, question, place))?);
        }
        Self::gathered(drafts, contracts)
    }

    /// The tables to ask for.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Whether a figure adds up over cells: what it counts stands in one cell each.
    #[must_use]
    pub fn adds_up(&self, figure: usize) -> bool {
        let figure = self.figures.get(figure).and_then(|f| Some((self.tables.get(f.table)?, f.functional)));
        figure.is_some_and(|(table, functional)| match (table.domain(), table.functionals().get(functional)) {
            (RowDomain::Units(_), _) => true,
            (RowDomain::Rows(of), Some(Functional::Units(_))) => {
                table.contract(of).is_some_and(|contract| contract.one_row_a_unit())
            }
            (RowDomain::Rows(_), functional) => functional.is_some(),
        })
    }

    /// Figures of one row domain whose columns are some of another's share its table.
    fn gathered(drafts: Vec<Draft>, contracts: Contracts<'_>) -> Checked<Self> {
        let mut order: Vec<usize> = (0..drafts.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(drafts.get(*place).map_or(0, |d| d.columns.len())));
        let mut wanted: Vec<(RowDomain, BTreeSet<ColumnRef>, BTreeSet<Functional>)> = Vec::new();
        let mut of_draft: BTreeMap<usize, usize> = BTreeMap::new();
        for place in order {
            let Some(draft) = drafts.get(place) else { continue };
            let fits = |(domain, columns, _): &(RowDomain, BTreeSet<ColumnRef>, _)| {
                *domain == draft.domain && draft.columns.is_subset(columns)
            };
            let table = wanted.iter().position(fits).unwrap_or_else(|| {
                wanted.push((draft.domain.clone(), draft.columns.clone(), BTreeSet::new()));
                wanted.len() - 1
            });
            if let Some((_, _, functionals)) = wanted.get_mut(table) {
                functionals.extend([draft.functional.clone(), draft.counted.clone()]);
            }
            of_draft.insert(place, table);
        }
        if wanted.len() > MAX_TABLES {
            return Err(Refusal::new(
                Rule::Table,
                format!("the figures of one SELECT read more than {MAX_TABLES} different sets of columns"),
                "Ask for some of them in another statement",
            ));
        }
        let tables = wanted
            .into_iter()
            .map(|(domain, columns, functionals)| Table::new(domain, columns, functionals, contracts));
        let tables = tables.collect::<Checked<Vec<Table>>>()?;
        let mut figures = Vec::with_capacity(drafts.len());
        for (place, draft) in drafts.into_iter().enumerate() {
            let table = of_draft.get(&place).copied().unwrap_or_default();
            let Some(of) = tables.get(table) else { continue };
            let position = |reference: &ColumnRef| of.columns().iter().position(|c| c.reference == *reference);
            let places: Vec<usize> = draft.columns.iter().filter_map(position).collect();
            let place_of = |wanted: &Functional| of.functionals().iter().position(|f| f == wanted).unwrap_or_default();
            let (functional, counted) = (place_of(&draft.functional), place_of(&draft.counted));
            let columns: Vec<TableColumn> =
                places.iter().filter_map(|place| of.columns().get(*place).cloned()).collect();
            let readings = super::released::readings(&columns, &draft.dropped, &draft.names());
            figures.push(Figure {
                readings,
                table,
                functional,
                counted,
                columns,
                places,
                rows: draft.rows,
                counts: draft.counts,
                keys: draft.keys,
            });
        }
        Ok(Self { tables, figures })
    }
}

/// What a refusal is about, where a question has several figures.
fn named(refusal: Refusal, question: &Question, figure: usize) -> Refusal {
    match question.figure_sql(figure) {
        Some(words) if question.figures().len() > 1 => {
            Refusal { message: format!("{}: {}", words, refusal.message), ..refusal }
        }
        _ => refusal,
    }
}

fn lowered(
    question: &Question,
    measure: &Measure,
    condition: Option<&Predicate>,
    contracts: Contracts<'_>,
) -> Checked<Draft> {
    let scope = question.scope();
    let rows = &question.draft().rows;
    let counted = match measure {
        Measure::Rows => scope.counted(),
        Measure::Units(name) => {
            let unit = scope.unit_index(name);
            let unit = unit.and_then(|place| Some((place, scope.units.get(place)?)));
            let Some((_, unit)) = unit else { return Err(nobody()) };
            let register = Draft::of_register(question, &unit.unit.domain, measure, condition, contracts);
            let several = rows.dataset().and_then(contracts).filter(|c| !c.one_row_a_unit());
            return match (register, several) {
                (Err(refusal), Some(contract)) => {
                    let rows = Draft::of_rows(question, &contract.dataset, measure, condition, contracts);
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
            Draft::of_rows(question, dataset, measure, condition, contracts)
        }
        (Some((place, 1)), _) => {
            let unit = scope.units.get(place).ok_or_else(nobody)?;
            Draft::of_register(question, &unit.unit.domain, measure, condition, contracts)
        }
        (Some(_), Some(dataset)) => Draft::of_rows(question, dataset, measure, condition, contracts),
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

impl Draft {
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
        let contract = super::column::people(dataset, contracts)?;
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

    /// The names that rows, condition and keys read.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.rows.columns(&mut names);
        self.counts.columns(&mut names);
        self.keys.iter().for_each(|key| key.columns(&mut names));
        names
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
        let choices = columns.iter().map(|column| match super::released::possible::follows(&columns, column) {
            Some(_) => Some(vec![(State::Value, Value::Null)]),
            None => choices(column).or_else(|| one_value(column)),
        });
        let choices: Vec<Vec<(State, Value)>> = choices.collect::<Option<_>>().ok_or_else(several)?;
        let total = choices.iter().try_fold(1_usize, |n, c| n.checked_mul(c.len()));
        if total.is_none_or(|n| n > ENUMERATED) {
            return Err(several());
        }
        let readings = super::released::readings(&columns, &self.dropped, &self.names());
        let mut groups = BTreeSet::new();
        let mut at = vec![0_usize; columns.len()];
        for _ in 0..total.unwrap_or(0) {
            let mut cell: Vec<(State, Value)> =
                choices.iter().zip(&at).filter_map(|(of, place)| of.get(*place).cloned()).collect();
            super::released::possible::set_period(&columns, &mut cell);
            let row = |name: &str| super::released::value_of(&readings, &cell, name);
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

/// What a row can have of a column; `None`: only a borough knows.
pub(super) fn choices(column: &TableColumn) -> Option<Vec<(State, Value)>> {
    let mut choices: Vec<(State, Value)> = match &column.classes {
        Classes::Presence => vec![(State::Value, Value::Boolean(true))],
        Classes::Coded(values) => values.iter().map(|value| (State::Value, value.clone())).collect(),
        Classes::Open => return None,
    };
    choices.extend(beside(column));
    Some(choices)
}

/// What a row can have of a column beside a value.
pub(super) fn beside(column: &TableColumn) -> Vec<(State, Value)> {
    let mut beside = Vec::new();
    if column.nullable && !column.differs {
        beside.push((State::Value, Value::Null));
    }
    if column.optional {
        beside.push((State::Absent, Value::Null));
    }
    if column.reference.via.is_some() {
        beside.push((State::Unreached, Value::Null));
    }
    beside
}

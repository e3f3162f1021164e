//! The sources of a question, each as it hangs on the register of one unit.
//!
//! A source hangs by the unit that is counted, or by another unit that one row of the counted one leads to. A source that is
//! reached in another way, or through two units, is refused: no column of the register would have the values of its rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use loda_contract::Contract;

use crate::draft::column_name::ColumnName;
use crate::draft::{Join, JoinKind, PerUnit, Predicate, Rows, Source, bare_name};
use crate::refusal::{Checked, Refusal, Rule};
use crate::scope::Contracts;
use crate::table::ColumnRef;

/// The unit that a source hangs by, and the dataset and unit column that it is reached through.
type Hung = (String, Option<(String, String)>);

/// The sources of a question about one unit.
pub(super) struct Attached<'a> {
    /// By place.
    pub(super) sources: Vec<Attachment<'a>>,
    /// The domain of the unit that is counted.
    pub(super) unit: String,
    /// Whether columns have bare names: there is one source alone.
    pub(super) bare: bool,
}

/// How a source hangs on the register.
pub(super) struct Attachment<'a> {
    /// The contract of its records.
    pub(super) contract: Arc<Contract>,
    /// The rows of the source that count.
    pub(super) filter: Option<Predicate>,
    /// The derivation by unit that it is; `None`: a dataset.
    pub(super) per_unit: Option<&'a PerUnit>,
    /// How it is joined; `None`: it is the first.
    pub(super) join: Option<JoinKind>,
    /// The dataset and unit column through which the source's unit is reached; `None`: it is the register's own.
    pub(super) via: Option<(String, String)>,
    /// The domain of the unit that it hangs by.
    pub(super) unit: String,
    /// Whether the dataset holds that unit once.
    pub(super) once: bool,
    /// The source that it is joined to.
    pub(super) parent: Option<usize>,
    /// The other conditions (HAVING) on a subquery's units, over its values.
    pub(super) having: Option<Predicate>,
}

impl<'a> Attached<'a> {
    /// A dataset that the question reads.
    pub(super) fn any(&self) -> Option<ColumnRef> {
        self.sources.iter().find(|s| s.via.is_none()).map(Attachment::presence)
    }

    /// The sources of rows as they hang on a unit's register.
    ///
    /// # Errors
    /// Where a source does not hang on the register.
    pub(super) fn new(rows: &'a Rows, unit: &str, contracts: Contracts<'_>) -> Checked<Self> {
        let mut found = Vec::new();
        for (join, source) in rows.sources() {
            found.push((join, source, held(source, contracts)?));
        }
        let anchor = found.iter().position(|(_, source, contract)| holds(source, contract, unit));
        let anchor = anchor.ok_or_else(|| apart(unit))?;
        // By source: the unit that it hangs by, and the dataset and column that it is reached through.
        let mut hung: Vec<Option<Hung>> = vec![None; found.len()];
        if let Some(place) = hung.get_mut(anchor) {
            *place = Some((unit.to_owned(), None));
        }
        // Joins that say no more than how their sources hang.
        let mut follows = BTreeSet::new();
        for _ in 0..found.len() {
            for (place, (join, ..)) in found.iter().enumerate() {
                let Some(Join { on, .. }) = join else { continue };
                let [(left, right)] = on.as_slice() else {
                    return Err(Refusal::new(
                        Rule::Join,
                        "tables about people are joined by two units at once",
                        "Join on one unit that both sides name (and borough)",
                    ));
                };
                let other = ColumnName::of(left).source.unwrap_or(0);
                for (from, column, to) in [(other, bare_name(left), place), (place, right.as_str(), other)] {
                    let Some(Some((by, via))) = hung.get(from).cloned() else { continue };
                    let (Some((_, source, contract)), Some((_, target, theirs))) = (found.get(from), found.get(to))
                    else {
                        continue;
                    };
                    let Some(domain) = contract.unit_of_column(column).map(|u| u.domain.clone()) else {
                        return Err(Refusal::new(
                            Rule::Join,
                            format!(
                                "'{}' joins records about people by something other than their unit",
                                bare_name(left)
                            ),
                            "Group each table in a subquery of its own, and join the results",
                        ));
                    };
                    let reached = if domain == by {
                        via.clone()
                    } else if via.is_none() && matches!(source, Source::Dataset { .. }) {
                        Some((contract.dataset.clone(), column.to_owned()))
                    } else {
                        return Err(Refusal::new(
                            Rule::Join,
                            "a unit is reached through two others",
                            "Ask of the unit between them, or of a derived value",
                        ));
                    };
                    if !holds(target, theirs, &domain) {
                        return Err(apart(&domain));
                    }
                    match hung.get_mut(to) {
                        Some(slot @ None) => {
                            *slot = Some((domain, reached));
                            follows.insert(place);
                        }
                        Some(Some(known)) if *known == (domain.clone(), reached) => {
                            follows.insert(place);
                        }
                        _ => {}
                    }
                }
            }
        }
        if follows.len().saturating_add(1) < found.len() {
            return Err(match hung.iter().any(Option::is_none) {
                true => apart(unit),
                false => Refusal::new(
                    Rule::Join,
                    "records are compared by a unit beside the one that is counted",
                    "Ask of a value of each unit that the contract derives",
                ),
            });
        }
        let mut sources = Vec::with_capacity(found.len());
        for ((join, source, contract), hung) in found.into_iter().zip(hung) {
            let (by, via) = hung.ok_or_else(|| apart(unit))?;
            let (filter, per_unit, having) = match source {
                Source::Dataset { filter, .. } => (filter.clone(), None, None),
                Source::PerUnit(per_unit) => match inner(per_unit) {
                    Some(inner) => (inner.rows.filter.clone(), Some(inner), per_unit.rows.filter.clone()),
                    None => (per_unit.rows.filter.clone(), Some(per_unit.as_ref()), None),
                },
            };
            let parent =
                join.and_then(|join| join.on.first()).map(|(left, _)| ColumnName::of(left).source.unwrap_or(0));
            let once = contract.unit(&by).is_some_and(|u| u.one_row);
            if let Some((through, _)) = &via {
                let holder = contracts(through).and_then(|c| c.unit(unit).map(|u| u.one_row));
                if holder != Some(true) {
                    return Err(Refusal::new(
                        Rule::Join,
                        format!("{through} holds a {unit} several times, so that each has no one {by}"),
                        "Count the units that the tables share",
                    ));
                }
            }
            sources.push(Attachment {
                contract,
                filter,
                per_unit,
                join: join.map(|j| j.kind),
                via,
                unit: by,
                once,
                parent,
                having,
            });
        }
        Ok(Self { sources, unit: unit.to_owned(), bare: rows.dataset().is_some() })
    }
}

impl Attachment<'_> {
    /// The column that says whether a unit has a row here.
    pub(super) fn presence(&self) -> ColumnRef {
        ColumnRef { via: self.via.clone(), dataset: self.contract.dataset.clone(), column: None }
    }
}

/// The grouping inside another that only picks its units: HAVING.
fn inner(per_unit: &PerUnit) -> Option<&PerUnit> {
    match &per_unit.rows.first {
        Source::PerUnit(inner)
            if per_unit.rows.joins.is_empty()
                && per_unit.values.is_empty()
                && bare_name(&inner.unit) == bare_name(&per_unit.unit) =>
        {
            Some(inner)
        }
        _ => None,
    }
}

/// The contract of the records of a source.
fn held(source: &Source, contracts: Contracts<'_>) -> Checked<Arc<Contract>> {
    let dataset = match source {
        Source::Dataset { name, .. } => name.as_str(),
        Source::PerUnit(per_unit) => {
            let of = inner(per_unit).unwrap_or(per_unit);
            // Where a unit has one row, a dimension beside it tells no more rows apart.
            let told = |dataset: &&str| {
                let contract = contracts(dataset);
                let unit = contract.as_ref().and_then(|c| c.unit_of_column(bare_name(&of.unit)));
                let of_unit = |key: &String| {
                    let column = contract.as_ref().and_then(|c| c.column(bare_name(key)));
                    column.is_some_and(|column| {
                        let attribute = contract.as_ref().and_then(|c| c.unit_of_attribute(column));
                        attribute == unit.map(|u| u.domain.as_str())
                    })
                };
                let once = unit.is_some_and(|u| u.one_row);
                per_unit.keys.iter().chain(&of.keys).all(|key| once || of_unit(key))
            };
            let plain = of.rows.dataset().filter(told);
            plain.ok_or_else(|| {
                Refusal::new(
                    Rule::Derived,
                    "a subquery about people groups more than one table by more than one unit",
                    "Group one table by its unit alone, and join that",
                )
            })?
        }
    };
    let contract = contracts(dataset);
    let contract =
        contract.ok_or_else(|| Refusal::new(Rule::Unknown, "the dataset is not held here", "See the catalogue"))?;
    if contract.protection.is_public() {
        return Err(Refusal::new(
            Rule::Join,
            format!("records about people are joined to '{dataset}', which is published"),
            "Group each in a subquery of its own (WITH a AS (…), b AS (…)) and join the results by a column that both have",
        ));
    }
    Ok(contract)
}

fn holds(source: &Source, contract: &Contract, unit: &str) -> bool {
    match source {
        Source::Dataset { .. } => contract.unit(unit).is_some(),
        Source::PerUnit(per_unit) => {
            contract.unit_of_column(bare_name(&per_unit.unit)).is_some_and(|u| u.domain == unit)
        }
    }
}

fn apart(unit: &str) -> Refusal {
    Refusal::new(
        Rule::Join,
        format!("a table of the question is not joined by a unit that leads to each {unit}"),
        "Join the tables on the units that they share",
    )
}

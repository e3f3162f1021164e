//! Which tables there are: everything that can ever be learnt about people follows from these rules and the contracts.
//!
//! *Weights* limit the columns of a table to the `dimensions` of the contracts, the smallest of all datasets that are read.
//! The more columns a table has, the fewer units share a cell, and the more a released cell says of each. A column of
//! another unit weighs 2, because one record of it moves as many of those that are counted as that unit has. A place weighs
//! 1 whatever unit it is of, and the period of rows weighs nothing. A set of columns that a contract names is a table
//! beyond the limit.
//!
//! *Alternatives* never share a table: two columns that say nearly the same put the few who differ into cells of their own.
//! A finer level (`alone`) shares a table with no other column, and a table has one place.
//!
//! *Bounds.* Rows and sums are figures only of datasets that hold a unit a declared number of times: noise is scaled by it.
//! A square or a product comes with the sums that it rests on.
//!
//! *Presence.* A register's table names a dataset that holds the units, and one with figures of a measure names who is in
//! the measure's dataset: otherwise a figure would be of units of which no cell tells.
//!
//! *Threshold.* A table has the highest threshold of the datasets that it reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use loda_contract::{Contract, GRID_LIMIT, Role};

use super::resolve::{people, resolve};
use super::{ColumnRef, Functional, Made, RowDomain, Table, TableColumn};
use crate::refusal::{Refusal, Rule};
use crate::scope::Contracts;

/// Columns of a table at most: a node answers every subset of them.
pub(super) const MAX_COLUMNS: usize = 6;

/// Cells times figures of a table at most.
const FIGURE_LIMIT: u64 = 1_000_000;

/// Figures of a table at most.
const MAX_FUNCTIONALS: usize = 64;

impl Table {
    /// The table of these columns and figures, where the contracts allow it. Presence that other columns tell is left out.
    ///
    /// # Errors
    /// The rule that refuses it, with the columns to leave out.
    pub fn new(
        domain: RowDomain,
        columns: impl IntoIterator<Item = ColumnRef>,
        functionals: impl IntoIterator<Item = Functional>,
        contracts: Contracts<'_>,
    ) -> Result<Self, Refusal> {
        let mut references = without_told_presence(columns.into_iter().collect());
        let period = period(&domain, contracts);
        references.extend(period.clone());
        let mut functionals: BTreeSet<Functional> = functionals.into_iter().collect();
        // Squares and products are taken about the middle of bounds, and rest on the sums.
        let sums: Vec<Functional> = functionals.iter().flat_map(rests_on).collect();
        functionals.extend(sums);
        let named = references.iter().filter(|of| Some(*of) != period.as_ref()).count();
        if named > MAX_COLUMNS || functionals.is_empty() || functionals.len() > MAX_FUNCTIONALS {
            return Err(Refusal::new(
                Rule::Table,
                format!("a table has 1 to {MAX_FUNCTIONALS} figures and at most {MAX_COLUMNS} columns"),
                "Ask for fewer columns or figures at a time",
            ));
        }
        let mut datasets: Vec<Arc<Contract>> = Vec::new();
        let mut read = |contract: Arc<Contract>| {
            if !datasets.contains(&contract) {
                datasets.push(contract);
            }
        };
        check_domain(&domain, &references, contracts)?.into_iter().for_each(&mut read);
        let mut columns = Vec::with_capacity(references.len());
        for reference in &references {
            let (column, contracts) = resolve(reference, &domain, contracts)?;
            contracts.into_iter().for_each(&mut read);
            columns.push(column);
        }
        for functional in &functionals {
            check_functional(functional, &domain, contracts)?.into_iter().for_each(&mut read);
        }
        datasets.sort_by(|a, b| a.dataset.cmp(&b.dataset));
        for of in functionals.iter().flat_map(measures) {
            let told = |column: &TableColumn| {
                let through = column.reference.via.as_ref().map(|(dataset, _)| dataset);
                column.reference.via.is_none() && column.reference.dataset == of.dataset || through == Some(&of.dataset)
            };
            if matches!(domain, RowDomain::Units(_)) && !columns.iter().any(told) {
                return Err(Refusal::new(
                    Rule::Table,
                    format!("a table with figures of '{of}' does not say who is in {}", of.dataset),
                    format!("Name the presence in {}, or a column of it", of.dataset),
                ));
            }
        }
        for column in &mut columns {
            column.weight = weight(column, &domain, &datasets);
        }
        alternatives(&columns, &datasets)?;
        let threshold = datasets.iter().map(|c| c.closure.threshold).max().unwrap_or(u32::MAX);
        let table = Self { domain, columns, functionals: functionals.into_iter().collect(), datasets, threshold };
        table.fits()?;
        let figures = table.functionals.len() as u64;
        if table.coded() > GRID_LIMIT || table.coded().saturating_mul(figures) > FIGURE_LIMIT {
            return Err(Refusal::new(
                Rule::Grid,
                format!("the table has more than {GRID_LIMIT} cells"),
                "Ask for fewer columns at a time",
            ));
        }
        Ok(table)
    }

    /// The weights of K together.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.columns.iter().map(|c| c.weight).fold(0, u32::saturating_add)
    }

    /// The weights that a table of these datasets may come to.
    #[must_use]
    pub fn dimensions(&self) -> u32 {
        self.datasets.iter().map(|c| c.closure.dimensions).min().unwrap_or(0)
    }

    fn fits(&self) -> Result<(), Refusal> {
        if self.weight() <= self.dimensions() || self.is_named() {
            return Ok(());
        }
        let mut heaviest: Vec<&TableColumn> = self.columns.iter().collect();
        heaviest.retain(|c| c.weight > 0);
        heaviest.sort_by_key(|c| std::cmp::Reverse(c.weight));
        let title = |c: &&TableColumn| match c.weight {
            1 => format!("{} (1)", c.reference.title()),
            weight => format!("{} ({weight}, because people share it)", c.reference.title()),
        };
        let columns = heaviest.iter().map(title).collect::<Vec<_>>().join(" and ");
        let mut over = self.weight().saturating_sub(self.dimensions());
        let mut leave = Vec::new();
        // The lightest columns whose absence is enough.
        for column in self.columns.iter().rev() {
            if over > 0 && column.weight > 0 {
                leave.push(column.reference.title());
                over = over.saturating_sub(column.weight);
            }
        }
        let smallest = self.datasets.iter().filter(|c| c.closure.dimensions == self.dimensions());
        let smallest = smallest.map(|c| c.dataset.as_str()).collect::<Vec<_>>().join(", ");
        Err(Refusal::new(
            Rule::Dimensions,
            format!(
                "a figure of {smallest} may combine {} columns, and this one combines {}: {columns}",
                self.dimensions(),
                self.weight()
            ),
            format!(
                "Leave out {}, or others that come to as much. Each figure of a statement, and each subquery, may combine other columns",
                leave.join(" and ")
            ),
        ))
    }

    /// Whether a contract names this very set of columns as a table of its own.
    fn is_named(&self) -> bool {
        let Some(first) = self.columns.first() else { return false };
        let one_dataset =
            self.columns.iter().all(|c| c.reference.dataset == first.reference.dataset && c.reference.via.is_none());
        let names = self.columns.iter().filter(|c| c.period.is_none()).map(|c| c.reference.column.clone());
        let names: Option<BTreeSet<String>> = names.collect();
        let (Some(names), true) = (names, one_dataset && self.datasets.len() == 1) else { return false };
        let contract = self.contract(&first.reference.dataset);
        // A table below a named one is a margin of it.
        contract.is_some_and(|c| c.closure.tables.iter().any(|table| names.is_subset(table)))
    }
}

/// K without presence that another column of it tells: that of a column's own dataset, and that of one it is reached
/// through.
pub(super) fn without_told_presence(references: BTreeSet<ColumnRef>) -> BTreeSet<ColumnRef> {
    let told = |presence: &ColumnRef| {
        references.iter().any(|other| {
            let holds = other.column.is_some() && other.via == presence.via && other.dataset == presence.dataset;
            // A derived value of a unit without rows is 0, but its state says that it has none.
            let reaches = presence.via.is_none() && other.via.as_ref().is_some_and(|(d, _)| *d == presence.dataset);
            holds || reaches
        })
    };
    references.iter().filter(|r| r.column.is_some() || !told(r)).cloned().collect()
}

/// The measures that a functional reads.
fn measures(functional: &Functional) -> Vec<&ColumnRef> {
    match functional {
        Functional::Units(_) | Functional::Rows => Vec::new(),
        Functional::Present(of) | Functional::Sum(of) | Functional::Square(of) => vec![of],
        Functional::Product(a, b) => vec![a, b],
    }
}

fn rests_on(functional: &Functional) -> Vec<Functional> {
    match functional {
        Functional::Square(of) => vec![Functional::Sum(of.clone())],
        Functional::Product(a, b) => vec![Functional::Sum(a.clone()), Functional::Sum(b.clone())],
        _ => Vec::new(),
    }
}

/// The column that every table of a row domain has.
pub(super) fn period(domain: &RowDomain, contracts: Contracts<'_>) -> Option<ColumnRef> {
    let RowDomain::Rows(dataset) = domain else { return None };
    let contract = people(dataset, contracts).ok()?;
    let (period, column) = contract.period()?;
    Some(ColumnRef::own(dataset, &super::column::period_name(period, column)))
}

fn check_domain(
    domain: &RowDomain,
    references: &BTreeSet<ColumnRef>,
    contracts: Contracts<'_>,
) -> Result<Vec<Arc<Contract>>, Refusal> {
    match domain {
        RowDomain::Rows(dataset) => {
            let contract = people(dataset, contracts)?;
            if contract.one_row_a_unit() && contract.period().is_none() {
                return Err(Refusal::new(
                    Rule::Table,
                    format!("a row of {dataset} is a unit, and units have their register"),
                    "Ask of the register of the unit",
                ));
            }
            Ok(vec![contract])
        }
        // Nobody is counted but those whom a dataset of the table holds.
        RowDomain::Units(unit) if references.is_empty() => Err(Refusal::new(
            Rule::Table,
            format!("a table of each {unit} names no dataset that holds them"),
            "Name a column, or the presence in a dataset",
        )),
        RowDomain::Units(_) => Ok(Vec::new()),
    }
}

/// The contracts that a figure reads.
///
/// # Errors
/// Where the row domain has no such figure.
pub(super) fn check_functional(
    functional: &Functional,
    domain: &RowDomain,
    contracts: Contracts<'_>,
) -> Result<Vec<Arc<Contract>>, Refusal> {
    let refuse =
        |what: String| Refusal::new(Rule::Table, what, "Ask for counts of units, and sums of declared measures");
    let measure = |of: &ColumnRef| {
        let contract = people(&of.dataset, contracts)?;
        let once = match domain {
            RowDomain::Units(unit) => contract.unit(unit).is_some_and(|u| u.one_row),
            RowDomain::Rows(dataset) => *dataset == of.dataset,
        };
        let column = of.column.as_ref().and_then(|name| contract.column(name));
        let is_measure =
            column.is_some_and(|c| matches!(c.role, Role::Measure { .. }) && c.attribute.same_as.is_none());
        if of.via.is_some() || !once || !is_measure {
            return Err(refuse(format!("'{of}' is no measure of each row here")));
        }
        Ok(contract)
    };
    match (functional, domain) {
        (Functional::Units(counted), RowDomain::Units(unit)) if counted == unit => Ok(Vec::new()),
        (Functional::Units(counted), RowDomain::Rows(dataset)) => {
            let contract = people(dataset, contracts)?;
            if contract.unit(counted).is_none() {
                return Err(refuse(format!("{dataset} holds no '{counted}'")));
            }
            Ok(vec![contract])
        }
        (Functional::Rows, RowDomain::Rows(dataset)) => {
            let contract = people(dataset, contracts)?;
            if contract.one_row_a_unit() {
                return Err(refuse(format!("a row of {dataset} is a unit, and units are counted")));
            }
            bounded(&contract)?;
            Ok(vec![contract])
        }
        (Functional::Present(of) | Functional::Sum(of) | Functional::Square(of), _) => {
            let contract = measure(of)?;
            bounded(&contract)?;
            Ok(vec![contract])
        }
        (Functional::Product(a, b), _) => {
            let contract = measure(a)?;
            bounded(&contract)?;
            let declared = a.dataset == b.dataset
                && contract.pairs.iter().any(|(x, y)| Some(x) == a.column.as_ref() && Some(y) == b.column.as_ref());
            if !declared {
                return Err(refuse(format!("the contract declares no pair of '{a}' and '{b}'")));
            }
            Ok(vec![contract])
        }
        (Functional::Units(_) | Functional::Rows, RowDomain::Units(unit)) => {
            Err(refuse(format!("the register of {unit} counts each {unit}, and nothing else")))
        }
    }
}

/// Whether some unit has a declared number of rows: noise on rows and sums is scaled by it.
fn bounded(contract: &Contract) -> Result<(), Refusal> {
    if contract.units.iter().any(|u| u.max_rows.is_some()) {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::UnitCount,
        format!("a unit may have any number of rows in {}, so that they are not added up", contract.dataset),
        "Count units; or declare max-rows in the contract",
    ))
}

/// One record moves as many people as its unit has: a column of another unit weighs 2. Where somebody lives weighs 1.
fn weight(column: &TableColumn, domain: &RowDomain, datasets: &[Arc<Contract>]) -> u32 {
    let attribute = datasets
        .iter()
        .find(|c| c.dataset == column.reference.dataset)
        .and_then(|c| c.column(column.reference.column.as_deref()?))
        .map(|c| &c.attribute);
    match (domain, column.made) {
        _ if column.period.is_some() => 0,
        (RowDomain::Rows(_), _) | (_, Made::Derived { .. }) => 1,
        // Reached through another dataset, its presence there weighs as the other unit's does.
        (RowDomain::Units(_), _) if attribute.is_some_and(|a| a.place) && column.reference.via.is_none() => 1,
        (RowDomain::Units(_), _) if column.unit.is_some() => 2,
        (RowDomain::Units(_), _) => 1,
    }
}

fn alternatives(columns: &[TableColumn], datasets: &[Arc<Contract>]) -> Result<(), Refusal> {
    let attribute = |column: &TableColumn| {
        let contract = datasets.iter().find(|c| c.dataset == column.reference.dataset)?;
        contract.column(column.reference.column.as_deref()?).map(|c| c.attribute.clone())
    };
    let places = columns.iter().filter(|column| attribute(column).is_some_and(|a| a.place));
    let names = columns.iter().filter_map(|c| c.reference.column.as_ref().map(|name| (&c.reference.dataset, name)));
    let distinct: BTreeSet<_> = names.clone().collect();
    if places.count() > 1 || distinct.len() < names.count() {
        return Err(Refusal::new(
            Rule::Table,
            "a table has one place, and each column in one way",
            "Ask by one of the places; the other in a statement of its own",
        ));
    }
    for column in columns {
        let Some(of) = attribute(column) else { continue };
        if of.alone && columns.iter().filter(|c| c.period.is_none()).count() > 1 {
            return Err(Refusal::new(
                Rule::Table,
                format!("'{}' is a finer level, and there are tables of it alone", column.reference),
                "Ask of it by itself, or of the coarser column beside others",
            ));
        }
        let excluded = |other: &&TableColumn| {
            let names = |(dataset, name): &(String, String)| {
                *dataset == other.reference.dataset && Some(name) == other.reference.column.as_ref()
            };
            of.alternatives.iter().any(names)
        };
        if let Some(other) = columns.iter().find(excluded) {
            return Err(Refusal::new(
                Rule::Table,
                format!(
                    "'{}' and '{}' say nearly the same, and never share a table",
                    column.reference, other.reference
                ),
                format!("Leave out {}", other.reference),
            ));
        }
    }
    Ok(())
}

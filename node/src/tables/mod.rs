//! Tables about people: registers and rows from pinned snapshots, as records of class numbers.
//!
//! A register is logical. The values of each unit in a table's columns are read from the snapshots of its datasets,
//! side by side by the units' dense ids. No plan is made, and nothing of a question reaches a record. Released tables
//! are kept while the data do not change ([`prepared`]).

mod column_cache;
mod columns;
mod pinned;
mod prepared;
mod register;
mod rows;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use arrow::array::RecordBatch;
use loda_contract::{Contract, Role};
use loda_disclosure::table::{
    ColumnShape, FunctionalShape, Labelled, MeasureShape, PeriodShape, Records, TableShape, UnitShape, part_of,
    release_table, statistics,
};
use loda_disclosure::{Method, Released};
use loda_question::scale;
use loda_question::table::{Classes, ColumnRef, Functional, Made, RowDomain, Table};

use crate::snapshot::Snapshot;
use column_cache::ColumnCache;
use columns::Dictionary;
pub(crate) use columns::{column, periods, words_of};
use pinned::measures;
pub(crate) use pinned::{Pinned, whole};
use prepared::{Pins, Prepared};

/// Columns that were read, kept while their snapshots are served, and released tables.
pub(crate) struct Tables {
    columns: ColumnCache,
    prepared: Prepared,
    /// The numbers of rows of snapshots, by their files.
    sizes: Mutex<HashMap<Vec<PathBuf>, u64>>,
}

/// The approximate cost of one row in one table, in nanoseconds.
const A_ROW: u64 = 40;

/// The shortest and the longest step of time at which answers leave.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(2);

/// The outcome of making tables ready.
pub(crate) struct Ready {
    /// The number of kept tables, and of those among them that were made now.
    pub(crate) tables: usize,
    pub(crate) made: usize,
    /// The number of tables for which there is no room.
    pub(crate) left: usize,
    pub(crate) bytes: u64,
}

impl Tables {
    /// `megabytes`: the room for released tables.
    pub(crate) fn new(megabytes: usize) -> Self {
        Self { columns: ColumnCache::default(), prepared: Prepared::new(megabytes), sizes: Mutex::default() }
    }

    /// The released cells of a table from a kept table, if one answers it.
    ///
    /// # Errors
    /// A snapshot is not pinned.
    pub(crate) fn kept(
        &self,
        table: &Table,
        snapshots: &Pinned<'_>,
        method: &dyn Method,
    ) -> anyhow::Result<Option<Released<RecordBatch>>> {
        self.prepared.find(table, &pins(table, snapshots, method)?)
    }

    /// The released cells of a table that is not kept. It is kept from then on.
    ///
    /// # Errors
    /// A snapshot cannot be read, or breaks its contract. The asker gets one static code.
    pub(crate) fn released(
        &self,
        table: &Table,
        snapshots: &Pinned<'_>,
        method: &dyn Method,
        stopped: &dyn Fn() -> bool,
    ) -> anyhow::Result<Released<RecordBatch>> {
        let pins = pins(table, snapshots, method)?;
        // The table is made with every figure. An asker who asks for a count today may ask for a sum tomorrow.
        let whole = whole(table, snapshots);
        let (columns, figures) = whole.answers(table).context("a table does not answer itself")?;
        let released = self.compute(&whole, snapshots, method, stopped)?;
        let part = part_of(&released, whole.columns().len(), &columns, &figures)?;
        let bytes = Prepared::bytes(&whole, snapshots);
        self.prepared.keep(whole, pins, released, bytes);
        Ok(part)
    }

    /// Answers leave at multiples of this time. It is an eighth of the time to make the table from records, as
    /// estimated from the contract and the number of rows, rounded up to the next thousand.
    pub(crate) fn step(&self, table: &Table, snapshots: &Pinned<'_>) -> Duration {
        let rows = table.datasets().iter().filter_map(|contract| self.rows(snapshots.of(&contract.dataset).ok()?));
        let thousands = rows.max().unwrap_or(0).div_ceil(1_000);
        let tables = 1_u64 << table.columns().len().min(16);
        let nanos = thousands.saturating_mul(1_000).saturating_mul(tables).saturating_mul(A_ROW);
        Duration::from_nanos(nanos / 8).clamp(SHORTEST, LONGEST)
    }

    /// The number of a snapshot's rows.
    fn rows(&self, snapshot: &Snapshot) -> Option<u64> {
        let lock = || self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rows) = lock().get(&snapshot.files) {
            return Some(*rows);
        }
        let rows = snapshot.rows().ok()?;
        lock().insert(snapshot.files.clone(), rows);
        Some(rows)
    }

    /// Makes a table from the records.
    fn compute(
        &self,
        table: &Table,
        snapshots: &Pinned<'_>,
        method: &dyn Method,
        stopped: &dyn Fn() -> bool,
    ) -> anyhow::Result<Released<RecordBatch>> {
        let (shape, records) = self.records(table, snapshots)?;
        let cells = statistics(&shape, &records, stopped)?;
        Ok(release_table(&shape, &cells, method)?)
    }

    /// The largest tables of each dataset about people, and the bytes that they take at most.
    pub(crate) fn largest(snapshots: &[Snapshot], allowed: &dyn Fn(&Table) -> bool) -> (Vec<Table>, u64) {
        let held = |name: &str| snapshots.iter().find(|s| s.contract.dataset == name).map(|s| Arc::clone(&s.contract));
        let people = snapshots.iter().filter(|s| s.contract.protection.may_be_about_people() && s.epoch.is_some());
        let tables: Vec<Table> = people.flat_map(|s| Table::largest(&s.contract, allowed, &held)).collect();
        let pinned = Pinned(snapshots);
        let bytes = tables.iter().map(|table| Prepared::bytes(&whole(table, &pinned), &pinned));
        let bytes = bytes.fold(0, u64::saturating_add);
        (tables, bytes)
    }

    /// Makes the largest tables of each dataset about people ready, as far as there is room. They answer all other
    /// tables of their columns. `allowed`: whether this borough allows a table. `told` gets the number of tables and
    /// the number of those that are done.
    ///
    /// # Errors
    /// A snapshot cannot be read.
    pub(crate) fn prepare(
        &self,
        snapshots: &[Snapshot],
        method: &dyn Method,
        allowed: &dyn Fn(&Table) -> bool,
        stopped: &dyn Fn() -> bool,
        told: &dyn Fn(usize, usize),
    ) -> anyhow::Result<Ready> {
        let (tables, _) = Self::largest(snapshots, allowed);
        let (mut made, mut left) = (0, 0);
        for (number, table) in tables.iter().enumerate() {
            if stopped() {
                break;
            }
            told(tables.len(), number);
            let pinned: Vec<Snapshot> = table
                .datasets()
                .iter()
                .filter_map(|contract| snapshots.iter().find(|s| s.contract == *contract).cloned())
                .collect();
            let pinned = Pinned(&pinned);
            let whole = whole(table, &pinned);
            let (pins, bytes) = (Pins::of(&whole, &pinned, method)?, Prepared::bytes(&whole, &pinned));
            if self.prepared.has(&whole, &pins) {
                continue;
            }
            if !self.prepared.has_room(bytes) {
                left += 1;
                continue;
            }
            let released = self.compute(&whole, &pinned, method, stopped)?;
            self.prepared.keep(whole, pins, released, bytes);
            made += 1;
        }
        let (tables, bytes) = self.prepared.size();
        Ok(Ready { tables, made, left, bytes })
    }

    /// The shape and the records of a table.
    pub(crate) fn records(&self, table: &Table, snapshots: &Pinned<'_>) -> anyhow::Result<(TableShape, Records)> {
        let epochs: Vec<String> = table
            .datasets()
            .iter()
            .map(|contract| {
                let snapshot = snapshots.of(&contract.dataset)?;
                Ok(format!("{} {}", contract.dataset, snapshot.epoch.as_deref().unwrap_or("none")))
            })
            .collect::<anyhow::Result<_>>()?;
        let place = |dataset: &str| table.datasets().iter().position(|c| c.dataset == dataset);
        let labelled = |label: String, datasets: &[&str]| Labelled {
            label,
            datasets: datasets.iter().filter_map(|dataset| place(dataset)).collect(),
        };
        let mut dictionaries = Vec::with_capacity(table.columns().len());
        for column in table.columns() {
            dictionaries.push(Dictionary::of(column, table, snapshots)?);
        }
        let (domain, units, max_rows, of_columns, records) = match table.domain() {
            RowDomain::Units(unit) => {
                let register = register::read(&self.columns, unit, table, snapshots, &dictionaries)?;
                let domain = labelled(table.domain().table_name(), &[]);
                (domain, register.units, 1, register.of_columns, register.records)
            }
            RowDomain::Rows(dataset) => {
                let contract = table.contract(dataset).context("the rows are of no dataset")?;
                let (units, max_rows, records) = rows::read(contract, table, snapshots, &dictionaries)?;
                let domain = labelled(table.domain().table_name(), &[dataset]);
                (domain, units, max_rows, vec![None; table.columns().len()], records)
            }
        };
        let columns = table.columns().iter().zip(&dictionaries).zip(of_columns).map(|((column, dictionary), unit)| {
            let reference = &column.reference;
            let through = reference.via.as_ref().map(|(dataset, _)| dataset.as_str());
            let datasets: Vec<&str> = std::iter::once(reference.dataset.as_str()).chain(through).collect();
            ColumnShape {
                listed: column.period.is_some() || matches!(column.classes, Classes::Open),
                value: labelled(dictionary.label(column), &datasets),
                presence: labelled(reference.presence().to_string(), &datasets),
                through: through.map(|dataset| {
                    labelled(ColumnRef { via: None, dataset: dataset.to_owned(), column: None }.to_string(), &[dataset])
                }),
                is_presence: column.made == Made::Presence,
                unit,
                classes: dictionary.array(column),
                words: dictionary.words(column),
            }
        });
        let measures = measures(table);
        let measure_shapes = measures.iter().map(|of| measure_shape(table, of, &labelled));
        let unit_place = |domain: &str| units.iter().position(|u| u.domain == domain);
        let measure_place = |of: &ColumnRef| measures.iter().position(|m| m == of);
        let functionals = table.functionals().iter().map(|functional| {
            let measure = |of: &ColumnRef| measure_place(of).context("a figure of no measure");
            Ok(match functional {
                Functional::Units(domain) => {
                    FunctionalShape::Units(unit_place(domain).context("a figure counts no unit")?)
                }
                Functional::Rows => FunctionalShape::Rows,
                Functional::Present(of) => FunctionalShape::Present(measure(of)?),
                Functional::Sum(of) => FunctionalShape::Sum(measure(of)?),
                Functional::Square(of) => FunctionalShape::Square(measure(of)?),
                Functional::Product(a, b) => FunctionalShape::Product(measure(a)?, measure(b)?),
            })
        });
        let shape = TableShape {
            columns: columns.collect(),
            measures: measure_shapes.collect::<anyhow::Result<_>>()?,
            functionals: functionals.collect::<anyhow::Result<_>>()?,
            units: units.into_iter().map(|unit| UnitShape { label: unit.label }).collect(),
            threshold: table.threshold(),
            register: matches!(table.domain(), RowDomain::Units(_)),
            whole: match table.domain() {
                RowDomain::Units(_) => None,
                RowDomain::Rows(dataset) => {
                    let presence = ColumnRef { via: None, dataset: dataset.clone(), column: None };
                    Some(labelled(presence.to_string(), &[dataset]))
                }
            },
            max_rows,
            domain,
            epochs,
            period: match (table.domain(), table.period()) {
                (RowDomain::Rows(dataset), Some(column)) => {
                    Some(PeriodShape { column, epochs: snapshots.of(dataset)?.closed.epochs.clone() })
                }
                _ => None,
            },
        };
        Ok((shape, records))
    }

    /// Drops the columns that were read, because other snapshots are served from now on.
    pub(crate) fn forget(&self) {
        self.columns.clear();
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The key of the data that a table's cells are drawn for. If the method draws noise, an epoch must have pinned each
/// dataset.
fn pins(table: &Table, snapshots: &Pinned<'_>, method: &dyn Method) -> anyhow::Result<Pins> {
    if method.draws_noise() {
        let pinned = |contract: &Arc<Contract>| snapshots.of(&contract.dataset).is_ok_and(|s| s.epoch.is_some());
        anyhow::ensure!(table.datasets().iter().all(pinned), "a dataset about people is pinned for no epoch");
    }
    Pins::of(table, snapshots, method)
}

fn measure_shape(
    table: &Table,
    of: &ColumnRef,
    labelled: &dyn Fn(String, &[&str]) -> Labelled,
) -> anyhow::Result<MeasureShape> {
    let column = table.contract(&of.dataset).and_then(|c| c.column(of.column.as_deref()?));
    let column = column.context("a figure of no column")?;
    let Role::Measure { lower, upper, clamp, .. } = &column.role else { anyhow::bail!("a figure of no measure") };
    let (lower, upper) = clamp.unwrap_or((*lower, *upper));
    Ok(MeasureShape {
        value: labelled(of.to_string(), &[&of.dataset]),
        presence: labelled(of.presence().to_string(), &[&of.dataset]),
        scale: scale(column.kind),
        lower,
        upper,
        nullable: column.nullable,
    })
}

/// The columns of a table whose values a borough lists, each with its dataset.
pub(crate) fn listed(table: &Table) -> impl Iterator<Item = (&str, &str)> {
    let open = table.columns().iter().filter(|column| matches!(column.classes, Classes::Open));
    open.filter_map(|column| Some((column.reference.dataset.as_str(), column.reference.column.as_deref()?)))
}

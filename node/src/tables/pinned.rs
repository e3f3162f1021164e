//! The snapshots that a table reads, and the things that it counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use loda_question::table::{ColumnRef, Functional, Table};

use crate::snapshot::Snapshot;

/// The snapshots that a table reads.
pub(crate) struct Pinned<'a>(pub(crate) &'a [Snapshot]);

impl Pinned<'_> {
    pub(super) fn of(&self, dataset: &str) -> anyhow::Result<&Snapshot> {
        self.0.iter().find(|s| s.contract.dataset == dataset).context("a dataset of the table is not pinned")
    }
}

/// A table with every figure.
pub(crate) fn whole(table: &Table, snapshots: &Pinned<'_>) -> Table {
    table.with_all_figures(&|name| snapshots.of(name).ok().map(|snapshot| Arc::clone(&snapshot.contract)))
}

/// A unit that a table counts or protects.
pub(crate) struct Unit {
    pub(crate) domain: String,
    pub(crate) label: String,
}

/// The measures of a table's figures, in order.
pub(crate) fn measures(table: &Table) -> Vec<ColumnRef> {
    let mut measures = BTreeSet::new();
    for functional in table.functionals() {
        match functional {
            Functional::Units(_) | Functional::Rows => {}
            Functional::Present(of) | Functional::Sum(of) | Functional::Square(of) => {
                measures.insert(of.clone());
            }
            Functional::Product(a, b) => {
                measures.insert(a.clone());
                measures.insert(b.clone());
            }
        }
    }
    measures.into_iter().collect()
}

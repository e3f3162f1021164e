//! The rows of a dataset in which a unit may occur several times.

use std::sync::Arc;

use anyhow::Context;
use loda_contract::Contract;
use loda_disclosure::table::Records;
use loda_question::table::Table;

use super::columns::{self, Dictionary};
use super::pinned::{Pinned, Unit, measures};
use crate::snapshot::Snapshot;

/// The bound where no unit declares a number of rows. Rows are not counted then.
const UNBOUNDED: u64 = 1_000_000;

/// The units of the rows, the number of rows of the first unit that count, and the records.
pub(super) fn read(
    contract: &Arc<Contract>,
    table: &Table,
    snapshots: &Pinned<'_>,
    dictionaries: &[Dictionary],
) -> anyhow::Result<(Vec<Unit>, u64, Records)> {
    let snapshot = snapshots.of(&contract.dataset)?;
    let by_period;
    let snapshot = match contract.closure.period {
        None => snapshot,
        Some(_) => {
            by_period = Snapshot { files: snapshot.closed.files.clone(), ..snapshot.clone() };
            &by_period
        }
    };
    let mut units: Vec<&loda_contract::Unit> = contract.units.iter().filter(|u| u.about_people).collect();
    // The unit with the smallest bound on rows comes first.
    units.sort_by_key(|unit| unit.max_rows.unwrap_or(u64::MAX));
    let max_rows = units.first().and_then(|unit| unit.max_rows).unwrap_or(UNBOUNDED);
    let mut records = Records::default();
    for unit in &units {
        let name = columns::id_column(&unit.domain);
        let read = columns::read(snapshot, &[&name])?;
        records.units.push(columns::ids(read.first().context("a unit has no ids")?)?);
    }
    for (column, dictionary) in table.columns().iter().zip(dictionaries) {
        if let Some(period) = &column.period {
            let periods = columns::periods(snapshot, period)?;
            records.columns.push(periods.iter().map(|value| dictionary.code(value)).collect());
            continue;
        }
        let name = column.reference.column.as_deref().context("rows have columns alone")?;
        let read = columns::read(snapshot, &[name])?;
        records.columns.push(dictionary.codes(read.first().context("a column is not there")?, column.kind)?);
    }
    for of in measures(table) {
        let name = of.column.as_deref().context("a measure without a name")?;
        let read = columns::read(snapshot, &[name])?;
        let column = contract.column(name).context("a measure of no column")?;
        records.measures.push(columns::numbers(read.first().context("a measure is not there")?, column)?);
    }
    let units = units.into_iter().map(|unit| Unit { domain: unit.domain.clone(), label: unit.domain.clone() });
    Ok((units.collect(), max_rows, records))
}

//! Exact figures, with nothing withheld: for data already published, and for tests.

use crate::error::DisclosureError;
use crate::keys::CellKey;
use crate::output::OutputRow;
use crate::spec::{FigureKind, FigureSpec, TableSpec};
use crate::stage::{Cell, Stage};

/// Every observed cell with every figure. The sum of nothing is NULL. A table without records has no cell, even if SQL would
/// give one row of zeros. The reader adds that row.
pub(crate) fn release(spec: &TableSpec, stage: &Stage) -> Result<Vec<OutputRow>, DisclosureError> {
    stage.cells().map(|(key, cell)| row(spec, key, &cell)).collect()
}

/// The exact value of one figure in one cell; `None` is SQL's NULL.
pub(crate) fn figure(cell: &Cell<'_>, figure: &FigureSpec) -> Result<Option<i128>, DisclosureError> {
    Ok(match figure.kind {
        FigureKind::Rows => Some(i128::from(cell.row_count(figure.requires)?)),
        FigureKind::Units { domain } => {
            let units = cell.units(domain, figure.requires)?.len();
            Some(i128::try_from(units).map_err(|_| DisclosureError::Overflow)?)
        }
        FigureKind::Present { measure } => Some(i128::from(cell.present(measure, figure.requires)?)),
        FigureKind::Sum { measure } => cell.sum(measure, figure.requires)?,
    })
}

fn row(spec: &TableSpec, key: &CellKey, cell: &Cell<'_>) -> Result<OutputRow, DisclosureError> {
    let figures = spec.figures.iter().map(|spec| figure(cell, spec)).collect::<Result<_, _>>()?;
    Ok(OutputRow { key: key.clone(), figures })
}

//! `unprotected`: exact figures, with nothing withheld, for the tests' comparison with pooled data. No configuration selects it.

use super::exact_figures::exact_figures;
use super::method::{Method, Statistics, sealed};
use crate::error::DisclosureError;
use crate::exact;
use crate::keys::KeyCodec;
use crate::output::OutputRow;
use crate::spec::TableSpec;
use crate::stage::Stage;
use crate::table::{CellStatistics, Code, FunctionalShape, TableShape};

/// The method for tests: exact figures, with nothing withheld.
#[derive(Debug, Clone, Copy)]
pub struct Unprotected;

impl sealed::Sealed for Unprotected {}

impl Method for Unprotected {
    fn name(&self) -> &'static str {
        "unprotected"
    }

    fn parameters(&self) -> String {
        "none, nothing is protected".to_owned()
    }

    exact_figures!();

    fn release_cell(
        &self,
        shape: &TableShape,
        _subset: u32,
        _codes: &[Code],
        statistics: &CellStatistics,
    ) -> Result<Option<Vec<Option<i128>>>, DisclosureError> {
        let figure = |(place, functional): (usize, &FunctionalShape)| match functional {
            FunctionalShape::Units(unit) => Some(i128::from(statistics.units.get(*unit).copied().unwrap_or(0))),
            FunctionalShape::Rows => Some(i128::from(statistics.exact.rows)),
            FunctionalShape::Present(_) => Some(i128::from(statistics.exact.present.get(place).copied().unwrap_or(0))),
            FunctionalShape::Sum(_) | FunctionalShape::Square(_) | FunctionalShape::Product(..) => {
                statistics.exact.sums.get(place).copied().flatten()
            }
        };
        Ok(Some(shape.functionals.iter().enumerate().map(figure).collect()))
    }
}

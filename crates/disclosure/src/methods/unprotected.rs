//! `unprotected`: exact, nothing withheld, for the tests' comparison with pooled data. No configuration reaches it.

use super::Statistics;
use crate::error::DisclosureError;
use crate::exact;
use crate::keys::KeyCodec;
use crate::output::OutputRow;
use crate::spec::TableSpec;
use crate::stage::Stage;
use crate::table::{CellStatistics, Code, FunctionalShape, TableShape};

/// Exact, nothing withheld.
#[derive(Debug, Clone, Copy)]
pub struct Unprotected;

impl super::Method for Unprotected {
    fn name(&self) -> &'static str {
        "unprotected"
    }

    fn parameters(&self) -> String {
        "none, nothing is protected".to_owned()
    }

    fn expected_error(&self) -> f64 {
        0.0
    }

    fn variance(&self) -> f64 {
        0.0
    }

    fn draws_noise(&self) -> bool {
        false
    }

    fn absent_is_withheld(&self) -> bool {
        false
    }

    fn statistics(&self) -> Statistics {
        Statistics::Totals
    }

    fn check(&self) -> Result<(), DisclosureError> {
        Ok(())
    }

    fn release(&self, spec: &TableSpec, _codec: &KeyCodec, stage: &Stage) -> Result<Vec<OutputRow>, DisclosureError> {
        exact::release(spec, stage)
    }

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

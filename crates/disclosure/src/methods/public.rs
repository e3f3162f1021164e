//! `public`: already published, so exact and nothing withheld.

use super::{NOT_OF_PEOPLE, Statistics};
use crate::error::DisclosureError;
use crate::exact;
use crate::keys::KeyCodec;
use crate::output::OutputRow;
use crate::spec::TableSpec;
use crate::stage::Stage;
use crate::table::{CellStatistics, Code, TableShape};

/// Already published: exact, nothing withheld.
#[derive(Debug, Clone, Copy)]
pub struct Public;

impl super::Method for Public {
    fn name(&self) -> &'static str {
        "public"
    }

    fn parameters(&self) -> String {
        "none, the data is already published".to_owned()
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
        _shape: &TableShape,
        _subset: u32,
        _codes: &[Code],
        _statistics: &CellStatistics,
    ) -> Result<Option<Vec<Option<i128>>>, DisclosureError> {
        Err(NOT_OF_PEOPLE)
    }
}

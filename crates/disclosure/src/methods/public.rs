//! `public`: the data are already published, so figures are exact and nothing is withheld.

use super::exact_figures::exact_figures;
use super::method::{Method, NOT_OF_PEOPLE, Statistics, sealed};
use crate::error::DisclosureError;
use crate::exact;
use crate::keys::KeyCodec;
use crate::output::OutputRow;
use crate::spec::TableSpec;
use crate::stage::Stage;
use crate::table::{CellStatistics, Code, TableShape};

/// The method for data already published: exact figures, with nothing withheld.
#[derive(Debug, Clone, Copy)]
pub struct Public;

impl sealed::Sealed for Public {}

impl Method for Public {
    fn name(&self) -> &'static str {
        "public"
    }

    fn parameters(&self) -> String {
        "none, the data is already published".to_owned()
    }

    exact_figures!();

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

//! The trait of a protection method.

use std::fmt;

use crate::error::DisclosureError;
use crate::keys::KeyCodec;
use crate::output::OutputRow;
use crate::spec::TableSpec;
use crate::stage::Stage;
use crate::table::{CellStatistics, Code, TableShape};

/// The protection of a dataset. Only this crate can implement it, because its results may leave a node.
pub trait Method: sealed::Sealed + fmt::Debug + Send + Sync {
    /// The method's name in contracts and statements.
    fn name(&self) -> &'static str;

    /// The public parameters in plain words, for the statement that goes with a result.
    fn parameters(&self) -> String;

    /// The mean error of a count of units; 0 if figures are exact.
    fn expected_error(&self) -> f64;

    /// The variance of the noise on a count of units; 0 if figures are exact.
    fn variance(&self) -> f64;

    /// Whether figures have noise. The data must then stay unchanged for an epoch.
    fn draws_noise(&self) -> bool;

    /// The meaning of an absent cell. True: the cell is withheld, so that the reader must place the result on the grid of all
    /// cells and mark the missing ones. False: the cell has no rows.
    fn absent_is_withheld(&self) -> bool;

    /// The statistics from which the method releases figures.
    fn statistics(&self) -> Statistics;

    /// Refuses, before a row is read, a request that the method cannot release for any data.
    ///
    /// # Errors
    /// The parameter, or the part of the request, that gives no protection.
    fn check(&self) -> Result<(), DisclosureError>;

    /// Releases a question about things: the cells with at least one released figure, in key order.
    ///
    /// # Errors
    /// If a figure overflows, or the method is for people only.
    fn release(&self, spec: &TableSpec, codec: &KeyCodec, stage: &Stage) -> Result<Vec<OutputRow>, DisclosureError>;

    /// Releases the figures of one cell of a table about people; `None`: the cell is withheld.
    ///
    /// # Errors
    /// If a figure overflows, or the method is for things only.
    fn release_cell(
        &self,
        shape: &TableShape,
        subset: u32,
        codes: &[Code],
        statistics: &CellStatistics,
    ) -> Result<Option<Vec<Option<i128>>>, DisclosureError>;
}

/// Keeps other crates from implementing [`Method`].
pub(super) mod sealed {
    /// A method of this crate.
    pub trait Sealed {}
}

/// The statistics of each cell that a method gets. All of them add up over parts of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// The totals of the cell's records.
    Totals,
    /// Units and their contributions, by the conditions of the question that they meet, and the combinations of conditions that
    /// contract and logic allow. An allowed combination without units counts as low.
    Atoms,
    /// [`CellStatistics`] of closed tables.
    ClosedCells,
}

/// The refusal of a question about people that is not a closed table.
pub(super) const PEOPLE_ALONE: DisclosureError =
    DisclosureError::Spec("data about people leave as closed tables alone");
/// The refusal of a closed table by a method for things.
pub(super) const NOT_OF_PEOPLE: DisclosureError =
    DisclosureError::Spec("a table about people is protected by cell keys alone");

//! The methods of disclosure control, each in a file of its own. A dataset has one method for an epoch, whoever asks.
//!
//! A method sees the statistics that it says it needs ([`Statistics`]) and nothing else of the data. There is no default answer
//! to any of its questions, so that a new one cannot fail open.

mod cell_key;
mod public;
mod threshold;
#[cfg(feature = "unprotected")]
mod unprotected;

use std::fmt;

pub use cell_key::CellKey;
pub use public::Public;
pub use threshold::Threshold;
#[cfg(feature = "unprotected")]
pub use unprotected::Unprotected;

use crate::error::DisclosureError;
use crate::keys::KeyCodec;
use crate::output::OutputRow;
use crate::spec::TableSpec;
use crate::stage::Stage;
use crate::table::{CellStatistics, Code, TableShape};

/// How a dataset is protected. Only this crate has methods: what they release may leave a node.
pub trait Method: sealed::Sealed + fmt::Debug + Send + Sync {
    /// The method's name in contracts and statements.
    fn name(&self) -> &'static str;

    /// The public parameters in plain words, for the statement that goes with a result.
    fn parameters(&self) -> String;

    /// How far a count of units is off on average; 0 where figures are exact.
    fn expected_error(&self) -> f64;

    /// The variance of the noise on a count of units; 0 where figures are exact.
    fn variance(&self) -> f64;

    /// Whether figures have noise that data have to stand still for.
    fn draws_noise(&self) -> bool;

    /// What an absent cell means. True: it is withheld, so that the reader must place the result on
    /// the grid of all cells and mark what is missing. False: it has no rows.
    fn absent_is_withheld(&self) -> bool;

    /// What it releases figures from.
    fn statistics(&self) -> Statistics;

    /// Refuses, before a row is read, what the method cannot release whatever the data.
    ///
    /// # Errors
    /// What of its parameters, or of what is asked, protects nobody.
    fn check(&self) -> Result<(), DisclosureError>;

    /// Of a question about things: the cells with at least one released figure, in key order.
    ///
    /// # Errors
    /// Where a figure overflows, or the method is for people alone.
    fn release(&self, spec: &TableSpec, codec: &KeyCodec, stage: &Stage) -> Result<Vec<OutputRow>, DisclosureError>;

    /// The figures of one cell of a table about people; `None`: it is withheld.
    ///
    /// # Errors
    /// Where a figure overflows, or the method is for things alone.
    fn release_cell(
        &self,
        shape: &TableShape,
        subset: u32,
        codes: &[Code],
        statistics: &CellStatistics,
    ) -> Result<Option<Vec<Option<i128>>>, DisclosureError>;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Public {}
    impl Sealed for super::Threshold {}
    impl Sealed for super::CellKey {}
    #[cfg(feature = "unprotected")]
    impl Sealed for super::Unprotected {}
}

/// What a method is given of each cell. All of them add up over parts of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// What its records add up to.
    Totals,
    /// Units and their contributions, by which of the question's conditions they meet: and which of those contract and logic
    /// allow, for what is empty otherwise is low.
    Atoms,
    /// [`CellStatistics`] of closed tables.
    ClosedCells,
}

const PEOPLE_ALONE: DisclosureError = DisclosureError::Spec("data about people leave as closed tables alone");
const NOT_OF_PEOPLE: DisclosureError = DisclosureError::Spec("a table about people is protected by cell keys alone");

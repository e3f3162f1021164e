//! Commands that an operator runs by hand.

pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod decide;
pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod list_snapshots;
pub(crate) mod ptable;

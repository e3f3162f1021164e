//! From a fragment to released cells.

pub(crate) mod agreement;
pub(crate) mod borough;
pub(crate) mod confirmation;
pub(crate) mod disclose;
pub(crate) mod engine;
pub(crate) mod registry;
pub(crate) mod release;
pub(crate) mod request;
pub(crate) mod service;

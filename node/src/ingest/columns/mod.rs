//! The columns of a source, judged as a whole: what no value says by itself.
//!
//! | module | what it finds |
//! |---|---|
//! | [`profile`] | kinds, values and ranges of a column |
//! | [`markers`] | texts that stand for nothing |
//! | [`identifying`] | columns that may name or identify somebody |
//! | [`vocabulary`] | words of columns and codes |
//! | [`suspects`] | rows that are no records: totals, second headers, notes |
//! | [`judgement`] | what a steward has to decide |

pub(crate) mod identifying;
pub(crate) mod judgement;
pub(crate) mod markers;
pub(crate) mod profile;
pub(crate) mod suspects;
mod vocabulary;

pub(crate) use vocabulary::{is_heading, is_personal, words};

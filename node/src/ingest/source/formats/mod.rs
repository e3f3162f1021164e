//! The formats in which extracts come.
//!
//! | module | format |
//! |---|---|
//! | [`csv`], [`encoding`] | delimited text |
//! | [`workbook`], [`sheets`] | workbooks of spreadsheets |
//! | [`json`] | one JSON object a line |
//! | [`parquet`] | Parquet, with types |
//! | [`sqlite`], [`postgres`] | databases |

pub(super) mod csv;
mod encoding;
pub(super) mod json;
pub(super) mod parquet;
pub(super) mod postgres;
mod sheets;
pub(super) mod sqlite;
pub(super) mod workbook;

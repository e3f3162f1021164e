//! The analysts' and auditors' command line of the London data federation.
//!
//! | question | module |
//! |---|---|
//! | what can be typed | `args`, `commands` |
//! | where the coordinator is and who asks | [`config`] |
//! | how a question becomes an answer | [`client`], [`answer`], [`error`] |
//! | how answers and statements look | [`render`] |
//! | what the exit code says | [`exit`] |
//!
//! Everything that came over the wire passes [`loda_answer::plain`] before it is printed.

mod args;
pub mod client;
mod commands;
pub mod config;
pub mod error;
pub mod exit;
mod progress;
pub mod render;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};

use clap::Parser;

pub use client::Client;
pub use config::{Config, ConfigError};
pub use error::ClientError;
pub use loda_answer::{self as answer, Answer};

/// What is at the ends of standard output and standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Screen {
    /// The terminal's width in columns, where standard output is one.
    pub width: Option<u16>,
    /// Whether standard error is a terminal, and so shows progress.
    pub shows_progress: bool,
}

impl Screen {
    /// Looks at this process's standard output and standard error.
    pub fn detect() -> Self {
        let stdout = std::io::stdout().is_terminal();
        Self {
            // 80 where a terminal does not tell.
            width: stdout.then(|| comfy_table::Table::new().width().unwrap_or(80)),
            shows_progress: std::io::stderr().is_terminal(),
        }
    }
}

/// Runs one command line (the first argument is the program's name) as if its output went to files,
/// and returns its exit code: see [`exit`].
pub async fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    run_on(Screen::default(), args, out, err).await
}

/// The same for given ends.
pub async fn run_on(
    screen: Screen,
    args: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let loda = match args::Loda::try_parse_from(args) {
        Ok(loda) => loda,
        Err(error) => {
            let text = error.render().to_string();
            // Nowhere is left to report that this cannot be written.
            let _ = if error.use_stderr() { err.write_all(text.as_bytes()) } else { out.write_all(text.as_bytes()) };
            return if error.use_stderr() { exit::USAGE } else { exit::COMPLETE };
        }
    };
    let mut session = commands::Session { screen, out, err };
    match commands::dispatch(loda, &mut session).await {
        Ok(code) => code,
        Err(failure) => session.report(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ran(args: &[&str]) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = std::iter::once("loda").chain(args.iter().copied()).map(OsString::from);
        let code = run(args, &mut out, &mut err).await;
        (code, String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
    }

    #[tokio::test]
    async fn help_is_an_answer_and_nonsense_is_not() {
        let (code, out, err) = ran(&["--help"]).await;
        assert_eq!((code, err.as_str()), (exit::COMPLETE, ""));
        assert!(out.contains("Exit codes"));
        let (code, out, err) = ran(&["query", "--format", "xml", "SELECT 1"]).await;
        assert_eq!((code, out.as_str()), (exit::USAGE, ""));
        assert!(err.contains("parquet"), "{err}");
    }

    #[tokio::test]
    async fn a_missing_configuration_is_a_usage_error_with_a_fix() {
        let (code, out, err) = ran(&["query", "SELECT 1", "--config", "nowhere/loda.toml"]).await;
        assert_eq!((code, out.as_str()), (exit::USAGE, ""));
        assert!(err.contains("nowhere/loda.toml") && err.contains("fix:"), "{err}");
    }
}

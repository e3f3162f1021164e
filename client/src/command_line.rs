//! From a command line to an exit code.

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;

use crate::args::Loda;
use crate::commands::{Session, dispatch};
use crate::exit;
use crate::screen::Screen;

/// Runs one command line as if its output went to files, and returns its exit code: see [`exit`]. The first argument is
/// the program's name.
pub async fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    run_on(Screen::default(), args, out, err).await
}

/// As [`run`], for the given terminals.
pub async fn run_on(
    screen: Screen,
    args: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let loda = match Loda::try_parse_from(args) {
        Ok(loda) => loda,
        Err(error) => {
            let text = error.render().to_string();
            // If this cannot be written, there is no place to report it.
            let _ = if error.use_stderr() { err.write_all(text.as_bytes()) } else { out.write_all(text.as_bytes()) };
            return if error.use_stderr() { exit::USAGE } else { exit::COMPLETE };
        }
    };
    let mut session = Session { screen, out, err };
    match dispatch(loda, &mut session).await {
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

    #[tokio::test]
    async fn completions_and_manual_pages_follow_the_command_line() {
        let (code, out, _) = ran(&["completions", "bash"]).await;
        assert_eq!(code, exit::COMPLETE);
        assert!(out.contains("_loda") && out.contains("--purpose"), "{out}");
        let folder = tempfile::tempdir().unwrap();
        let (code, ..) = ran(&["manual", "--out", folder.path().to_str().unwrap()]).await;
        assert_eq!(code, exit::COMPLETE);
        let page = std::fs::read_to_string(folder.path().join("loda-query.1")).unwrap();
        assert!(page.contains("purpose"), "{page}");
    }
}

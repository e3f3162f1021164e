//! Completions for shells, and manual pages, from the same definition as `--help`.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::failure::Failure;
use super::session::Session;
use crate::args::Loda;
use crate::exit;

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell, session: &mut Session<'_>) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Loda::command(), "loda", &mut script);
    session.out.write_all(&script)?;
    Ok(exit::COMPLETE)
}

/// Writes a manual page for each command into a folder.
pub(crate) fn manual(folder: &Path, session: &mut Session<'_>) -> Result<u8, Failure> {
    let fault = |source| Failure::File { action: "write manual pages into", path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(fault)?;
    clap_mangen::generate_to(Loda::command(), folder).map_err(fault)?;
    writeln!(session.out, "wrote manual pages into {}: read one with man -l", folder.display())?;
    Ok(exit::COMPLETE)
}

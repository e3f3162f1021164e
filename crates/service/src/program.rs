//! This program once more, in a process of its own: it may fail, and its memory is the system's again when it ends.

use std::ffi::OsString;

use tokio::process::Command;

/// How this program is started once more.
#[derive(Clone, Debug)]
pub struct Program(Vec<OsString>);

impl Program {
    /// The program that runs now, with what its command line has before the other's own arguments.
    ///
    /// # Errors
    /// Where the system does not say which it is.
    pub fn this(before: &[&str]) -> std::io::Result<Self> {
        Ok(Self::at(std::env::current_exe()?, before))
    }

    /// The program of a file.
    #[must_use]
    pub fn at(file: impl Into<OsString>, before: &[&str]) -> Self {
        Self(std::iter::once(file.into()).chain(before.iter().map(OsString::from)).collect())
    }

    /// None where there is no program.
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        let (program, before) = self.0.split_first()?;
        let mut command = Command::new(program);
        // A backtrace wants memory that may be what is lacking.
        command.args(before).env("RUST_BACKTRACE", "0");
        Some(command)
    }
}

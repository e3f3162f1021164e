//! This program again, in a process of its own. That process may fail, and the system gets its memory back when it
//! ends.

use std::ffi::OsString;

use tokio::process::Command;

/// The command that starts this program again.
#[derive(Clone, Debug)]
pub struct Program(Vec<OsString>);

impl Program {
    /// The program that runs now. `before`: the arguments of its command line that come before the new process's own.
    ///
    /// # Errors
    /// The system does not say which file the program is.
    pub fn this(before: &[&str]) -> std::io::Result<Self> {
        Ok(Self::at(std::env::current_exe()?, before))
    }

    /// The program in `file`, with the arguments that come before the new process's own.
    #[must_use]
    pub fn at(file: impl Into<OsString>, before: &[&str]) -> Self {
        Self(std::iter::once(file.into()).chain(before.iter().map(OsString::from)).collect())
    }

    /// The command to start, or `None` if there is no program.
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        let (program, before) = self.0.split_first()?;
        let mut command = Command::new(program);
        // A backtrace needs memory, and memory may be short.
        command.args(before).env("RUST_BACKTRACE", "0");
        Some(command)
    }
}

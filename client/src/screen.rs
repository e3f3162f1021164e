//! The screen: the terminals that a command writes to.

use std::io::IsTerminal;

/// The terminals at standard output and standard error, if there are any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Screen {
    /// The terminal's width in columns; `None` if standard output is not a terminal.
    pub width: Option<u16>,
    /// The width of standard error's terminal; `None` if it is none.
    pub err_width: Option<u16>,
    /// Whether standard error is a terminal, so that progress is shown.
    pub shows_progress: bool,
}

impl Screen {
    /// Looks at this process's standard output and standard error.
    pub fn detect() -> Self {
        let (stdout, stderr) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        // 80 if the terminal does not report its width.
        let width = comfy_table::Table::new().width().unwrap_or(80);
        Self { width: stdout.then_some(width), err_width: stderr.then_some(width), shows_progress: stderr }
    }
}

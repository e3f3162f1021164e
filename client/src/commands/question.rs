//! The source of a question: argument, file or standard input.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use super::failure::Failure;
use crate::args::Question;

impl Question {
    /// The SQL: the argument, else the file, else standard input.
    pub(super) fn text(&self) -> Result<String, Failure> {
        let sql = match (&self.sql, &self.file) {
            (Some(sql), _) => sql.clone(),
            (None, Some(file)) if file != Path::new("-") => {
                let name = file.display();
                let unreadable =
                    |error| Failure::Usage(format!("cannot read {name}: {error}\n  fix: name a file of SQL"));
                std::fs::read_to_string(file).map_err(unreadable)?
            }
            _ => {
                let mut text = String::new();
                let mut input = std::io::stdin();
                if input.is_terminal() {
                    std::io::stderr().write_all(b"type the question, then press Ctrl-D\n").ok();
                }
                let unreadable = |source| Failure::File { action: "read", path: "standard input".into(), source };
                input.read_to_string(&mut text).map_err(unreadable)?;
                text
            }
        };
        if sql.trim().is_empty() {
            let help = "there is no question\n  fix: loda query 'SELECT …', or --file FILE, or SQL on standard input";
            return Err(Failure::Usage(help.into()));
        }
        Ok(sql)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn question(sql: Option<&str>, file: Option<&Path>) -> Question {
        Question { sql: sql.map(Into::into), file: file.map(Into::into), purpose: String::new() }
    }

    #[test]
    fn a_file_is_read_and_a_blank_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("q.sql");
        std::fs::write(&file, "SELECT 1\n").unwrap();
        assert_eq!(question(None, Some(&file)).text().unwrap(), "SELECT 1\n");
        assert!(matches!(question(Some(" \n"), None).text(), Err(Failure::Usage(_))));
        let missing = question(None, Some(&folder.path().join("no.sql"))).text();
        assert!(missing.unwrap_err().to_string().contains("no.sql"));
    }
}

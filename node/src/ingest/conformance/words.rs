//! A conformance report in words, for a log and for a terminal.

use std::fmt::Write as _;

use super::report::{Rejected, Report, RowPlace};
use crate::ingest::finding::{Decided, Finding, listed};

impl Report {
    /// One line for the operator's log.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut line = match self.snapshot {
            Some(id) => format!("{}: snapshot {id}, {} of {} rows kept", self.dataset, self.kept, self.read),
            None => format!("{}: {} of {} rows keep the contract", self.dataset, self.kept, self.read),
        };
        if self.unreadable() > 0 {
            let _infallible = write!(line, "; {} rows could not be read", self.unreadable());
        }
        for Rejected { column, reason, rows, .. } in &self.rejected {
            let _infallible = write!(line, "; {rows} left out where {column} {reason}");
        }
        for refusal in &self.refusals {
            let _infallible = write!(line, "; refused: {refusal}");
        }
        line
    }

    /// The whole report, for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("{} – {}, as at {}\n", self.dataset, self.title, self.as_at);
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        for (name, source) in &self.sources {
            line(format!(
                "\n  source {name}: {} rows read, {} blank, {} unreadable",
                source.rows, source.blank, source.bad
            ));
            for (file, how, rows) in &source.files {
                line(format!("    {file}: {rows} rows ({how})"));
            }
            for (why, (rows, places)) in &source.faults {
                let places = places.iter().map(|(file, line)| RowPlace { file: file.clone(), line: *line }.to_string());
                line(format!("    {rows} × {why}: {}", listed(places, *rows)));
            }
        }
        line(format!(
            "\n  mapping: {} rows; {} keep the contract, {} do not",
            self.read,
            self.kept,
            self.read - self.kept
        ));
        let given: u64 = self.sources.values().map(|source| source.rows).sum();
        if given > self.read {
            line(format!(
                "    {} rows of the sources give none: the mapping filters or joins them away",
                given - self.read
            ));
        }
        for rejected in &self.rejected {
            let places = rejected.places.iter().map(ToString::to_string);
            line(format!(
                "    {} × {} {}: {}",
                rejected.rows,
                rejected.column,
                rejected.reason,
                listed(places, rejected.rows)
            ));
            if !rejected.codes.is_empty() {
                let codes = rejected.codes.iter().map(|(code, rows)| format!("'{code}' ({rows})"));
                line(format!("      not in the code list: {}", codes.collect::<Vec<_>>().join(", ")));
            }
        }
        for (function, shapes) in &self.unread {
            let told = shapes.iter().map(|(shape, count)| format!("{shape} ({count})")).collect::<Vec<_>>().join(", ");
            let count: u64 = shapes.values().sum();
            line(format!("    {count} values became NULL in {function}(); by shape: {told}"));
        }
        line("\n  column                            filled   most frequent".to_owned());
        for column in &self.columns {
            let mut bands: Vec<(&String, &u64)> = column.bands.iter().collect();
            bands.sort_by_key(|(name, rows)| (std::cmp::Reverse(**rows), *name));
            let top = bands.iter().take(3).map(|(name, rows)| format!("{name} {:.0} %", share(**rows, self.kept)));
            line(format!(
                "  {:<32} {:>6.1} %   {}",
                column.name,
                share(column.filled, self.kept),
                top.collect::<Vec<_>>().join(", ")
            ));
        }
        for drift in &self.drift {
            line(format!("\n  drift: {drift}"));
        }
        for Finding { key, place, seen, fix, decided } in &self.findings {
            line(match decided {
                None => format!("\n  to decide: {key}\n    {place}: {seen}.\n    Fix: {fix}"),
                Some(Decided { by, on, why }) => format!("\n  decided: {key}, by {by} on {on}: {why}"),
            });
        }
        if self.findings.iter().any(|finding| finding.decided.is_none()) {
            line(
                "\n  What is right as it stands is decided in node.toml, below its [[dataset]]:\n    [dataset.decided]\n    \
                 \"the key\" = { by = \"your name\", on = \"2026-01-31\", why = \"the reason\" }"
                    .to_owned(),
            );
        }
        match self.refusals.as_slice() {
            [] => line("\n  This may be served.".to_owned()),
            refusals => {
                refusals.iter().for_each(|refusal| line(format!("\n  refused: {refusal}")));
                line("  The last good snapshot stays in use.".to_owned());
            }
        }
        // Cells may hold control characters that a terminal would obey.
        out.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
    }
}

pub(super) fn share(rows: u64, of: u64) -> f64 {
    rows as f64 * 100.0 / of.max(1) as f64
}

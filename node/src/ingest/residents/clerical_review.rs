//! Pairs of records for a person to review, and the decisions: one CSV file, out and in again.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};
use loda_linkage::Decision;

/// The columns of the list. `same` is empty until a person writes yes or no.
pub(super) const HEADER: [&str; 6] = ["one_service", "one_key", "other_service", "other_key", "bits", "same"];

/// A pair by the services' own references. The list holds no names. The reviewer looks in the services.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) one: (String, String),
    pub(crate) other: (String, String),
    pub(crate) bits: f64,
}

/// The decisions of a list.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) decisions: Vec<Decision>,
    /// Decisions on records that are not there any more.
    pub(super) unknown: u64,
}

/// Writes the list for the reviewer.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, pairs: &[Pair]) -> anyhow::Result<()> {
    let mut list = csv::Writer::from_writer(Vec::new());
    list.write_record(HEADER)?;
    for Pair { one, other, bits } in pairs {
        list.write_record([&one.0, &one.1, &other.0, &other.1, &format!("{bits:.1}"), ""])?;
    }
    let bytes = list.into_inner().map_err(|fault| anyhow::anyhow!("{}", fault.error()))?;
    loda_identity::write_private(path, &bytes).with_context(|| format!("writing {}", path.display()))
}

/// Reads a list. `places`: the place of each record, by service and key. Rows with an empty `same` are open.
///
/// # Errors
/// The file is not such a list. The error names the line and the fix.
pub(super) fn read(path: &Path, places: &HashMap<(&str, &str), usize>) -> anyhow::Result<Decided> {
    let name = path.display();
    let mut list = csv::Reader::from_path(path).with_context(|| format!("decided: {name}"))?;
    if list.headers()?.iter().ne(HEADER) {
        bail!("decided: {name}: its first line is not {}", HEADER.join(","));
    }
    let mut decided = Decided::default();
    for row in list.records() {
        let row = row.with_context(|| format!("decided: {name}"))?;
        let line = row.position().map_or(0, csv::Position::line);
        let text = |column| row.get(column).map_or("", str::trim);
        let same = match text(5).to_ascii_lowercase().as_str() {
            "" => continue,
            "yes" | "y" => true,
            "no" | "n" => false,
            _ => bail!("decided: {name} line {line}: `same` is yes, no or empty"),
        };
        match (places.get(&(text(0), text(1))), places.get(&(text(2), text(3)))) {
            (Some(one), Some(other)) => decided.decisions.push(Decision { one: *one, other: *other, same }),
            _ => decided.unknown = decided.unknown.saturating_add(1),
        }
    }
    Ok(decided)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_list_comes_back_with_what_was_decided() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("review.csv");
        let text = |text: &str| text.to_owned();
        let pair = |one: &str, other: &str| Pair {
            one: (text("care"), text(one)),
            other: (text("tax, council"), text(other)),
            bits: 3.25,
        };
        write(&path, &[pair("1", "a"), pair("2", "b"), pair("3", "c"), pair("4", "d")]).unwrap();
        let places = HashMap::from([
            (("care", "1"), 0),
            (("tax, council", "a"), 1),
            (("care", "2"), 2),
            (("tax, council", "b"), 3),
        ]);
        assert!(read(&path, &places).unwrap().decisions.is_empty());
        let list = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
        for (line, same) in [(1, "yes"), (2, "No"), (3, "no")] {
            lines.get_mut(line).unwrap().push_str(same);
        }
        std::fs::write(&path, lines.join("\n")).unwrap();
        let decided = read(&path, &places).unwrap();
        let decision = |one, other, same| Decision { one, other, same };
        assert_eq!(decided.decisions, [decision(0, 1, true), decision(2, 3, false)]);
        assert_eq!(decided.unknown, 1);
        std::fs::write(&path, lines.join("\n").replace("yes", "maybe")).unwrap();
        let fault = read(&path, &places).unwrap_err().to_string();
        assert!(fault.ends_with("line 2: `same` is yes, no or empty"), "{fault}");
    }
}

//! The sheets of a workbook that hold a table.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;

use super::header_search::{FoundHeader, header_of};
use super::questions::Questions;
use crate::ingest::source::{FirstRows, first_rows};

/// The sheets of a workbook that are read, and their header.
pub(super) struct Chosen {
    /// Empty: the workbook has one sheet.
    pub(super) sheets: Vec<String>,
    pub(super) found: FoundHeader,
}

/// Chooses sheets: those that are asked for, or the largest table, with all sheets that have the same header.
///
/// # Errors
/// No sheet holds a table, or the workbook has no such sheet.
pub(super) fn chosen(
    path: &Path,
    asked: &[String],
    told: &mut Vec<String>,
    questions: &mut Questions,
) -> anyhow::Result<Chosen> {
    let all = first_rows(path)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let found: Vec<(&FirstRows, Option<FoundHeader>)> =
        all.iter().map(|sheet| (sheet, header_of(&sheet.rows).filter(|found| found.records >= 1))).collect();
    if all.len() > 1 {
        for (sheet, found) in &found {
            told.push(match found {
                Some(found) => format!(
                    "{name}: sheet '{}': a table of {} columns and {} rows or more",
                    sheet.sheet,
                    found.names.len(),
                    found.records
                ),
                None => format!("{name}: sheet '{}': no table", sheet.sheet),
            });
        }
    }
    let key = |found: &FoundHeader| {
        let mut names = found.names.clone();
        names.sort();
        names
    };
    if !asked.is_empty() {
        let wanted = |name: &String| found.iter().find(|(sheet, _)| sheet.sheet == *name);
        if let Some(missing) = asked.iter().find(|name| wanted(name).is_none()) {
            let names = all.iter().map(|sheet| sheet.sheet.as_str()).collect::<Vec<_>>().join(", ");
            bail!("{name}: it has no sheet '{missing}': it has {names}");
        }
        let Some((_, Some(found))) = asked.first().and_then(wanted) else {
            bail!("{name}: the sheet holds no table: two records with two cells each");
        };
        return Ok(Chosen { sheets: asked.to_vec(), found: found.clone() });
    }
    let mut groups: BTreeMap<Vec<String>, Vec<(&str, &FoundHeader)>> = BTreeMap::new();
    for (sheet, found) in &found {
        if let Some(found) = found {
            groups.entry(key(found)).or_default().push((sheet.sheet.as_str(), found));
        }
    }
    // A cover sheet has few columns, and its header is in doubt.
    let size = |group: &Vec<(&str, &FoundHeader)>| {
        let sure = group.iter().any(|(_, found)| !found.is_doubtful);
        let cells: usize = group.iter().map(|(_, found)| found.records * found.names.len()).sum();
        (sure, cells)
    };
    let Some(largest) = groups.values().max_by_key(|group| size(group)) else {
        bail!("{name}: no sheet holds a table: two records with two cells each. Is it a form?");
    };
    let Some((_, found)) = largest.first() else { bail!("{name}: no sheet holds a table") };
    let sheets: Vec<String> = largest.iter().map(|(sheet, _)| (*sheet).to_owned()).collect();
    if all.len() > sheets.len() {
        let others = all.iter().map(|sheet| sheet.sheet.as_str()).filter(|name| !sheets.iter().any(|s| s == name));
        questions.ask(
            "sheets",
            format!(
                "{name}: {} read, and {} not. Are these the right sheets? Otherwise: loda-node init --sheet.",
                listed(sheets.iter().map(String::as_str)),
                listed(others)
            ),
        );
    }
    let sheets = if all.len() == 1 { Vec::new() } else { sheets };
    Ok(Chosen { sheets, found: (*found).clone() })
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

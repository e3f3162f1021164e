//! The record of a file that names its columns.
//!
//! A record is a header if the records below it are of another kind: they have numbers, dates and repeated values where it
//! has words that occur once. In doubt nobody's record becomes a name: the columns are numbered, and the steward is asked.

use std::collections::BTreeSet;

use crate::ingest::columns::identifying::identifies;
use crate::ingest::columns::profile::is_month;
use crate::ingest::columns::{is_heading, words};
use crate::ingest::dates::uk_date;
use crate::ingest::readings::money;
use crate::ingest::source::{Header, clean_names, usual_width};

/// The longest name of a column in an extract.
const LONGEST: usize = 250;

/// A header that was found, or none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FoundHeader {
    /// As the reader gives them.
    pub(super) names: Vec<String>,
    pub(super) header: Header,
    /// Whether nothing shows which record names the columns.
    pub(super) is_doubtful: bool,
    /// The records below.
    pub(super) records: usize,
}

/// Looks for the header among the first records of a file. `None`: no record has two cells.
pub(super) fn header_of(records: &[Vec<String>]) -> Option<FoundHeader> {
    let filled = |record: &Vec<String>| record.iter().filter(|cell| !cell.is_empty()).count();
    let width = |record: &Vec<String>| record.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
    // A file of one column has no record of two cells.
    let least = if records.iter().all(|record| filled(record) <= 1) { 1 } else { 2 };
    let mut best: Option<(f64, usize)> = None;
    for (at, record) in records.iter().enumerate().filter(|(_, record)| filled(record) >= least) {
        let below: Vec<&Vec<String>> = records.iter().skip(at + 1).filter(|below| filled(below) > 0).collect();
        let mut widths: Vec<usize> = below.iter().map(|below| filled(below)).collect();
        widths.sort_unstable();
        let usual = widths.get(widths.len() / 2).copied().unwrap_or(0);
        // A title is narrower than what it stands above.
        if filled(record) * 2 < usual {
            continue;
        }
        let score = likeness(record, &below);
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, at));
        }
        // The first record that is one by far is the header: those below are records.
        if score >= SURE {
            break;
        }
    }
    let (score, at) = best?;
    if score < SURE {
        let widest = records.iter().map(width).max().unwrap_or(0);
        let names: Vec<String> = (1..=widest).map(|number| format!("column {number}")).collect();
        let header = Header::Given(names.clone());
        return Some(FoundHeader { names, header, is_doubtful: true, records: records.len() });
    }
    let record = records.get(at)?;
    // The last cells of a header may be blank above columns that are not.
    let below: Vec<usize> = records.iter().skip(at + 1).map(width).collect();
    let wide = width(record).max(usual_width(&below));
    let blank = std::iter::repeat_n("", wide.saturating_sub(record.len()));
    let names = clean_names(record.iter().take(wide).map(String::as_str).chain(blank));
    let given = record.iter().zip(&names).filter(|(cell, _)| !cell.is_empty()).map(|(_, name)| name.clone());
    let header = if at == 0 { Header::At(1) } else { Header::With(given.collect()) };
    Some(FoundHeader { names, header, is_doubtful: false, records: records.len().saturating_sub(at + 1) })
}

/// From here on, a record is a header.
const SURE: f64 = 0.3;

/// How much more a record looks like names of columns than like those below it: from -1 to 1, on average over its cells.
fn likeness(record: &[String], below: &[&Vec<String>]) -> f64 {
    let cells: Vec<(usize, &String)> = record.iter().enumerate().filter(|(_, cell)| !cell.is_empty()).collect();
    let distinct: BTreeSet<String> = cells.iter().map(|(_, cell)| cell.to_lowercase()).collect();
    if cells.iter().any(|(_, cell)| cell.chars().count() > LONGEST) || cells.is_empty() {
        return -1.0;
    }
    let periods = cells.iter().filter(|(_, cell)| is_period(cell)).count();
    let of_cell = |(place, cell): &(usize, &String)| -> f64 {
        let values: Vec<&str> = below
            .iter()
            .filter_map(|record| record.get(*place))
            .map(String::as_str)
            .filter(|v| !v.is_empty())
            .collect();
        let typed = values.iter().filter(|value| is_typed(value)).count();
        if !is_period(cell) && identifies(cell).is_some() {
            return -1.0;
        }
        // Years and months are the names of a wide table where several stand side by side.
        if is_typed(cell) {
            return if is_period(cell) && periods >= 2 && !values.iter().any(|value| is_period(value)) {
                0.5
            } else {
                -1.0
            };
        }
        if values.iter().any(|value| value.eq_ignore_ascii_case(cell)) {
            return -1.0;
        }
        let said = words(cell);
        let ends = [said.first(), said.last()].into_iter().flatten().any(|word| is_heading(word));
        let heading = ends && said.len() <= 5;
        let kinds: BTreeSet<&str> = values.iter().copied().collect();
        let repeats = values.len() >= 6 && kinds.len() * 2 <= values.len();
        match (typed * 10 >= values.len() * 8 && !values.is_empty(), heading, repeats) {
            (true, ..) => 1.0,
            (_, true, true) => 0.9,
            (_, true, false) => 0.7,
            (_, false, true) => 0.5,
            _ => 0.0,
        }
    };
    let sum: f64 = cells.iter().map(of_cell).sum();
    let repeated = (cells.len() - distinct.len()) as f64 / cells.len() as f64;
    sum / cells.len() as f64 - repeated
}

fn is_typed(cell: &str) -> bool {
    money(cell).is_some() || uk_date(cell).is_some()
}

/// Whether a cell is a year, a month or a quarter, as wide tables name their columns.
fn is_period(cell: &str) -> bool {
    let bare = cell.trim();
    let year = |text: &str| text.len() == 4 && text.parse::<u32>().is_ok_and(|year| (1900..2100).contains(&year));
    is_month(bare) || year(bare) || bare.split(['/', '-']).next().is_some_and(year)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(text: &str) -> FoundHeader {
        let records: Vec<Vec<String>> =
            text.lines().map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect()).collect();
        header_of(&records).unwrap()
    }

    fn names(text: &str) -> Vec<String> {
        let found = found(text);
        assert!(!found.is_doubtful, "{text}");
        found.names
    }

    #[test]
    fn blank_and_merged_cells_are_numbered() {
        let text = "Ref||Surname|Ward\nT1|Amara|Quill|Vauxhall\nT2|Bo|Okafor|Stockwell\nT3|Jo|Birch|Vauxhall";
        assert_eq!(names(text), ["Ref", "column 2", "Surname", "Ward"]);
        let text = "Period|Homes||\n2006/2007-1|12.5%|3|4\n2006/2007-2|11%|5|6\n2006/2007-3|10%|7|8";
        assert_eq!(names(text), ["Period", "Homes", "column 3", "column 4"]);
        let text = "Period|Homes||\n2006/2007-1|12.5%||\n2006/2007-2|11%||\n2006/2007-3|10%||";
        assert_eq!(names(text), ["Period", "Homes"]);
    }

    #[test]
    fn titles_stand_above() {
        let text =
            "Council tax support||\nAs at March||\nClaim  Ref|Net\tAward|Start\nC1|12.40|01/02/2020\nC2|9|05/02/2020";
        let found = found(text);
        assert_eq!(
            (found.names.as_slice(), found.is_doubtful),
            (["Claim Ref", "Net Award", "Start"].map(str::to_owned).as_slice(), false)
        );
        assert_eq!(found.header, Header::With(found.names.clone()));
    }

    #[test]
    fn optional_last_columns_and_wide_tables() {
        let text = "Place|Address|Phone|Fax\nHall|1 High St||\nSchool|2 Low St||\nClub|3 End Rd|020|\nRoom|4 Way||";
        assert_eq!(names(text).len(), 4);
        assert_eq!(names("Area|2019|2020|2021\nCamden|10|11|12\nBrent|9|9|8"), ["Area", "2019", "2020", "2021"]);
    }

    #[test]
    fn a_record_is_no_header() {
        for text in [
            "Amara|Quill|Vauxhall\nBo|Okafor|Stockwell\nJo|Birch|Brixton\nMo|Amin|Herne Hill",
            "C1|12.40|01/02/2020\nC2|9|05/02/2020\nC3|8|05/02/2020",
            "Fire|Lambeth\nFlood|Lambeth\nFire|Brent\nFlood|Brent",
        ] {
            let found = found(text);
            assert!(
                found.is_doubtful && found.names.iter().all(|name| name.starts_with("column ")),
                "{text}: {found:?}"
            );
        }
    }
}

//! Open data as its publishers wrote it, split by borough.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;

use crate::boroughs;
use crate::datasets::{Held, Source};

/// Counts all records of the source `stop_and_search`, and those without a borough: columns `records` and `unassigned`.
/// For Parquet files, which `notes` cannot read itself.
pub const UNASSIGNED_SQL: &str = "SELECT COUNT(*) AS records, \
     COUNT(*) FILTER (WHERE borough_gss IS NULL OR borough_gss = '') AS unassigned \
     FROM stop_and_search";

/// The datasets for the borough's node, from a folder of open data. A missing dataset is left out.
pub fn held(data: &Path, gss: &str) -> Vec<Held> {
    // The code is spliced into SQL below, so it must be a known one.
    if boroughs::find(gss).is_none() {
        return Vec::new();
    }
    let fires = csv("fires", data, "lfb_dwelling_fires/fires.csv");
    let households = csv("hmo_households", data, "lfb_dwelling_fires/census2021_hmo_households.csv");
    let food = csv("food_hygiene", data, &format!("fhrs_food_hygiene/{gss}.csv"));
    let parts = [
        (fires, "dwelling_fires", "2024-08-31", dwelling_fires(gss)),
        (households, "hmo_households", "2021-03-21", hmo_households(gss)),
        (food, "food_businesses", "2020-07-21", food_businesses(gss)),
        (stops(data), "stop_and_search", "2020-11-30", stop_and_search(gss)),
    ];
    parts
        .into_iter()
        .filter_map(|(source, dataset, as_at, sql)| {
            Some(Held { dataset, sources: vec![source?], sql, as_at: as_at.to_owned(), covers: None })
        })
        .collect()
}

/// The national stop and search file in a folder: Parquet, else CSV.
pub fn stops(data: &Path) -> Option<Source> {
    let parquet = file("stop_and_search", data, "stop_and_search/stop_and_search.parquet", "parquet");
    parquet.or_else(|| csv("stop_and_search", data, "stop_and_search/stop_and_search.csv"))
}

/// Reports the records that no node holds because they belong to no borough. Otherwise a London figure would be smaller
/// than the publisher's without an explanation.
///
/// # Errors
/// If a file cannot be read, or lacks its borough column.
pub fn notes(data: &Path) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    if let Some(source) = csv("fires", data, "lfb_dwelling_fires/fires.csv") {
        let (unassigned, records) = count_unassigned(&source.path, "borough")?;
        notes.extend(note("dwelling fires", unassigned, records));
    }
    if let Some(source) = stops(data).filter(|source| source.format == "csv") {
        let (unassigned, records) = count_unassigned(&source.path, "borough_gss")?;
        notes.extend(stops_note(unassigned, records));
    }
    Ok(notes)
}

/// The sentence for stop and search, from the counts of [`UNASSIGNED_SQL`]. `None`: no record is lost.
pub fn stops_note(unassigned: u64, records: u64) -> Option<String> {
    note("stop and search", unassigned, records)
}

fn note(what: &str, unassigned: u64, records: u64) -> Option<String> {
    if unassigned == 0 {
        return None;
    }
    let per_mille = (unassigned * 1000 + records / 2) / records.max(1);
    Some(format!(
        "{what}: {unassigned} of {records} published records ({}.{} %) name no London borough or have no \
         usable place. No node holds them, so London figures are without them.",
        per_mille / 10,
        per_mille % 10
    ))
}

fn csv(name: &str, data: &Path, path: &str) -> Option<Source> {
    file(name, data, path, "csv")
}

fn file(name: &str, data: &Path, path: &str, format: &'static str) -> Option<Source> {
    let path = data.join(path);
    path.is_file().then(|| Source { name: name.to_owned(), path, format })
}

fn dwelling_fires(gss: &str) -> String {
    format!(
        "SELECT CAST(substr(\"date\", 1, 4) AS BIGINT) AS year, \
                CAST(date_trunc('month', CAST(\"date\" AS DATE)) AS DATE) AS month, \
                ward, \
                hmo_yn AS hmo, \
                hmo_license, \
                property_type, \
                CAST(easting_rounded AS BIGINT) AS easting, \
                CAST(northing_rounded AS BIGINT) AS northing \
         FROM fires WHERE borough = '{gss}'"
    )
}

fn hmo_households(gss: &str) -> String {
    // The publisher's counts are whole numbers written as '7.0'.
    format!(
        "SELECT hmo_size, property_type, CAST(CAST(\"count\" AS DOUBLE) AS BIGINT) AS households \
         FROM hmo_households WHERE la_code = '{gss}'"
    )
}

fn food_businesses(gss: &str) -> String {
    // A rating without a date holds the publisher's XML marker instead: {'xsi:nil': 'true'}.
    format!(
        "SELECT \"FHRSID\" AS fhrsid, \
                \"BusinessName\" AS business_name, \
                \"BusinessType\" AS business_type, \
                \"RatingValue\" AS rating, \
                CAST(CASE WHEN substr(\"RatingDate\", 1, 1) = '2' THEN substr(\"RatingDate\", 1, 4) END \
                     AS BIGINT) AS rating_year, \
                CAST(\"ScoreHygiene\" AS BIGINT) AS hygiene_score, \
                CAST(\"ScoreStructural\" AS BIGINT) AS structural_score, \
                CASE \"NewRatingPending\" WHEN 'True' THEN TRUE WHEN 'False' THEN FALSE END \
                     AS new_rating_pending, \
                \"PostCode\" AS postcode \
         FROM food_hygiene WHERE borough_gss = '{gss}'"
    )
}

fn stop_and_search(gss: &str) -> String {
    // This fits both the Parquet file (large strings, some of them empty) and the CSV file.
    let text = |source: &str, name: &str| format!("NULLIF(CAST(\"{source}\" AS VARCHAR), '') AS {name}");
    let columns = [
        "CAST(concat(CAST(\"month\" AS VARCHAR), '-01') AS DATE) AS month".to_owned(),
        text("force", "force"),
        text("Type", "search_type"),
        text("Legislation", "legislation"),
        text("Object of search", "object_of_search"),
        text("Outcome", "outcome"),
        text("Gender", "gender"),
        text("Age range", "age_range"),
        text("Officer-defined ethnicity", "officer_ethnicity"),
        text("Self-defined ethnicity", "self_ethnicity"),
        text("Latitude", "latitude"),
        text("Longitude", "longitude"),
    ];
    format!("SELECT {} FROM stop_and_search WHERE borough_gss = '{gss}'", columns.join(", "))
}

/// Counts the records of a CSV file: first those whose borough is none of the 33, then all.
fn count_unassigned(path: &Path, column: &str) -> anyhow::Result<(u64, u64)> {
    let reading = || format!("cannot read {}", path.display());
    let mut lines = BufReader::new(File::open(path).with_context(reading)?).lines();
    let header = lines.next().transpose().with_context(reading)?.unwrap_or_default();
    let place = fields(&header)
        .iter()
        .position(|name| name == column)
        .with_context(|| format!("{} has no column '{column}'", path.display()))?;
    let (mut unassigned, mut records) = (0, 0);
    for line in lines {
        let line = line.with_context(reading)?;
        records += 1;
        let assigned = fields(&line).get(place).is_some_and(|gss| boroughs::find(gss).is_some());
        unassigned += u64::from(!assigned);
    }
    Ok((unassigned, records))
}

/// The fields of one CSV line. This is enough for the files above: none of their fields contains a line break.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.trim_end_matches('\r').trim_start_matches('\u{feff}').chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().into_iter().for_each(|field| field.push(c)),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quoted_commas_do_not_split() {
        assert_eq!(fields("a,\"b, c\",,d\r"), ["a", "b, c", "", "d"]);
    }

    #[test]
    fn a_missing_folder_holds_nothing() {
        let nowhere = Path::new("no-such-folder");
        assert!(held(nowhere, "E09000001").is_empty());
        assert!(notes(nowhere).unwrap().is_empty());
    }

    #[test]
    fn the_note_rounds_and_is_silent_for_none() {
        assert_eq!(stops_note(0, 10), None);
        let note = stops_note(19_125, 158_349).unwrap();
        assert!(note.contains("19125 of 158349 published records (12.1 %)"), "{note}");
    }
}

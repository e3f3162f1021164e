//! What a steward has to decide about the columns of a source.

use std::collections::{BTreeMap, BTreeSet};

use loda_identity::Gss;

use super::identifying::identifies;
use super::markers::Marker;
use super::profile::{Profile, ValueKind, is_month};
use super::suspects::{Suspects, Suspicion};
use crate::ingest::dates::DayOrder;
use crate::ingest::finding::{Finding, listed};
use crate::ingest::readings::money;

/// What a mapping does with the columns of its sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) columns: BTreeSet<String>,
    /// Functions, and the columns that they read.
    pub(crate) functions: BTreeSet<(String, String)>,
    /// The columns in its conditions.
    pub(crate) filters: BTreeSet<String>,
    /// The borough whose rows it gives.
    pub(crate) own: Option<Gss>,
}

/// The columns and rows of a source as they were read.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) profiles: Vec<Profile>,
    pub(crate) suspects: Suspects,
}

/// The share of a column's values that stand for nothing, and their number, from which on its steward is asked.
const MANY: f64 = 0.01;
const FEW: u64 = 3;

/// The findings about the columns of a source that a mapping uses.
pub(crate) fn of_columns(source: &str, profiles: &[Profile], uses: &Uses) -> Vec<Finding> {
    let used = profiles.iter().filter(|profile| uses.columns.contains(&profile.name));
    let of = |profile: &Profile| {
        let found = [missing(source, profile), dates(source, profile, uses), rounded(source, profile)];
        found.into_iter().chain([boroughs(source, profile, uses)]).flatten().collect::<Vec<_>>()
    };
    let named = profiles.iter().filter(|profile| is_value(&profile.name)).map(|profile| {
        Finding::new(
            format!("header:{source}"),
            format!("source {source}"),
            format!("column '{}' is named after what looks like a value", profile.name),
            "say where the header is (header = 3, or names that it has), or give names (columns = [...])",
        )
    });
    used.flat_map(of).chain(named.take(1)).collect()
}

fn missing(source: &str, profile: &Profile) -> Option<Finding> {
    let typed = profile.kind() != ValueKind::Text;
    let found = profile.missing();
    let found: Vec<_> = found.iter().filter(|(_, kind, _)| typed || *kind == Marker::Anywhere).collect();
    // Rows of single markers are reported one by one.
    let rows: u64 = found.iter().map(|(_, _, rows)| rows).sum();
    if rows < FEW || (rows as f64) < MANY * profile.filled as f64 {
        return None;
    }
    let listed = found.iter().map(|(text, _, rows)| format!("'{text}' ({rows} rows)")).collect::<Vec<_>>().join(", ");
    let names = found.iter().map(|(text, ..)| format!("{text:?}")).collect::<Vec<_>>().join(", ");
    (!found.is_empty()).then(|| {
        Finding::new(
            format!("missing:{}", profile.name),
            format!("source {source}, column '{}'", profile.name),
            format!("has {listed}, which may stand for a missing value"),
            format!("write in its source: missing_in = {{ {:?} = [{names}] }}", profile.name),
        )
    })
}

fn dates(source: &str, profile: &Profile, uses: &Uses) -> Option<Finding> {
    let used = |function: &str| uses.functions.contains(&(function.to_owned(), profile.name.clone()));
    let (day, month) = (profile.day_first, profile.month_first);
    let (wrong, of, right) = match () {
        () if used("uk_date") && month > 0 => ("uk_date", month, "us_date"),
        () if used("us_date") && day > 0 => ("us_date", day, "uk_date"),
        () => return None,
    };
    let fix = match profile.day_order() {
        Some(_) => format!("write {right}(...) in the mapping"),
        None => "find out how the system writes dates: both orders stand in one column".to_owned(),
    };
    Some(Finding::new(
        format!("dates:{}", profile.name),
        format!("source {source}, column '{}'", profile.name),
        format!(
            "{of} of its dates are none for {wrong}(): {month} have the month first, {day} the day, and {} could have either",
            profile.either_first
        ),
        fix,
    ))
}

fn rounded(source: &str, profile: &Profile) -> Option<Finding> {
    let share = profile.rounded()?;
    Some(Finding::new(
        format!("rounded:{}", profile.name),
        format!("source {source}, column '{}'", profile.name),
        format!(
            "{:.0} % of its numbers end in 000 or stand as 1.2E+11: a spreadsheet may have rounded them",
            share * 100.0
        ),
        "export the column as text; joins on such numbers are wrong",
    ))
}

fn boroughs(source: &str, profile: &Profile, uses: &Uses) -> Option<Finding> {
    // Whatever the mapping's conditions say: a right one would keep no row.
    if uses.own.as_ref().is_some_and(|own| profile.holds_others(own)) {
        return Some(Finding::new(
            format!("other-borough:{}", profile.name),
            format!("source {source}, column '{}'", profile.name),
            "names other boroughs, and never this one".to_owned(),
            "read your own borough's extract",
        ));
    }
    if !profile.holds_boroughs() || uses.filters.contains(&profile.name) {
        return None;
    }
    Some(Finding::new(
        format!("boroughs:{}", profile.name),
        format!("source {source}, column '{}'", profile.name),
        format!("names {} boroughs, and the mapping takes the rows of all", profile.boroughs.len()),
        format!("take your own alone: WHERE borough(\"{}\") = 'E0900...'", profile.name),
    ))
}

/// Whether a column's name looks like a value of a record.
fn is_value(name: &str) -> bool {
    let year = name.parse::<u32>().is_ok_and(|year| (1900..2100).contains(&year));
    !year && !is_month(name) && (money(name).is_some() || identifies(name).is_some())
}

/// The findings about rows that are no records, and that a mapping takes all the same. `taken`: their lines.
pub(crate) fn of_rows(source: &str, taken: &BTreeMap<Suspicion, Vec<(String, u64)>>) -> Vec<Finding> {
    let of = |(suspicion, lines): (&Suspicion, &Vec<(String, u64)>)| {
        let places = listed(lines.iter().map(|(file, line)| format!("{file} line {line}")), lines.len() as u64);
        let them = if lines.len() == 1 { "1 row looks".to_owned() } else { format!("{} rows look", lines.len()) };
        Finding::new(
            format!("{}:{source}", suspicion.name()),
            places,
            format!("{them} {}", suspicion.words()),
            "leave them out in the mapping's WHERE",
        )
    };
    taken.iter().map(of).collect()
}

/// The function that reads dates of a column.
pub(crate) fn date_function(profile: &Profile) -> &'static str {
    match profile.day_order() {
        Some(DayOrder::MonthFirst) => "us_date",
        _ => "uk_date",
    }
}

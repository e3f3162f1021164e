//! Drafts of a contract and of a mapping.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::Datelike;
use loda_contract::{ColumnType, Contract, Domain, Role};
use loda_identity::Gss;

use super::questions::Questions;
use crate::ingest::columns::identifying::{Publishable, publishable};
use crate::ingest::columns::judgement::date_function;
use crate::ingest::columns::profile::{Profile, ValueKind, is_month};
use crate::ingest::columns::{is_personal, words};

/// Names that are at least so alike may mean the same.
const ALIKE: f64 = 0.45;

/// The longest name of a contract's column, in characters.
const LONGEST: usize = 60;

/// The most decimal places of a drafted measure. More are the noise of a computer's numbers.
const MOST_PLACES: usize = 12;

/// One source as a draft sees it.
pub(crate) struct DraftSource<'a> {
    pub(crate) name: &'a str,
    pub(crate) columns: &'a [Profile],
    /// A condition that leaves out rows that are no records.
    pub(crate) records: Option<String>,
}

/// A mapping's SQL and its code lists.
pub(crate) struct Mapping {
    pub(crate) sql: String,
    pub(crate) codes: BTreeMap<String, BTreeMap<String, String>>,
}

/// A contract in TOML that fits the look of the first source.
pub(crate) fn contract_of(
    name: &str,
    sources: &[DraftSource<'_>],
    questions: &mut Questions,
) -> anyhow::Result<String> {
    let Some(DraftSource { columns, .. }) = sources.first() else { anyhow::bail!("no source") };
    let mut out = format!(
        "# A draft from what the extracts look like. The federation agrees on contracts: describe every column, then propose it.\n\n\
         dataset = {}\nversion = 1\ntitle = {}\nprotection = \"cell-key\"\ndimensions = 2\nepoch = \"quarter\"\n\n[[unit]]\n",
        quoted(name),
        quoted(&name.replace('_', " "))
    );
    // Of several sources, one may repeat another. People must then say who is who.
    let names_rows = |column: &&Profile| {
        sources.len() == 1
            && column.names_rows()
            && column.boroughs.is_empty()
            && !matches!(column.kind(), ValueKind::Date | ValueKind::Amount)
    };
    let unit = columns.iter().find(names_rows);
    let names = unique_names(columns);
    match unit {
        Some(unit) => {
            let domain = names.get(unit.name.as_str()).cloned().unwrap_or_default();
            let _infallible = writeln!(
                out,
                "domain = {}\ncolumn = {}\nabout = \"people\"\none-row = true",
                quoted(&domain),
                quoted(&domain)
            );
            questions.ask(
                "unit",
                format!(
                    "Each row has its own '{}', so a row is taken for one unit. Whom or what does it stand for?",
                    unit.name
                ),
            );
        }
        None => {
            out.push_str("domain = \"record\"\nabout = \"people\"\n");
            questions.ask("unit", "No column tells rows apart, so each row counts as a unit of its own. Is a person in several rows? Then name the column that says who.");
        }
    }
    questions.ask("protection", "The draft protects figures as those about people are (protection = \"cell-key\", about = \"people\"). Only for things, such as planning applications, is \"threshold\" with about = \"things\" right, without dimensions and epoch.");
    questions.ask("dimensions", "How many columns may one table about people have? dimensions = 2 is right for most boroughs, 1 for some 20,000 people or fewer; loda-node assess says what each would tell. Which columns tell of another unit than the row's (of = \"…\"), and which of a place (place = true)?");
    if let Some(when) = columns.iter().find(|column| {
        unit.is_none()
            && column.kind() == ValueKind::Date
            && column.present() == column.rows
            && !is_personal(&column.name)
            && !column.may_be_births()
    }) {
        questions.ask("period", format!(
            "Do rows come month by month? Then write period = {} at the contract's top, with every = \"quarter\" and settle-days = 30: they are served as periods close, and nobody sees what came from one day to the next.",
            quoted(names.get(when.name.as_str()).map_or("", String::as_str))
        ));
    }
    // The federation itself adds the borough of a row.
    for column in columns.iter().filter(|column| !column.holds_boroughs()) {
        let is_unit = unit.is_some_and(|unit| unit.name == column.name);
        let Some(name) = names.get(column.name.as_str()) else { continue };
        let _infallible = write!(out, "\n[[column]]\nname = {}\n", quoted(name));
        out.push_str(&role_of(column, name, is_unit, sources, questions));
        if column.present() < column.rows && !is_unit {
            out.push_str("nullable = true\n");
        }
        let _infallible = writeln!(out, "description = {}", quoted(&description(&column.name)));
    }
    let personal: Vec<String> =
        columns.iter().filter(|c| is_personal(&c.name)).map(|c| format!("'{}'", c.name)).collect();
    if !personal.is_empty() {
        questions.ask(
            "personal",
            format!(
                "{} may tell of a person: free text in the draft, of which London sees only whether it is there. Leave them \
                 out where nobody needs even that.",
                personal.join(", ")
            ),
        );
    }
    for column in columns.iter().filter(|c| c.rare() > 0 && matches!(publishable(c), Publishable::Codes(_))) {
        questions.ask(
            format!("rare:{}", column.name),
            format!(
                "'{}' has {} values in fewer than five rows each: they are not in the draft's code list. Give them a word in \
                 [dataset.codes], or let their rows be left out.",
                column.name,
                column.rare()
            ),
        );
    }
    for column in columns.iter().filter(|c| c.percents > 0 && c.kind() == ValueKind::Amount) {
        questions.ask(
            format!("percent:{}", column.name),
            format!("'{}' has signs for per cent: 12.5 % is read as 12.5. Is that meant?", column.name),
        );
    }
    questions.ask("columns", "Which columns may London see at all? Leave out of the contract what no question needs.");
    Ok(out)
}

fn description(name: &str) -> String {
    format!("{name} (draft)")
}

/// For each column: its name in the contract. Names are unique, and no longer than contracts allow.
fn unique_names(columns: &[Profile]) -> BTreeMap<&str, String> {
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for column in columns {
        let long = snake(&column.name);
        let mut name: String = long.chars().take(LONGEST).collect();
        if long.len() > LONGEST
            && let Some((whole, _)) = name.rsplit_once('_')
        {
            name = whole.to_owned();
        }
        let mut fresh = name.clone();
        let mut copy = 2;
        while names.values().any(|known| *known == fresh) {
            fresh = format!("{name}_{copy}");
            copy += 1;
        }
        names.insert(&column.name, fresh);
    }
    names
}

/// The codes of a column in all sources. Each is there once, regardless of its capitals.
fn codes_of(column: &Profile, own: Vec<String>, sources: &[DraftSource<'_>]) -> Vec<String> {
    let mut codes = Vec::new();
    let mut add = |code: String| {
        if !codes.iter().any(|known: &String| known.eq_ignore_ascii_case(&code)) {
            codes.push(code);
        }
    };
    own.into_iter().for_each(&mut add);
    for source in sources.iter().skip(1) {
        let alike = source
            .columns
            .iter()
            .max_by(|a, b| likeness(&column.name, &a.name).total_cmp(&likeness(&column.name, &b.name)));
        let Some(alike) = alike.filter(|c| likeness(&column.name, &c.name) >= ALIKE) else { continue };
        if let Publishable::Codes(others) = publishable(alike) {
            others.into_iter().for_each(&mut add);
        }
    }
    codes
}

fn role_of(
    column: &Profile,
    name: &str,
    is_unit: bool,
    sources: &[DraftSource<'_>],
    questions: &mut Questions,
) -> String {
    const IDENTIFIER: &str = "type = \"text\"\nrole = \"identifier\"\n";
    let kind = column.kind();
    if is_unit {
        return format!("type = \"text\"\nrole = \"unit\"\nto = {}\n", quoted(name));
    }
    match kind {
        _ if column.values.keys().all(|value| is_month(value)) && !column.values.is_empty() => {
            "type = \"date\"\nrole = \"dimension\"\ngrain = \"month\"\nmin = \"2000-01-01\"\nmax = \"2039-12-31\"\n"
                .to_owned()
        }
        ValueKind::Date if is_personal(&column.name) => IDENTIFIER.to_owned(),
        ValueKind::Date if column.may_be_births() => {
            questions.ask(
                format!("births:{}", column.name),
                format!(
                    "'{}' goes back over a lifetime, as dates of birth do: it is an identifier in the draft, which London \
                     does not see. Is it something else?",
                    column.name
                ),
            );
            IDENTIFIER.to_owned()
        }
        ValueKind::Date => {
            let years = column.dates.map_or((2000, 2039), |(from, to)| (from.year(), to.year() + 5));
            format!(
                "type = \"date\"\nrole = \"dimension\"\ngrain = \"month\"\nmin = \"{}-01-01\"\nmax = \"{}-12-31\"\n",
                years.0, years.1
            )
        }
        ValueKind::YesNo => "type = \"boolean\"\nrole = \"dimension\"\n".to_owned(),
        ValueKind::NhsNumber | ValueKind::Nino | ValueKind::Postcode | ValueKind::Uprn => IDENTIFIER.to_owned(),
        // A measure cannot be this large.
        ValueKind::Integer | ValueKind::Amount if column.quantile(1.0).is_none_or(|most| most.abs() >= 1e15) => {
            IDENTIFIER.to_owned()
        }
        ValueKind::Integer | ValueKind::Amount => measure(column, kind),
        ValueKind::Text => match publishable(column) {
            Publishable::Codes(own) => {
                let codes: Vec<String> = codes_of(column, own, sources).iter().map(|code| quoted(code)).collect();
                format!("type = \"text\"\nrole = \"dimension\"\ncodes = [{}]\n", codes.join(", "))
            }
            Publishable::Asked(why) => {
                questions.ask(
                    format!("codes:{}", column.name),
                    format!(
                        "'{}' {why}: it is free text in the draft. If its {} values name nobody, give it role = \"dimension\" \
                         and the list as codes.",
                        column.name,
                        column.values.len()
                    ),
                );
                "type = \"text\"\nrole = \"text\"\n".to_owned()
            }
            Publishable::No => "type = \"text\"\nrole = \"text\"\n".to_owned(),
        },
    }
}

/// Bounds and edges are round numbers. They are published, and must not be anybody's value.
fn measure(column: &Profile, kind: ValueKind) -> String {
    let scale = if kind == ValueKind::Integer { 0 } else { column.scale().min(MOST_PLACES) };
    // Small numbers have small steps, down to the scale.
    let least = 10_f64.powi(-i32::try_from(scale).unwrap_or(0));
    let step = |number: f64| 10_f64.powf(number.abs().max(least).log10().floor());
    let up = |number: f64| (number / step(number)).ceil() * step(number);
    let down = |number: f64| (number / step(number)).floor() * step(number);
    let (low, high) = (column.quantile(0.0).unwrap_or(0.0), column.quantile(1.0).unwrap_or(1.0));
    let low = if low >= 0.0 { 0.0 } else { down(low) };
    let high = up(high).max(low + least);
    let mut edges: Vec<f64> =
        [0.2, 0.4, 0.6, 0.8].into_iter().filter_map(|share| column.quantile(share)).map(up).collect();
    edges.retain(|edge| *edge > low && *edge < high);
    edges.dedup();
    let written = |number: f64| format!("{number:.scale$}");
    let edges: Vec<String> = edges.into_iter().map(|edge| quoted(&written(edge))).collect();
    let (low, high) = (written(low), written(high));
    let kind =
        if scale == 0 { "type = \"integer\"".to_owned() } else { format!("type = \"decimal\"\nscale = {scale}") };
    format!("{kind}\nrole = \"measure\"\nmin = \"{low}\"\nmax = \"{high}\"\nedges = [{}]\n", edges.join(", "))
}

/// One SELECT for each source, joined by UNION ALL.
pub(crate) fn mapping_of(
    contract: &Contract,
    borough: &Gss,
    sources: &[DraftSource<'_>],
    questions: &mut Questions,
) -> Mapping {
    let mut codes = BTreeMap::new();
    let mut selects = Vec::new();
    for DraftSource { name: source, columns, records } in sources {
        let matched = matches(contract, columns);
        let mut lines = Vec::new();
        for (column, found) in contract.columns.iter().zip(matched) {
            let Some((likeness, profile)) = found else {
                questions.ask(
                    format!("absent:{}", column.name),
                    format!(
                        "{source}: no column looks like '{}' ({}): it is NULL in the mapping.",
                        column.name, column.description
                    ),
                );
                lines.push(format!("NULL AS {}", column.name));
                continue;
            };
            if likeness < 1.0 {
                questions.ask(
                    format!("alike:{}", column.name),
                    format!("{source}: is '{}' the contract's '{}'?", profile.name, column.name),
                );
            }
            lines.push(format!("{} AS {}", expression(column, profile, &mut codes, questions), column.name));
        }
        let own = columns.iter().find(|profile| profile.holds_boroughs());
        let own = own.map(|profile| {
            let rows = profile.boroughs.get(borough).copied().unwrap_or(0);
            let called = borough.name().unwrap_or(borough.as_str());
            questions.ask(
                "borough",
                match rows {
                    0 => format!("{source}: '{}' names other boroughs, and {called} in no row.", profile.name),
                    _ => format!(
                        "{source}: '{}' names {} boroughs; the {rows} rows of {called} are taken, in any spelling.",
                        profile.name,
                        profile.boroughs.len()
                    ),
                },
            );
            format!("borough({}) = '{borough}'", identifier(&profile.name))
        });
        let conditions: Vec<String> = own.into_iter().chain(records.clone()).collect();
        let filter = match conditions.is_empty() {
            true => String::new(),
            false => format!("\nWHERE {}", conditions.join("\n  AND ")),
        };
        selects.push(format!("SELECT {}\nFROM {source}{filter}\n", lines.join(",\n       ")));
    }
    Mapping { sql: selects.join("UNION ALL\n"), codes }
}

/// For each column of the contract, the matching column of the source, and the likeness of their names. If names say
/// nothing and only one column of that type is left, it is taken.
fn matches<'a>(contract: &Contract, columns: &'a [Profile]) -> Vec<Option<(f64, &'a Profile)>> {
    let mut pairs: Vec<(f64, usize, &Profile)> = Vec::new();
    let named: Vec<(Vec<String>, &Profile)> = columns.iter().map(|profile| (words(&profile.name), profile)).collect();
    for (at, column) in contract.columns.iter().enumerate() {
        let wanted = words(&column.name);
        let alike = named.iter().map(|(words, profile)| {
            // A draft says which column it describes.
            let described = column.description == description(&profile.name);
            (if described { 1.0 } else { likeness_of(&wanted, words) }, at, *profile)
        });
        pairs.extend(alike.filter(|(likeness, _, _)| *likeness >= ALIKE));
    }
    pairs.sort_by(|(a, _, _), (b, _, _)| b.total_cmp(a));
    let mut found: Vec<Option<(f64, &Profile)>> = vec![None; contract.columns.len()];
    let taken = |found: &[Option<(f64, &Profile)>], profile: &Profile| {
        found.iter().flatten().any(|(_, taken)| taken.name == profile.name)
    };
    for (likeness, at, profile) in pairs {
        if !taken(&found, profile)
            && let Some(slot) = found.get_mut(at).filter(|slot| slot.is_none())
        {
            *slot = Some((likeness, profile));
        }
    }
    for (at, column) in contract.columns.iter().enumerate() {
        if found.get(at).is_none_or(Option::is_some) {
            continue;
        }
        let fits = |profile: &&Profile| match column.kind {
            ColumnType::Date => profile.kind() == ValueKind::Date,
            ColumnType::Integer | ColumnType::Decimal(_) => {
                matches!(profile.kind(), ValueKind::Integer | ValueKind::Amount)
            }
            _ => false,
        };
        let left: Vec<&Profile> = columns.iter().filter(|p| !taken(&found, p)).filter(fits).collect();
        if let ([only], Some(slot)) = (left.as_slice(), found.get_mut(at).filter(|slot| slot.is_none())) {
            *slot = Some((0.0, only));
        }
    }
    found
}

fn expression(
    column: &loda_contract::Column,
    profile: &Profile,
    codes: &mut BTreeMap<String, BTreeMap<String, String>>,
    questions: &mut Questions,
) -> String {
    let name = identifier(&profile.name);
    match (&column.role, column.kind) {
        (_, ColumnType::Date) if profile.values.keys().all(|value| is_month(value)) => {
            format!("uk_date(replace({name}, '-', '') || '01')")
        }
        (_, ColumnType::Date) => {
            let function = date_function(profile);
            if profile.month_first > 0 {
                questions.ask(
                    format!("date-order:{}", profile.name),
                    format!(
                        "'{}' has {} dates with the month first, {} with the day first, and {} that could have either: the \
                         draft reads all with {function}().",
                        profile.name, profile.month_first, profile.day_first, profile.either_first
                    ),
                );
            }
            format!("{function}({name})")
        }
        (_, ColumnType::Boolean) => format!("yes_no({name})"),
        // A text that is no number stays as it is, and the check reports its line.
        (_, ColumnType::Integer | ColumnType::Decimal(_)) => format!("money({name})"),
        (Role::Dimension(Domain::Codes(known)), _) => {
            let fresh: Vec<&String> = profile.values.keys().filter(|value| !known.contains(*value)).collect();
            if fresh.is_empty() {
                return format!("trim({name})");
            }
            let list = codes.entry(column.name.clone()).or_default();
            for value in &fresh {
                let alike = known.iter().find(|code| code.eq_ignore_ascii_case(value));
                list.entry((*value).clone()).or_insert_with(|| alike.unwrap_or(value).clone());
            }
            questions.ask(
                format!("codes:{}", column.name),
                format!(
                    "'{}' has {} codes that the contract does not have: give each its word in [dataset.codes.{}].",
                    profile.name,
                    fresh.len(),
                    column.name
                ),
            );
            format!("code('{}', {name})", column.name)
        }
        _ => match profile.kind() {
            ValueKind::Postcode => format!("postcode({name})"),
            ValueKind::Uprn => format!("uprn({name})"),
            ValueKind::NhsNumber => format!("nhs_number({name})"),
            ValueKind::Nino => format!("nino({name})"),
            _ => name,
        },
    }
}

/// A column's name in SQL.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A name for SQL: letters, digits and `_`.
fn snake(name: &str) -> String {
    let joined: String = words(name).join("_").chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    match joined.chars().next() {
        Some(first) if first.is_ascii_alphabetic() && joined != "borough" => joined,
        _ => format!("column_{joined}"),
    }
}

/// 1 if two names have the same words, and 0 if they share none.
fn likeness(a: &str, b: &str) -> f64 {
    likeness_of(&words(a), &words(b))
}

fn likeness_of(a: &[String], b: &[String]) -> f64 {
    let alike = |x: &String, y: &String| {
        x == y || (x.len() >= 4 && y.starts_with(x.as_str())) || (y.len() >= 4 && x.starts_with(y.as_str()))
    };
    let shared = a.iter().filter(|x| b.iter().any(|y| alike(x, y))).count();
    if a == b { 1.0 } else { shared as f64 / (a.len().max(b.len()).max(1) as f64) * 0.99 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_words() {
        assert_eq!(words("BoroughName"), ["borough", "name"]);
        assert_eq!(snake("Major Category"), "major_category");
        assert_eq!(snake("DATEDECISS"), "datedeciss");
        assert!(likeness("major_category", "MajorText") >= 0.49);
        assert!(likeness("tenure", "REFVAL") < 0.1);
    }
}

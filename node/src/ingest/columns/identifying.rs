//! Columns that may name or identify a person, or something that leads to one: a vehicle, an account, a professional, a home.
//!
//! A drafted contract is read by 33 boroughs. So a column's values become codes only where nothing speaks against it, and in
//! doubt its steward is asked.

use super::profile::Profile;
use super::vocabulary::{SORTING, has, is_kind, is_personal, words};
use crate::ingest::readings::postcode;

/// A code stands for many rows. A value in fewer rows than this may be a person.
const SOMEBODY: u64 = 5;

/// The most codes of a draft, and the longest.
const MOST_CODES: usize = 60;
const LONGEST_CODE: usize = 60;

/// The fewest rows that a code has on average.
const ROWS_OF_A_CODE: u64 = 10;

/// Whether the values of a column may stand in a drafted contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Publishable {
    /// These values: each stands for many rows, and none may name somebody.
    Codes(Vec<String>),
    /// A steward has to say: the reason.
    Asked(String),
    /// Free text, or too many values.
    No,
}

fn is_sorting(name: &str) -> bool {
    let words = words(name);
    words.iter().any(|word| has(SORTING, word))
}

/// Whether a column's values may be codes.
pub(crate) fn publishable(column: &Profile) -> Publishable {
    let rare: u64 = column.values.values().filter(|n| **n < SOMEBODY).sum();
    let codes: Vec<&String> = column.values.iter().filter(|(_, n)| **n >= SOMEBODY).map(|(value, _)| value).collect();
    let rows: u64 = column.values.values().sum();
    let few = !column.overflowed && !codes.is_empty() && codes.len() <= MOST_CODES && rare * 50 <= rows;
    let many_rows = rows >= ROWS_OF_A_CODE.saturating_mul(codes.len() as u64);
    let plain = |code: &&String| code.chars().count() <= LONGEST_CODE && !code.starts_with(['{', '[']);
    if !few || !many_rows || !codes.iter().all(plain) || is_personal(&column.name) {
        return Publishable::No;
    }
    if let Some(shape) = codes.iter().find_map(|code| identifies(code)) {
        return Publishable::Asked(format!("holds what looks like {shape}"));
    }
    let is_name = |code: &&&String| titled(code) || (is_name_shaped(code) && !is_sorting(&column.name));
    let names = codes.iter().filter(is_name).count();
    let unclear = codes.iter().filter(|code| !says_a_kind(code)).count();
    if names > 0 {
        return Publishable::Asked(format!("has {names} values that may be names of people or places"));
    }
    if unclear > 0 && !is_sorting(&column.name) {
        return Publishable::Asked(format!("has {unclear} values that are no plain words of kinds"));
    }
    Publishable::Codes(codes.into_iter().cloned().collect())
}

/// What a text identifies, by its shape.
pub(crate) fn identifies(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let bare: String = text.chars().filter(|c| !c.is_whitespace() && !"-()./".contains(*c)).collect();
    let shape: String = bare
        .chars()
        .map(|c| match c {
            '0'..='9' => '9',
            'A'..='Z' | 'a'..='z' => 'A',
            other => other,
        })
        .collect();
    let longest = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    let letters = bare.chars().filter(|c| c.is_alphabetic()).count();
    let phone = bare
        .strip_prefix("+44")
        .or_else(|| bare.strip_prefix('0'))
        .is_some_and(|rest| (9..=10).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_digit()));
    match shape.as_str() {
        _ if text.contains('@') => Some("e-mail addresses"),
        _ if phone => Some("telephone numbers"),
        _ if postcode(text).is_some() => Some("postcodes"),
        "AA999999A" | "AA999999" => Some("National Insurance numbers"),
        "AA99AAA" | "A999AAA" | "AAA999A" => Some("vehicle registrations"),
        // Years have four digits, and so may the names of columns and of kinds that tell of them.
        _ if longest >= 5 || (longest == 4 && letters <= 4 && letters > 0 && !text.contains(' ')) => Some("references"),
        _ => None,
    }
}

const TITLES: &[&str] = &[
    "mr",
    "mrs",
    "ms",
    "miss",
    "mx",
    "dr",
    "cllr",
    "councillor",
    "rev",
    "prof",
    "sir",
    "dame",
    "lord",
    "lady",
    "judge",
];

fn titled(text: &str) -> bool {
    let words = words(text);
    words.len() > 1 && words.first().is_some_and(|first| TITLES.contains(&first.as_str()))
}

/// Two to four words with capitals, as `Amara Quill`, `QUILL, Amara` and `A. Quill`, and no word of a kind among them.
fn is_name_shaped(text: &str) -> bool {
    let parts: Vec<&str> = text.split([' ', ',']).filter(|part| !part.is_empty()).collect();
    let capital = |part: &&str| {
        let mut letters = part.chars();
        letters.next().is_some_and(char::is_uppercase)
            && letters.all(|c| c.is_alphabetic() || "-'\u{2019}.".contains(c))
    };
    (2..=4).contains(&parts.len())
        && parts.iter().all(capital)
        && !parts.iter().any(|part| words(part).iter().any(|word| word.len() > 1 && is_kind(word)))
}

/// Whether a code is of words of kinds, one letter, or numbers and ranges such as `0-4` and `65+`.
fn says_a_kind(text: &str) -> bool {
    let words = words(text);
    let small = |word: &String| word.len() <= 4 && word.bytes().all(|b| b.is_ascii_digit());
    // Words of small letters name no person.
    let lower = |word: &String| text.contains(word.as_str()) && word.len() > 2;
    !words.is_empty()
        && words.iter().enumerate().all(|(place, word)| {
            is_kind(word) || small(word) || word.chars().count() == 1 || (place > 0 && lower(word))
        })
        && words.iter().any(|word| is_kind(word) || small(word) || words.len() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, values: &[&str]) -> Profile {
        let mut column = Profile::named(name);
        column.values = values.iter().map(|value| ((*value).to_owned(), 40)).collect();
        column
    }

    #[test]
    fn kinds_become_codes() {
        for (name, values) in [
            ("tenure", ["Owned outright", "Social rented", "Private Rented"]),
            ("col_7", ["Open", "Closed", "Awaiting inspection"]),
            ("Ward", ["Brixton Acre Lane", "Vauxhall", "Streatham Hill"]),
            ("AgeBand", ["0-4", "5-15", "65+"]),
            ("q3", ["Y", "N", "U"]),
        ] {
            assert!(matches!(publishable(&column(name, &values)), Publishable::Codes(_)), "{name}");
        }
    }

    #[test]
    fn what_may_name_somebody_is_asked_or_left_out() {
        for (name, values) in [
            ("col_7", ["Amara Quill", "Bo Okafor", "Jonas Birch"]),
            ("col_7", ["QUILL, Amara", "OKAFOR, Bo", "BIRCH, J."]),
            ("col_7", ["Quill", "Okafor", "Birch"]),
            ("col_7", ["AQ", "BO", "JB"]),
            ("status", ["Mr Quill", "Ms Okafor", "Dr Birch"]),
            ("type", ["AB12 CDE", "BD51 SMR", "LC63 XYZ"]),
            ("status", ["020 7946 0991", "020 7946 0992", "+44 20 7946 0993"]),
            ("category", ["SW2 1RW", "SE1 7PB", "N1 9GU"]),
            ("level", ["QQ123456", "QQ 12 34 57 C", "QQ123458D"]),
            ("AllocatedWorker", ["Open", "Closed", "Refused"]),
            ("acctNo", ["A", "B", "C"]),
        ] {
            let found = publishable(&column(name, &values));
            assert!(!matches!(found, Publishable::Codes(_)), "{name} {values:?}: {found:?}");
        }
    }
}

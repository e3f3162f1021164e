//! Texts that stand for a missing or suppressed value.
//!
//! The signs and letters are those of the Government Analysis Function's guidance on symbols in tables, of databases'
//! exports and of spreadsheets' errors.

/// Where a text stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// In any column.
    Anywhere,
    /// Among numbers and dates. Elsewhere it may be a code.
    AmongNumbers,
    /// A word that says so. It may be one of a contract's codes.
    Word,
}

const ANYWHERE: &[&str] = &[
    "null", "(null)", "<null>", "[null]", "\\n", "#n/a", "#ref!", "#value!", "#div/0!", "#name?", "#num!", "n/a",
    "n.a.", "n.a", "nan", "-", "--", "---", "\u{2013}", "\u{2014}", "\u{2212}", ".", "..", "...", "*", "**", "***",
    "?", ":", "[c]", "[x]", "[z]", "[u]", "[w]", "(blank)",
];

const AMONG_NUMBERS: &[&str] = &["c", "x", "z", "u", "w", "k", "s", "na", "nil", "none", "[low]", "low", "dk", "nr"];

const WORDS: &[&str] = &[
    "not known",
    "unknown",
    "not stated",
    "not recorded",
    "not available",
    "not applicable",
    "not given",
    "missing",
    "tbc",
    "tba",
    "to be confirmed",
    "no data",
    "suppressed",
    "withheld",
    "undisclosed",
    "n/k",
    "nk",
    "not disclosed",
    "not provided",
    "no information",
    "blank",
    "nil return",
];

/// Whether a trimmed text stands for nothing, and where.
pub(crate) fn marker(text: &str) -> Option<Marker> {
    if text.chars().count() > 20 {
        return None;
    }
    let lower = text.to_lowercase();
    match lower.as_str() {
        known if ANYWHERE.contains(&known) => Some(Marker::Anywhere),
        known if AMONG_NUMBERS.contains(&known) || is_suppressed(known) => Some(Marker::AmongNumbers),
        known if WORDS.contains(&known) => Some(Marker::Word),
        _ => None,
    }
}

/// A count that is told as a range: `<5`, `1 to 4`, `fewer than 10`.
fn is_suppressed(text: &str) -> bool {
    let small = |text: &str| text.trim().parse::<u32>().is_ok_and(|number| number <= 20);
    let below = ["<", "<=", "\u{2264}", "fewer than ", "less than ", "under ", "up to "];
    below.iter().any(|sign| text.strip_prefix(sign).is_some_and(small))
        || text.split_once(" to ").is_some_and(|(from, to)| small(from) && small(to))
        || text.split_once('-').is_some_and(|(from, to)| small(from) && small(to) && from.len() <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_known_where_they_stand() {
        for text in ["NULL", "\\N", "n/a", "-", "–", "..", "[c]", "#N/A", "*"] {
            assert_eq!(marker(text), Some(Marker::Anywhere), "{text}");
        }
        for text in ["c", "X", "<5", "1 to 4", "1-4", "nil", "fewer than 5"] {
            assert_eq!(marker(text), Some(Marker::AmongNumbers), "{text}");
        }
        assert_eq!(marker("Not known"), Some(Marker::Word));
        for text in ["-5", "0", "No", "Open", "C1", "2019-20", "16-24 years", "2 to 300", ""] {
            assert_eq!(marker(text), None, "{text}");
        }
    }
}

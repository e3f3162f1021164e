//! The text that somebody meant: the likeliest of a list.

/// A text that is less like than this is no suggestion.
const LEAST: f64 = 0.35;

/// Names have no other words for the same.
const LEAST_NAME: f64 = 0.5;

/// Words that people use beside the words of councils' code lists. The second stands in the code.
const WORDS: &[(&str, &str)] = &[
    ("council", "social"),
    ("local authority", "social"),
    ("housing association", "social"),
    ("registered provider", "social"),
    ("owner", "owned"),
    ("owner occupied", "owned"),
    ("owner occupier", "owned"),
    ("freehold", "owned"),
    ("woman", "female"),
    ("women", "female"),
    ("girl", "female"),
    ("man", "male"),
    ("men", "male"),
    ("boy", "male"),
    ("mould", "damp"),
    ("mold", "damp"),
    ("boiler", "heating"),
    ("leak", "plumbing"),
    ("lounge", "living room"),
    ("care home", "residential"),
    ("home care", "community"),
    ("knife", "weapons"),
    ("house in multiple occupation", "hmo"),
    ("prs", "private"),
    ("dementia", "memory"),
    ("gender", "sex"),
    ("dwelling", "property"),
    // Ofsted's grades.
    ("1", "outstanding"),
    ("2", "good"),
    ("3", "requires improvement"),
    ("4", "inadequate"),
    ("special measures", "inadequate"),
    // Codes of the police for how somebody looks.
    ("ic1", "white"),
    ("ic3", "black"),
    ("ic4", "asian"),
];

/// The candidate that is most like a text. `None`: none of them is like it.
pub(super) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    best(text, candidates, LEAST)
}

/// The name of a table or column that was meant. `None`: none of them is like it.
pub(super) fn nearest_name<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    best(text, candidates, LEAST_NAME)
}

fn best<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>, least: f64) -> Option<&'a str> {
    let text = folded(text);
    let scored = candidates.into_iter().map(|candidate| (likeness(&text, &folded(candidate)), candidate));
    let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.filter(|(score, _)| *score >= least).map(|(_, candidate)| candidate)
}

/// The part of a candidate that is most like a text, letter by letter. `None`: none of them is like it.
pub(super) fn nearest_part<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = text.to_lowercase();
    let long = wanted.chars().count();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let starts: Vec<usize> = candidate.char_indices().map(|(at, _)| at).chain([candidate.len()]).collect();
        for (place, start) in starts.iter().enumerate() {
            for size in long.saturating_sub(2).max(1)..=long.saturating_add(2) {
                let Some(part) = starts.get(place + size).and_then(|end| candidate.get(*start..*end)) else { break };
                let score = strsim::normalized_levenshtein(&wanted, &part.to_lowercase());
                if best.is_none_or(|(known, _)| score > known) {
                    best = Some((score, part));
                }
            }
        }
    }
    best.filter(|(score, _)| *score >= 0.7).map(|(_, part)| part)
}

/// How like two folded texts are, from 0 to 1.
fn likeness(text: &str, candidate: &str) -> f64 {
    if text == candidate {
        return 1.0;
    }
    if text.is_empty() || candidate.is_empty() {
        return 0.0;
    }
    let spelling = strsim::normalized_damerau_levenshtein(text, candidate);
    let has_words = |part: &str, whole: &str| format!(" {whole} ").contains(&format!(" {part} "));
    let mut meant = WORDS.iter().filter(|(said, _)| has_words(said, text)).map(|(_, code)| *code);
    let shorter = text.len().min(candidate.len()) as f64 / text.len().max(candidate.len()) as f64;
    let score = if band_of(candidate).zip(number(text)).is_some_and(|((from, to), n)| (from..=to).contains(&n)) {
        0.97
    } else if meant.any(|code| has_words(code, candidate)) {
        0.95
    } else if has_words(text, candidate) || has_words(candidate, text) {
        0.8 + 0.1 * shorter
    } else if text.split(' ').all(|word| candidate.split(' ').any(|other| alike(word, other))) {
        0.78 + 0.02 * shorter
    } else if candidate.starts_with(text) || text.starts_with(candidate) {
        0.75 + 0.1 * shorter
    } else if text.len() > 1 && initials(candidate).contains(&text.replace(' ', "")) {
        0.8
    } else {
        let said: Vec<&str> = text.split(' ').collect();
        let of: Vec<&str> = candidate.split(' ').collect();
        let same = said.iter().filter(|word| of.iter().any(|other| alike(word, other))).count();
        let shared = 2.0 * same as f64 / (said.len() + of.len()) as f64;
        0.9 * shared.max(strsim::jaro_winkler(text, candidate) - 0.25)
    };
    score.max(spelling)
}

/// Whether two words are one, for a slip or an ending.
fn alike(a: &str, b: &str) -> bool {
    a == b || (a.len().min(b.len()) > 3 && strsim::normalized_damerau_levenshtein(a, b) >= 0.7)
}

/// Small letters and digits, with one space between words.
fn folded(text: &str) -> String {
    let text = text.to_lowercase().replace('&', " and ").replace('+', " and over ");
    let text = text.replace('<', " under ").replace('>', " over ");
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn initials(text: &str) -> String {
    text.split(' ').filter_map(|word| word.chars().next()).collect()
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// The numbers that a folded code stands for: `18 24`, `85 and over`, `under 10`.
fn band_of(code: &str) -> Option<(u64, u64)> {
    let words: Vec<&str> = code.split(' ').collect();
    match words.as_slice() {
        [from, to] if number(from).is_some() => Some((number(from)?, number(to)?)),
        ["under", most] => Some((0, number(most)?.checked_sub(1)?)),
        ["over", least] => Some((number(least)?.checked_add(1)?, u64::MAX)),
        [least, "and", "over"] => Some((number(least)?, u64::MAX)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_text_is_known_by_its_spelling_its_words_its_initials_and_its_number() {
        let tenure = ["Owned outright", "Owned with a mortgage", "Social rented", "Private rented"];
        let ages = ["under 10", "10-17", "18-24", "25-34", "85 and over"];
        let benefits = ["Housing Benefit", "Council Tax Support", "Discretionary Housing Payment"];
        for (said, meant, of) in [
            ("Council", "Social rented", &tenure[..]),
            ("council housing", "Social rented", &tenure),
            ("Private", "Private rented", &tenure),
            ("social-rented", "Social rented", &tenure),
            ("Mortgage", "Owned with a mortgage", &tenure),
            ("Scoial rented", "Social rented", &tenure),
            ("30", "25-34", &ages),
            ("7", "under 10", &ages),
            ("85+", "85 and over", &ages),
            ("18 to 25", "18-24", &ages),
            ("HB", "Housing Benefit", &benefits),
            ("DHP", "Discretionary Housing Payment", &benefits),
            ("council tax", "Council Tax Support", &benefits),
            ("Council Tax Reduction", "Council Tax Support", &benefits),
            ("Mortgaged", "Owned with a mortgage", &tenure),
            ("PRS", "Private rented", &tenure),
        ] {
            assert_eq!(nearest(said, of.iter().copied()), Some(meant), "{said}");
        }
        assert_eq!(nearest("zzz", tenure), None);
        assert_eq!(nearest_part("RENTD", tenure), Some("rented"));
        assert_eq!(nearest_part("bungalow", tenure), None);
    }
}

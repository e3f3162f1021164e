//! The matchkeys: parts of a record, hashed together.

use std::hash::Hash;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::normal::{RecordParts, soundex};

/// The number of keys: two national numbers, twelve keys that were measured on labelled sets, and four keys that find people
/// whom several writing errors at once hide from the others.
pub(crate) const KEYS: usize = 18;

/// One of a record's keys as a hash; `None` if a part is missing.
pub(crate) fn key_of(parts: &RecordParts<'_>, key: usize) -> Option<u128> {
    let RecordParts { given, surname, born, number, street, town, postcode, nhs, nino } = *parts;
    let letters = |text: &str, count: usize| -> String { text.chars().take(count).collect() };
    let start = |text: &str| letters(text, 5);
    let sorted = || -> String {
        let mut letters: Vec<char> = postcode.chars().collect();
        letters.sort_unstable();
        letters.into_iter().collect()
    };
    // Sorted, because forms swap given name and surname.
    let names = || {
        let mut sounds = [soundex(given), soundex(surname)];
        sounds.sort_unstable();
        if sounds.iter().any(String::is_empty) { String::new() } else { sounds.concat() }
    };
    let some = |parts: &[&str]| {
        parts.iter().all(|part| !part.is_empty()).then(|| {
            let mut hasher = SipHasher24::new();
            // The key's number separates keys of equal parts; lengths separate parts.
            (key, parts).hash(&mut hasher);
            hasher.finish128().as_u128()
        })
    };
    match key {
        0 => some(&[nhs]),
        17 => some(&[nino]),
        1 => some(&[born, &sorted()]),
        2 => some(&[&soundex(given), &soundex(surname), &start(town)]),
        3 => some(&[street, number, &start(town)]),
        4 => some(&[&soundex(given), &soundex(surname), &start(street)]),
        5 => some(&[born, town]),
        6 => some(&[given, postcode, number]),
        7 => some(&[&names(), postcode]),
        8 => some(&[&soundex(street), number, born]),
        9 => some(&[surname, street, postcode]),
        10 => some(&[given, born]),
        11 => some(&[given, street, postcode]),
        12 => some(&[surname, postcode, number]),
        13 => some(&[&names(), born]),
        14 => some(&[&letters(given, 3), &letters(surname, 3), postcode]),
        15 => some(&[street, postcode]),
        _ => some(&[number, postcode]),
    }
}

//! The matchkeys.

use std::hash::{Hash, Hasher};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::normal::{Parts, soundex};

/// How much a key says when it agrees. Two keys that share parts say little more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// A person by itself: a national number.
    Certain,
    /// A person nearly always.
    Strong,
    /// A person together with another.
    Fair,
}

/// How many keys there are.
pub(crate) const KEYS: usize = 13;

/// By number, as [`keys`] gives them.
pub(crate) const WEIGHTS: [Weight; KEYS] = {
    use Weight::{Certain, Fair, Strong};
    [Certain, Strong, Strong, Fair, Strong, Fair, Strong, Strong, Strong, Fair, Fair, Strong, Fair]
};

/// A record's keys as hashes; none where a part is missing.
pub(crate) fn keys(parts: &Parts) -> [Option<u128>; KEYS] {
    let Parts { given, surname, born, number, street, town, postcode, national } = parts;
    let start = |text: &str, letters: usize| -> String { text.chars().take(letters).collect() };
    let sorted = |text: &str| -> String {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters.into_iter().collect()
    };
    let (given_sound, surname_sound) = (soundex(given), soundex(surname));
    let mut sounds = [given_sound.as_str(), surname_sound.as_str()];
    sounds.sort_unstable();
    // In either order: forms swap them.
    let names = if given_sound.is_empty() || surname_sound.is_empty() { String::new() } else { sounds.concat() };
    let (town5, street5, street_sound) = (start(town, 5), start(street, 5), soundex(street));
    let chosen: [&[&str]; KEYS] = [
        &[national],
        &[born, &sorted(postcode)],
        &[&given_sound, &surname_sound, &town5],
        &[street, number, &town5],
        &[&given_sound, &surname_sound, &street5],
        &[born, town],
        &[given, postcode, number],
        &[&names, postcode],
        &[&street_sound, number, born],
        &[surname, street, postcode],
        &[given, born],
        &[given, street, postcode],
        &[surname, postcode, number],
    ];
    let mut found = [None; KEYS];
    for (number, (slot, parts)) in found.iter_mut().zip(chosen).enumerate() {
        if parts.iter().all(|part| !part.is_empty()) {
            let mut hasher = SipHasher24::new();
            // The key's number keeps keys of equal parts apart; lengths keep parts apart.
            (number, parts).hash(&mut hasher);
            let _sixty_four_bits = hasher.finish();
            *slot = Some(hasher.finish128().as_u128());
        }
    }
    found
}

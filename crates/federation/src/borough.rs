//! A borough's name: its GSS code.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The ONS GSS code of an area, such as `E09000007` for Camden: a capital `E` and eight digits.
///
/// London's boroughs are `E09000001` to `E09000033`; the type does not insist on London, since a
/// federation of other English areas needs no other code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Gss(String);

impl Gss {
    /// The code as text, nine ASCII characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The short name of a London borough ("Camden"), none for another area.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        let number: usize = self.0.strip_prefix("E090000").filter(|rest| rest.len() == 2)?.parse().ok()?;
        NAMES.get(number.checked_sub(1)?).copied()
    }

    /// The London borough of a code that the ONS used until 2011, such as `00AG` for Camden.
    #[must_use]
    pub fn of_old_code(code: &str) -> Option<Self> {
        // The codes leave out I, O and V, and go from 00AA to 00BK.
        const LETTERS: &str = "ABCDEFGHJKLMNPQRSTUWXYZ";
        let (first, last) = code.to_uppercase().strip_prefix("00").and_then(|rest| match rest.as_bytes() {
            [b'A', last] => Some((0, *last)),
            [b'B', last] => Some((LETTERS.len(), *last)),
            _ => None,
        })?;
        let at = first.checked_add(LETTERS.bytes().position(|letter| letter == last)?)?;
        (at < NAMES.len()).then(|| Self(format!("E090000{:02}", at.saturating_add(1))))
    }

    /// The London borough of a name as councils and public tables write it: in any case, with its words joined by spaces,
    /// hyphens or underscores, with `LB`, `London Borough of`, `Royal Borough of`, `City of` or `Council` around it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let words = words(name);
        let own = |word: &&String| !AROUND.contains(&word.as_str());
        let wanted: Vec<&String> = words.iter().filter(own).collect();
        let at = NAMES.iter().position(|known| {
            let known = self::words(known);
            let known: Vec<&String> = known.iter().filter(own).collect();
            let short = known.get(1).is_some_and(|second| *second == "upon");
            !known.is_empty() && (wanted == known || (short && wanted.as_slice() == known.get(..1).unwrap_or_default()))
        });
        // All of its words may stand around another name.
        let city = || {
            let has = |wanted: &str| words.iter().any(|word| word == wanted);
            (wanted.is_empty() && has("london") && (has("city") || has("corporation"))).then_some(0)
        };
        Some(Self(format!("E090000{:02}", at.or_else(city)?.checked_add(1)?)))
    }
}

/// Words that stand around a borough's own name.
const AROUND: [&str; 10] = ["the", "royal", "london", "borough", "of", "lb", "rb", "city", "council", "corporation"];

fn words(name: &str) -> Vec<String> {
    let plain = name.to_lowercase().replace('&', " and ");
    plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// London's boroughs in the order of their codes, from E09000001; the ONS's, and public.
const NAMES: [&str; 33] = [
    "City of London",
    "Barking and Dagenham",
    "Barnet",
    "Bexley",
    "Brent",
    "Bromley",
    "Camden",
    "Croydon",
    "Ealing",
    "Enfield",
    "Greenwich",
    "Hackney",
    "Hammersmith and Fulham",
    "Haringey",
    "Harrow",
    "Havering",
    "Hillingdon",
    "Hounslow",
    "Islington",
    "Kensington and Chelsea",
    "Kingston upon Thames",
    "Lambeth",
    "Lewisham",
    "Merton",
    "Newham",
    "Redbridge",
    "Richmond upon Thames",
    "Southwark",
    "Sutton",
    "Tower Hamlets",
    "Waltham Forest",
    "Wandsworth",
    "Westminster",
];

/// The text is not a GSS code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a GSS code: expected a capital E and eight digits, such as E09000007")]
pub struct NotAGss;

impl FromStr for Gss {
    type Err = NotAGss;

    fn from_str(text: &str) -> Result<Self, NotAGss> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Gss {
    type Error = NotAGss;

    fn try_from(text: String) -> Result<Self, NotAGss> {
        let digits = text.strip_prefix('E').ok_or(NotAGss)?;
        if digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()) { Ok(Self(text)) } else { Err(NotAGss) }
    }
}

impl From<Gss> for String {
    fn from(gss: Gss) -> Self {
        gss.0
    }
}

impl fmt::Display for Gss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! A question as its asker signs it. The coordinator hands it on, and can neither make one nor change it.
//!
//! The text has one line for each item, so that a person can read what was signed:
//!
//! ```text
//! loda question v1
//! question 5f0c…
//! asker spiffe://london.example/analyst/ann
//! purpose housing need
//! until 1796040000
//! part 9a41… E09000007 E09000012
//! ```
//!
//! A part is named by the SHA-256 of its canonical bytes, with the boroughs that it may go to. A TLS handshake signs bytes
//! that begin with 64 spaces (RFC 8446, section 4.4.3), so no signature of one passes for one of the other.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::borough::Gss;
use crate::peer_id::PeerId;

/// The most bytes of a text.
pub const MAX_TEXT: usize = 128 << 10;

/// The most bytes of a signature.
pub const MAX_SIGNATURE: usize = 1 << 10;
/// The most bytes of a certificate.
pub const MAX_CERTIFICATE: usize = 8 << 10;

/// How far the clocks of two parties may differ, in seconds. A signature serves once at each borough, so that it can be held
/// for some days costs little.
const CLOCKS: i64 = 3 * 24 * 3600;

/// How far the end of a signature may lie ahead of its asker's clock, in seconds.
const LONGEST: i64 = 25 * 3600;

const FIRST: &str = "loda question v1";

/// A text, with the signature that its asker's certificate checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedQuestion {
    /// The text of an [`Asking`].
    pub text: String,
    /// The kind of signature, by its number in TLS 1.3.
    pub scheme: u16,
    /// The signature of the text.
    #[serde(with = "hexadecimal")]
    pub signature: Vec<u8>,
    /// The asker's certificate in DER, without its authority's.
    #[serde(with = "hexadecimal")]
    pub certificate: Vec<u8>,
}

/// Bytes as hexadecimal text, in JSON.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl SignedQuestion {
    /// A signed question as it comes over the wire. `None`: it is larger than the limits.
    #[must_use]
    pub fn of_wire(text: &str, scheme: u32, signature: &[u8], certificate: &[u8]) -> Option<Self> {
        let fits = text.len() <= MAX_TEXT && signature.len() <= MAX_SIGNATURE && certificate.len() <= MAX_CERTIFICATE;
        let scheme = u16::try_from(scheme).ok()?;
        let (signature, certificate) = (signature.to_vec(), certificate.to_vec());
        fits.then(|| Self { text: text.to_owned(), scheme, signature, certificate })
    }
}

/// What an asker signs: who asks what of which boroughs, for which purpose, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The question's id. A node runs no id twice, so a signature serves once.
    pub question: Uuid,
    /// The asker.
    pub asker: PeerId,
    /// The purpose.
    pub purpose: String,
    /// After this time by the asker's clock the signature serves for nothing, in Unix seconds.
    pub until: i64,
    /// The parts, in the order of their numbers.
    pub parts: Vec<AskedPart>,
}

/// A part of a question, as it goes to boroughs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedPart {
    /// The SHA-256 of its canonical bytes, in hexadecimal.
    pub sha256: String,
    /// The boroughs that it may go to, in the order in which each of them is told the targets.
    pub boroughs: Vec<Gss>,
}

impl Asking {
    /// Whether its time is not over, and not too far ahead, by a clock that may differ from the asker's by three days.
    #[must_use]
    pub fn is_in_time(&self, now: i64) -> bool {
        let left = self.until.saturating_sub(now);
        (-CLOCKS..=LONGEST + CLOCKS).contains(&left)
    }

    /// The text that is signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { question, asker, purpose, until, parts } = self;
        let mut text = format!("{FIRST}\nquestion {question}\nasker {asker}\npurpose {purpose}\nuntil {until}\n");
        for AskedPart { sha256, boroughs } in parts {
            let boroughs: String = boroughs.iter().map(|gss| format!(" {}", gss.as_str())).collect();
            // Writing into a text cannot fail.
            let _written = writeln!(text, "part {sha256}{boroughs}");
        }
        text
    }

    /// Reads a text. There is one text for each value, so `None` stands for every other spelling, too.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if text.len() > MAX_TEXT || lines.next()? != FIRST {
            return None;
        }
        let mut word = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let question = Uuid::try_parse(word("question")?).ok()?;
        let asker = word("asker")?.parse().ok()?;
        let purpose = word("purpose")?.to_owned();
        let until = word("until")?.parse().ok()?;
        let part = |line: &str| {
            let mut words = line.strip_prefix("part ")?.split(' ');
            let sha256 = words.next()?.to_owned();
            let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let boroughs = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
            is_hash.then_some(AskedPart { sha256, boroughs })
        };
        let parts = lines.map(part).collect::<Option<_>>()?;
        Some(Self { question, asker, purpose, until, parts }).filter(|asking| asking.to_text() == text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asking() -> Asking {
        let part = |digit: &str, boroughs: &[&str]| AskedPart {
            sha256: digit.repeat(64),
            boroughs: boroughs.iter().map(|gss| gss.parse().unwrap()).collect(),
        };
        Asking {
            question: Uuid::from_u128(7),
            asker: "spiffe://london.example/analyst/ann".parse().unwrap(),
            purpose: "housing need".to_owned(),
            until: 1_796_040_000,
            parts: vec![part("a", &["E09000007", "E09000012"]), part("b", &["E09000001"]), part("c", &[])],
        }
    }

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let asking = asking();
        assert_eq!(Asking::parse(&asking.to_text()), Some(asking.clone()));
        let none = Asking { parts: Vec::new(), ..asking };
        assert_eq!(Asking::parse(&none.to_text()), Some(none));
    }

    #[test]
    fn a_signature_has_its_time() {
        let day = 24 * 3600;
        let asking = asking();
        for (off, in_time) in [(0, true), (2 * day, true), (-2 * day, true), (4 * day, false), (-5 * day, false)] {
            assert_eq!(asking.is_in_time(asking.until + off), in_time, "{off}");
        }
        assert!(!Asking { until: i64::MAX, ..asking.clone() }.is_in_time(0));
        assert!(!Asking { until: i64::MIN, ..asking }.is_in_time(i64::MAX));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let text = asking().to_text();
        let others = [
            text.replace("v1", "v2"),
            text.replace("question 0", "question  0"),
            text.replace('\n', "\r\n"),
            text.trim_end().to_owned(),
            format!("{text}\n"),
            format!(" {text}"),
            text.replace("until 1", "until +1"),
            text.replace("until 1", "until 01"),
            text.replace("part a", "part A"),
            text.replace("part a", "part "),
            text.replace(" E09000012", ""),
            text.replace("purpose housing", "purpose housing\npurpose"),
            text.replace("00000000-0000-0000-0000-000000000007", "00000000000000000000000000000007"),
            String::new(),
        ];
        for (number, other) in others.iter().enumerate() {
            let read = Asking::parse(other);
            // One of them is another value in its one spelling.
            assert!(read.is_none() || (number == 10 && read != Some(asking())), "{number}: {other}");
        }
        // Whatever is cut off or inserted, a text that is read has one spelling.
        for at in 0..text.len() {
            for changed in [text.get(..at).unwrap_or_default().to_owned(), {
                let mut longer = text.clone();
                longer.insert(at, ' ');
                longer
            }] {
                assert!(Asking::parse(&changed).is_none_or(|read| read.to_text() == changed));
            }
        }
        assert_eq!(Asking::parse(&text.replace("housing need", &"x".repeat(MAX_TEXT))), None);
    }

    #[test]
    fn what_comes_over_the_wire_has_limits() {
        assert!(SignedQuestion::of_wire("text", 0x0403, &[1], &[2]).is_some());
        let large = vec![0; MAX_CERTIFICATE + 1];
        assert!(SignedQuestion::of_wire("text", 1 << 16, &[1], &[2]).is_none());
        assert!(SignedQuestion::of_wire("text", 1, &large, &[2]).is_none());
        assert!(SignedQuestion::of_wire("text", 1, &[1], &large).is_none());
        assert!(SignedQuestion::of_wire(&"x".repeat(MAX_TEXT + 1), 1, &[1], &[2]).is_none());
    }
}

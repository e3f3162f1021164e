//! Checkpoints: the size and root of a log at one time, as the text of a signed note. See <https://c2sp.org/tlog-checkpoint>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::hash::Hash;
use super::note::{Note, Verifier};

/// The size and root of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name: what its key is called, too.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The root over all of them.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads the text of a note. Logs of the federation write no further lines, so a text with some is none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return None;
        };
        let number: u64 = size.parse().ok()?;
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let plain = !origin.is_empty() && number.to_string() == size;
        plain.then(|| Self { origin: origin.to_owned(), size: number, root })
    }

    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// The checkpoint of a note that its log signed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_note(note: &Note, log: &Verifier) -> Result<Self, &'static str> {
        let checkpoint = Self::parse(note.text()).ok_or("a note that is no checkpoint")?;
        if checkpoint.origin != log.name() {
            return Err("a checkpoint of another log");
        }
        log.verify(note).ok_or("a checkpoint that its log did not sign")?;
        Ok(checkpoint)
    }
}

/// How many of some witnesses signed a checkpoint's note.
#[must_use]
pub fn witnessed(note: &Note, witnesses: &[Verifier]) -> usize {
    times(note, witnesses).len()
}

/// The time of each witness's newest signature. A witness that is named twice counts once.
fn times(note: &Note, witnesses: &[Verifier]) -> Vec<u64> {
    let distinct =
        witnesses.iter().enumerate().filter(|(at, key)| !witnesses.iter().take(*at).any(|other| other == *key));
    distinct.filter_map(|(_, key)| key.verify(note)).collect()
}

/// How far the clocks of two parties may differ, in seconds.
const CLOCKS: u64 = 300;

/// The time since when `count` of some witnesses have confirmed a checkpoint's note, in seconds since 1970: that of the
/// oldest of their newest signatures. A time more than five minutes ahead of `now` does not count. `None`: fewer signed it.
#[must_use]
pub fn witnessed_at(note: &Note, witnesses: &[Verifier], count: usize, now: u64) -> Option<u64> {
    let mut times = times(note, witnesses);
    times.retain(|time| *time <= now.saturating_add(CLOCKS));
    times.sort_unstable_by(|one, other| other.cmp(one));
    times.get(count.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::tree::note::Signs;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn verifier(name: &str, signs: Signs, pair: &Ed25519KeyPair) -> Verifier {
        Verifier::new(name, signs, pair.public_key().as_ref().try_into().unwrap()).unwrap()
    }

    fn signed(note: &mut Note, by: &Verifier, time: u64, pair: &Ed25519KeyPair) {
        note.sign(by, time, &|message| pair.sign(message).as_ref().try_into().unwrap());
    }

    #[test]
    fn a_checkpoint_is_its_logs_and_witnesses_count_once() {
        let log_key = pair(1);
        let log = verifier("london.example/log/coordinator", Signs::Text, &log_key);
        let checkpoint = Checkpoint { origin: log.name().to_owned(), size: 1_300, root: [7; 32] };
        let mut note = Note::new(&checkpoint.text()).unwrap();
        assert!(Checkpoint::of_note(&note, &log).is_err());
        signed(&mut note, &log, 0, &log_key);
        let witnesses: Vec<(Verifier, Ed25519KeyPair)> = (10..43)
            .map(|seed| {
                (verifier(&format!("london.example/witness/{seed}"), Signs::TextAtTime, &pair(seed)), pair(seed))
            })
            .collect();
        for (witness, key) in &witnesses {
            signed(&mut note, witness, 1_790_000_000, key);
        }
        let note = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(Checkpoint::of_note(&note, &log), Ok(checkpoint));
        let mut known: Vec<Verifier> = witnesses.iter().map(|(witness, _)| witness.clone()).collect();
        assert_eq!(witnessed(&note, &known), 33);
        known.push(known[0].clone());
        assert_eq!(witnessed(&note, &known), 33);
        assert_eq!(witnessed(&note.with_first(16), &known), 15);
        // The oldest of the newest signatures counts, and none from the future.
        let at = |count, now| witnessed_at(&note, &known, count, now);
        assert_eq!(
            (at(33, 1_790_000_000), at(34, 1_790_000_000), at(0, 1_790_000_000)),
            (Some(1_790_000_000), None, None)
        );
        assert_eq!((at(1, 1_789_999_700), at(1, 1_789_999_699)), (Some(1_790_000_000), None));
        let mut later = note.clone();
        signed(&mut later, &known[1].clone(), 1_790_000_100, &witnesses[1].1);
        signed(&mut later, &known[2].clone(), 1_790_000_200, &witnesses[2].1);
        let at = |count| witnessed_at(&later, &known, count, 1_790_000_200);
        assert_eq!([at(1), at(2), at(3)], [Some(1_790_000_200), Some(1_790_000_100), Some(1_790_000_000)]);
        // Another log's key under the same name, a witness's key in the log's place, and another time or text.
        let thief = verifier(log.name(), Signs::Text, &pair(2));
        assert!(Checkpoint::of_note(&note, &thief).is_err() && Checkpoint::of_note(&note, &known[0]).is_err());
        let other = Note::parse(note.to_string().replace("\n1300\n", "\n1301\n").as_bytes()).unwrap();
        assert!(Checkpoint::of_note(&other, &log).is_err() && witnessed(&other, &known) == 0);
        let as_text = verifier(known[0].name(), Signs::Text, &pair(10));
        assert_eq!(as_text.verify(&note), None);
    }

    #[test]
    fn other_texts_are_no_checkpoints() {
        let good = "o\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
        assert!(Checkpoint::parse(good).is_some());
        for bad in [
            good.replace("o\n1", "\n1"),
            good.replace("\n1\n", "\n01\n"),
            good.replace("\n1\n", "\n-1\n"),
            good.replace("\n1\n", "\n+1\n"),
            good.replace("\n1\n", "\n99999999999999999999\n"),
            good.replace("AAAA=", "AAA="),
            format!("{good}more\n"),
            good.trim_end().to_owned(),
            String::new(),
        ] {
            assert!(Checkpoint::parse(&bad).is_none(), "{bad}");
        }
    }
}

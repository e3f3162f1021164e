//! Files of a published query log, as an auditor gets them. Nothing panics, and what is read is written as it was. The first
//! byte chooses the reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loda_ledger::tree::checkpoint::{Checkpoint, witnessed};
use loda_ledger::tree::hash::Hash;
use loda_ledger::tree::note::{Note, Signs, Verifier};
use loda_ledger::tree::{proof, tile};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match choice % 5 {
        0 => {
            let Ok(note) = Note::parse(rest) else { return };
            assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note.clone()));
            let keys = [Signs::Text, Signs::TextAtTime].map(|signs| Verifier::new("a", signs, [1; 32]).unwrap());
            // Nobody has the key of these verifiers.
            assert!(witnessed(&note, &keys) == 0 && Checkpoint::of_note(&note, &keys[0]).is_err());
        }
        1 => {
            let Some(checkpoint) = Checkpoint::parse(&text) else { return };
            assert_eq!(checkpoint.text(), text);
        }
        2 => {
            let Some(key) = Verifier::parse(&text) else { return };
            assert_eq!(Verifier::parse(&key.to_string()), Some(key));
        }
        3 => {
            let width = usize::from(*choice) + 1;
            let Some(entries) = tile::entries(rest, width) else { return };
            let again: Vec<u8> = entries.iter().flat_map(|entry| tile::bundled(entry).unwrap()).collect();
            assert_eq!(again, rest);
        }
        _ => {
            let Some((numbers, steps)) = rest.split_first_chunk::<16>() else { return };
            let number = |from: usize| numbers[from..from + 8].iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
            let (steps, _) = steps.as_chunks::<32>();
            let root: Hash = steps.first().copied().unwrap_or_default();
            // Both end, whatever the sizes and the proof are.
            let _found = proof::includes(&text.as_bytes()[..0], number(0), number(8), steps, &root);
            let _continues = proof::continues(number(0), number(8), steps, &root, &root);
        }
    }
});

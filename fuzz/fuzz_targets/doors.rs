//! Bytes that anybody can send to the doors. Nothing panics, the value of a parameter stays a value, and nobody signs
//! without a key. The first byte chooses the reader, and a zero byte ends a part.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loda_coordinator::foreign::{is_signed, stays_values};

/// The key of RFC 7515, appendix A.3.
const KEYS: &[u8] = br#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256", "use": "sig",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let mut parts = rest.split(|byte| *byte == 0);
    match choice % 3 {
        0 => {
            let mut texts = parts.map(|part| String::from_utf8_lossy(part).into_owned());
            let sql = texts.next().unwrap_or_default();
            assert_ne!(stays_values(&sql, &texts.take(8).collect::<Vec<_>>()), Some(false));
        }
        1 => assert!(!is_signed(rest, KEYS)),
        _ => {
            let (header, keys) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let _read = is_signed(header, keys);
        }
    }
});

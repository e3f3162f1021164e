//! Flight SQL with the clients that people have.

use std::process::Command;

use loda_identity::Role;

use crate::support::doors::{DOORS, analyst, python};

/// Runs a script with what it needs to come in.
fn script(name: &str, more: &[(&str, String)]) {
    let Some(python) = python() else { return };
    let (certificate, key) = DOORS.certificate(analyst());
    let output = Command::new(python)
        .arg(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors").join(name))
        .env("LODA_ADDRESS", &DOORS.address)
        .env("LODA_CA", DOORS.layout.web_authority())
        .env("LODA_CERTIFICATE", certificate)
        .env("LODA_KEY", key)
        .env("LODA_TOKEN", DOORS.token(analyst(), &[]))
        .env("LODA_OTHER", DOORS.token(Role::Analyst("other".to_owned()), &[]))
        .env("LODA_READER", DOORS.token(analyst(), &["--scope", "read"]))
        .envs(more.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("{text}");
    assert!(output.status.success(), "{text}");
}

#[test]
fn adbc_lists_prepares_asks_and_is_kept_out() {
    script("adbc.py", &[]);
}

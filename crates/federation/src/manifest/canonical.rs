//! The manifest's canonical text. Written here and not by the TOML library, because members of
//! different versions compare the hash of these bytes: a new version of a library must not move them.

use super::entries::Manifest;
use crate::digest::sha256;

impl Manifest {
    /// The canonical text, which parses back to the same manifest. Comments and order of keys in a
    /// file are not kept; the order of members, analysts and datasets is.
    pub fn to_toml(&self) -> String {
        text(self)
    }

    /// SHA-256 of [`Manifest::to_toml`], which members compare.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.to_toml().as_bytes())
    }
}

/// Fixed order of keys, one per line, a blank line before each table.
fn text(manifest: &Manifest) -> String {
    let mut out = String::new();
    entry(&mut out, "federation", &manifest.federation);
    entry(&mut out, "domain", &manifest.domain);
    out.push_str(&format!("version = {}\n", manifest.version));
    if let Some(previous) = &manifest.previous {
        entry(&mut out, "previous", previous);
    }
    if let Some(approvals) = manifest.approvals {
        out.push_str(&format!("approvals = {approvals}\n"));
    }
    if let Some(witnesses) = manifest.witnesses {
        out.push_str(&format!("witnesses = {witnesses}\n"));
    }
    if let Some(minutes) = manifest.witness_minutes {
        out.push_str(&format!("witness_minutes = {minutes}\n"));
    }

    out.push_str("\n[coordinator]\n");
    entry(&mut out, "address", &manifest.coordinator.address);
    entry(&mut out, "ca", &manifest.coordinator.ca);
    entry(&mut out, "log_key", &manifest.coordinator.log_key);

    for member in &manifest.members {
        out.push_str("\n[[members]]\n");
        entry(&mut out, "gss", member.gss.as_str());
        entry(&mut out, "name", &member.name);
        entry(&mut out, "address", &member.address);
        entry(&mut out, "ca", &member.ca);
        entry(&mut out, "log_key", &member.log_key);
    }
    for analyst in &manifest.analysts {
        out.push_str("\n[[analysts]]\n");
        entry(&mut out, "ca", &analyst.ca);
    }
    for dataset in &manifest.datasets {
        out.push_str("\n[[datasets]]\n");
        entry(&mut out, "name", &dataset.name);
        entry(&mut out, "contract_sha256", &dataset.contract_sha256);
        entry(&mut out, "protection", &dataset.protection);
    }
    out
}

fn entry(out: &mut String, key: &str, value: &str) {
    out.push_str(key);
    out.push_str(" = ");
    // PEM over several lines, so that people can read and compare it; all else on one line.
    let multiline = value.contains('\n');
    out.push_str(if multiline { "\"\"\"\n" } else { "\"" });
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' if multiline => out.push('\n'),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push_str(if multiline { "\"\"\"\n" } else { "\"\n" });
}

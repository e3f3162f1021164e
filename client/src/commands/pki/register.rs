//! The register of a development authority: a line for each issued certificate, in a file beside the authority's key.

use std::fs;
use std::path::{Path, PathBuf};

use loda_identity::pki::{Described, describe};
use loda_identity::{Authority, write_private};

use crate::commands::failure::Failure;
use crate::commands::files::write;

/// The register's file in an authority's folder.
const FILE: &str = "issued.tsv";
/// The list that the federation's parties read.
const LIST: &str = "crl.pem";

/// One issued certificate.
pub(super) struct Entry {
    pub(super) serial: String,
    pub(super) id: String,
    /// The end of validity, in Unix seconds.
    pub(super) not_after: i64,
    pub(super) revoked: bool,
}

pub(super) struct Register {
    folder: PathBuf,
    pub(super) entries: Vec<Entry>,
}

impl Register {
    pub(super) fn load(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let text = if path.exists() {
            fs::read_to_string(&path).map_err(|source| Failure::File { action: "read", path: path.clone(), source })?
        } else {
            String::new()
        };
        let mut entries = Vec::new();
        for (line, number) in text.lines().zip(1_usize..) {
            let fields: Vec<&str> = line.split('\t').collect();
            let entry = match fields.as_slice() {
                [serial, id, not_after, state] => not_after.parse().ok().map(|not_after| Entry {
                    serial: (*serial).to_owned(),
                    id: (*id).to_owned(),
                    not_after,
                    revoked: *state == "revoked",
                }),
                _ => None,
            };
            let damaged = || {
                Failure::Usage(format!(
                    "{}:{number}: not a line of ours\n  fix: restore it from a copy",
                    path.display()
                ))
            };
            entries.push(entry.ok_or_else(damaged)?);
        }
        Ok(Self { folder: folder.to_owned(), entries })
    }

    /// Notes a new certificate.
    pub(super) fn add(&mut self, cert_pem: &str) -> Result<(), Failure> {
        let Described { id, serial, not_after } = describe(cert_pem)?;
        self.entries.push(Entry { serial: hex::encode(serial), id: id.to_string(), not_after, revoked: false });
        self.save()
    }

    /// Revokes every certificate of an identity, or the certificate with a serial number. Returns their number.
    pub(super) fn revoke(&mut self, who: &str) -> Result<usize, Failure> {
        let wanted = |entry: &&mut Entry| entry.serial == who.to_ascii_lowercase() || entry.id == who;
        let mut count = 0;
        for entry in self.entries.iter_mut().filter(wanted) {
            entry.revoked = true;
            count += 1;
        }
        self.save()?;
        Ok(count)
    }

    /// Signs a new list of revoked certificates, valid for `days`.
    pub(super) fn publish(&self, authority: &Authority, days: i64) -> Result<PathBuf, Failure> {
        let revoked = self.entries.iter().filter(|entry| entry.revoked);
        let serials: Vec<Vec<u8>> = revoked.filter_map(|entry| hex::decode(&entry.serial).ok()).collect();
        let path = self.folder.join(LIST);
        write(&path, &authority.revocation_list(&serials, days)?)?;
        Ok(path)
    }

    fn save(&self) -> Result<(), Failure> {
        let line = |entry: &Entry| {
            let state = if entry.revoked { "revoked" } else { "good" };
            format!("{}\t{}\t{}\t{state}\n", entry.serial, entry.id, entry.not_after)
        };
        let text: String = self.entries.iter().map(line).collect();
        Ok(write_private(&self.folder.join(FILE), text.as_bytes())?)
    }
}

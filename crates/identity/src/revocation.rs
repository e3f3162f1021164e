//! Revocation lists: the certificates that their authority has taken back.
//!
//! A list counts while it is current, signed by an authority of the manifest, and the newest of that
//! authority. Lists are signed, so that they may come from anywhere: a folder that a timer fills is enough.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use loda_federation::Anchor;
use loda_federation::FederationError;
use loda_federation::private::read;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::certificate::{parse_whole, unix_now, without_zeros};
use crate::error::IdentityError;

/// A list larger than this is not read: it would hold a hundred thousand certificates.
const LARGEST: usize = 8 << 20;
/// Lists in a folder at most.
const MOST: usize = 1024;

/// One list, read but not yet believed.
#[derive(Clone)]
pub struct RevocationList {
    pub(crate) origin: String,
    pub(crate) der: CertificateRevocationListDer<'static>,
    pub(crate) this_update: i64,
    pub(crate) next_update: i64,
    revoked: HashSet<Vec<u8>>,
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, this_update, next_update, revoked, .. } = self;
        write!(f, "RevocationList({origin}, {this_update} to {next_update}, {} revoked)", revoked.len())
    }
}

impl RevocationList {
    /// The lists in a file: one in DER, or any number in PEM.
    ///
    /// # Errors
    /// [`FederationError::Unusable`], with the file and the fix.
    pub fn parse(bytes: &[u8], origin: &str) -> Result<Vec<Self>, IdentityError> {
        let unusable = |reason: &str| IdentityError::unusable(format!("revocation list {origin}"), reason);
        if bytes.len() > LARGEST {
            return Err(unusable("is larger than 8 MiB; ask the authority for one per scope"));
        }
        let lists = if bytes.starts_with(b"-----") {
            CertificateRevocationListDer::pem_slice_iter(bytes)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| unusable("is not PEM; fetch it again"))?
        } else {
            vec![CertificateRevocationListDer::from(bytes.to_vec())]
        };
        if lists.is_empty() {
            return Err(unusable("holds no list; fetch it again"));
        }
        lists.into_iter().map(|der| Self::parse_one(der, origin).map_err(unusable)).collect()
    }

    fn parse_one(der: CertificateRevocationListDer<'static>, origin: &str) -> Result<Self, &'static str> {
        let Ok(([], list)) = CertificateRevocationList::from_der(&der) else {
            return Err("is not a readable list; fetch it again");
        };
        let next = list.next_update().ok_or("does not say when the next one comes; have the authority state it")?;
        Ok(Self {
            origin: origin.to_owned(),
            this_update: list.last_update().timestamp(),
            next_update: next.timestamp(),
            revoked: list.iter_revoked_certificates().map(|r| without_zeros(r.raw_serial())).collect(),
            der: der.clone(),
        })
    }

    /// Reads every file of a folder. Files that cannot be read are reported and passed over: the others count.
    ///
    /// # Errors
    /// [`FederationError::File`] where the folder itself cannot be read.
    pub fn read_folder(folder: &Path) -> Result<(Vec<Self>, Vec<String>), IdentityError> {
        let fault = |source| FederationError::File { action: "read", path: folder.to_owned(), source };
        let (mut lists, mut faults) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(folder).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            // Hidden files are an unfinished fetch, or an editor's.
            let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            if hidden || path.is_dir() {
                continue;
            }
            if lists.len() >= MOST {
                faults.push(format!("{}: more than {MOST} lists; remove those of former members", folder.display()));
                break;
            }
            let lists_of = |bytes: Vec<u8>| Self::parse(&bytes, &path.display().to_string());
            match read(&path).map_err(IdentityError::from).and_then(lists_of) {
                Ok(read) => lists.extend(read),
                Err(error) => faults.push(error.to_string()),
            }
        }
        Ok((lists, faults))
    }

    /// Whether `anchor` signed it.
    pub(crate) fn is_of(&self, anchor: &Anchor) -> bool {
        let Ok(authority) = parse_whole(&anchor.der) else { return false };
        let Ok((_, list)) = CertificateRevocationList::from_der(&self.der) else { return false };
        list.issuer().as_raw() == anchor.subject.as_slice() && list.verify_signature(authority.public_key()).is_ok()
    }

    /// Whether it names a serial number (without leading zeros).
    pub(crate) fn names(&self, serial: &[u8]) -> bool {
        self.revoked.contains(serial)
    }
}

/// The newest list of an authority. One from the future counts when its time comes: an authority's clock that is
/// wrong must not shut out the lists that follow.
pub(crate) fn newest(lists: &[RevocationList], anchor: &Anchor) -> Option<RevocationList> {
    let now = unix_now().saturating_add(SKEW);
    lists
        .iter()
        .filter(|list| list.this_update <= now && list.is_of(anchor))
        .max_by_key(|list| list.this_update)
        .cloned()
}

/// How far the clocks of two hosts may differ.
const SKEW: i64 = 5 * 60;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use loda_federation::Purpose;

    use super::*;
    use crate::pki::Authority;

    #[test]
    fn damaged_lists_are_refused_quietly() {
        let authority = Authority::create("Test", 1).unwrap();
        let pem = authority.revocation_list(&[vec![0x41, 2, 3]], 1).unwrap();
        let list = RevocationList::parse(pem.as_bytes(), "x").unwrap().remove(0);
        assert!(list.names(&[0x41, 2, 3]) && !list.names(&[0x41, 2]));
        let anchor = Anchor::parse(authority.ca_pem(), Purpose::Coordinator).unwrap();
        assert!(list.is_of(&anchor));
        for at in 0..list.der.len() {
            let mut bytes = list.der.to_vec();
            bytes[at] ^= 1;
            // Unreadable, no longer signed, or changed outside what is signed.
            let changed = RevocationList::parse(&bytes, "x").ok().and_then(|mut lists| lists.pop());
            let same = |l: RevocationList| l.revoked == list.revoked && l.next_update == list.next_update;
            assert!(changed.is_none_or(|l| !l.is_of(&anchor) || same(l)), "byte {at}");
            assert!(RevocationList::parse(&list.der[..at], "x").is_err());
        }
    }
}

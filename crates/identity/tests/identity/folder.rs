//! Files of one party, as an operator keeps them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use loda_identity::{Authority, Identity, Issued, Paths};

use crate::federation::*;

/// Files of one party, as an operator keeps them.
pub struct Folder {
    pub dir: tempfile::TempDir,
    pub federation: Federation,
}

impl Folder {
    pub fn new(own: &Issued) -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap(), federation: Federation::new() };
        folder.write("manifest.toml", &folder.federation.manifest.to_toml());
        folder.write("denied.txt", "# nobody\n");
        fs::create_dir(folder.dir.path().join("lists")).unwrap();
        let Federation { camden, hackney, coordinator, people, .. } = &folder.federation;
        for (name, authority) in [("camden", camden), ("hackney", hackney), ("centre", coordinator), ("people", people)]
        {
            folder.write(&format!("lists/{name}.pem"), &authority.revocation_list(&[], 30).unwrap());
        }
        folder.renew(own);
        folder
    }

    /// A party that is Camden.
    pub fn camden() -> (Self, Identity) {
        // The authority is made with the federation, so its certificate comes after.
        let other = Authority::create("x", 1).unwrap().issue(&CAMDEN.parse().unwrap(), 1).unwrap();
        let folder = Self::new(&other);
        folder.renew(&folder.federation.camden.issue(&CAMDEN.parse().unwrap(), 1).unwrap());
        let identity = Identity::load(folder.paths()).unwrap();
        (folder, identity)
    }

    pub fn renew(&self, issued: &Issued) {
        self.write("own.pem", &issued.cert_pem);
        self.write("own.key", &issued.key_pem);
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn paths(&self) -> Paths {
        Paths {
            manifest: self.at("manifest.toml"),
            certificate: self.at("own.pem"),
            key: self.at("own.key"),
            revocation: self.at("lists"),
            denied: Some(self.at("denied.txt")),
            pinned: Some(self.at("pinned.toml")),
        }
    }
}

/// A file's time has to move for it to be looked at again.
pub fn touch_later(path: &Path) {
    let later = SystemTime::now() + Duration::from_secs(5);
    fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
}

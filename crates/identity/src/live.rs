//! Our own identity and our trust of the moment: files that change while a program runs.
//!
//! Certificates are renewed every few weeks, revocation lists every few days, and the deny list in a bad hour. None of
//! that needs a restart: files are looked at every [`LOOK`], read whole, and swapped whole. A file that cannot be used is
//! reported and the last good one stays. Time goes on for it: an ended list vouches for nobody.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use loda_federation::private::read;
use loda_federation::{Asking, Chain, Manifest, PeerId, Signatures, SignedQuestion, Version};
use rustls::server::ResolvesServerCert;
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;

use crate::deny_list::DenyList;
use crate::error::{IdentityError, Refusal};
use crate::paths::Paths;
use crate::peer::Peer;
use crate::pinned::{on_disk, pin, pin_lists, pinned_lists, pinned_manifest};
use crate::revocation::RevocationList;
use crate::tls::{Credentials, client_config, public_server_config, server_config};
use crate::trust::Trust;

/// How often files are looked at: the bound on how long a revoked or denied peer stays connected.
pub const LOOK: Duration = Duration::from_secs(2);

/// Our identity and our trust at one moment.
pub struct CurrentIdentity {
    /// The authorities that we believe.
    pub trust: Arc<Trust>,
    /// Our own identity.
    pub own: Peer,
    credentials: Credentials,
    server: Arc<ServerConfig>,
}

/// A handle on the identity that holds now. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    now: watch::Sender<Arc<CurrentIdentity>>,
    files: Option<Mutex<Files>>,
}

/// The files as they were read, and when they changed.
struct Files {
    paths: Paths,
    stamp: Stamp,
    faults: Vec<String>,
    /// The versions that were in use here, to be handed on.
    chain: Chain,
}

type Stamp = Vec<(PathBuf, Option<(u64, SystemTime)>)>;

impl Identity {
    /// An identity that does not change: for programs that end soon, and for tests.
    ///
    /// # Errors
    /// Where key and certificate do not match, or make us nobody.
    pub fn fixed(credentials: Credentials, trust: Arc<Trust>) -> Result<Self, IdentityError> {
        let own = credentials.peer(&trust)?;
        Self::of(credentials, trust, own, None)
    }

    /// An identity that the federation would refuse: for tests that try to get in.
    ///
    /// # Errors
    /// Where key and certificate do not match.
    pub fn unchecked(credentials: Credentials, trust: Arc<Trust>, claimed: Peer) -> Result<Self, IdentityError> {
        Self::of(credentials, trust, claimed, None)
    }

    fn of(credentials: Credentials, trust: Arc<Trust>, own: Peer, files: Option<Files>) -> Result<Self, IdentityError> {
        let server = server_config(&credentials, &trust)?;
        let now = watch::Sender::new(Arc::new(CurrentIdentity { trust, own, credentials, server }));
        Ok(Self(Arc::new(Inner { now, files: files.map(Mutex::new) })))
    }

    /// Reads all files. Faults in single revocation lists are reported and passed over.
    ///
    /// # Errors
    /// Where manifest, certificate, key, deny list or the folder of lists cannot be used, or our own certificate is
    /// nobody's: a program finds at its start, and not in others' logs, that it cannot take part.
    pub fn load(paths: Paths) -> Result<Self, IdentityError> {
        let stamp = stamp(&paths);
        let mut faults = Vec::new();
        let (manifest, chain) = pinned_manifest(&paths, &mut faults)?;
        let manifest = Arc::new(manifest);
        let credentials = Credentials::load(&paths.certificate, &paths.key)?;
        let (mut lists, more) = RevocationList::read_folder(&paths.revocation)?;
        faults.extend(more);
        // Those from before the restart first: of two lists with one date the later one counts.
        let (mut all, more) = pinned_lists(&paths);
        faults.extend(more);
        all.append(&mut lists);
        let lists = all;
        let denials = paths.denied.as_deref().map_or(Ok(DenyList::default()), read_denials)?;
        let (trust, more) = Trust::new(manifest, lists, denials, None)?;
        faults.extend(more);
        let trust = Arc::new(trust);
        faults.extend(pin_lists(&paths, &trust));
        let own = credentials.peer(&trust).map_err(|refusal| {
            let fix = match refusal {
                Refusal::RevocationUnknown => "put its authority's current list into the folder of revocation lists",
                _ => "have its authority issue another",
            };
            IdentityError::unusable(format!("certificate {}", paths.certificate.display()), format!("{refusal}; {fix}"))
        })?;
        faults.iter().for_each(|fault| tracing::warn!(code = "identity_file", "{fault}"));
        for who in trust.unverifiable() {
            tracing::warn!(
                code = "revocation_unknown",
                "no current revocation list of {who}: its certificates are refused"
            );
        }
        Self::of(credentials, trust, own, Some(Files { paths, stamp, faults, chain }))
    }

    /// The identity and the trust that hold now.
    pub fn now(&self) -> Arc<CurrentIdentity> {
        Arc::clone(&self.0.now.borrow())
    }

    /// The manifest that holds now.
    pub fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(self.now().trust.manifest())
    }

    /// Signs a question with our certificate's key.
    ///
    /// # Errors
    /// [`IdentityError::Tls`] where the key cannot sign.
    pub fn sign(&self, asking: &Asking) -> Result<SignedQuestion, IdentityError> {
        self.now().credentials.sign(asking.to_text())
    }

    /// The faults of the files, in sentences; empty where all is well.
    pub fn faults(&self) -> Vec<String> {
        let Some(files) = &self.0.files else { return Vec::new() };
        files.lock().unwrap_or_else(PoisonError::into_inner).faults.clone()
    }

    /// Looks at the files every [`LOOK`], for as long as anybody holds this identity.
    pub async fn keep_current(self) {
        let held = Arc::downgrade(&self.0);
        drop(self);
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(inner) = held.upgrade() else { return };
            // Reading a few files is quick, but a share that hangs must not stop the server.
            let _read = tokio::task::spawn_blocking(move || Self(inner).look()).await;
        }
    }

    /// Looks at the files once, and swaps in those that are new and good.
    pub fn look(&self) {
        let Some(files) = &self.0.files else { return };
        let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&files.paths);
        if stamp == files.stamp {
            return;
        }
        files.stamp = stamp;
        let mut faults = Vec::new();
        let before = self.now();
        let manifest = on_disk(before.trust.manifest(), &files.paths.clone(), &mut files.chain, &mut faults);
        self.renew(&mut files, &before, manifest, faults);
    }

    /// Takes up versions of the manifest that another party hands on, as far as each follows the one before. The result is
    /// the number of the version in use then.
    pub fn adopt(&self, offered: &[Version]) -> u64 {
        let Some(files) = &self.0.files else { return self.manifest().version };
        // The current identity cannot change any more until this is done.
        let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.now();
        let current = before.trust.manifest();
        let mut chain = files.chain.clone();
        let next = chain.advance(current, offered);
        if next == **current {
            return current.version;
        }
        if let Err(fault) = pin(&files.paths, &next, &chain) {
            tracing::error!(code = "identity_file", "{fault}; version {} stays in use", current.version);
            return current.version;
        }
        tracing::info!(manifest = next.version, "versions of the manifest were handed on, and are in use");
        files.chain = chain;
        // The file that lies there may be good by now: it is looked at again.
        files.stamp.clear();
        let faults = files.faults.clone();
        self.renew(&mut files, &before, next, faults);
        self.manifest().version
    }

    /// The versions after one that this party has had in use, with their signatures.
    pub fn successors(&self, version: u64) -> Vec<Version> {
        let Some(files) = &self.0.files else { return Vec::new() };
        files.lock().unwrap_or_else(PoisonError::into_inner).chain.after(version).cloned().collect()
    }

    fn renew(&self, files: &mut Files, before: &CurrentIdentity, manifest: Manifest, mut faults: Vec<String>) {
        match renewed(&files.paths, before, manifest, &mut faults) {
            Ok(current) => {
                tracing::info!(manifest = current.trust.manifest().version, "certificates and lists were read again");
                faults.extend(pin_lists(&files.paths, &current.trust));
                self.0.now.send_replace(Arc::new(current));
            }
            Err(error) => faults.push(error.to_string()),
        }
        faults
            .iter()
            .for_each(|fault| tracing::error!(code = "identity_file", "{fault}; the last good one stays in use"));
        files.faults = faults;
    }

    /// Ends when `peer` would no longer be let in, with the reason; looks when files change and when certificates end.
    pub async fn until_gone(&self, peer: &Peer) -> Refusal {
        let mut changes = self.0.now.subscribe();
        loop {
            if let Err(refusal) = changes.borrow_and_update().trust.still_good(peer) {
                return refusal;
            }
            // Lists and certificates end by themselves: a look now and then is enough, since every call asks too.
            let _changed = tokio::time::timeout(Duration::from_secs(30), changes.changed()).await;
        }
    }

    /// The TLS configuration of a server that admits members alone, under the trust of now.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.now().server)
    }

    /// The TLS configuration of a server that needs no certificate of its callers. `web` is its own certificate; one that
    /// a caller shows must be a member's, under the trust of that moment.
    ///
    /// # Errors
    /// [`IdentityError::Tls`] where TLS cannot be set up.
    pub fn public_server_config(&self, web: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, IdentityError> {
        let identity = self.clone();
        public_server_config(web, Box::new(move || Arc::clone(&identity.now().trust)))
    }

    /// The TLS configuration of a client that talks to `expected` now.
    ///
    /// # Errors
    /// As [`client_config`].
    pub fn client_config(&self, expected: &PeerId) -> Result<Arc<ClientConfig>, IdentityError> {
        let now = self.now();
        client_config(&now.credentials, &now.trust, expected)
    }
}

/// Each file that can be used, and the last good one of each that cannot.
fn renewed(
    paths: &Paths,
    before: &CurrentIdentity,
    manifest: Manifest,
    faults: &mut Vec<String>,
) -> Result<CurrentIdentity, IdentityError> {
    let manifest = Arc::new(manifest);
    let lists = match RevocationList::read_folder(&paths.revocation) {
        Ok((lists, more)) => {
            faults.extend(more);
            lists
        }
        Err(error) => {
            faults.push(error.to_string());
            Vec::new()
        }
    };
    let denials = match paths.denied.as_deref().map_or(Ok(DenyList::default()), read_denials) {
        Ok(denials) => denials,
        Err(error) => {
            faults.push(error.to_string());
            before.trust.denials().clone()
        }
    };
    let (trust, more) = Trust::new(manifest, lists, denials, Some(&before.trust))?;
    faults.extend(more);
    let trust = Arc::new(trust);
    let renewed = Credentials::load(&paths.certificate, &paths.key).and_then(|credentials| {
        let own = credentials.peer(&trust)?;
        if own.id != before.own.id {
            return Err(IdentityError::unusable(own.id.to_string(), format!("is not {}, who we are", before.own.id)));
        }
        let server = server_config(&credentials, &trust)?;
        Ok((credentials, own, server))
    });
    let (credentials, own, server) = match renewed {
        Ok(renewed) => renewed,
        Err(error) => {
            faults.push(format!("{}: {error}", paths.certificate.display()));
            let credentials = before.credentials.clone();
            let server = server_config(&credentials, &trust)?;
            (credentials, before.own.clone(), server)
        }
    };
    Ok(CurrentIdentity { trust, own, credentials, server })
}

fn read_denials(path: &Path) -> Result<DenyList, IdentityError> {
    let bytes = read(path)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| IdentityError::unusable(path.display().to_string(), "is not text"))?;
    DenyList::parse(text, &path.display().to_string())
}

/// Size and time of every file: they change when a file is written or renamed over.
fn stamp(paths: &Paths) -> Stamp {
    let of = |path: PathBuf| {
        let seen = std::fs::metadata(&path).ok().and_then(|m| Some((m.len(), m.modified().ok()?)));
        (path, seen)
    };
    let lists = std::fs::read_dir(&paths.revocation).into_iter().flatten().flatten().map(|entry| entry.path());
    let own = [&paths.manifest, &paths.certificate, &paths.key].into_iter().cloned();
    let own = own.chain([Signatures::beside(&paths.manifest), Chain::beside(&paths.manifest)]);
    let mut stamp: Stamp = own.chain(paths.denied.clone()).chain(lists).map(of).collect();
    stamp.sort();
    stamp
}

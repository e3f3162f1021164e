//! Who we are and whom we trust, now: files that change while a program runs.
//!
//! Certificates are renewed every few weeks, revocation lists every few days, and the deny list in a bad hour. None of
//! that needs a restart: files are looked at every [`LOOK`], read whole, and swapped whole. Whatever cannot be used is
//! reported and the last good one stays, except that time goes on: an ended list vouches for nobody.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::{ClientConfig, ServerConfig};
use serde::Deserialize;
use tokio::sync::watch;

use crate::denied::Denials;
use crate::error::{IdentityError, Refusal};
use crate::manifest::{Chain, Manifest, Signatures, Version};
use crate::peer::{Peer, PeerId};
use crate::private::{read, write_private};
use crate::revocation::RevocationList;
use crate::tls::{Credentials, client_config, server_config};
use crate::trust::Trust;

/// How often files are looked at: the bound on how long a revoked or denied peer stays connected.
pub const LOOK: Duration = Duration::from_secs(2);

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The federation's manifest.
    pub manifest: PathBuf,
    /// Our own certificate (PEM), alone.
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// The folder of revocation lists (PEM or DER).
    pub revocation: PathBuf,
    /// The deny list; nobody is denied where it is not named.
    pub denied: Option<PathBuf>,
    /// Where the manifest in use is kept, so that a restart does not believe another; clients keep none.
    pub pinned: Option<PathBuf>,
}

/// The section `[tls]` of a program's configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    certificate: PathBuf,
    key: PathBuf,
    revocation_lists: PathBuf,
    denied: Option<PathBuf>,
}

impl TlsSection {
    /// Its files, and the manifest, relative to the configuration's folder; what is pinned stands in `state`.
    #[must_use]
    pub fn paths(self, base: &Path, manifest: &Path, state: &Path) -> Paths {
        Paths {
            manifest: base.join(manifest),
            certificate: base.join(self.certificate),
            key: base.join(self.key),
            revocation: base.join(self.revocation_lists),
            denied: self.denied.map(|path| base.join(path)),
            pinned: Some(state.join("manifest.pinned.toml")),
        }
    }
}

/// What holds at one moment.
pub struct Standing {
    /// Whom we believe.
    pub trust: Arc<Trust>,
    /// Who we are.
    pub own: Peer,
    credentials: Credentials,
    server: Arc<ServerConfig>,
}

/// A handle on the standing that holds now. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    now: watch::Sender<Arc<Standing>>,
    files: Option<Mutex<Files>>,
}

/// What was read, and when it changed.
struct Files {
    paths: Paths,
    stamp: Stamp,
    faults: Vec<String>,
    /// The versions that were in use here, to be handed on.
    chain: Chain,
}

type Stamp = Vec<(PathBuf, Option<(u64, SystemTime)>)>;

impl Identity {
    /// A standing that does not change: for programs that end soon, and for tests.
    ///
    /// # Errors
    /// Where key and certificate do not match, or make us nobody.
    pub fn fixed(credentials: Credentials, trust: Arc<Trust>) -> Result<Self, IdentityError> {
        let own = credentials.peer(&trust)?;
        Self::of(credentials, trust, own, None)
    }

    /// As somebody that the federation would refuse: for tests that try to get in.
    ///
    /// # Errors
    /// Where key and certificate do not match.
    pub fn unchecked(credentials: Credentials, trust: Arc<Trust>, claimed: Peer) -> Result<Self, IdentityError> {
        Self::of(credentials, trust, claimed, None)
    }

    fn of(credentials: Credentials, trust: Arc<Trust>, own: Peer, files: Option<Files>) -> Result<Self, IdentityError> {
        let server = server_config(&credentials, &trust)?;
        let now = watch::Sender::new(Arc::new(Standing { trust, own, credentials, server }));
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
        // Those of an earlier life first: of two with one date the other counts.
        let (mut all, more) = pinned_lists(&paths);
        faults.extend(more);
        all.append(&mut lists);
        let lists = all;
        let denials = paths.denied.as_deref().map_or(Ok(Denials::default()), read_denials)?;
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

    /// What holds now.
    pub fn now(&self) -> Arc<Standing> {
        Arc::clone(&self.0.now.borrow())
    }

    /// The manifest that holds now.
    pub fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(self.now().trust.manifest())
    }

    /// What is wrong with the files, in sentences; empty where all is well.
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

    /// Looks at the files once, and swaps in what is new and good.
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

    /// Takes up versions of the manifest that another party hands on, as far as each follows the one before; the version that
    /// holds then.
    pub fn adopt(&self, offered: &[Version]) -> u64 {
        let Some(files) = &self.0.files else { return self.manifest().version };
        // What holds now cannot change any more until this is done.
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
        // What was wrong with the file that lies there may be wrong no more: it is looked at again.
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

    fn renew(&self, files: &mut Files, before: &Standing, manifest: Manifest, mut faults: Vec<String>) {
        match renewed(&files.paths, before, manifest, &mut faults) {
            Ok(standing) => {
                tracing::info!(manifest = standing.trust.manifest().version, "certificates and lists were read again");
                faults.extend(pin_lists(&files.paths, &standing.trust));
                self.0.now.send_replace(Arc::new(standing));
            }
            Err(error) => faults.push(error.to_string()),
        }
        faults
            .iter()
            .for_each(|fault| tracing::error!(code = "identity_file", "{fault}; the last good one stays in use"));
        files.faults = faults;
    }

    /// Ends when `peer` would no longer be let in, with the reason; looks when files change and when certificates end.
    pub(crate) async fn until_gone(&self, peer: &Peer) -> Refusal {
        let mut changes = self.0.now.subscribe();
        loop {
            if let Err(refusal) = changes.borrow_and_update().trust.still_good(peer) {
                return refusal;
            }
            // Lists and certificates end by themselves: a look now and then is enough, since every call asks too.
            let _changed = tokio::time::timeout(Duration::from_secs(30), changes.changed()).await;
        }
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.now().server)
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
    before: &Standing,
    manifest: Manifest,
    faults: &mut Vec<String>,
) -> Result<Standing, IdentityError> {
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
    let denials = match paths.denied.as_deref().map_or(Ok(Denials::default()), read_denials) {
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
    Ok(Standing { trust, own, credentials, server })
}

/// What follows the manifest in use by the files: the manifest's, and the chain beside it. It is pinned from then on.
fn on_disk(current: &Manifest, paths: &Paths, chain: &mut Chain, faults: &mut Vec<String>) -> Manifest {
    let mut offered = match Chain::load(&Chain::beside(&paths.manifest)) {
        Ok(handed_on) => handed_on.versions().to_vec(),
        Err(error) => {
            faults.push(error.to_string());
            Vec::new()
        }
    };
    let read = Manifest::load(&paths.manifest).map_err(IdentityError::from);
    let read =
        read.and_then(|manifest| Ok(Version { manifest, signatures: Signatures::load_beside(&paths.manifest)? }));
    match &read {
        Ok(version) => offered.push(version.clone()),
        Err(error) => faults.push(error.to_string()),
    }
    let mut longer = chain.clone();
    let next = longer.advance(current, &offered);
    if let Ok(version) = read
        && !longer.knows(&version.manifest)
        && let Err(reason) = next.may_become(&version.manifest, &version.signatures)
    {
        let fault = IdentityError::unusable(paths.manifest.display().to_string(), reason);
        faults.push(format!("{fault}; version {} stays in use", next.version));
    }
    if next == *current {
        return next;
    }
    if let Err(fault) = pin(paths, &next, &longer) {
        faults.push(fault.to_string());
        return current.clone();
    }
    *chain = longer;
    next
}

/// Keeps the manifest in use, and those before it.
fn pin(paths: &Paths, manifest: &Manifest, chain: &Chain) -> Result<(), IdentityError> {
    let Some(pinned) = &paths.pinned else { return Ok(()) };
    write_private(&chain_file(pinned), chain.to_text().as_bytes())?;
    write_private(pinned, manifest.to_toml().as_bytes())
}

/// Where the versions that were in use are kept.
fn chain_file(pinned: &Path) -> PathBuf {
    pinned.with_file_name("manifest.chain")
}

/// At a start: what was pinned, or what may follow it. The first manifest is believed as it is found: people compare
/// its hash.
fn pinned_manifest(paths: &Paths, faults: &mut Vec<String>) -> Result<(Manifest, Chain), IdentityError> {
    let mut chain = Chain::default();
    let Some(pinned) = paths.pinned.as_ref() else { return Ok((Manifest::load(&paths.manifest)?, chain)) };
    if !pinned.exists() {
        let first = Manifest::load(&paths.manifest)?;
        if first.members.is_empty() {
            let reason = "is a draft without members; `loda federation add` makes the first version of it";
            return Err(IdentityError::unusable(paths.manifest.display().to_string(), reason));
        }
        chain.advance(&first, &[]);
        pin(paths, &first, &chain)?;
        return Ok((first, chain));
    }
    let current = Manifest::load(pinned)?;
    match Chain::load(&chain_file(pinned)) {
        Ok(kept) => chain = kept,
        Err(error) => faults.push(error.to_string()),
    }
    chain.advance(&current, &[]);
    let manifest = on_disk(&current, paths, &mut chain, faults);
    Ok((manifest, chain))
}

/// Where the lists in use are kept, so that a restart believes no older ones.
fn lists_folder(paths: &Paths) -> Option<PathBuf> {
    Some(paths.pinned.as_ref()?.with_file_name("revocation.pinned"))
}

/// The lists of an earlier life. What cannot be read of them is told: the folder's lists count as before.
fn pinned_lists(paths: &Paths) -> (Vec<RevocationList>, Vec<String>) {
    match lists_folder(paths).filter(|folder| folder.exists()).map(|folder| RevocationList::read_folder(&folder)) {
        None => (Vec::new(), Vec::new()),
        Some(Ok(read)) => read,
        Some(Err(fault)) => (Vec::new(), vec![fault.to_string()]),
    }
}

/// Keeps the lists in use. What cannot be kept is told.
fn pin_lists(paths: &Paths, trust: &Trust) -> Vec<String> {
    let Some(folder) = lists_folder(paths) else { return Vec::new() };
    let keep = |(name, list): (String, &RevocationList)| {
        let path = folder.join(format!("{name}.crl"));
        let der: &[u8] = &list.der;
        if std::fs::read(&path).is_ok_and(|kept| kept == der) {
            return Ok(());
        }
        std::fs::create_dir_all(&folder).map_err(|source| IdentityError::File {
            action: "make",
            path: folder.clone(),
            source,
        })?;
        write_private(&path, der)
    };
    trust.lists().map(keep).filter_map(Result::err).map(|fault| fault.to_string()).collect()
}

fn read_denials(path: &Path) -> Result<Denials, IdentityError> {
    let bytes = read(path)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| IdentityError::unusable(path.display().to_string(), "is not text"))?;
    Denials::parse(text, &path.display().to_string())
}

/// Size and time of every file: what changes when one is written or renamed over.
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

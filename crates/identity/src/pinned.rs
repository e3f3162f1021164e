//! Files that a party keeps over restarts: the manifest in use, its versions, and the revocation lists in use.

use std::path::{Path, PathBuf};

use loda_federation::private::write_private;
use loda_federation::{Chain, FederationError, Manifest, Signatures, Version};

use crate::error::IdentityError;
use crate::paths::Paths;
use crate::revocation::RevocationList;
use crate::trust::Trust;

/// The successor of the manifest in use, by the manifest's file and the chain beside it. It is pinned from then on.
pub(crate) fn on_disk(current: &Manifest, paths: &Paths, chain: &mut Chain, faults: &mut Vec<String>) -> Manifest {
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

/// Keeps the manifest in use, and the versions before it.
pub(crate) fn pin(paths: &Paths, manifest: &Manifest, chain: &Chain) -> Result<(), IdentityError> {
    let Some(pinned) = &paths.pinned else { return Ok(()) };
    write_private(&chain_file(pinned), chain.to_text().as_bytes())?;
    Ok(write_private(pinned, manifest.to_toml().as_bytes())?)
}

/// The file of the versions that were in use.
fn chain_file(pinned: &Path) -> PathBuf {
    pinned.with_file_name("manifest.chain")
}

/// The manifest at a start: the pinned one, or its successor. The first manifest is believed as it is found: people
/// compare its hash.
pub(crate) fn pinned_manifest(paths: &Paths, faults: &mut Vec<String>) -> Result<(Manifest, Chain), IdentityError> {
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

/// The folder of the lists in use, so that a restart believes no older ones.
fn lists_folder(paths: &Paths) -> Option<PathBuf> {
    Some(paths.pinned.as_ref()?.with_file_name("revocation.pinned"))
}

/// The lists in use before a restart, and faults in sentences. Lists that cannot be read do not count.
pub(crate) fn pinned_lists(paths: &Paths) -> (Vec<RevocationList>, Vec<String>) {
    match lists_folder(paths).filter(|folder| folder.exists()).map(|folder| RevocationList::read_folder(&folder)) {
        None => (Vec::new(), Vec::new()),
        Some(Ok(read)) => read,
        Some(Err(fault)) => (Vec::new(), vec![fault.to_string()]),
    }
}

/// Keeps the lists in use. The result is the faults, in sentences.
pub(crate) fn pin_lists(paths: &Paths, trust: &Trust) -> Vec<String> {
    let Some(folder) = lists_folder(paths) else { return Vec::new() };
    let keep = |(name, list): (String, &RevocationList)| {
        let path = folder.join(format!("{name}.crl"));
        let der: &[u8] = &list.der;
        if std::fs::read(&path).is_ok_and(|kept| kept == der) {
            return Ok(());
        }
        std::fs::create_dir_all(&folder).map_err(|source| FederationError::File {
            action: "make",
            path: folder.clone(),
            source,
        })?;
        write_private(&path, der)
    };
    trust.lists().map(keep).filter_map(Result::err).map(|fault| fault.to_string()).collect()
}

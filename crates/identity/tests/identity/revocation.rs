//! What an authority took back, what a party denies, and files that change while we run.

use std::fs;
use std::time::Duration;

use loda_federation::{Chain, Manifest, Signatures, SigningKey, Version};
use loda_identity::{Authority, DenyList, Identity, Refusal, RevocationList, Trust};

use crate::federation::*;
use crate::folder::*;

fn without(federation: &Federation, at: usize) -> Vec<RevocationList> {
    let mut lists = federation.lists();
    lists.remove(at);
    lists
}

#[test]
fn an_authority_without_a_current_list_vouches_for_nobody() {
    let federation = Federation::new();
    let creds = federation.credentials(COORDINATOR);
    let refused = |lists| creds.peer(&federation.trust_with(lists)).unwrap_err();
    assert_eq!(refused(without(&federation, 2)), Refusal::RevocationUnknown);
    // Ended, signed by another of the same name, or by another member: none of them counts.
    let rogue = Authority::create("Coordinator", 30).unwrap();
    for bad in [list(&federation.coordinator, &[], -1), list(&rogue, &[], 30), list(&federation.camden, &[], 30)] {
        let mut lists = without(&federation, 2);
        lists.push(bad);
        assert_eq!(refused(lists), Refusal::RevocationUnknown);
    }
    assert!(creds.peer(&federation.trust()).is_ok());
}

#[test]
fn an_old_list_cannot_be_put_back() {
    let federation = Federation::new();
    let creds = federation.credentials(COORDINATOR);
    let serial = creds.peer(&federation.trust()).unwrap().serial;
    let manifest = federation.trust().manifest().clone();
    let old = federation.lists();
    std::thread::sleep(Duration::from_millis(1100));
    let mut lists = federation.lists();
    lists.push(list(&federation.coordinator, &[serial], 30));
    let (now, faults) = Trust::new(manifest.clone(), lists, DenyList::default(), None).unwrap();
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(creds.peer(&now).unwrap_err(), Refusal::Revoked);
    for lists in [old, Vec::new()] {
        let (later, _) = Trust::new(manifest.clone(), lists, DenyList::default(), Some(&now)).unwrap();
        assert_eq!(creds.peer(&later).unwrap_err(), Refusal::Revoked);
    }
}

#[test]
fn an_older_list_does_not_come_back_over_a_restart() {
    let (folder, first) = Folder::camden();
    let peer = folder.federation.credentials(COORDINATOR).peer(&folder.federation.trust()).unwrap();
    assert!(first.now().trust.still_good(&peer).is_ok());
    let old = fs::read_to_string(folder.at("lists/centre.pem")).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let list = folder.federation.coordinator.revocation_list(std::slice::from_ref(&peer.serial), 30).unwrap();
    folder.write("lists/centre.pem", &list);
    let restarted = || Identity::load(folder.paths()).unwrap().now().trust.still_good(&peer);
    assert_eq!(restarted().unwrap_err(), Refusal::Revoked);
    // Put back, or removed, while nobody looks.
    folder.write("lists/centre.pem", &old);
    assert_eq!(restarted().unwrap_err(), Refusal::Revoked);
    fs::remove_file(folder.at("lists/centre.pem")).unwrap();
    assert_eq!(restarted().unwrap_err(), Refusal::Revoked);
}

#[test]
fn bad_lists_and_deny_lists_lose_nothing() {
    let (folder, identity) = Folder::camden();
    let caller = folder.federation.credentials(COORDINATOR).peer(&folder.federation.trust()).unwrap();
    folder.write("denied.txt", &format!("{HACKNEY}\n"));
    touch_later(&folder.at("denied.txt"));
    identity.look();
    let hackney = folder.federation.credentials(HACKNEY).peer(&folder.federation.trust()).unwrap();
    assert_eq!(identity.now().trust.still_good(&hackney), Err(Refusal::Denied));
    for (name, text) in [
        ("lists/centre.pem", "not a list"),
        ("lists/centre.pem", ""),
        ("lists/more.pem", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
        ("denied.txt", "spiffe://london.example/borough\n"),
        ("manifest.toml", "federation = 1"),
    ] {
        folder.write(name, text);
        touch_later(&folder.at(name));
        identity.look();
        let now = identity.now();
        assert!(!identity.faults().is_empty(), "{name}");
        assert_eq!(now.trust.still_good(&caller), Ok(()), "{name}");
        assert_eq!(now.trust.still_good(&hackney), Err(Refusal::Denied), "{name}");
    }
    // The folder itself gone: the lists in use stay, for as long as they are current.
    fs::remove_dir_all(folder.at("lists")).unwrap();
    identity.look();
    assert_eq!(identity.now().trust.still_good(&caller), Ok(()));
    assert!(Identity::load(folder.paths()).is_err(), "but no start without them");
}

/// A folder whose manifest is nobody's yet, and the keys of its two members.
fn signing() -> (Folder, Manifest, Vec<SigningKey>) {
    let (folder, _) = Folder::camden();
    let keys: Vec<SigningKey> = (0..2).map(|_| SigningKey::generate().unwrap().0).collect();
    let mut first: Manifest = folder.federation.manifest.clone();
    for (member, key) in first.members.iter_mut().zip(&keys) {
        member.log_key = key.public_hex();
    }
    folder.write("manifest.toml", &first.to_toml());
    fs::remove_file(folder.at("pinned.toml")).unwrap();
    (folder, first, keys)
}

#[test]
fn a_manifest_is_followed_by_one_that_enough_members_signed() {
    let (folder, first, keys) = signing();
    let identity = Identity::load(folder.paths()).unwrap();
    let mut next = first.clone();
    next.version = 2;
    next.previous = Some(hex::encode(first.sha256()));
    next.members.pop();
    let write = |manifest: &Manifest, signatures: &Signatures| {
        folder.write("manifest.toml", &manifest.to_toml());
        folder.write("manifest.toml.signatures", &signatures.to_text());
        touch_later(&folder.at("manifest.toml"));
        identity.look();
        identity.manifest().version
    };
    let mut signatures = Signatures::default();
    assert_eq!(write(&next, &signatures), 1, "nobody signed");
    signatures.sign(first.members[0].gss.clone(), &next, &keys[0]);
    assert_eq!(write(&next, &signatures), 1, "one of two signed");
    signatures.sign(first.members[1].gss.clone(), &next, &keys[0]);
    assert_eq!(write(&next, &signatures), 1, "one signed for the other");
    signatures.sign(first.members[1].gss.clone(), &next, &keys[1]);
    let mut other = next.clone();
    other.members[0].address = "127.0.0.1:9".into();
    assert_eq!(write(&other, &signatures), 1, "another text than they signed");
    let mut forked = next.clone();
    forked.previous = Some("0".repeat(64));
    let mut forked_signatures = Signatures::default();
    for (member, key) in first.members.iter().zip(&keys) {
        forked_signatures.sign(member.gss.clone(), &forked, key);
    }
    assert_eq!(write(&forked, &forked_signatures), 1, "made from another version");
    // A restart believes what was pinned, not what lies there.
    assert_eq!(Identity::load(folder.paths()).unwrap().manifest().version, 1);
    assert_eq!(write(&next, &signatures), 2);
    assert_eq!(write(&first, &Signatures::default()), 2, "and there is no way back");
    assert_eq!(Identity::load(folder.paths()).unwrap().manifest().version, 2);
    let gone = folder.federation.credentials(HACKNEY).peer(&folder.federation.trust()).unwrap();
    assert_eq!(identity.now().trust.still_good(&gone), Err(Refusal::UnknownAuthority), "who left is nobody");
}

#[test]
fn who_missed_versions_of_the_manifest_takes_them_up_one_after_another() {
    let (folder, first, keys) = signing();
    let identity = Identity::load(folder.paths()).unwrap();
    // Three versions that follow, each signed by both.
    let mut versions: Vec<Version> = Vec::new();
    for number in 2..=4 {
        let before = versions.last().map_or(&first, |last| &last.manifest);
        let mut manifest = Manifest { version: number, ..before.clone() };
        manifest.previous = Some(hex::encode(before.sha256()));
        manifest.coordinator.address = format!("127.0.0.1:{number}");
        let mut signatures = Signatures::default();
        for (member, key) in first.members.iter().zip(&keys) {
            signatures.sign(member.gss.clone(), &manifest, key);
        }
        versions.push(Version { manifest, signatures });
    }
    let unsigned = |at: usize| Version { signatures: Signatures::default(), ..versions[at].clone() };
    assert_eq!(identity.adopt(&[versions[2].clone(), versions[1].clone()]), 1, "the next one is not among them");
    assert_eq!(
        identity.adopt(&[unsigned(0), versions[1].clone(), versions[2].clone()]),
        1,
        "nobody signed the next one"
    );
    assert_eq!(
        identity.adopt(&[versions[1].clone(), versions[0].clone(), unsigned(2)]),
        3,
        "as far as they are signed"
    );
    assert_eq!(identity.manifest().coordinator.address, "127.0.0.1:3");
    // The file that lies there is an earlier one, which is no fault; a restart believes what was taken up.
    touch_later(&folder.at("manifest.toml"));
    identity.look();
    assert_eq!((identity.manifest().version, identity.faults()), (3, Vec::new()));
    let again = Identity::load(folder.paths()).unwrap();
    assert_eq!((again.manifest().version, again.faults()), (3, Vec::new()));
    assert_eq!(again.adopt(&versions), 4);
    // It hands on the versions that it took up, to a party that has the first alone, as a file too.
    let handed_on = again.successors(1);
    assert_eq!(handed_on, versions);
    let other = folder;
    fs::remove_file(other.at("pinned.toml")).unwrap();
    fs::remove_file(other.at("manifest.chain")).unwrap();
    assert_eq!(Identity::load(other.paths()).unwrap().manifest().version, 1);
    let mut chain = Chain::default();
    assert_eq!(chain.advance(&first, &handed_on).version, 4);
    assert_eq!(Chain::parse(&chain.to_text(), "chain").unwrap(), chain);
    other.write("manifest.toml.chain", &chain.to_text());
    assert_eq!(Identity::load(other.paths()).unwrap().manifest().version, 4);
    // Rolled back over a restart: an earlier one, or another one of the same number.
    other.write("manifest.toml.chain", "");
    let mut forged = Manifest { version: 5, ..versions[0].manifest.clone() };
    forged.coordinator.address = "127.0.0.1:9".to_owned();
    other.write("manifest.toml", &forged.to_toml());
    let refused = Identity::load(other.paths()).unwrap();
    assert!(refused.manifest().version == 4 && refused.faults().len() == 1, "{:?}", refused.faults());
    assert!(Chain::parse("[[versions]]\nmanifest = \"x\"\nsignatures = \"\"", "chain").is_err());
}

//! Revocation, denial and renewal while connections live.

use std::time::{Duration, Instant};

use loda_identity::{Authority, Credentials, Identity, Issued};
use loda_transport::{Limits, channel};
use tokio::time::sleep;

use crate::federation::*;
use crate::folder::*;
use crate::serving::*;

const DESCRIBE: &str = "/loda.v1.Node/Describe";

#[tokio::test]
async fn revoked_peers_are_refused_on_both_sides_of_a_connection() {
    let federation = Federation::new();
    let (own, node) = (federation.credentials(COORDINATOR), federation.credentials(CAMDEN));
    let revoking = |authority: &Authority, creds: &Credentials| {
        let serial = creds.peer(&federation.trust()).unwrap().serial;
        let mut lists = federation.lists();
        lists.push(list(authority, &[serial], 30));
        federation.trust_with(lists)
    };
    let as_whom = |creds: &Credentials, trust| {
        Identity::unchecked(creds.clone(), trust, creds.peer(&federation.trust()).unwrap()).unwrap()
    };
    // The caller is revoked, and the server knows.
    let knows = as_whom(&node, revoking(&federation.coordinator, &own));
    let served = serve(knows, Limits::default(), None).await;
    assert!(call(&federation.channel(&served, &own, CAMDEN), DESCRIBE).await.is_err());
    // The server is revoked, and the caller knows.
    let served = federation.serve_as(&node, Limits::default()).await;
    let caller = as_whom(&own, revoking(&federation.camden, &node));
    let wait = Duration::from_secs(5);
    let to = CAMDEN.parse().unwrap();
    let channel = channel(&served.address.to_string(), &caller, &to, wait).unwrap();
    let error = call(&channel, DESCRIBE).await.unwrap_err();
    assert!(error.contains("revoked") || error.contains("Revoked"), "{error}");
}

#[tokio::test]
async fn a_peer_that_is_revoked_or_denied_while_connected_is_gone_within_the_bound() {
    for denied in [false, true] {
        let (folder, identity) = Folder::camden();
        tokio::spawn(identity.clone().keep_current());
        let served = serve(identity, Limits::default(), None).await;
        let creds = folder.federation.credentials(COORDINATOR);
        let channel = folder.federation.channel(&served, &creds, CAMDEN);
        assert_eq!(call(&channel, DESCRIBE).await.unwrap().status, 0);
        let peer = creds.peer(&folder.federation.trust()).unwrap();
        if denied {
            folder.write("denied.txt", &format!("{COORDINATOR} # lost laptop\n"));
        } else {
            let list = folder.federation.coordinator.revocation_list(&[peer.serial], 30).unwrap();
            folder.write("lists/centre.pem", &list);
        }
        let began = Instant::now();
        loop {
            match call(&channel, DESCRIBE).await {
                Ok(answer) if answer.status == 0 => assert!(began.elapsed() < Duration::from_secs(4), "still let in"),
                // Told so on the old connection, or no connection any more.
                Ok(answer) => assert_eq!(answer.status, 16, "{answer:?}"),
                Err(_) => break,
            }
            sleep(Duration::from_millis(20)).await;
        }
        assert!(call(&channel, DESCRIBE).await.is_err(), "and it does not come back");
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart_and_a_bad_one_is_not() {
    let (folder, identity) = Folder::camden();
    let first = identity.now().own.fingerprint;
    folder.renew(&folder.federation.camden.issue(&CAMDEN.parse().unwrap(), 1).unwrap());
    touch_later(&folder.at("own.pem"));
    identity.look();
    let second = identity.now().own.fingerprint;
    assert_ne!(first, second);
    assert!(identity.faults().is_empty());

    let federation = &folder.federation;
    let expired = federation.camden.issue(&CAMDEN.parse().unwrap(), -1).unwrap();
    let other = federation.hackney.issue(&HACKNEY.parse().unwrap(), 1).unwrap();
    let next = federation.camden.issue(&CAMDEN.parse().unwrap(), 1).unwrap();
    let torn = Issued { cert_pem: next.cert_pem[..next.cert_pem.len() / 2].to_owned(), key_pem: next.key_pem.clone() };
    let mixed = Issued { cert_pem: next.cert_pem, key_pem: other.key_pem.clone() };
    for (number, bad) in [expired, other, torn, mixed].iter().enumerate() {
        folder.renew(bad);
        touch_later(&folder.at("own.key"));
        identity.look();
        assert_eq!(identity.now().own.fingerprint, second, "{number}");
        assert!(identity.faults().iter().any(|f| f.contains("own.pem")), "{number}: {:?}", identity.faults());
    }
    // It still serves with the last good one.
    let served = serve(identity, Limits::default(), None).await;
    let creds = federation.credentials(COORDINATOR);
    assert_eq!(call(&federation.channel(&served, &creds, CAMDEN), DESCRIBE).await.unwrap().status, 0);
}

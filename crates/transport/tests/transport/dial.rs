//! Nodes that open their connections themselves.

use std::time::{Duration, Instant};

use loda_federation::Gss;
use loda_transport::{Dialled, Limits, dial_out, incoming_with};
use tokio::time::sleep;

use crate::federation::*;
use crate::serving::*;

const DESCRIBE: &str = "/loda.v1.Node/Describe";

fn camden() -> Gss {
    "E09000007".parse().unwrap()
}

async fn reachable(dialled: &Dialled) -> bool {
    for _ in 0..100 {
        if dialled.channel(&camden()).is_some() {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn a_node_that_dials_out_serves_and_ageing_loses_no_call() {
    let mut federation = Federation::new();
    let dialled = Dialled::default();
    let centre = federation.identity(&federation.credentials(COORDINATOR));
    let served = serve(centre, Limits::default(), Some(dialled.clone())).await;
    federation.manifest.coordinator.address = served.address.to_string();
    let node = federation.identity(&federation.credentials(CAMDEN));
    let age = Duration::from_millis(800);
    let serving = answer(node.clone(), dial_out(node, age), age);
    assert!(reachable(&dialled).await);
    let began = Instant::now();
    let mut calls = 0;
    while began.elapsed() < Duration::from_secs(5) {
        let channel = dialled.channel(&camden()).expect("a connection at every moment");
        let answer = call(&channel, DESCRIBE).await.unwrap();
        assert_eq!(answer, Answer { status: 0, text: COORDINATOR.into() });
        calls += 1;
        sleep(Duration::from_millis(5)).await;
    }
    assert!(calls > 300, "{calls}");
    assert!(dialled.channel(&"E09000012".parse().unwrap()).is_none(), "nobody else is reached that way");
    // The service and its checks are the same: what only others may call is denied.
    let refused = call(&dialled.channel(&camden()).unwrap(), "/loda.v1.Query/Run").await.unwrap();
    assert_eq!(refused.text, "call_not_permitted");
    serving.abort();
    // Connections end by age, and nobody opens others.
    sleep(Duration::from_secs(2)).await;
    assert!(dialled.channel(&camden()).is_none(), "a node that stopped is not kept");
}

#[tokio::test]
async fn it_comes_back_when_the_coordinator_does() {
    let mut federation = Federation::new();
    let place = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    federation.manifest.coordinator.address = address.to_string();
    let node = federation.identity(&federation.credentials(CAMDEN));
    let age = Duration::from_secs(60);
    let _serving = answer(node.clone(), dial_out(node, age), age);
    sleep(Duration::from_millis(300)).await;
    let dialled = Dialled::default();
    let centre = federation.identity(&federation.credentials(COORDINATOR));
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let connections = incoming_with(listener, centre.clone(), Limits::default(), Some(dialled.clone()));
    let _centre = answer(centre, connections, age);
    assert!(reachable(&dialled).await);
    assert_eq!(call(&dialled.channel(&camden()).unwrap(), DESCRIBE).await.unwrap().status, 0);
}

#[tokio::test]
async fn only_members_dial_and_only_the_coordinator_lets_them() {
    let mut federation = Federation::new();
    let dialled = Dialled::default();
    let centre = federation.identity(&federation.credentials(COORDINATOR));
    let served = serve(centre, Limits::default(), Some(dialled.clone())).await;
    federation.manifest.coordinator.address = served.address.to_string();
    let age = Duration::from_secs(60);
    let posing = issued(&federation.hackney, CAMDEN, 1);
    let revoked_or_not = [federation.credentials(ALICE), posing, issued(&federation.camden, CAMDEN, -1)];
    for creds in revoked_or_not {
        let identity = federation.identity(&creds);
        let serving = answer(identity.clone(), dial_out(identity, age), age);
        sleep(Duration::from_millis(400)).await;
        assert!(dialled.channel(&camden()).is_none());
        serving.abort();
    }
    // A party that poses as the coordinator gets no service: the node checks the other end too.
    let poser = federation.serve_as(&federation.credentials(HACKNEY), Limits::default()).await;
    federation.manifest.coordinator.address = poser.address.to_string();
    let identity = federation.identity(&federation.credentials(CAMDEN));
    let serving = answer(identity.clone(), dial_out(identity, age), age);
    sleep(Duration::from_millis(400)).await;
    serving.abort();
}

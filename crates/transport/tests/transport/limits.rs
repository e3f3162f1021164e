//! Peers that are slow, many, or stay too long.

use std::time::{Duration, Instant};

use loda_transport::Limits;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::federation::*;
use crate::serving::*;

const DESCRIBE: &str = "/loda.v1.Node/Describe";

#[tokio::test]
async fn slow_handshakes_do_not_hold_up_others() {
    let federation = Federation::new();
    let node = federation.serve(CAMDEN).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(node.address).await.unwrap());
    }
    let began = Instant::now();
    let creds = federation.credentials(COORDINATOR);
    let answer = call(&federation.channel(&node, &creds, CAMDEN), DESCRIBE).await.unwrap();
    assert_eq!(answer.status, 0);
    assert!(began.elapsed() < Duration::from_secs(4), "waited for the silent ones");
}

#[tokio::test]
async fn silent_peers_are_closed_and_their_places_used_again() {
    let federation = Federation::new();
    let limits = Limits { handshake_time: Duration::from_millis(200), handshakes: 2, ..Limits::default() };
    let creds = federation.credentials(CAMDEN);
    let node = federation.serve_as(&creds, limits).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(node.address).await.unwrap());
    }
    let creds = federation.credentials(COORDINATOR);
    let channel = federation.channel(&node, &creds, CAMDEN);
    assert_eq!(call(&channel, DESCRIBE).await.unwrap().status, 0);
    for mut stream in silent {
        let end = timeout(Duration::from_secs(5), stream.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "still open");
    }
}

#[tokio::test]
async fn one_identity_cannot_take_all_connections() {
    let federation = Federation::new();
    let limits = Limits { connections_per_peer: 1, ..Limits::default() };
    let node = federation.serve_as(&federation.credentials(CAMDEN), limits).await;
    let creds = federation.credentials(ALICE);
    let first = federation.channel(&node, &creds, CAMDEN);
    assert!(call(&first, DESCRIBE).await.is_ok());
    let second = federation.channel(&node, &creds, CAMDEN);
    assert!(call(&second, DESCRIBE).await.is_err());
    let other = federation.channel(&node, &federation.credentials(COORDINATOR), CAMDEN);
    assert_eq!(call(&other, DESCRIBE).await.unwrap().status, 0);

    // A closed connection frees its place.
    drop((first, second));
    let mut tries = 0;
    while call(&federation.channel(&node, &creds, CAMDEN), DESCRIBE).await.is_err() {
        tries += 1;
        assert!(tries < 50, "the place was not freed");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn connections_are_bounded_in_number() {
    let federation = Federation::new();
    let limits = Limits { connections: 1, ..Limits::default() };
    let node = federation.serve_as(&federation.credentials(CAMDEN), limits).await;
    let alice = federation.channel(&node, &federation.credentials(ALICE), CAMDEN);
    assert!(call(&alice, DESCRIBE).await.is_ok());
    let other = federation.channel(&node, &federation.credentials(COORDINATOR), CAMDEN);
    assert!(call(&other, DESCRIBE).await.is_err());
}

#[tokio::test]
async fn a_connection_ends_with_its_life_and_the_client_opens_another() {
    let federation = Federation::new();
    let limits = Limits { connection_life: Duration::from_millis(500), connections: 1, ..Limits::default() };
    let node = federation.serve_as(&federation.credentials(CAMDEN), limits).await;
    let alice = federation.channel(&node, &federation.credentials(ALICE), CAMDEN);
    assert!(call(&alice, DESCRIBE).await.is_ok());
    sleep(Duration::from_millis(1000)).await;
    // Only one place exists: another's call shows that Alice's idle connection is gone.
    let creds = federation.credentials(COORDINATOR);
    let other = federation.channel(&node, &creds, CAMDEN);
    assert_eq!(call(&other, DESCRIBE).await.unwrap().status, 0);
    sleep(Duration::from_millis(1000)).await;
    assert!(call(&alice, DESCRIBE).await.is_ok());
}

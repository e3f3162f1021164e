//! Which role may call which RPC.

use std::convert::Infallible;
use std::time::{SystemTime, UNIX_EPOCH};

use loda_identity::Peer;
use loda_transport::{AuthoriseLayer, Denied, PeerInfo, authorise};
use tonic::body::Body;
use tower::{Layer, ServiceExt};

use crate::federation::*;
use crate::serving::*;

const OK: i32 = 0;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

const NODE: [&str; 4] = ["Describe", "Ask", "Submit", "Cancel"];
const ASKS: [&str; 5] = ["Prepare", "Run", "Watch", "Fetch", "Cancel"];
/// What an auditor may call beside an analyst.
const BOTH: [&str; 5] = ["Catalogue", "Nodes", "NewToken", "ListTokens", "RevokeToken"];

fn peer(id: &str) -> Peer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Peer {
        id: id.parse().unwrap(),
        ca_fingerprint: [1; 32],
        not_after: i64::try_from(now).unwrap() + 60,
        fingerprint: [2; 32],
        serial: vec![3],
    }
}

#[test]
fn the_table_is_the_policy() {
    for id in [CAMDEN, COORDINATOR, ALICE, WATCHER] {
        for method in NODE {
            let answer = authorise(&peer(id), &format!("/loda.v1.Node/{method}"));
            let expected = if id == COORDINATOR { Ok(()) } else { Err(Denied::Role) };
            assert_eq!(answer, expected, "{id} {method}");
        }
        for method in ASKS.iter().chain(&BOTH) {
            let answer = authorise(&peer(id), &format!("/loda.v1.Query/{method}"));
            let may = id == ALICE || (id == WATCHER && BOTH.contains(method));
            assert_eq!(answer, if may { Ok(()) } else { Err(Denied::Role) }, "{id} {method}");
        }
        for path in [
            "",
            "/",
            "/loda.v1.Node",
            "/loda.v1.Node/",
            "/loda.v1.Node/submit",
            "/loda.v1.Node/Watch",
            "/loda.v1.Node/Fetch",
            "/loda.v1.Node/Submit/",
            "//loda.v1.Node/Submit",
            "/loda.v1.Node/Submit%20",
            "/loda.v2.Node/Submit",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(authorise(&peer(id), path), Err(Denied::UnknownCall), "{id} {path}");
        }
    }
}

#[tokio::test]
async fn a_wrong_role_is_told_no_and_stays_connected() {
    let federation = Federation::new();
    let node = federation.serve(CAMDEN).await;
    for id in [HACKNEY, ALICE, WATCHER] {
        let channel = federation.channel(&node, &federation.credentials(id), CAMDEN);
        for method in NODE {
            let answer = call(&channel, &format!("/loda.v1.Node/{method}")).await.unwrap();
            assert_eq!(answer.status, PERMISSION_DENIED, "{id} {method}");
            assert_eq!(answer.text, "call_not_permitted");
        }
        let answer = call(&channel, "/loda.v1.Audit/Everything").await.unwrap();
        assert_eq!(answer, Answer { status: PERMISSION_DENIED, text: "call_unknown".into() });
    }

    let coordinator = federation.serve(COORDINATOR).await;
    let open = |id: &str| federation.channel(&coordinator, &federation.credentials(id), COORDINATOR);
    let run = "/loda.v1.Query/Run";
    let catalogue = "/loda.v1.Query/Catalogue";
    assert_eq!(call(&open(ALICE), run).await.unwrap(), Answer { status: OK, text: ALICE.into() });
    let answer = call(&open(WATCHER), catalogue).await.unwrap();
    assert_eq!(answer, Answer { status: OK, text: WATCHER.into() });
    assert_eq!(call(&open(WATCHER), run).await.unwrap().status, PERMISSION_DENIED);
    assert_eq!(call(&open(CAMDEN), run).await.unwrap().status, PERMISSION_DENIED);
    assert_eq!(call(&open(CAMDEN), catalogue).await.unwrap().status, PERMISSION_DENIED);
}

/// The layer alone, for what cannot be waited for on a socket.
#[tokio::test]
async fn unknown_and_expired_callers_are_unauthenticated() {
    let federation = Federation::new();
    let own = federation.credentials(COORDINATOR);
    let layer = AuthoriseLayer::new(federation.identity(&own));
    let status = |info: Option<PeerInfo>| {
        let layer = layer.clone();
        async move {
            let inner = tower::service_fn(|_: http::Request<()>| async {
                let response = http::Response::builder().header("grpc-status", "0");
                Ok::<_, Infallible>(response.body(Body::empty()).unwrap())
            });
            let mut request = http::Request::builder().uri("http://any/loda.v1.Node/Submit").body(()).unwrap();
            if let Some(info) = info {
                request.extensions_mut().insert(info);
            }
            let response = layer.layer(inner).oneshot(request).await.unwrap();
            let text =
                |name: &str| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
            (text("grpc-status").parse::<i32>().unwrap(), text("grpc-message"))
        }
    };
    let info = |peer: Peer| PeerInfo { peer, remote: "127.0.0.1:1".parse().unwrap() };

    assert_eq!(status(Some(info(own.peer(&federation.trust()).unwrap()))).await.0, OK);
    assert_eq!(status(None).await, (UNAUTHENTICATED, "caller_unauthenticated".into()));
    let mut ended = own.peer(&federation.trust()).unwrap();
    ended.not_after -= 2 * 24 * 60 * 60;
    assert_eq!(status(Some(info(ended))).await, (UNAUTHENTICATED, "caller_certificate_expired".into()));
}

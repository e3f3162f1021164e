//! Tests the command line against a fake coordinator, over real TLS.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod coordinator;

use std::ffi::OsString;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use coordinator::{Federation, Scene};
use loda::{Client, ClientError, Config, exit};

async fn ran(federation: &Federation, args: &[&str]) -> (u8, String, String) {
    let config = federation.config();
    let start = ["loda", "--config", config.to_str().unwrap()];
    let args = start.iter().chain(args).map(OsString::from);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = loda::run(args, &mut out, &mut err).await;
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[tokio::test]
async fn a_complete_answer() {
    let federation = Federation::start(Scene::Complete).await;
    let (code, out, err) = ran(&federation, &["query", "SELECT 1", "--format", "csv", "-p", "test"]).await;
    assert_eq!((code, out.as_str()), (exit::COMPLETE, "outcome,n\nArrest,1234\nCaution,[c]\n"), "{err}");
    assert_eq!(err.lines().count(), 6, "{err}");
    // The coordinator shows no contract, so what it would ask cannot be read here.
    assert!(err.contains("not signed: ") && err.contains("not shown to be recorded"), "{err}");
    assert!(err.contains("stop_search: 2 of 2 boroughs answered") && err.contains("purpose: test"), "{err}");
}

#[tokio::test]
async fn a_partial_answer_is_printed_and_says_so() {
    let federation = Federation::start(Scene::Partial).await;
    let (code, out, err) = ran(&federation, &["query", "SELECT 1"]).await;
    assert_eq!(code, exit::PARTIAL, "{err}");
    assert!(out.contains("1,234"), "{out}");
    assert!(err.contains("no answer: Hackney (E09000012)") && err.contains("PARTIAL"), "{err}");
}

#[tokio::test]
async fn the_answer_of_another_question_is_not_taken() {
    let federation = Federation::start(Scene::Swapped).await;
    let (code, out, err) = ran(&federation, &["query", "SELECT 1", "-p", "test"]).await;
    assert_eq!((code, out.as_str()), (exit::FAILED, ""));
    assert!(err.contains("another question"), "{err}");
}

#[tokio::test]
async fn a_refusal_gives_its_reason() {
    let federation = Federation::start(Scene::Refused).await;
    for command in ["query", "explain"] {
        let (code, out, err) = ran(&federation, &[command, "SELECT 1"]).await;
        assert_eq!((code, out.as_str()), (exit::REFUSED, ""));
        assert_eq!(err, "refused: the name leaves nobody\n  rule: identifier\n  advice: count people\n");
    }
}

#[tokio::test]
async fn silence_is_no_answer() {
    let federation = Federation::start(Scene::Silent).await;
    let (code, out, err) = ran(&federation, &["query", "SELECT 1"]).await;
    assert_eq!((code, out.as_str()), (exit::NO_ANSWER, ""), "{err}");
}

#[tokio::test]
async fn a_lost_watch_is_resumed() {
    let federation = Federation::start(Scene::Flaky).await;
    let (code, out, err) = ran(&federation, &["query", "SELECT 1", "--format", "json"]).await;
    assert_eq!((code, err.lines().count()), (exit::COMPLETE, 1), "{err}");
    assert!(out.contains("\"statement\""), "{out}");
    assert!(federation.calls.watches.load(SeqCst) >= 3);
}

#[tokio::test]
async fn stopping_cancels_at_the_coordinator() {
    let federation = Federation::start(Scene::Endless).await;
    let client = Client::connect(&Config::load(&federation.config()).unwrap()).await.unwrap();
    let stop = tokio::time::sleep(Duration::from_millis(300));
    let stopped = client.query_until("SELECT 1", "", None, |_| (), stop).await;
    assert!(matches!(stopped, Err(ClientError::Cancelled)));
    assert_eq!(federation.calls.cancels.load(SeqCst), 1);
}

#[tokio::test]
async fn explaining_asks_every_node_and_runs_nothing() {
    let federation = Federation::start(Scene::Complete).await;
    let (code, out, err) = ran(&federation, &["explain", "SELECT 1"]).await;
    assert_eq!((code, err.as_str()), (exit::PARTIAL, ""));
    assert!(out.contains("1 of 2 boroughs would answer") && out.contains("Hackney (E09000012) would not"), "{out}");
    assert_eq!(federation.calls.runs.load(SeqCst), 0);
}

#[tokio::test]
async fn the_lists_list() {
    let federation = Federation::start(Scene::Complete).await;
    let (code, out, _) = ran(&federation, &["catalogue"]).await;
    assert_eq!(code, exit::COMPLETE);
    assert!(out.contains("stop_search"), "{out}");
    let (code, out, _) = ran(&federation, &["catalogue", "stop_search", "--format", "json"]).await;
    assert_eq!(code, exit::COMPLETE);
    assert!(out.contains("\"name\": \"stop_search\""), "{out}");
    let (code, _, err) = ran(&federation, &["catalogue", "nothing"]).await;
    assert_eq!(code, exit::USAGE);
    assert!(err.contains("one of stop_search"), "{err}");
    let (code, out, _) = ran(&federation, &["nodes"]).await;
    assert_eq!(code, exit::COMPLETE);
    assert!(out.contains("1 of 1 nodes can take part"), "{out}");
}

#[tokio::test]
async fn the_certificate_says_who_asks() {
    let federation = Federation::start(Scene::Complete).await;
    let (code, out, err) = ran(&federation, &["pki", "show"]).await;
    assert_eq!(code, exit::COMPLETE, "{err}");
    assert!(out.contains("spiffe://london.example/analyst/alice"), "{out}");
    // Nothing is replaced, because a lost key cannot be recovered.
    let people = federation.path("people");
    let (code, _, err) = ran(&federation, &["pki", "init", people.to_str().unwrap(), "--domain", "x.example"]).await;
    assert_eq!(code, exit::USAGE, "{err}");
}

#[tokio::test]
async fn nobody_at_the_address_is_a_failure() {
    let mut federation = Federation::start(Scene::Complete).await;
    federation.stop().await;
    let (code, out, err) = ran(&federation, &["nodes"]).await;
    assert_eq!((code, out.as_str()), (exit::FAILED, ""));
    assert!(err.contains("cannot be reached"), "{err}");
}

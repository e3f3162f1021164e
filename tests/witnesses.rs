//! The boroughs confirm the coordinator's log, and every answer is found in it.

use std::process::Command;
use std::time::{Duration, Instant};

use loda::{Answer, ClientError, Config, Recorded};
use loda_identity::{Manifest, SigningKey};
use loda_ledger::tree::checkpoint::{Checkpoint, witnessed};
use loda_ledger::tree::files::read_note;
use loda_ledger::tree::note::Note;
use loda_ledger::{CONFIRMED, coordinator_key, witness_keys};
use loda_proto::v1::{BoroughAnswer, CosignRequest};

use crate::support::{self, Federation};

const COUNT: &str = "SELECT borough, COUNT(*) AS n FROM residents GROUP BY borough";

/// Waits until all boroughs have confirmed the log as it is.
async fn confirmed(federation: &Federation, answer: &Answer) -> Recorded {
    let began = Instant::now();
    loop {
        let recorded = federation.client.recorded(answer).await.unwrap().unwrap();
        if recorded.confirmed == Some((recorded.members, recorded.entries)) {
            return recorded;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{recorded:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[test]
fn every_answer_is_in_a_log_that_the_boroughs_confirm() {
    support::run(async {
        let federation = Federation::of(4).await;
        let (layout, client) = (&federation.layout, &federation.client);
        let first = client.query(COUNT, "demo", None, |_| ()).await.unwrap();
        let second = client.query(COUNT, "demo", None, |_| ()).await.unwrap();
        let recorded = confirmed(&federation, &second).await;
        let earlier = confirmed(&federation, &first).await;
        assert!(recorded.members == 4 && earlier.number < recorded.number, "{earlier:?} {recorded:?}");

        // The entry is of this answer, to the last byte of its rows and statement.
        let mut other = second.clone();
        other.sha256.clone_from(&first.sha256);
        assert!(matches!(client.recorded(&other).await, Err(ClientError::NotRecorded { .. })));

        // The command line says so.
        let mut asked = Command::new(env!("CARGO_BIN_EXE_loda-demo"));
        asked.arg("loda").arg("--config").arg(layout.client()).args(["query", "-p", "demo", COUNT]);
        let said = String::from_utf8_lossy(&asked.output().unwrap().stderr).into_owned();
        assert!(said.contains("recorded as entry ") && said.contains("4 of 4 boroughs have confirmed"), "{said}");
        confirmed(&federation, &first).await;

        // What is published beside the log verifies by the manifest alone.
        let manifest = std::fs::read_to_string(Config::load(&layout.client()).unwrap().manifest).unwrap();
        let manifest = Manifest::parse(&manifest, "manifest").unwrap();
        let log = coordinator_key(&manifest).unwrap();
        let state = layout.coordinator().join("state");
        let note = read_note(&state.join("log").join(CONFIRMED)).unwrap();
        let witnesses: Vec<_> = witness_keys(&manifest).into_iter().map(|(_, key)| key).collect();
        let checkpoint = Checkpoint::of_note(&note, &log).unwrap();
        assert_eq!(witnessed(&note, &witnesses), 4);
        let mut verified = Command::new(env!("CARGO_BIN_EXE_loda-demo"));
        verified.args(["loda", "audit", "verify"]).arg(state.join("log"));
        verified.arg(Config::load(&layout.client()).unwrap().manifest);
        let said = verified.output().unwrap();
        let words = format!("its first {} entries, by 4 boroughs", checkpoint.size);
        assert!(String::from_utf8_lossy(&said.stdout).contains(&words), "{said:?}");

        // A coordinator that signs a second log with its own key, and shows it to one borough.
        let key = SigningKey::load(&state.join("log.key")).unwrap();
        let second = Checkpoint { root: [7; 32], ..checkpoint.clone() };
        let mut forged = Note::new(&second.text()).unwrap();
        forged.sign(&log, 0, &|text| key.sign(text));
        let deceived = layout.boroughs[0].gss;
        let shown = |note: &Note| CosignRequest {
            checkpoint: note.to_string().into_bytes(),
            old: checkpoint.size,
            proof: Vec::new(),
        };
        let mut node = federation.node_client(deceived);
        assert!(!node.cosign(shown(&note)).await.unwrap().into_inner().note.is_empty());
        let said = node.cosign(shown(&forged)).await.unwrap().into_inner();
        assert!(said.note.is_empty() && said.fault.contains("signed twice"), "{said:?}");
        let said = node.cosign(shown(&note)).await.unwrap().into_inner();
        assert!(
            said.note.is_empty() && said.fault.contains("signed twice"),
            "the true one is shown too late: {said:?}"
        );

        // The borough answers nothing more, and its own log says why.
        let answer = client.query(COUNT, "demo", None, |_| ()).await.unwrap();
        let boroughs = &answer.statement.parts[0].boroughs;
        let refused: Vec<_> = boroughs.iter().filter(|said| said.answer != "answered").collect();
        let rule = |said: &BoroughAnswer| said.refusal.as_ref().map(|refusal| refusal.rule.clone());
        let is_its = refused.len() == 1 && refused[0].borough == deceived;
        assert!(is_its && rule(refused[0]).as_deref() == Some("query-log"), "{:?}", answer.statement);
        let own = std::fs::read_to_string(layout.node(deceived).join("state/log.jsonl")).unwrap();
        assert!(own.contains("the coordinator's query log was not confirmed"), "{own}");
    });
}

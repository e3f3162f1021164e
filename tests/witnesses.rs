//! The boroughs confirm the coordinator's log, and every answer is found in it.

use std::process::Command;
use std::time::{Duration, Instant};

use loda::{Answer, ClientError, Config, Recorded};
use loda_demo::layout::Layout;
use loda_identity::{Manifest, SigningKey};
use loda_ledger::tree::checkpoint::{Checkpoint, witnessed};
use loda_ledger::tree::files::read_note;
use loda_ledger::tree::note::Note;
use loda_ledger::{CONFIRMED, coordinator_key, witness_keys};
use loda_node::Methods;
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
            confirmed: Vec::new(),
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

/// The manifest demands that all boroughs confirm the log within a minute. One that was shown two logs confirms no more.
#[test]
fn nothing_is_answered_while_too_few_boroughs_confirm_the_log() {
    support::run(async {
        let demand = |layout: &Layout| {
            let manifest = std::fs::read_to_string(layout.manifest()).unwrap();
            let (before, after) = manifest.split_once("witnesses = ").unwrap();
            let after = after.split_once('\n').unwrap().1;
            std::fs::write(layout.manifest(), format!("{before}witnesses = 4\nwitness_minutes = 1\n{after}")).unwrap();
        };
        let methods = Methods::standard().unwrap();
        let federation = Federation::changed(4, support::Of::Small, methods, &demand).await;
        let (layout, client) = (&federation.layout, &federation.client);
        let answer = client.query(COUNT, "demo", None, |_| ()).await.unwrap();
        assert!(answer.statement.complete, "{:?}", answer.statement);
        confirmed(&federation, &answer).await;
        // For as long as all confirm, the minute is never over, though nobody asks.
        tokio::time::sleep(Duration::from_secs(75)).await;
        let answer = client.query(COUNT, "demo", None, |_| ()).await.unwrap();
        assert!(answer.statement.complete, "{:?}", answer.statement);
        confirmed(&federation, &answer).await;

        let state = layout.coordinator().join("state");
        let log = coordinator_key(&Manifest::load(layout.manifest()).unwrap()).unwrap();
        let note = read_note(&state.join("log").join(CONFIRMED)).unwrap();
        let checkpoint = Checkpoint::of_note(&note, &log).unwrap();
        let key = SigningKey::load(&state.join("log.key")).unwrap();
        let mut forged = Note::new(&Checkpoint { root: [7; 32], ..checkpoint.clone() }.text()).unwrap();
        forged.sign(&log, 0, &|text| key.sign(text));
        let deceived = layout.boroughs[0].gss;
        let shown = CosignRequest {
            checkpoint: forged.to_string().into_bytes(),
            old: checkpoint.size,
            ..CosignRequest::default()
        };
        let said = federation.node_client(deceived).cosign(shown).await.unwrap().into_inner();
        assert!(said.note.is_empty(), "{said:?}");
        // The others answer for a while, and then nobody does.
        let answers = |answer: &Answer| {
            let boroughs = answer.statement.parts[0].boroughs.iter();
            boroughs.filter(|said| said.answer == "answered").count()
        };
        assert_eq!(answers(&client.query(COUNT, "demo", None, |_| ()).await.unwrap()), 3);
        tokio::time::sleep(Duration::from_secs(75)).await;
        let answer = client.query(COUNT, "demo", None, |_| ()).await.unwrap();
        let refused = |said: &BoroughAnswer| said.refusal.as_ref().is_some_and(|no| no.rule == "query-log");
        assert!(answer.statement.parts[0].boroughs.iter().all(refused), "{:?}", answer.statement);
        let why = answer.statement.parts[0].boroughs[1].refusal.clone().unwrap().message;
        assert!(why.contains("not been confirmed by 4 boroughs within 1 minutes"), "{why}");
        let own = std::fs::read_to_string(layout.node(layout.boroughs[1].gss).join("state/log.jsonl")).unwrap();
        assert!(own.contains("\"REFUSE\"") && own.contains("query-log"), "{own}");

        // Once somebody has looked into it and taken the evidence away, all confirm again, and answer.
        let witness = layout.node(deceived).join("state/witness");
        for file in std::fs::read_dir(&witness).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|is| is == "fork") {
                std::fs::remove_file(file).unwrap();
            }
        }
        let began = Instant::now();
        while answers(&client.query(COUNT, "demo", None, |_| ()).await.unwrap()) < 4 {
            assert!(began.elapsed() < Duration::from_secs(60), "all confirm the log again");
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
}

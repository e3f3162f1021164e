//! Questions that their askers sign: a coordinator in wrong hands cannot ask in anybody's name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loda::ClientError;
use loda_demo::layout::{DOMAIN, Layout};
use loda_identity::{AskedPart, Asking, Authority, Gss, Identity, PeerId, Role};
use loda_ledger::{fragment_id, sha256_hex};
use loda_node::Methods;
use loda_proto::v1;
use loda_proto::v1::query_client::QueryClient;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::support::{self, Federation, Of};

const COUNT: &str = "SELECT borough, COUNT(*) AS n FROM residents GROUP BY borough";

/// The agreements of all boroughs but the last ask for signatures.
fn demand(layout: &Layout) {
    for borough in layout.boroughs.iter().rev().skip(1) {
        let path = layout.node(borough.gss).join("agreement.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{}\nsigned = true\n", text.trim_end())).unwrap();
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn wire(signed: loda_identity::SignedQuestion) -> v1::SignedQuestion {
    let loda_identity::SignedQuestion { text, scheme, signature, certificate } = signed;
    v1::SignedQuestion { text, scheme: scheme.into(), signature, certificate }
}

/// What the analyst of the demo signed once, and a coordinator holds.
struct Held {
    asking: Asking,
    signed: v1::SignedQuestion,
    fragment: Vec<u8>,
}

impl Held {
    fn of(analyst: &Identity, fragment: &[u8], layout: &Layout, until: i64) -> Self {
        let mut boroughs: Vec<Gss> = layout.boroughs.iter().map(|borough| borough.gss.parse().unwrap()).collect();
        boroughs.sort();
        let part = AskedPart { sha256: sha256_hex(fragment), boroughs };
        let asking = Asking {
            question: Uuid::new_v4(),
            asker: PeerId::new(DOMAIN, Role::Analyst("demo".to_owned())).unwrap(),
            purpose: "demo".to_owned(),
            until,
            parts: vec![part],
        };
        let signed = wire(analyst.sign(&asking).unwrap());
        Self { asking, signed, fragment: fragment.to_vec() }
    }

    /// The request that it allows.
    fn request(&self) -> v1::SubmitRequest {
        v1::SubmitRequest {
            query_id: fragment_id(self.asking.question, 0).to_string(),
            question_id: self.asking.question.to_string(),
            analyst: self.asking.asker.to_string(),
            purpose: self.asking.purpose.clone(),
            fragment: self.fragment.clone(),
            targets: self.asking.parts[0].boroughs.iter().map(ToString::to_string).collect(),
            deadline_ms: 5_000,
            signed: Some(self.signed.clone()),
            ..v1::SubmitRequest::default()
        }
    }
}

/// Sends a request as a coordinator can that has lost its key to somebody: with its certificate, and its log as it should
/// be. The result is the rule that refuses it.
async fn submitted(federation: &Federation, request: v1::SubmitRequest) -> Option<String> {
    let gss = federation.layout.boroughs[0].gss;
    let mut node = federation.node_client(gss);
    let request = support::logged(&mut node, &federation.layout, request).await;
    node.submit(request).await.unwrap().into_inner().refusal.map(|refusal| refusal.rule)
}

async fn coordinator(identity: &Identity) -> QueryClient<Channel> {
    let coordinator = PeerId::new(DOMAIN, Role::Coordinator).unwrap();
    let address = identity.manifest().coordinator.address.clone();
    QueryClient::new(loda_transport::channel(&address, identity, &coordinator, Duration::from_secs(5)).unwrap())
}

#[test]
fn nobody_asks_in_the_name_of_an_analyst() {
    support::run(async {
        let methods = Methods::standard().unwrap();
        let federation = Federation::changed(3, Of::Small, methods, &demand).await;
        let (layout, client) = (&federation.layout, &federation.client);
        let analyst = support::identity(layout, &layout.dir.join("analyst"));

        // The client signs, and every borough answers.
        let answer = client.query(COUNT, "demo", None, |_| ()).await.unwrap();
        assert!(answer.statement.complete, "{:?}", answer.statement);
        let log = |gss: &str| std::fs::read_to_string(layout.node(gss).join("state/log.jsonl")).unwrap();
        for borough in &layout.boroughs {
            let log = log(borough.gss);
            assert!(log.lines().any(|line| line.contains("ACCEPT") && line.contains("signed")), "{log}");
        }
        let verdicts = client.prepare(COUNT, "demo", true).await.unwrap().fragments[0].verdicts.clone();
        assert!(verdicts.len() == 3 && verdicts.iter().all(|verdict| verdict.answer == "yes"), "{verdicts:?}");

        // Without a signature, only the last borough answers.
        let mut rpc = coordinator(&analyst).await;
        let prepare = v1::PrepareRequest { sql: COUNT.to_owned(), purpose: "demo".to_owned(), ask_nodes: false };
        let prepared = rpc.prepare(prepare.clone()).await.unwrap().into_inner();
        let bytes = prepared.fragments[0].bytes.clone();
        let run = v1::RunRequest { prepared_id: prepared.prepared_id.clone(), ..v1::RunRequest::default() };
        let id = rpc.run(run.clone()).await.unwrap().into_inner().query_id;
        let unsigned = client.await_answer(&id, |_| ()).await.unwrap();
        let refused = |said: &&v1::BoroughAnswer| said.refusal.as_ref().is_some_and(|no| no.rule == "signature");
        let boroughs = &unsigned.statement.parts[0].boroughs;
        assert!(boroughs.iter().filter(refused).count() == 2 && boroughs.len() == 3, "{boroughs:?}");

        // The coordinator's own check, for the asker's sake.
        let good = Held::of(&analyst, &bytes, layout, now() + 600);
        let told = |signed: &v1::SignedQuestion| v1::RunRequest { signed: Some(signed.clone()), ..run.clone() };
        let other = Held::of(&analyst, b"another", layout, now() + 600);
        let late = Held::of(&analyst, &bytes, layout, now() - 4 * 86_400);
        for wrong in [&other.signed, &late.signed] {
            let said = rpc.run(told(wrong)).await.unwrap().into_inner().refusal.unwrap();
            assert_eq!(said.rule, "signature", "{said:?}");
        }
        let said = rpc.run(told(&good.signed)).await.unwrap().into_inner();
        assert_eq!(said.query_id, good.asking.question.to_string());
        let again = rpc.run(told(&good.signed)).await.unwrap().into_inner().refusal.unwrap();
        assert!(again.rule == "signature" && again.message.contains("asked before"), "{again:?}");
        assert!(client.await_answer(&said.query_id, |_| ()).await.unwrap().statement.complete);

        // A coordinator in wrong hands: what it holds allows one request, once.
        let held = Held::of(&analyst, &bytes, layout, now() + 600);
        let allowed = held.request();
        let changed = |change: &dyn Fn(&mut v1::SubmitRequest)| {
            let mut request = allowed.clone();
            change(&mut request);
            request
        };
        let elsewhere = |signed: v1::SignedQuestion| changed(&|request| request.signed = Some(signed.clone()));
        let mine = Authority::create("People", 1).unwrap();
        let forged = mine.issue(&held.asking.asker, 1).unwrap();
        let folder = layout.dir.join("forged");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("tls.pem"), &forged.cert_pem).unwrap();
        std::fs::write(folder.join("tls.key"), &forged.key_pem).unwrap();
        let forger = support::identity(layout, &folder);
        let its_own = support::identity(layout, &layout.coordinator());
        let other_id = Uuid::new_v4();
        let attempts = [
            ("without a signature", changed(&|request| request.signed = None)),
            ("under another id", changed(&|request| request.query_id = Uuid::new_v4().to_string())),
            (
                "as another question",
                changed(&|request| {
                    request.question_id = other_id.to_string();
                    request.query_id = fragment_id(other_id, 0).to_string();
                }),
            ),
            (
                "as another part",
                changed(&|request| request.query_id = fragment_id(held.asking.question, 1).to_string()),
            ),
            ("for another purpose", changed(&|request| request.purpose = "housing".to_owned())),
            ("for another analyst", changed(&|request| request.analyst = format!("spiffe://{DOMAIN}/analyst/eve"))),
            ("of other boroughs", changed(&|request| request.targets.truncate(1))),
            ("with another fragment", changed(&|request| request.fragment = other.fragment.clone())),
            ("with another text", {
                let text = held.signed.text.replace("demo\n", "housing\n");
                elsewhere(v1::SignedQuestion { text, ..held.signed.clone() })
            }),
            ("with another's signature", elsewhere(other.signed.clone())),
            ("with its own certificate", elsewhere(wire(its_own.sign(&held.asking).unwrap()))),
            ("with a certificate of its own making", elsewhere(wire(forger.sign(&held.asking).unwrap()))),
            ("when it is over", Held::of(&analyst, &bytes, layout, now() - 4 * 86_400).request()),
            ("for a year", Held::of(&analyst, &bytes, layout, now() + 365 * 86_400).request()),
            (
                "as a dry run that would be signed",
                changed(&|request| {
                    request.signed = None;
                    request.would_sign = true;
                }),
            ),
        ];
        for (what, request) in attempts {
            let rule = submitted(&federation, request).await;
            let expected = rule.as_deref() == Some("signature") || (what.contains("fragment") && rule.is_some());
            assert!(expected, "{what}: {rule:?}");
        }
        let gss = layout.boroughs[0].gss;
        let accepted = |log: &str| log.lines().filter(|line| line.contains("\"ACCEPT")).count();
        let before = accepted(&log(gss));
        for _ in 0..3 {
            assert_eq!(submitted(&federation, allowed.clone()).await, None, "the request that was signed");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(accepted(&log(gss)) <= before + 1, "it ran once");
    });
}

/// A client reads what it signs, and an auditor what was signed.
#[test]
fn what_is_signed_can_be_read() {
    support::run(async {
        let federation = Federation::of(3).await;
        let (layout, client) = (&federation.layout, &federation.client);
        let answer = client.query(COUNT, "demo", None, |_| ()).await.unwrap();
        let id = answer.statement.query_id.clone();
        let audit = |more: &[&str]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loda-demo"));
            command.arg("loda").arg("--config").arg(layout.auditor()).args(["audit"]).args(more);
            let said = command.output().unwrap();
            format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr))
        };
        let said = audit(&["show", &id]);
        assert!(said.contains("signed    by demo") && said.contains("was checked here"), "{said}");

        let mut rpc = coordinator(&support::identity(layout, &layout.dir.join("analyst"))).await;
        let prepare = v1::PrepareRequest { sql: COUNT.to_owned(), purpose: "demo".to_owned(), ask_nodes: false };
        let prepared = rpc.prepare(prepare).await.unwrap().into_inner();
        let run = v1::RunRequest { prepared_id: prepared.prepared_id, ..v1::RunRequest::default() };
        let id = rpc.run(run).await.unwrap().into_inner().query_id;
        client.await_answer(&id, |_| ()).await.unwrap();
        let said = audit(&["show", &id]);
        assert!(said.contains("signed    no"), "{said}");

        // What was explained is signed, and nothing else under its digest.
        let loda = |words: &[&str]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loda-demo"));
            command.arg("loda").arg("--config").arg(layout.client()).args(words).args(["-p", "demo", COUNT]);
            let said = command.output().unwrap();
            (
                said.status.code(),
                format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr)),
            )
        };
        let explained = loda(&["explain"]).1;
        let digest = explained.split("--as-explained ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        assert_eq!(loda(&["query", "--as-explained", &digest]).0, Some(0), "{digest}");
        let other = format!("{}{}", if digest.starts_with('0') { '1' } else { '0' }, &digest[1..]);
        let (code, said) = loda(&["query", "--as-explained", &other]);
        assert!(code == Some(3) && said.contains("something else than what was explained"), "{said}");

        // A name in the SQL that is no dataset's is no leave to ask about another dataset.
        let named = client.query("SELECT COUNT(*) AS residents FROM council_tax", "demo", None, |_| ()).await;
        assert!(!matches!(&named, Err(ClientError::Refused { rule, .. }) if rule == "signature"), "{named:?}");
    });
}

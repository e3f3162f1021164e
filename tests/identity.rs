//! Which peers may talk to which, in a running federation.

use loda_identity::{Authority, Gss, Manifest, PeerId, Role};
use loda_proto::v1;
use loda_proto::v1::node_client::NodeClient;
use loda_proto::v1::query_client::QueryClient;
use tonic::Code;

use crate::support::{self, Federation, node_client};

/// Credentials from `authority` for `role`, in a separate folder.
fn issue(federation: &Federation, authority: &Authority, role: Role, name: &str) -> std::path::PathBuf {
    let folder = federation.layout.dir.join("attack").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let issued = authority.issue(&PeerId::new("demo.london", role).unwrap(), 1).unwrap();
    std::fs::write(folder.join("tls.pem"), issued.cert_pem).unwrap();
    std::fs::write(folder.join("tls.key"), issued.key_pem).unwrap();
    folder
}

async fn describe(mut node: NodeClient<tonic::transport::Channel>) -> Result<String, tonic::Status> {
    let request = v1::DescribeRequest { versions: loda_proto::VERSIONS.to_vec(), log: None, ..Default::default() };
    Ok(node.describe(request).await?.into_inner().borough)
}

#[test]
fn only_the_coordinator_reaches_a_node() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let layout = &federation.layout;
        let node = "E09000005";
        assert_eq!(describe(federation.node_client(node)).await.unwrap(), node);
        let foreign = Authority::create("nobody the manifest knows", 1).unwrap();
        let borough = Authority::load(layout.authority("E09000009")).unwrap();
        let analysts = Authority::load(layout.authority("analysts")).unwrap();
        let other: Gss = "E09000010".parse().unwrap();
        for (name, authority, role) in [
            ("wrong-ca", &foreign, Role::Coordinator),
            ("borough-as-coordinator", &borough, Role::Coordinator),
            ("borough-as-another", &borough, Role::Node(other)),
            ("analyst-as-coordinator", &analysts, Role::Coordinator),
        ] {
            let folder = issue(federation, authority, role, name);
            let refused = describe(node_client(layout, node, &folder)).await.unwrap_err();
            assert_ne!(refused.code(), Code::Ok, "{name}");
            assert_ne!(refused.code(), Code::PermissionDenied, "{name}: it must not get past the handshake");
        }
        // A known peer in the wrong role passes the handshake, and is then refused.
        for folder in [layout.node("E09000009"), layout.client().parent().unwrap().to_owned()] {
            let refused = describe(node_client(layout, node, &folder)).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
        }
        // No certificate at all.
        let manifest = Manifest::load(layout.manifest()).unwrap();
        let address = manifest.member(&node.parse().unwrap()).unwrap().address.clone();
        let plain = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        assert!(describe(NodeClient::new(plain.connect_lazy())).await.is_err());
    });
}

#[test]
fn the_coordinator_refuses_a_node_that_is_another() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let identity = support::identity(&federation.layout, &federation.layout.coordinator());
        let address = &identity.manifest().members[4].address;
        let other = PeerId::new("demo.london", Role::Node("E09000006".parse().unwrap())).unwrap();
        let wait = std::time::Duration::from_secs(5);
        let channel = loda_transport::channel(address, &identity, &other, wait).unwrap();
        assert!(describe(NodeClient::new(channel)).await.is_err());
    });
}

#[test]
fn one_analyst_cannot_see_or_stop_the_question_of_another() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let layout = &federation.layout;
        let analysts = Authority::load(layout.authority("analysts")).unwrap();
        let folder = issue(federation, &analysts, Role::Analyst("mallory".to_owned()), "mallory");
        let identity = support::identity(layout, &folder);
        let coordinator = PeerId::new("demo.london", Role::Coordinator).unwrap();
        let wait = std::time::Duration::from_secs(5);
        let channel =
            loda_transport::channel(&identity.manifest().coordinator.address, &identity, &coordinator, wait).unwrap();
        let mut mallory = QueryClient::new(channel);
        let sql = "SELECT borough, COUNT(*) FROM residents GROUP BY borough";
        let prepared = federation.client.prepare(sql, "demo", false).await.unwrap();
        let stolen = v1::RunRequest { prepared_id: prepared.prepared_id.clone(), ..v1::RunRequest::default() };
        assert_eq!(mallory.run(stolen).await.unwrap_err().code(), Code::NotFound);
        let answer = federation.client.query(sql, "demo", None, |_| {}).await.unwrap();
        let query_id = answer.statement.query_id;
        let fetch = v1::FetchRequest { query_id: query_id.clone() };
        assert_eq!(mallory.fetch(fetch).await.unwrap_err().code(), Code::NotFound);
        let recorded = v1::RecordedRequest { query_id: query_id.clone() };
        assert_eq!(mallory.recorded(recorded).await.unwrap_err().code(), Code::NotFound);
        let watch = v1::WatchRequest { query_id: query_id.clone() };
        assert_eq!(mallory.watch(watch).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(mallory.cancel(v1::CancelRequest { query_id }).await.unwrap_err().code(), Code::NotFound);
        // No agreement names her, so all boroughs refuse her question.
        let request = v1::PrepareRequest { sql: sql.to_owned(), purpose: "demo".to_owned(), ask_nodes: true };
        let verdicts = mallory.prepare(request).await.unwrap().into_inner().fragments.remove(0).verdicts;
        assert_eq!(verdicts.len(), 33);
        assert!(verdicts.iter().all(|v| v.refusal.as_ref().is_some_and(|r| r.rule == "agreement")));
    });
}

/// Each case is tried on a node in its own process.
#[test]
fn a_running_node_lets_in_nobody_it_should_not() {
    use std::time::{Duration, Instant};

    use loda_demo::processes::Processes;
    use loda_identity::pki::describe as described;

    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 2, None));
        let binary = std::path::Path::new(env!("CARGO_BIN_EXE_loda-demo"));
        let mut processes = Processes::start(binary, &layout).unwrap();
        processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        let node = layout.boroughs[1].gss;
        let office = Authority::load(layout.authority("coordinator")).unwrap();
        let folder = |name: &str, days: i64| {
            let folder = layout.dir.join("attack").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let issued = office.issue(&PeerId::new("demo.london", Role::Coordinator).unwrap(), days).unwrap();
            std::fs::write(folder.join("tls.pem"), &issued.cert_pem).unwrap();
            std::fs::write(folder.join("tls.key"), issued.key_pem).unwrap();
            (folder, described(&issued.cert_pem).unwrap())
        };
        let (good, second) = (folder("good", 1), folder("second", 1));
        assert!(describe(node_client(&layout, node, &good.0)).await.is_ok());
        assert!(describe(node_client(&layout, node, &folder("expired", -1).0)).await.is_err());

        // Revoked while connected: disconnected within the stated two seconds, which a busy machine prolongs.
        let open = node_client(&layout, node, &good.0);
        assert!(describe(open.clone()).await.is_ok());
        let list = office.revocation_list(std::slice::from_ref(&good.1.serial), 30).unwrap();
        std::fs::write(layout.revocation_list("coordinator"), list).unwrap();
        let gone = |open: NodeClient<tonic::transport::Channel>| async move {
            let began = Instant::now();
            while describe(open.clone()).await.is_ok() {
                assert!(began.elapsed() < Duration::from_secs(10), "still let in");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            began.elapsed()
        };
        println!("revoked while connected: out after {:?}", gone(open).await);
        assert!(describe(node_client(&layout, node, &good.0)).await.is_err(), "nor by a new connection");

        // This borough alone denies the peer, without its authority.
        let open = node_client(&layout, node, &second.0);
        assert!(describe(open.clone()).await.is_ok(), "the other certificate of the coordinator is as good as before");
        let again = |open: NodeClient<tonic::transport::Channel>| async move {
            let began = Instant::now();
            while let Err(fault) = describe(open.clone()).await {
                assert!(began.elapsed() < Duration::from_secs(20), "still refused: {fault}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let denied = layout.node(node).join("denied.txt");
        std::fs::write(&denied, "spiffe://demo.london/coordinator\n").unwrap();
        println!("denied while connected: out after {:?}", gone(open).await);
        let other = layout.boroughs[0].gss;
        assert!(describe(node_client(&layout, other, &second.0)).await.is_ok(), "the other borough is its own master");
        std::fs::write(&denied, "# nobody\n").unwrap();
        // And back, without a restart.
        again(node_client(&layout, node, &second.0)).await;

        // An expired list confirms no certificate. A node that starts with it refuses peers that it cannot check.
        processes.kill_node(node).unwrap();
        std::fs::write(layout.revocation_list("coordinator"), office.revocation_list(&[], -1).unwrap()).unwrap();
        // Remove the newest list that the node knew. It was kept, and would still be valid.
        std::fs::remove_dir_all(layout.node(node).join("state/revocation.pinned")).unwrap();
        processes.start_node(node).unwrap();
        let began = Instant::now();
        let log = layout.node(node).join("process.log");
        let refused = || std::fs::read_to_string(&log).unwrap().contains("revocation_unknown");
        while !refused() {
            let _refused = describe(node_client(&layout, node, &second.0)).await.unwrap_err();
            assert!(began.elapsed() < Duration::from_secs(20), "the node does not say why");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::fs::write(layout.revocation_list("coordinator"), office.revocation_list(&[], 30).unwrap()).unwrap();
        again(node_client(&layout, node, &second.0)).await;
    });
}

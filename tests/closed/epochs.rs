//! Data that must not change during an epoch, and data that are not served because they would change.

use std::collections::BTreeSet;

use loda_question::table::{ColumnRef, Functional, RowDomain, Table};

use crate::pooled::contract;
use crate::support;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

/// Some changes would draw the cells of an epoch anew, or from other data: another perturbation, another secret, or an
/// `epochs.json` other than the one in the log. Then nothing is served.
#[test]
fn another_perturbation_secret_or_epochs_file_serves_nothing() {
    use loda_disclosure::TableParameters;
    use loda_node::{Config, Methods, Node};
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 2, None));
        let gss = layout.boroughs[1].gss;
        let state = layout.node(gss).join("state");
        let handle = support::RUNTIME.handle().clone();
        let open = async |methods: Methods| {
            let config = Config::load(&layout.node(gss).join("node.toml")).unwrap();
            Node::open(config, methods, handle.clone()).await
        };
        let version = |from: &str, to: &str| {
            // The change is agreed in the manifest as well.
            let (contract, manifest) = (layout.dir.join("contracts/residents.toml"), layout.manifest());
            let text = std::fs::read_to_string(&contract).unwrap();
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text);
            let sha = |text: &str| loda_contract::Contract::parse(text, "residents").unwrap().sha256;
            let agreed = std::fs::read_to_string(&manifest).unwrap();
            assert!(agreed.contains(&sha(&text)));
            std::fs::write(&manifest, agreed.replace(&sha(&text), &sha(&other))).unwrap();
            std::fs::write(&contract, other).unwrap();
        };
        let serves_all = async |methods: Methods| {
            let node = open(methods).await.unwrap();
            let listener = node.bind().await.unwrap();
            let serving = handle.spawn(async move { node.serve(listener).await.unwrap() });
            let request = loda_proto::v1::DescribeRequest {
                versions: loda_proto::VERSIONS.to_vec(),
                log: None,
                ..Default::default()
            };
            let mut client = support::node_client(&layout, gss, &layout.coordinator());
            let held = client.describe(request).await.unwrap().into_inner().datasets;
            serving.abort();
            let _ended = serving.await.is_err();
            ["residents", "repairs"].map(|name| held.iter().any(|held| held.name == name))
        };
        // Both kinds: registers, and rows that come by period.
        let serves = async |methods: Methods| match serves_all(methods).await {
            [true, true] => true,
            [false, false] => false,
            some => panic!("one is served and the other not: {some:?}"),
        };
        let standard = || Methods::standard().unwrap();
        assert!(serves(standard()).await);
        let other = TableParameters { variance: 4.0, ..TableParameters::default() };
        assert!(!serves(Methods::with(&other).unwrap()).await, "two perturbations of one epoch give the noise away");
        assert!(serves(standard()).await);
        version("version = 1", "version = 2");
        let served = serves_all(standard()).await;
        assert_eq!(served, [false, true], "two versions of a contract in one epoch draw the same people twice");
        version("version = 2", "version = 1");
        assert!(serves(standard()).await);
        // An old file, put back.
        let file = state.join("epochs.json");
        let epochs = std::fs::read_to_string(&file).unwrap();
        let mut old: serde_json::Value = serde_json::from_str(&epochs).unwrap();
        for pin in old["datasets"].as_object_mut().unwrap().values_mut() {
            for (key, value) in [("epoch", "2019Q4"), ("until", "2019Q4"), ("ends", "2020-01-01")] {
                pin[key] = value.into();
            }
        }
        std::fs::write(&file, old.to_string()).unwrap();
        assert!(!serves(standard()).await, "an older epochs.json draws the cells anew");
        // A lost file over the same data is made again with the same content.
        std::fs::remove_file(&file).unwrap();
        assert!(serves(standard()).await);
        let key = state.join("record.key");
        let secret = std::fs::read_to_string(&key).unwrap();
        std::fs::write(&key, "0".repeat(64)).unwrap();
        let fault = open(standard()).await.err().unwrap().to_string();
        assert!(fault.contains("record.key is not the one"), "{fault}");
        // Without the file that holds the fingerprints, only the log knows the earlier state.
        std::fs::remove_file(&file).unwrap();
        assert!(!serves(standard()).await, "another secret draws the same people twice");
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&key, secret).unwrap();
        assert!(
            !serves(Methods::with(&other).unwrap()).await,
            "another perturbation at the same keys gives the noise away"
        );
        std::fs::remove_file(&file).unwrap();
        assert!(serves(standard()).await);
    });
}

/// A node that restarts with other extracts within an epoch serves the same bytes as before, also after it has answered
/// other tables. The list of wards does not change either. Without `epochs.json` it is unknown what was served, so
/// nothing is served.
#[test]
fn refreshes_and_restarts_within_an_epoch_change_no_byte() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 2, None));
        let gss = layout.boroughs[1].gss;
        let folder = layout.node(gss);
        let handle = support::RUNTIME.handle().clone();
        let table = |columns: &[&str]| {
            let columns = columns.iter().map(|c| ColumnRef::parse(c).unwrap());
            let counted = [Functional::Units("person".to_owned())];
            Table::new(RowDomain::Units("person".to_owned()), columns, counted, &|name| Some(contract(name))).unwrap()
        };
        let (wanted, other) = (table(&["residents.sex", "residents.age_band"]), table(&["residents.ward"]));
        let (residents, wards) =
            ["residents", "wards"].map(|name| folder.join(format!("data/{gss}/{name}.csv"))).into();
        let doctor = || {
            let told =
                std::process::Command::new(BINARY).current_dir(&folder).args(["node", "doctor"]).output().unwrap();
            String::from_utf8(told.stdout).unwrap()
        };
        let mut answers = BTreeSet::new();
        for start in 0..4 {
            if start == 2 {
                // Another agreement between the same parties.
                let path = folder.join("agreement.toml");
                let text = std::fs::read_to_string(&path).unwrap();
                let other = text.replace("DEMO-2026-01", "OTHER-2027-09").replace("version = 1", "version = 7");
                assert_ne!(other, text);
                std::fs::write(&path, other).unwrap();
            }
            if start == 3 {
                std::fs::remove_file(folder.join("state/epochs.json")).unwrap();
            }
            let config = loda_node::Config::load(&folder.join("node.toml")).unwrap();
            let node =
                loda_node::Node::open(config, loda_node::Methods::standard().unwrap(), handle.clone()).await.unwrap();
            let listener = node.bind().await.unwrap();
            let serving = handle.spawn(async move { node.serve(listener).await.unwrap() });
            let client = || support::node_client(&layout, gss, &layout.coordinator());
            if start < 3 {
                for _ in 0..2 {
                    answers.insert(crate::protection::released_by(client(), &layout, gss, &wanted.encode()).await);
                    answers.insert(crate::protection::released_by(client(), &layout, gss, &other.encode()).await);
                }
            } else {
                let held = client()
                    .describe(loda_proto::v1::DescribeRequest {
                        versions: loda_proto::VERSIONS.to_vec(),
                        log: None,
                        ..Default::default()
                    })
                    .await
                    .unwrap()
                    .into_inner();
                assert!(held.datasets.iter().all(|d| d.name != "residents"), "{held:?}");
                assert!(held.datasets.iter().any(|d| d.name == "wards"), "{held:?}");
            }
            serving.abort();
            let _ended = serving.await.is_err();
            match start {
                0 => assert!(doctor().contains("ok    epoch of residents: snapshot 1 is served until"), "{}", doctor()),
                3 => assert!(doctor().contains("FAULT epoch of residents: its pinned snapshot"), "{}", doctor()),
                _ => assert!(doctor().contains("soon  epoch of residents: snapshot 1 is served until"), "{}", doctor()),
            }
            // Some people move away, and others change their age bands.
            let text = std::fs::read_to_string(&residents).unwrap();
            let kept = text.lines().enumerate().filter(|(n, _)| *n == 0 || n % (20 - start) != 3);
            let changed: String = kept.map(|(_, line)| format!("{}\n", line.replace(",25-34,", ",35-44,"))).collect();
            assert_ne!(changed, text);
            std::fs::write(&residents, changed).unwrap();
            let text = std::fs::read_to_string(&wards).unwrap();
            let (header, rest) = text.split_once('\n').unwrap();
            std::fs::write(&wards, format!("{header}\n{}", rest.split_once('\n').unwrap().1)).unwrap();
        }
        assert_eq!(answers.len(), 2);
    });
}

//! Far more load than a node can take, under a hard memory limit. Every query ends, and the process lives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::join_all;
use loda::{Client, ClientError};
use loda_demo::layout::Options;
use loda_demo::london::SMALL;
use loda_demo::processes::Processes;

use crate::support;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

/// 512 MiB, or the value of the environment variable.
fn limit() -> u64 {
    support::rounds("LODA_OVERLOAD_MIB", 512) << 20
}

/// A control group that limits memory, of the version that this machine has.
struct Group {
    folder: PathBuf,
    peak: &'static str,
}

impl Group {
    fn make(name: &str) -> Result<Self, String> {
        let kinds = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
            ("/sys/fs/cgroup", "memory.max", "memory.peak"),
        ];
        let mut why = "no memory controller".to_owned();
        for (root, file, peak) in kinds {
            let folder = Path::new(root).join(name);
            if !Path::new(root).join("cgroup.procs").exists() {
                continue;
            }
            if let Err(error) = std::fs::create_dir(&folder) {
                why = error.to_string();
                continue;
            }
            let group = Self { folder, peak };
            match std::fs::write(group.folder.join(file), limit().to_string()) {
                Ok(()) => return Ok(group),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    fn peak(&self) -> u64 {
        std::fs::read_to_string(self.folder.join(self.peak)).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have ended by now. If one lingers, its group is left behind.
        let _ = std::fs::remove_dir(&self.folder);
    }
}

#[test]
#[allow(clippy::cast_precision_loss, reason = "a scale is small")]
fn two_hundred_heavy_questions_in_half_a_gibibyte_all_end() {
    support::run(async {
        let group = match Group::make(&format!("loda-test-{}", std::process::id())) {
            Ok(group) => group,
            Err(why) => return support::skip::host(format!("memory cannot be limited here: {why}")),
        };
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            scale: SMALL * support::rounds("LODA_OVERLOAD_SCALE", 120) as f64,
            ..support::options(dir.path(), 2, None)
        };
        let layout = support::laid_out(&options);
        let config = layout.coordinator().join("coordinator.toml");
        let limits = "\n[limits]\nqueries = 400\nqueries_per_analyst = 400\ndeadline_seconds = 60\n";
        std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + limits).unwrap();
        // Only the node of the larger borough is limited.
        let limited = layout.boroughs[1].gss;
        let wrapper = dir.path().join("program");
        let script = format!(
            "#!/bin/sh\ncase \"$3\" in *{limited}*) echo $$ > {}/cgroup.procs;; esac\nexec {BINARY} \"$@\"\n",
            group.folder.display()
        );
        std::fs::write(&wrapper, script).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        let mut processes = Processes::start(&wrapper, &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        let heavy = format!(
            "SELECT age_band, tenure, COUNT(*) AS n, COUNT(*) FILTER (WHERE age_band = '0-4') AS a, \
             COUNT(*) FILTER (WHERE tenure = 'Social rented') AS b FROM residents WHERE borough = '{limited}' \
             GROUP BY age_band, tenure"
        );
        let began = Instant::now();
        let good = client.query(&heavy, "demo", None, |_| {}).await.unwrap();
        println!("one alone takes {:?}", began.elapsed());
        let good = crate::pooled::text(&good.batches, 99);
        // One connection carries 64 calls at once.
        let mut askers = Vec::new();
        for _ in 0..8 {
            askers.push(Client::connect(&loda::Config::load(&layout.client()).unwrap()).await.unwrap());
        }
        let began = Instant::now();
        let asked = (0..200).map(|number| {
            let (client, heavy) = (askers[number % askers.len()].clone(), heavy.clone());
            async move { client.query(&heavy, "demo", Some(Duration::from_secs(50)), |_| {}).await }
        });
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        for end in join_all(asked).await {
            let end = match end {
                Ok(answer) if answer.statement.complete => {
                    assert_eq!(crate::pooled::text(&answer.batches, 99), good);
                    "answered".to_owned()
                }
                Ok(answer) => {
                    let of = answer.statement.parts[0].boroughs.iter().find(|b| b.borough == limited);
                    match of.and_then(|b| b.refusal.as_ref()) {
                        Some(refusal) => format!("told to come back ({})", refusal.rule),
                        None => "no answer in time, and said so".to_owned(),
                    }
                }
                Err(ClientError::NoAnswer) => "no answer in time, and said so".to_owned(),
                Err(ClientError::Refused { rule, .. }) => format!("told to come back ({rule})"),
                Err(error) => panic!("no stated end: {error}"),
            };
            *ends.entry(end).or_default() += 1;
        }
        println!("200 at once in {:?}: {ends:?}", began.elapsed());
        println!("the limited node's greatest memory: {} of {} MiB", group.peak() >> 20, limit() >> 20);
        assert!(ends.get("answered").is_some_and(|count| *count > 0));
        assert!(group.peak() <= limit());
        // The same process still answers.
        let after = client.query(&heavy, "demo", None, |_| {}).await.unwrap();
        assert_eq!(crate::pooled::text(&after.batches, 99), good);
        let process = processes.node_id(limited).unwrap();
        println!("and its resident memory after it: {} MiB", support::resident_kib(process) >> 10);
        assert!(support::resident_kib(process) > 0, "the process lives");
        drop(processes);
    });
}

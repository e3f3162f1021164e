//! The query protocol under storms, as a deterministic simulation. The coordinator, the nodes and their logs are the
//! real code, on one thread with its own clock. The seed decides the network, the disks, the work and the deaths.

mod analyst;
mod history;
mod net;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loda_coordinator::CoordinatorParts;
use loda_demo::layout::{DOMAIN, Options};
use loda_demo::london::SMALL;
use loda_node::{CannedNode, Methods, Node};
use loda_proto::v1::SubmitRequest;
use uuid::Uuid;

use self::analyst::{Analyst, Asked, End};
use self::history::{Baseline, check};
use self::world::{Stage, World};
use crate::support::{self, RUNTIME};

const NODES: usize = 3;
const ANALYSTS: usize = 2;

/// Figures by borough, a London sum, and a question of two parts.
const QUESTIONS: [&str; 3] = [
    "SELECT borough, COUNT(*) AS n FROM residents GROUP BY borough ORDER BY borough",
    "SELECT COUNT(*) AS n FROM residents",
    "SELECT borough, COUNT(*) AS n FROM residents WHERE sex = 'Male' GROUP BY borough \
     UNION ALL SELECT borough, COUNT(*) FROM residents WHERE sex = 'Female' GROUP BY borough",
];

/// Lays out a federation, and computes its answers with the real engine.
fn stage(dir: &Path) -> Arc<Stage> {
    let options = Options { scale: 3.0 * SMALL, ..support::options(dir, NODES, None) };
    let layout = support::laid_out(&options);
    let config = loda_coordinator::Config::load(&layout.coordinator().join("coordinator.toml")).unwrap();
    let contracts = config.contracts.iter().map(|path| {
        loda_contract::Contract::parse(&std::fs::read_to_string(path).unwrap(), &path.display().to_string()).unwrap()
    });
    let boroughs: Vec<loda_identity::Gss> = layout.boroughs.iter().map(|b| b.gss.parse().unwrap()).collect();
    let dry = loda_coordinator::Dry::new(contracts.collect(), boroughs.clone()).unwrap();
    support::run(async move {
        let mut nodes = Vec::new();
        for gss in &boroughs {
            let config = loda_node::Config::load(&layout.node(gss.as_str()).join("node.toml")).unwrap();
            let node = Node::open(config, Methods::standard().unwrap(), RUNTIME.handle().clone()).await.unwrap();
            let mut rehearsed = CannedNode::new(node);
            for sql in QUESTIONS {
                for fragment in dry.fragments(sql).await.unwrap() {
                    let request = SubmitRequest {
                        query_id: Uuid::nil().to_string(),
                        analyst: format!("spiffe://{DOMAIN}/analyst/demo"),
                        purpose: "demo".to_owned(),
                        fragment,
                        targets: boroughs.iter().map(ToString::to_string).collect(),
                        deadline_ms: 1000,
                        dry_run: false,
                        signed: None,
                        would_sign: false,
                        log: None,
                        question_id: String::new(),
                    };
                    rehearsed.learn(request).await.unwrap();
                }
            }
            nodes.push((gss.clone(), Arc::new(rehearsed)));
        }
        Arc::new(Stage { plant: CoordinatorParts::load(config).unwrap(), nodes })
    })
}

/// The outcome of one seed.
struct Outcome {
    world: Arc<World>,
    asked: Vec<Asked>,
}

/// Runs a seed to its end, and on until all is quiet after the storm.
fn play(stage: &Arc<Stage>, seed: u64, stormy: bool) -> Outcome {
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let outcome = runtime.block_on(async {
        let world = World::new(stage, seed, stormy, dir.path().to_owned());
        world.start().await;
        let storm = stormy.then(|| tokio::spawn(Arc::clone(&world).storm()));
        let mut analysts = Vec::new();
        for number in 0..ANALYSTS {
            let world = Arc::clone(&world);
            analysts.push(tokio::spawn(async move {
                let analyst = Analyst::new(&world, number);
                let mut asked = Vec::new();
                for _ in 0..2 {
                    let sql = usize::try_from(world.below(QUESTIONS.len() as u64)).unwrap();
                    tokio::time::sleep(world.millis(1_000)).await;
                    let asking = analyst.ask(sql, QUESTIONS[sql]);
                    let asking = tokio::time::timeout(Duration::from_secs(150), asking).await;
                    asked.extend(asking.ok().flatten());
                }
                asked
            }));
        }
        let mut asked = Vec::new();
        for analyst in analysts {
            asked.extend(analyst.await.unwrap());
        }
        world.heal();
        if let Some(storm) = storm {
            storm.await.unwrap();
        }
        // Longer than any deadline, any restart, and any dead connection that is not yet noticed.
        tokio::time::sleep(Duration::from_secs(90)).await;
        // An analyst who returns finds the question again.
        let analyst = Analyst::new(&world, 0);
        for asked in &mut asked {
            let end = analyst.end(&asked.id).await;
            if asked.end == End::Left {
                asked.end = end;
            } else if let End::Answered { .. } = end {
                let same = asked.end == end || (matches!(asked.end, End::Said(_)) && world.forgets());
                assert!(same, "seed {seed}: {asked:?} and later {end:?}\n{}", world.story().join("\n"));
            }
        }
        Outcome { world, asked }
    });
    // Ends the rest of the processes.
    drop(runtime);
    outcome
}

/// Runs on a thread with enough stack for the planner's deep frames.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, work).unwrap();
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn storms_by_the_thousand_lose_nothing_and_run_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(dir.path());
    let baseline = on_deep_stack(|| Baseline::of((0..60).map(|seed| play(&stage, seed, false))));
    // The same seed gives the same history.
    for seed in 0..10 {
        let story = || on_deep_stack(|| play(&stage, seed, true).world.story());
        let (first, second) = (story(), story());
        if first != second {
            let at = first.iter().zip(&second).position(|(a, b)| a != b).unwrap_or(first.len().min(second.len()));
            panic!("seed {seed}: {:?} or {:?}", first.get(at), second.get(at));
        }
    }
    let began = Instant::now();
    let seconds = Duration::from_secs(support::rounds("LODA_SIMULATION_SECONDS", 0));
    let seeds = support::rounds("LODA_SIMULATION_SEEDS", 1000);
    let next = AtomicU64::new(support::seed() * 1_000_000);
    let last = next.load(Ordering::Relaxed) + seeds;
    let counts = Mutex::new(BTreeMap::<String, usize>::new());
    let worker = || {
        on_deep_stack(|| {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= last && began.elapsed() >= seconds {
                    return;
                }
                let outcome = play(&stage, seed, true);
                let found = check(&outcome.world, &outcome.asked, &baseline);
                let found = match found {
                    Ok(found) => found,
                    Err(broken) => {
                        panic!("seed {seed}: {broken}\n{}\n{:#?}", outcome.world.story().join("\n"), outcome.asked)
                    }
                };
                let mut counts = counts.lock().unwrap();
                for what in found {
                    *counts.entry(what).or_default() += 1;
                }
            }
        });
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers.into_iter().for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    });
    let played = next.load(Ordering::Relaxed) + seeds - last;
    println!("{played} seeds in {:.1?}: {:?}", began.elapsed(), counts.into_inner().unwrap());
}

//! The world of one seed: hosts that die and return, disks that fill, connections that delay, lose and cut, and one
//! clock.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use loda_coordinator::{CoordinatorParts, NodeChannel, NodeConnector, Surroundings};
use loda_demo::layout::DOMAIN;
use loda_identity::{Gss, Peer, PeerId, Role};
use loda_ledger::{Entry, Head, Log, LogError, Mark, Spool};
use loda_node::CannedNode;
use loda_service::TaskGroup;
use loda_transport::PeerInfo;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use uuid::Uuid;

use super::net;
use crate::support::Dice;

/// The coordinator's number among the hosts. The nodes follow, then the analysts.
pub const CENTRE: usize = 0;

/// The parts that all seeds share.
pub struct Stage {
    pub plant: CoordinatorParts,
    pub nodes: Vec<(Gss, Arc<CannedNode>)>,
}

/// An entry of a log, with its position among all entries of all logs.
pub struct Logged {
    pub order: usize,
    pub at: Instant,
    pub entry: Entry,
}

/// Work that a node did for a fragment.
pub struct Run {
    pub node: usize,
    pub fragment: Uuid,
    pub until: Option<Instant>,
}

pub struct World {
    pub stage: Arc<Stage>,
    pub began: Instant,
    dir: PathBuf,
    dice: Mutex<Dice>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stormy: bool,
    hosts: Vec<Host>,
    cuts: BTreeMap<(usize, usize), Instant>,
    orders: usize,
    runs: Vec<Run>,
    story: Vec<String>,
    /// Whether a power failure lost files beside a log.
    torn: bool,
    /// Whether a log was too full to record an end.
    filled: bool,
}

#[derive(Default)]
struct Host {
    log: Vec<Logged>,
    lives: u64,
    life: Option<Life>,
}

struct Life {
    tasks: TaskGroup,
    calls: TaskGroup,
    /// `None` until it serves.
    line: Option<NodeChannel>,
}

/// The panic that ends a task of a killed process.
struct Died;

impl World {
    pub fn new(stage: &Arc<Stage>, seed: u64, stormy: bool, dir: PathBuf) -> Arc<Self> {
        let hosts = std::iter::repeat_with(Host::default).take(stage.nodes.len() + 1).collect();
        Arc::new(Self {
            stage: Arc::clone(stage),
            began: Instant::now(),
            dir,
            dice: Mutex::new(Dice::new(seed)),
            state: Mutex::new(State { stormy, hosts, ..State::default() }),
        })
    }

    pub fn below(&self, n: u64) -> u64 {
        self.dice.lock().unwrap().below(n)
    }

    pub fn millis(&self, n: u64) -> Duration {
        Duration::from_micros(self.below(n * 1000))
    }

    /// Whether a misfortune happens. In a storm it happens once in `n` times.
    pub fn strikes(&self, n: u64) -> bool {
        self.stormy() && self.below(n) == 0
    }

    pub fn stormy(&self) -> bool {
        self.state.lock().unwrap().stormy
    }

    pub fn tell(&self, what: String) {
        let at = self.began.elapsed().as_micros();
        self.state.lock().unwrap().story.push(format!("{at:>12} {what}"));
    }

    pub fn story(&self) -> Vec<String> {
        self.state.lock().unwrap().story.clone()
    }

    /// Whether an end may be forgotten: the log could not record it, and a power failure lost the file beside the log.
    pub fn forgets(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.torn && state.filled
    }

    pub fn torn(&self) -> bool {
        self.state.lock().unwrap().torn
    }

    pub fn log(&self, host: usize) -> Vec<Logged> {
        let state = self.state.lock().unwrap();
        let copy = |l: &Logged| Logged { order: l.order, at: l.at, entry: l.entry.clone() };
        state.hosts[host].log.iter().map(copy).collect()
    }

    pub fn lives(&self, host: usize) -> u64 {
        self.state.lock().unwrap().hosts[host].lives
    }

    pub fn take_runs(&self) -> Vec<Run> {
        std::mem::take(&mut self.state.lock().unwrap().runs)
    }

    /// The channel to the present run of a host, and the group of its calls.
    pub fn life(&self, host: usize) -> Option<(NodeChannel, TaskGroup)> {
        let state = self.state.lock().unwrap();
        let life = state.hosts[host].life.as_ref()?;
        Some((life.line.clone()?, life.calls.clone()))
    }

    /// The time until which two hosts cannot reach each other.
    pub fn cut(&self, a: usize, b: usize) -> Option<Instant> {
        let state = self.state.lock().unwrap();
        state.cuts.get(&(a.min(b), a.max(b))).copied().filter(|until| *until > Instant::now())
    }

    pub fn peer(&self, host: usize) -> PeerInfo {
        let role = match host.checked_sub(1) {
            None => Role::Coordinator,
            Some(node) => match self.stage.nodes.get(node) {
                Some((gss, _)) => Role::Node(gss.clone()),
                None => Role::Analyst("demo".to_owned()),
            },
        };
        let peer = Peer {
            id: PeerId::new(DOMAIN, role).unwrap(),
            ca_fingerprint: [0; 32],
            not_after: i64::MAX,
            fingerprint: [0; 32],
            serial: Vec::new(),
        };
        PeerInfo { peer, remote: ([127, 0, 0, 1], 1).into() }
    }

    /// Starts every host, and begins the storm.
    pub async fn start(self: &Arc<Self>) {
        for host in (0..=self.stage.nodes.len()).rev() {
            Arc::clone(self).live(host).await;
        }
    }

    /// A storm of deaths and cuts, until it ends.
    pub async fn storm(self: Arc<Self>) {
        while self.stormy() {
            sleep(self.millis(3000)).await;
            let host = usize::try_from(self.below(self.stage.nodes.len() as u64 + 1)).unwrap();
            match self.below(4) {
                0 => self.kill(host),
                1 => {
                    // Cut from one other host, or from all.
                    let with = usize::try_from(self.below(self.stage.nodes.len() as u64 + 3)).unwrap();
                    let until = Instant::now() + self.millis(15_000);
                    self.tell(format!("host {host} is cut from {with} and its like"));
                    let mut state = self.state.lock().unwrap();
                    for other in 0..8 {
                        if other == with || with > 4 {
                            state.cuts.insert((host.min(other), host.max(other)), until);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Ends the storm: connections work, and dead hosts return.
    pub fn heal(&self) {
        self.tell("the storm ends".to_owned());
        let mut state = self.state.lock().unwrap();
        state.stormy = false;
        state.cuts.clear();
    }

    /// kill -9, or a power failure. The host restarts by itself.
    pub fn kill(self: &Arc<Self>, host: usize) {
        let power = self.below(3) == 0;
        {
            let mut state = self.state.lock().unwrap();
            let Some(life) = state.hosts[host].life.take() else { return };
            life.tasks.end();
            life.calls.end();
            state.torn |= power;
        }
        self.tell(format!("host {host} dies{}", if power { " with the power" } else { "" }));
        if power {
            self.tear(host);
        }
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(world.millis(3000)).await;
            world.live(host).await;
        });
    }

    /// Files that were not synced are lost or truncated.
    fn tear(&self, host: usize) {
        let Ok(files) = std::fs::read_dir(self.spool(host)) else { return };
        let mut files: Vec<PathBuf> = files.map(|f| f.unwrap().path()).collect();
        files.sort();
        for file in files {
            match self.below(4) {
                0 => std::fs::remove_file(file).unwrap(),
                1 => {
                    let bytes = std::fs::read(&file).unwrap();
                    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
                }
                _ => {}
            }
        }
    }

    fn spool(&self, host: usize) -> PathBuf {
        self.dir.join(host.to_string())
    }

    /// Runs a host. If it dies while it starts, it starts again.
    async fn live(self: Arc<Self>, host: usize) {
        loop {
            let (tasks, calls) = (TaskGroup::new(Handle::current()), TaskGroup::new(Handle::current()));
            let (lives, earlier) = {
                let mut state = self.state.lock().unwrap();
                let host = &mut state.hosts[host];
                host.lives += 1;
                host.life = Some(Life { tasks: tasks.clone(), calls, line: None });
                (host.lives, host.log.iter().map(|l| l.entry.clone()).collect::<Vec<_>>())
            };
            self.tell(format!("host {host} begins life {lives}"));
            let begun = AssertUnwindSafe(self.begin(host, lives, earlier, tasks)).catch_unwind().await;
            if self.begun(host, lives, begun.ok()) {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Whether nothing is left to do: the host serves, or it was killed and restarts by itself.
    fn begun(&self, host: usize, lives: u64, begun: Option<anyhow::Result<NodeChannel>>) -> bool {
        let mut state = self.state.lock().unwrap();
        let host = &mut state.hosts[host];
        match (begun, &mut host.life) {
            (Some(Ok(line)), Some(life)) if host.lives == lives => {
                life.line = Some(line);
                true
            }
            // It could not start: its supervisor tries again.
            (Some(Err(_)), Some(life)) if host.lives == lives => {
                life.tasks.end();
                host.life = None;
                false
            }
            _ => true,
        }
    }

    async fn begin(
        self: &Arc<Self>,
        host: usize,
        life: u64,
        earlier: Vec<Entry>,
        tasks: TaskGroup,
    ) -> anyhow::Result<NodeChannel> {
        let disk = Arc::new(Disk { world: Arc::clone(self), host, life, full: Mutex::new(false) });
        let Some(node) = host.checked_sub(1) else {
            // Clocks are adjusted at a start, sometimes to another day.
            let skew = TimeDelta::days(if self.strikes(3) { i64::try_from(self.below(3)).unwrap() - 1 } else { 0 });
            let (world, began) = (Arc::clone(self), self.began);
            let epoch = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap() + skew;
            let server = self.stage.plant.begin(Surroundings {
                lines: Box::new(Web(Arc::clone(self))),
                log: disk,
                earlier,
                spool: self.spool(host),
                tasks,
                clock: Arc::new(move || epoch + TimeDelta::from_std(began.elapsed()).unwrap()),
                ids: Arc::new(move || {
                    let mut dice = world.dice.lock().unwrap();
                    let bytes = (u128::from(dice.next()) << 64 | u128::from(dice.next())).to_be_bytes();
                    uuid::Builder::from_random_bytes(bytes).into_uuid()
                }),
            });
            return Ok(served(server.await?));
        };
        let world = Arc::clone(self);
        let toil = move |fragment: Uuid| world.toil(host, fragment).boxed();
        let spool = Spool::open(&self.spool(host))?;
        let server = self.stage.nodes[node].1.begin(disk, earlier, spool, tasks, Arc::new(toil))?;
        Ok(served(server))
    }

    /// Work that takes a while and sometimes fails. Its start and its end are recorded.
    fn toil(self: &Arc<Self>, node: usize, fragment: Uuid) -> impl Future<Output = anyhow::Result<()>> + use<> {
        struct Ends(Arc<World>, usize);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.state.lock().unwrap().runs[self.1].until = Some(Instant::now());
            }
        }
        let world = Arc::clone(self);
        async move {
            let number = {
                let mut state = world.state.lock().unwrap();
                state.runs.push(Run { node, fragment, until: None });
                state.runs.len() - 1
            };
            let _ends = Ends(Arc::clone(&world), number);
            let long = if world.below(4) == 0 { 6000 } else { 200 };
            sleep(world.millis(long)).await;
            anyhow::ensure!(!world.strikes(15), "the engine failed");
            Ok(())
        }
    }
}

/// The service at the far end of connections.
fn served<S>(server: S) -> NodeChannel
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    BoxCloneSyncService::new(server.map_err(|never| match never {}))
}

/// The coordinator's connections to nodes.
struct Web(Arc<World>);

impl NodeConnector for Web {
    fn to(&self, gss: &Gss) -> anyhow::Result<NodeChannel> {
        let node = self.0.stage.nodes.iter().position(|(of, _)| of == gss).unwrap();
        Ok(net::line(&self.0, CENTRE, node + 1))
    }
}

/// A log on a disk that can fill up, on a host that can die before and after a write.
struct Disk {
    world: Arc<World>,
    host: usize,
    life: u64,
    full: Mutex<bool>,
}

/// What an entry says, without the commitment: its key is random, and a run has to be the same each time.
fn without_commitment(entry: &Entry) -> String {
    let detail = entry.event.detail();
    entry.event.commitment().map_or(detail.clone(), |of| detail.replace(&of.to_string(), "committed"))
}

impl Disk {
    fn write(&self, entry: &Entry) {
        let detail = without_commitment(entry);
        self.world.tell(format!("host {} logs {:?} {} {detail}", self.host, entry.kind(), entry.query));
        let mut state = self.world.state.lock().unwrap();
        state.orders += 1;
        let order = state.orders;
        state.hosts[self.host].log.push(Logged { order, at: Instant::now(), entry: entry.clone() });
    }

    fn lives(&self) -> bool {
        let state = self.world.state.lock().unwrap();
        let host = &state.hosts[self.host];
        host.lives == self.life && host.life.is_some()
    }
}

impl Log for Disk {
    fn append_all(&self, entries: &[Entry]) -> Result<u64, LogError> {
        if !self.lives() {
            resume_unwind(Box::new(Died));
        }
        if *self.full.lock().unwrap() {
            return Err(LogError::Stopped);
        }
        if self.world.strikes(150) {
            *self.full.lock().unwrap() = true;
            self.world.state.lock().unwrap().filled = true;
            self.world.tell(format!("host {} has a full disk", self.host));
            let source = std::io::ErrorKind::StorageFull.into();
            // An operator makes room and restarts the host.
            let (world, host, life) = (Arc::clone(&self.world), self.host, self.life);
            tokio::spawn(async move {
                sleep(Duration::from_secs(5)).await;
                if world.lives(host) == life {
                    world.kill(host);
                }
            });
            return Err(LogError::Write { path: "log".to_owned(), source });
        }
        let first = self.world.state.lock().unwrap().hosts[self.host].log.len() as u64;
        for entry in entries {
            let (before, after) = (self.world.strikes(40), self.world.strikes(40));
            if !before {
                self.write(entry);
            }
            if before || after {
                self.world.kill(self.host);
                resume_unwind(Box::new(Died));
            }
        }
        Ok(first)
    }

    fn head(&self, at: u64) -> Head {
        let state = self.world.state.lock().unwrap();
        let log = &state.hosts[self.host].log;
        let hash = |entries: u64| {
            let entry = &log.get(usize::try_from(entries).unwrap().checked_sub(1)?)?.entry;
            let line = format!("{entries} {:?} {} {}", entry.kind(), entry.query, entry.event.detail());
            <[u8; 32]>::try_from(ring::digest::digest(&ring::digest::SHA256, line.as_bytes()).as_ref()).ok()
        };
        let entries = log.len() as u64;
        Head { now: Mark { entries, hash: hash(entries).unwrap_or_default() }, at, at_hash: hash(at) }
    }
}

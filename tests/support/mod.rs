//! Federations in this process, one of each kind for the whole run. Each has 33 nodes and a coordinator, and each of
//! these has its own TLS listener on loopback.

pub mod doors;
pub mod folder;
pub mod proxy;
pub mod skip;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use loda::Client;
use loda_coordinator::Coordinator;
use loda_demo::datasets::Dataset;
use loda_demo::layout::{Layout, Options};
use loda_demo::london::{DEMO, SMALL};
use loda_identity::{Credentials, DenyList, Gss, Identity, Manifest, Peer, PeerId, RevocationList, Role, Trust};
use loda_node::{Methods, Node};
use loda_proto::v1::node_client::NodeClient;
use loda_proto::v1::{DescribeRequest, LogHead, SubmitRequest};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

/// The runtime of all in-process federations. DataFusion needs deep stacks.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .unwrap()
});

/// Runs a test on the shared runtime, in a separate task with a deep stack.
pub fn run<T: Send + 'static>(test: impl Future<Output = T> + Send + 'static) -> T {
    RUNTIME.block_on(async { RUNTIME.spawn(test).await.unwrap() })
}

/// A federation in this process.
pub struct Federation {
    pub layout: Layout,
    pub client: Client,
    _nodes: Vec<Node>,
    _dir: tempfile::TempDir,
}

/// The folder of open data, if it exists.
pub fn open_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if folder.join("lfb_dwelling_fires").is_dir() {
        return Some(folder);
    }
    skip::host("the open data is not beside this checkout (../shared/data)");
    None
}

/// A process that ends with the test.
pub struct Running(pub std::process::Child);

impl Running {
    pub fn stop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends a signal: "-STOP", "-CONT".
pub fn signal(process: u32, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(sent.unwrap().success());
}

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// The first of forty ports on loopback that are free now.
pub fn free_ports() -> u16 {
    loop {
        let offset = NEXT_PORT.fetch_add(40, Ordering::Relaxed);
        let base = 12_000 + (u16::try_from(std::process::id() % 200).unwrap() * 40 + offset) % 16_000;
        if (base..base + 40).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
}

pub fn options(dir: &Path, nodes: usize, data: Option<PathBuf>) -> Options {
    Options {
        dir: dir.to_owned(),
        nodes,
        port: free_ports(),
        data,
        extracts: false,
        seed: 7,
        scale: SMALL,
        tables: Vec::new(),
        dialling: 0,
    }
}

/// The generated London: small tables under contracts of three dimensions, or the demo's tables under its own
/// contracts.
#[derive(Clone, Copy)]
pub enum Of {
    Small,
    Demo,
}

impl Federation {
    async fn start(data: Option<PathBuf>, methods: Methods) -> Self {
        Self::start_of(33, data, methods).await
    }

    /// A small protected federation with generated data, for one test alone.
    pub async fn of(nodes: usize) -> Self {
        Self::start_of(nodes, None, Methods::standard().unwrap()).await
    }

    async fn start_of(nodes: usize, data: Option<PathBuf>, methods: Methods) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = laid_out(&options(dir.path(), nodes, data));
        Self::serving(layout, methods, dir).await
    }

    /// A federation with generated data, under other contracts than the demo's.
    pub async fn under(nodes: usize, methods: Methods, contract: &(dyn Fn(&Dataset) -> String + Sync)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create_under(&options(dir.path(), nodes, None), &mut |_| {}, contract).unwrap();
        Self::serving(layout, methods, dir).await
    }

    /// A federation with generated data that a test has changed.
    pub async fn changed(nodes: usize, of: Of, methods: Methods, change: &(dyn Fn(&Layout) + Sync)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let small = options(dir.path(), nodes, None);
        let layout = match of {
            Of::Small => laid_out(&small),
            Of::Demo => Layout::create(&Options { scale: DEMO, ..small }, &mut |_| {}).unwrap(),
        };
        change(&layout);
        Self::serving(layout, methods, dir).await
    }

    /// Serves the nodes of a layout, with a coordinator and a client.
    pub async fn serving(layout: Layout, methods: Methods, dir: tempfile::TempDir) -> Self {
        let handle = RUNTIME.handle().clone();
        let mut nodes = Vec::new();
        for borough in &layout.boroughs {
            let config = loda_node::Config::load(&layout.node(borough.gss).join("node.toml")).unwrap();
            let node = Node::open(config, methods.clone(), handle.clone()).await.unwrap();
            let listener = node.bind().await.unwrap();
            let serving = node.clone();
            handle.spawn(async move { serving.serve(listener).await.unwrap() });
            nodes.push(node);
        }
        Self::over(layout, nodes, dir).await
    }

    /// A coordinator and a client for running nodes.
    pub async fn over(layout: Layout, nodes: Vec<Node>, dir: tempfile::TempDir) -> Self {
        let handle = RUNTIME.handle().clone();
        let config = loda_coordinator::Config::load(&layout.coordinator().join("coordinator.toml")).unwrap();
        // Work that must be possible to end runs in processes of the built program.
        let program = loda_node::Program::at(env!("CARGO_BIN_EXE_loda-demo"), &["work"]);
        let config = loda_coordinator::Config { program: Some(program), ..config };
        let coordinator = Coordinator::open(config, handle.clone()).unwrap();
        let listener = coordinator.bind().await.unwrap();
        handle.spawn(async move { coordinator.serve(listener).await.unwrap() });
        let client = Client::connect(&loda::Config::load(&layout.client()).unwrap()).await.unwrap();
        // Nodes that dial out need a moment.
        let began = std::time::Instant::now();
        while client.nodes().await.is_ok_and(|said| said.nodes.iter().any(|n| !n.reachable)) {
            assert!(began.elapsed().as_secs() < 60, "a node cannot be reached");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Self { layout, client, _nodes: nodes, _dir: dir }
    }

    /// A client for one node, with the coordinator's certificate.
    pub fn node_client(&self, gss: &str) -> NodeClient<Channel> {
        node_client(&self.layout, gss, &self.layout.coordinator())
    }
}

/// A dataset's contract with tables of three dimensions. The tests' people are few and made up, and larger tables test
/// more rules.
pub fn wide(dataset: &Dataset) -> String {
    dataset.contract.replace("\ndimensions = 2\n", "\ndimensions = 3\n")
}

/// A federation's folder under such contracts.
pub fn laid_out(options: &Options) -> Layout {
    Layout::create_under(options, &mut |_| {}, &wide).unwrap()
}

/// A client for one node, with the certificate in a folder.
pub fn node_client(layout: &Layout, gss: &str, folder: &Path) -> NodeClient<Channel> {
    let identity = identity(layout, folder);
    let manifest = identity.manifest();
    let gss: Gss = gss.parse().unwrap();
    let expected = PeerId::new(&manifest.domain, Role::Node(gss.clone())).unwrap();
    let address = &manifest.member(&gss).unwrap().address;
    let wait = std::time::Duration::from_secs(5);
    NodeClient::new(loda_transport::channel(address, &identity, &expected, wait).unwrap())
}

/// A request as its coordinator sends it: with the position of its query log, as a continuation of the part that the
/// node has seen.
pub async fn logged(node: &mut NodeClient<Channel>, layout: &Layout, request: SubmitRequest) -> SubmitRequest {
    let described = node
        .describe(DescribeRequest { versions: loda_proto::VERSIONS.to_vec(), log: None, ..Default::default() })
        .await;
    let seen = described.unwrap().into_inner().log.unwrap().seen;
    let log = std::fs::read_to_string(layout.coordinator().join("state/log.jsonl")).unwrap_or_default();
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let lines: Vec<&str> = whole.lines().collect();
    let hash = |entries: u64| {
        let line = lines.get(usize::try_from(entries).unwrap().checked_sub(1)?)?;
        Some(ring::digest::digest(&ring::digest::SHA256, line.as_bytes()).as_ref().to_vec())
    };
    let entries = lines.len() as u64;
    let manifest = Manifest::load(layout.dir.join("manifest.toml")).unwrap();
    let key = loda_ledger::of_key(&manifest.coordinator.log_key);
    let log = match hash(entries) {
        Some(last) => {
            let at_hash = hash(seen).unwrap_or_default();
            LogHead { entries, hash: last, at: seen, at_hash, seen: 0, log: key }
        }
        // Without a coordinator, the log is this one entry.
        None => LogHead { entries: 1, hash: vec![1; 32], at: 1, at_hash: vec![1; 32], seen: 0, log: key },
    };
    SubmitRequest { log: Some(log), ..request }
}

/// The party whose certificate is in a folder, whether or not the federation trusts it.
pub fn identity(layout: &Layout, folder: &Path) -> Identity {
    let paths = layout.identity(folder);
    let manifest = std::sync::Arc::new(Manifest::load(&paths.manifest).unwrap());
    let credentials = Credentials::load(&paths.certificate, &paths.key).unwrap();
    let (lists, _) = RevocationList::read_folder(&paths.revocation).unwrap();
    let trust = std::sync::Arc::new(Trust::new(manifest, lists, DenyList::default(), None).unwrap().0);
    let claimed = Peer {
        id: PeerId::new(loda_demo::layout::DOMAIN, Role::Coordinator).unwrap(),
        ca_fingerprint: [0; 32],
        not_after: i64::MAX,
        fingerprint: [0; 32],
        serial: Vec::new(),
    };
    Identity::unchecked(credentials, trust, claimed).unwrap()
}

macro_rules! federation {
    ($name:ident, $data:expr, $methods:expr) => {
        /// Started on first use, and kept for the whole run.
        pub async fn $name() -> Option<&'static Federation> {
            static CELL: tokio::sync::OnceCell<Option<Federation>> = tokio::sync::OnceCell::const_new();
            CELL.get_or_init(|| async {
                let data: Option<Option<PathBuf>> = $data;
                match data {
                    Some(data) => Some(Federation::start(data, $methods.unwrap()).await),
                    None => None,
                }
            })
            .await
            .as_ref()
        }
    };
}

federation!(real, open_data().map(Some), Methods::standard());
federation!(real_unprotected, open_data().map(Some), Methods::unprotected());
federation!(synthetic, Some(None), Methods::standard());
federation!(synthetic_unprotected, Some(None), Methods::unprotected());

/// A process's resident memory in KiB, from the kernel. 0 if there is no /proc.
pub fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The number of rounds of a random test. The environment variable sets it.
pub fn rounds(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The seed of random tests. The environment variable `LODA_SEED` sets it.
pub fn seed() -> u64 {
    rounds("LODA_SEED", 1)
}

/// The random choices of a test, the same for each seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap()
    }

    /// A number from `from` to `to`, both included.
    pub fn number(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(u64::try_from(to - from).unwrap() + 1)).unwrap()
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }
}

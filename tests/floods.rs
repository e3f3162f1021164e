//! Peers who send too much to a running coordinator: the effect on other askers, and the cost to the process.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loda::Client;
use loda_demo::layout::Layout;
use loda_demo::processes::Processes;
use loda_identity::{Authority, PeerId, Role, SERVER_NAME};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");
const SQL: &str = "SELECT borough, COUNT(*) AS people FROM residents GROUP BY borough";
/// The most memory by which the process may grow during any flood.
const GROWTH_KIB: u64 = 96 << 10;

/// A peer with a good certificate who misuses it.
struct Mallory {
    address: String,
    identity: loda_identity::Identity,
}

impl Mallory {
    fn new(layout: &Layout) -> Self {
        let folder = layout.dir.join("attack");
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Authority::load(layout.authority("analysts")).unwrap();
        let id = PeerId::new("demo.london", Role::Analyst("mallory".to_owned())).unwrap();
        let issued = authority.issue(&id, 1).unwrap();
        std::fs::write(folder.join("tls.pem"), issued.cert_pem).unwrap();
        std::fs::write(folder.join("tls.key"), issued.key_pem).unwrap();
        let identity = support::identity(layout, &folder);
        Self { address: identity.manifest().coordinator.address.clone(), identity }
    }

    /// A connection on which HTTP/2 has begun.
    async fn begin(&self) -> Option<TlsStream<TcpStream>> {
        let coordinator = PeerId::new("demo.london", Role::Coordinator).unwrap();
        let config = self.identity.client_config(&coordinator).unwrap();
        let stream = TcpStream::connect(&self.address).await.ok()?;
        let name = SERVER_NAME.try_into().unwrap();
        let mut stream = TlsConnector::from(Arc::clone(&config)).connect(name, stream).await.ok()?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.ok()?;
        stream.write_all(&frame(4, 0, 0, &[])).await.ok()?;
        Some(stream)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The headers of a gRPC call, uncompressed in HPACK.
fn headers(encoding: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &str, value: &str| {
        block.push(0x00);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    };
    literal(":path", "/loda.v1.Query/Catalogue");
    literal(":authority", "loda.internal");
    literal("content-type", "application/grpc");
    literal("te", "trailers");
    literal("grpc-encoding", encoding);
    block
}

#[derive(Clone, Copy, Debug)]
enum Flood {
    Idle,
    RapidReset,
    Continuation,
    EmptyData,
    Ping,
    Oversize,
    Bomb,
}

/// Sends a flood until it is stopped, over one connection after another.
async fn flood(mallory: Arc<Mallory>, kind: Flood) {
    loop {
        let Some(mut stream) = mallory.begin().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut id = 1_u32;
        if matches!(kind, Flood::EmptyData | Flood::Oversize | Flood::Bomb) {
            let encoding = if matches!(kind, Flood::Bomb) { "gzip" } else { "identity" };
            let _ = stream.write_all(&frame(HEADERS, END_HEADERS, 1, &headers(encoding))).await;
        }
        if matches!(kind, Flood::Continuation) {
            let _ = stream.write_all(&frame(HEADERS, 0, 1, &headers("identity"))).await;
        }
        let mut first = true;
        let (mut reading, mut writing) = tokio::io::split(stream);
        let drain = async {
            let mut sink = vec![0; 64 << 10];
            while matches!(reading.read(&mut sink).await, Ok(1..)) {}
        };
        let send = async {
            loop {
                let mut batch = Vec::new();
                for _ in 0..64 {
                    match kind {
                        Flood::Idle => {}
                        Flood::RapidReset => {
                            batch.extend(frame(HEADERS, END_HEADERS, id, &headers("identity")));
                            batch.extend(frame(RESET, 0, id, &8_u32.to_be_bytes()));
                            id += 2;
                        }
                        // A header that never ends: 1,000 more bytes of another value each time.
                        Flood::Continuation => {
                            let mut more = vec![0x00, 1, b'x', 127, 0xe9, 0x06];
                            more.extend([b'y'; 1000]);
                            batch.extend(frame(CONTINUATION, 0, 1, &more));
                        }
                        Flood::EmptyData => batch.extend(frame(DATA, 0, 1, &[])),
                        Flood::Ping => batch.extend(frame(PING, 0, 0, &[0; 8])),
                        // A message that claims to be 2 GiB long, or a small message that would become large.
                        Flood::Oversize | Flood::Bomb => {
                            let mut payload = vec![0; 1024];
                            if first {
                                payload[..5].copy_from_slice(&[
                                    u8::from(matches!(kind, Flood::Bomb)),
                                    0x7f,
                                    0xff,
                                    0xff,
                                    0xff,
                                ]);
                                first = false;
                            }
                            batch.extend(frame(DATA, 0, 1, &payload));
                        }
                    }
                }
                if batch.is_empty() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                } else if writing.write_all(&batch).await.is_err() {
                    return;
                }
            }
        };
        // The server ends the connection, and the next one begins.
        tokio::select! {
            () = drain => {}
            () = send => {}
        }
    }
}

/// Another asker's questions for a while: the median and the 99th percentile in milliseconds, and their number.
async fn others(client: &Client, time: Duration) -> (f64, f64, usize) {
    let (began, mut spent) = (Instant::now(), Vec::new());
    while began.elapsed() < time {
        let begun = Instant::now();
        let answer = client.query(SQL, "demo", Some(Duration::from_secs(10)), |_| {}).await.unwrap();
        assert!(answer.statement.complete);
        spent.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    spent.sort_by(f64::total_cmp);
    (spent[spent.len() / 2], spent[spent.len() * 99 / 100], spent.len())
}

#[test]
fn floods_cost_others_little_and_the_process_less() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 2, None));
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        let mallory = Arc::new(Mallory::new(&layout));
        let process = processes.coordinator_id().unwrap();
        let memory = || support::resident_kib(process);
        let time = Duration::from_millis(support::rounds("LODA_FLOOD_MS", 2_000));
        others(&client, time).await;
        let (p50, p99, _) = others(&client, time).await;
        let rest = memory();
        println!("{:<14} p50 {p50:6.1} ms  p99 {p99:6.1} ms  memory {:4} MiB", "before", rest >> 10);
        let kinds = [
            Flood::Idle,
            Flood::RapidReset,
            Flood::Continuation,
            Flood::EmptyData,
            Flood::Ping,
            Flood::Oversize,
            Flood::Bomb,
        ];
        for kind in kinds {
            let many = if matches!(kind, Flood::Idle) { 64 } else { 8 };
            let floods: Vec<_> = (0..many).map(|_| tokio::spawn(flood(Arc::clone(&mallory), kind))).collect();
            let (p50, p99, _) = others(&client, time).await;
            let during = memory();
            floods.iter().for_each(tokio::task::JoinHandle::abort);
            println!("{kind:<14?} p50 {p50:6.1} ms  p99 {p99:6.1} ms  memory {:4} MiB", during >> 10);
            assert!(during < rest + GROWTH_KIB, "{kind:?}: {rest} KiB → {during} KiB");
        }
        // Ten thousand connections that send nothing. New askers can still connect.
        let count = usize::try_from(support::rounds("LODA_FLOOD_CONNECTIONS", 10_000)).unwrap();
        let crowd = tokio::spawn({
            let address = mallory.address.clone();
            async move {
                let mut held = Vec::new();
                for _ in 0..count {
                    match tokio::time::timeout(Duration::from_secs(2), TcpStream::connect(&address)).await {
                        Ok(Ok(stream)) => held.push(stream),
                        _ => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
                held
            }
        });
        let (p50, p99, _) = others(&client, time).await;
        println!("{:<14} p50 {p50:6.1} ms  p99 {p99:6.1} ms  memory {:4} MiB", "connections", memory() >> 10);
        let held = crowd.await.unwrap();
        let begun = Instant::now();
        let fresh = Client::connect(&loda::Config::load(&layout.client()).unwrap()).await.unwrap();
        fresh.catalogue().await.unwrap();
        println!("a new asker behind {} silent connections: {:?}", held.len(), begun.elapsed());
        drop(held);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (p50, p99, _) = others(&client, time).await;
        let after = memory();
        println!("{:<14} p50 {p50:6.1} ms  p99 {p99:6.1} ms  memory {:4} MiB", "after", after >> 10);
        assert!(after < rest + GROWTH_KIB, "{rest} KiB → {after} KiB");
    });
}

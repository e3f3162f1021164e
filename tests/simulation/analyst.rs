//! Analysts: they ask, wait, lose their connection, cancel, leave and return.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use arrow::ipc::reader::StreamReader;
use loda_coordinator::NodeChannel;
use loda_proto::v1;
use loda_proto::v1::query_client::QueryClient;
use prost::Message;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use super::net;
use super::world::{CENTRE, World};
use crate::pooled::text;

/// The end of a question, as its analyst saw it.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    Answered {
        rows: Vec<Vec<String>>,
        statement: Box<v1::Statement>,
    },
    Said(v1::State),
    /// The coordinator does not know the question.
    Unknown,
    /// The analyst left, or stopped waiting.
    Left,
}

#[derive(Debug)]
pub struct Asked {
    pub sql: usize,
    pub id: String,
    pub time: Duration,
    pub end: End,
    /// The time at which the cancellation was confirmed.
    pub cancelled: Option<Instant>,
}

pub struct Analyst {
    world: Arc<World>,
    rpc: QueryClient<NodeChannel>,
}

impl Analyst {
    pub fn new(world: &Arc<World>, number: usize) -> Self {
        let host = world.stage.nodes.len() + 1 + number;
        Self { world: Arc::clone(world), rpc: QueryClient::new(net::line(world, host, CENTRE)) }
    }

    /// Asks, and waits for a random time. `None`: as far as the analyst knows, the question never began.
    pub async fn ask(&self, sql: usize, text: &str) -> Option<Asked> {
        let world = &self.world;
        let mut rpc = self.rpc.clone();
        let request = v1::PrepareRequest { sql: text.to_owned(), purpose: "demo".to_owned(), ask_nodes: false };
        let prepared = rpc.prepare(request).await.ok()?.into_inner();
        assert!(prepared.refusal.is_none(), "{prepared:?}");
        let time = Duration::from_millis(1000 + world.below(12_000));
        let run = v1::RunRequest {
            prepared_id: prepared.prepared_id,
            deadline_ms: u32::try_from(time.as_millis()).unwrap(),
            detached: world.below(2) == 0,
            signed: None,
        };
        let v1::RunResponse { query_id: id, refusal: None } = rpc.run(run).await.ok()?.into_inner() else {
            return None;
        };
        world.tell(format!("question {sql} is {id}"));
        let mut asked = Asked { sql, id, time, end: End::Left, cancelled: None };
        match world.below(6) {
            0 => {
                sleep(world.millis(2_000)).await;
                let request = v1::CancelRequest { query_id: asked.id.clone() };
                if rpc.cancel(request).await.is_ok() {
                    asked.cancelled = Some(Instant::now());
                    world.tell(format!("{} is cancelled", asked.id));
                }
                asked.end = self.end(&asked.id).await;
            }
            1 => {
                // The analyst leaves while the question runs.
                let patience = world.millis(1_000);
                if let Ok(end) = timeout(patience, self.end(&asked.id)).await {
                    asked.end = end;
                }
            }
            _ => asked.end = self.end(&asked.id).await,
        }
        Some(asked)
    }

    /// Waits for the end of a question, over lost connections, for at most a minute.
    pub async fn end(&self, id: &str) -> End {
        timeout(Duration::from_secs(60), async {
            loop {
                match self.attempt(id).await {
                    Ok(end) => return end,
                    Err(status) if status.code() == Code::NotFound => return End::Unknown,
                    Err(status) if std::error::Error::source(&status).is_some() => {}
                    Err(status) if status.code() == Code::Unavailable => {}
                    Err(status) => panic!("{id}: {status:?}"),
                }
                sleep(Duration::from_millis(200)).await;
            }
        })
        .await
        .unwrap_or(End::Left)
    }

    async fn attempt(&self, id: &str) -> Result<End, Status> {
        let mut rpc = self.rpc.clone();
        let mut states = rpc.watch(v1::WatchRequest { query_id: id.to_owned() }).await?.into_inner();
        let mut last = v1::State::Queued;
        while let Some(progress) = states.message().await? {
            last = progress.state();
        }
        drop(states);
        match last {
            v1::State::Queued | v1::State::Running | v1::State::Held => Err(Status::unavailable("again")),
            v1::State::Released => {
                let mut chunks = rpc.fetch(v1::FetchRequest { query_id: id.to_owned() }).await?.into_inner();
                let (mut statement, mut bytes) = (None, Vec::new());
                while let Some(chunk) = chunks.message().await? {
                    statement = statement.or(chunk.statement);
                    bytes.extend(chunk.arrow_ipc);
                }
                let batches: Result<Vec<_>, _> = StreamReader::try_new(Cursor::new(bytes), None).unwrap().collect();
                let rows = text(&batches.unwrap(), 99);
                let statement = v1::Statement::decode(statement.unwrap().as_slice()).unwrap();
                Ok(End::Answered { rows, statement: Box::new(statement) })
            }
            other => Ok(End::Said(other)),
        }
    }
}

//! The calls that the coordinator makes, over gRPC.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use loda_identity::PeerId;
use loda_ledger::tree::checkpoint::{Checkpoint, witnessed_at};
use loda_ledger::tree::note::{Note, Verifier};
use loda_ledger::tree::proof;
use loda_ledger::{Offered, Unconfirmed, coordinator_key, witness_keys};
use loda_proto::v1::node_server::Node as NodeService;
use loda_proto::v1::told::Word;
use loda_proto::{CHUNK, VERSIONS, v1};
use loda_question::{Refusal, Rule};
use loda_service::{heads, read_log, successors};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use crate::query::registry::Job;
use crate::serve::Node;

#[tonic::async_trait]
impl NodeService for Node {
    type AskStream = Pin<Box<dyn Stream<Item = Result<v1::Told, Status>> + Send>>;

    async fn describe(&self, request: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        let v1::DescribeRequest { versions: spoken, log, manifest_version: theirs, successors } = request.into_inner();
        let borough = self.borough.config.borough.to_string();
        let Some(version) = VERSIONS.into_iter().find(|v| spoken.contains(v)) else {
            let refusal = Refusal::new(
                Rule::Version,
                format!("this node speaks protocol versions {VERSIONS:?}"),
                "Upgrade the older side: neighbouring versions understand each other",
            );
            return Ok(Response::new(v1::DescribeResponse {
                borough,
                refusal: Some(wire_refusal(&refusal)),
                ..Default::default()
            }));
        };
        // Reading and keeping manifests waits for the disk.
        let identity = self.identity.clone();
        let manifest_version = tokio::task::spawn_blocking(move || successors::heard(&identity, &successors));
        let manifest_version = manifest_version.await.map_err(|_| Status::internal("internal"))?;
        Ok(Response::new(v1::DescribeResponse {
            version,
            borough,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            datasets: self.borough.held(),
            refusal: None,
            log: Some(self.queries.head(log.map_or(0, |log| log.seen))),
            manifest_version,
            successors: successors::told(&self.identity, theirs),
            grants: self.borough.agreement.now().grants(),
        }))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let refusal = self.queries.submit(request.into_inner()).await?;
        Ok(Response::new(v1::SubmitResponse { refusal: refusal.as_ref().map(wire_refusal) }))
    }

    async fn ask(&self, request: Request<v1::SubmitRequest>) -> Result<Response<Self::AskStream>, Status> {
        let request = request.into_inner();
        let id = request.query_id.clone();
        let seen = request.log.as_ref().map_or(0, |log| log.seen);
        let queries = Arc::clone(&self.queries);
        let told = move |word: Word| {
            let log = heads::comes_with(&word).then(|| queries.head(seen));
            Ok(v1::Told { word: Some(word), log })
        };
        if let Some(refusal) = self.queries.submit(request).await? {
            let refused = [told(Word::Refusal(wire_refusal(&refusal)))];
            return Ok(Response::new(Box::pin(futures::stream::iter(refused))));
        }
        let job = self.queries.job(&id)?;
        Ok(Response::new(Box::pin(states(Arc::clone(&job)).chain(chunks(job)).map(told))))
    }

    async fn read_log(&self, request: Request<v1::ReadLogRequest>) -> Result<Response<v1::ReadLogResponse>, Status> {
        let request = request.into_inner();
        if !self.borough.config.audit.open {
            let refusal = Refusal::new(
                Rule::Log,
                "this borough does not open its query log to the federation's auditors",
                "Ask the borough: `open` under [audit] in its configuration decides",
            );
            return Ok(Response::new(v1::ReadLogResponse {
                refusal: Some(wire_refusal(&refusal)),
                ..Default::default()
            }));
        }
        let wanted = read_log::wanted(&request).ok_or_else(|| Status::invalid_argument("conditions"))?;
        let auditor: PeerId = request.auditor.parse().map_err(|_| Status::invalid_argument("auditor"))?;
        if request.texts {
            self.queries.note_reading(&auditor.to_string())?;
        }
        let (state, tree) = (self.borough.config.state.clone(), self.tree.clone());
        let page = tokio::task::spawn_blocking(move || read_log::read(&state, &wanted, &request, tree.as_ref())).await;
        match page {
            Ok(Ok(page)) => Ok(Response::new(page)),
            Ok(Err(fault)) => {
                tracing::error!("the query log cannot be read: {fault:#}");
                Err(Status::internal("internal"))
            }
            Err(_) => Err(Status::internal("internal")),
        }
    }

    async fn cosign(&self, request: Request<v1::CosignRequest>) -> Result<Response<v1::CosignResponse>, Status> {
        let request = request.into_inner();
        let manifest = self.identity.manifest();
        let log = coordinator_key(&manifest).ok_or_else(|| Status::internal("internal"))?;
        let proof = proof::of_bytes(&request.proof).ok_or_else(|| Status::invalid_argument("proof"))?;
        let now = u64::try_from(chrono::Utc::now().timestamp()).unwrap_or(0);
        let (witness, queries) = (Arc::clone(&self.witness), Arc::clone(&self.queries));
        // What is confirmed is written to the disk first.
        let confirmed = tokio::task::spawn_blocking(move || {
            if let Some(quorum) = manifest.witnessing().filter(|quorum| queries.confirmation.wants(quorum))
                && let Ok(note) = Note::parse(&request.confirmed)
                && let Ok(checkpoint) = Checkpoint::of_note(&note, &log)
                && witness.has_confirmed(&log, &note)
            {
                let keys: Vec<Verifier> = witness_keys(&manifest).into_iter().map(|(_, key)| key).collect();
                let at = witnessed_at(&note, &keys, quorum.members, now);
                if let Some(at) = at {
                    let ago = Duration::from_secs(now.saturating_sub(at));
                    queries.confirmation.heard(ago, checkpoint.size, queries.shown());
                }
            }
            witness.confirm(&log, &Offered { note: &request.checkpoint, old: request.old, proof: &proof }, now)
        });
        let confirmed = confirmed.await.map_err(|_| Status::internal("internal"))?;
        self.queries.witnessed(confirmed.as_ref().err());
        Ok(Response::new(match confirmed {
            Ok(note) => v1::CosignResponse { note: note.to_string().into_bytes(), ..Default::default() },
            Err(Unconfirmed::ProofFrom(old)) => v1::CosignResponse { proof_from: Some(old), ..Default::default() },
            Err(Unconfirmed::File { path, source }) => {
                tracing::error!("a checkpoint of the coordinator's log cannot be confirmed: {path}: {source}");
                return Err(Status::internal("internal"));
            }
            Err(fault) => v1::CosignResponse { fault: fault.to_string(), ..Default::default() },
        }))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelNodeRequest>,
    ) -> Result<Response<v1::CancelNodeResponse>, Status> {
        self.queries.job(&request.into_inner().query_id)?.cancel();
        Ok(Response::new(v1::CancelNodeResponse {}))
    }
}

/// A job's states as they come, up to the one that ends it. `Released` is left out, because the chunks stand for it.
fn states(job: Arc<Job>) -> impl Stream<Item = Word> + Send {
    // The stream holds the job, so the job's sender outlives the watcher.
    futures::stream::unfold(Some((WatchStream::new(job.watch()), job)), |watching| async {
        let (mut states, job) = watching?;
        let state = states.next().await.filter(|state| *state != v1::State::Released)?;
        let next = (!state.is_final()).then_some((states, job));
        Some((Word::State(state.into()), next))
    })
}

/// The chunks of a job's answer, the same each time. Empty if the job has released nothing.
fn chunks(job: Arc<Job>) -> impl Stream<Item = Word> + Send {
    let (mut offset, mut header) = (0_usize, true);
    futures::stream::iter(std::iter::from_fn(move || {
        let release = job.release()?;
        let rest = release.arrow_ipc.get(offset..).filter(|rest| header || !rest.is_empty())?;
        let chunk = rest.get(..CHUNK - 1024).unwrap_or(rest);
        offset = offset.saturating_add(chunk.len());
        let first = std::mem::take(&mut header).then(|| release.header.clone());
        Some(Word::Chunk(v1::ReleasedChunk { header: first, arrow_ipc: chunk.to_vec() }))
    }))
}

fn wire_refusal(refusal: &Refusal) -> v1::Refusal {
    v1::Refusal {
        rule: refusal.rule.name().to_owned(),
        message: refusal.message.clone(),
        advice: refusal.advice.clone(),
    }
}

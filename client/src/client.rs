//! The coordinator's services, as an asker uses them.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use loda_contract::Contract;
use loda_identity::{Identity, Paths, PeerId, Role};
use loda_proto::v1::query_client::QueryClient;
use loda_proto::v1::{self, State};
use loda_question::Fragment;
use tokio::time::{sleep, timeout as within};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::chunks::Chunks;
use crate::config::{Config, ConfigError};
use crate::error::ClientError;
use crate::recorded::{self, Expected, Keys, Recorded};
use crate::signing::{Contracts, Prepared};
use loda_answer::{Answer, plain};

const CONNECT: Duration = Duration::from_secs(10);
/// The time for calls that do not wait for data. It is longer than a node's reply takes, because Prepare may ask every
/// node.
const CALL: Duration = Duration::from_secs(60);
const CANCEL: Duration = Duration::from_secs(5);
/// The time that the coordinator has after the query's deadline to report the outcome.
const GRACE: Duration = Duration::from_secs(30);
/// The number of times in a row that a lost connection is made again while waiting or fetching.
const RETRIES: u32 = 5;
/// The largest message: a chunk of 1 MiB, and a statement or the verdicts of every borough.
const MESSAGE: usize = 16 << 20;

/// A connection to the coordinator, in one asker's name. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    rpc: QueryClient<Channel>,
    identity: Identity,
    contracts: Contracts,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Checks the certificate against the manifest and makes a channel, which connects when first used.
    ///
    /// # Errors
    /// [`ClientError::Config`] if the certificate, key, manifest or address cannot be used.
    pub async fn connect(config: &Config) -> Result<Self, ClientError> {
        let identity = identity(config)?;
        tokio::spawn(identity.clone().keep_current());
        let manifest = identity.manifest();
        let address = match &config.coordinator {
            Some(address) => address.clone(),
            None => manifest.coordinator.address.clone(),
        };
        let coordinator = PeerId { domain: manifest.domain.clone(), role: Role::Coordinator };
        let channel = loda_transport::channel(&address, &identity, &coordinator, CONNECT)
            .map_err(|error| ClientError::transport(&address, &error))?;
        Ok(Self {
            rpc: QueryClient::new(channel).max_decoding_message_size(MESSAGE),
            identity,
            contracts: Contracts::default(),
        })
    }

    /// The tables that can be asked.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub async fn catalogue(&self) -> Result<Vec<v1::Table>, ClientError> {
        let mut rpc = self.rpc.clone();
        Ok(soon(rpc.catalogue(v1::CatalogueRequest {})).await?.tables)
    }

    /// The boroughs' nodes, as the coordinator sees them.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub async fn nodes(&self) -> Result<v1::NodesResponse, ClientError> {
        let mut rpc = self.rpc.clone();
        soon(rpc.nodes(v1::NodesRequest {})).await
    }

    /// The purposes that boroughs have agreed to for the caller.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub async fn purposes(&self) -> Result<Vec<v1::Purpose>, ClientError> {
        let mut rpc = self.rpc.clone();
        Ok(soon(rpc.purposes(v1::PurposesRequest {})).await?.purposes)
    }

    /// The versions of the federation's manifest after `version`, with their signatures: as many as fit into one
    /// message.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub async fn successors(&self, version: u64) -> Result<Vec<v1::ManifestVersion>, ClientError> {
        let mut rpc = self.rpc.clone();
        Ok(soon(rpc.successors(v1::SuccessorsRequest { version })).await?.versions)
    }

    /// Makes a token for a program that cannot show this certificate. Only this call returns the token's text.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub async fn new_token(&self, wanted: v1::NewTokenRequest) -> Result<v1::NewTokenResponse, ClientError> {
        let mut rpc = self.rpc.clone();
        soon(rpc.new_token(wanted)).await
    }

    /// The asker's tokens, without their secrets.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub async fn tokens(&self) -> Result<Vec<v1::TokenInfo>, ClientError> {
        let mut rpc = self.rpc.clone();
        Ok(soon(rpc.list_tokens(v1::ListTokensRequest {})).await?.tokens)
    }

    /// Revokes one of the asker's tokens, with immediate effect.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        let mut rpc = self.rpc.clone();
        soon(rpc.revoke_token(v1::RevokeTokenRequest { id: id.to_owned() })).await?;
        Ok(())
    }

    /// The place of a fetched answer in the coordinator's query log, checked against the manifest's keys. `None`: the
    /// coordinator shows none, because its software is older.
    ///
    /// # Errors
    /// [`ClientError::NotRecorded`] if the log does not hold this answer, or [`ClientError::Transport`].
    pub async fn recorded(&self, answer: &Answer) -> Result<Option<Recorded>, ClientError> {
        let mut rpc = self.rpc.clone();
        let query_id = &answer.statement.query_id;
        let told = soon(async {
            match rpc.recorded(v1::RecordedRequest { query_id: query_id.clone() }).await {
                Err(status) if status.code() == Code::Unimplemented => {
                    Ok(tonic::Response::new(v1::RecordedResponse::default()))
                }
                told => told,
            }
        });
        let told = told.await?;
        if told.entry.is_empty() {
            return Ok(None);
        }
        let now = self.identity.now();
        let expected = Expected {
            query_id,
            analyst: &now.own.id.to_string(),
            purpose: &answer.statement.purpose,
            sha256: &answer.sha256,
        };
        let keys = Keys::of(now.trust.manifest()).ok_or("the manifest's domain is no name of a log");
        let checked = keys.and_then(|keys| recorded::check(&told, &keys, &expected));
        checked.map(Some).map_err(|fault| ClientError::NotRecorded { query: plain::line(query_id), fault })
    }

    /// A page of the coordinator's query log, or of a borough's. For auditors.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Transport`].
    pub async fn read_log(&self, request: v1::ReadLogRequest) -> Result<v1::ReadLogResponse, ClientError> {
        let mut rpc = self.rpc.clone();
        let mut page = soon(rpc.read_log(request)).await?;
        match page.refusal.take() {
            Some(refusal) => Err(refusal.into()),
            None => Ok(page),
        }
    }

    /// Plans a question without running it. With `ask_nodes` every node also gives its verdict. The fragments' words are
    /// made here, from the bytes that nodes get.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Transport`].
    pub async fn prepare(&self, sql: &str, purpose: &str, ask_nodes: bool) -> Result<Prepared, ClientError> {
        let mut rpc = self.rpc.clone();
        let request = v1::PrepareRequest { sql: sql.into(), purpose: purpose.into(), ask_nodes };
        let mut prepared = soon(rpc.prepare(request)).await?;
        if let Some(refusal) = prepared.refusal.take() {
            return Err(refusal.into());
        }
        let mut meanings = Vec::new();
        for fragment in &prepared.fragments {
            meanings.push(self.meaning(&fragment.bytes).await?);
        }
        Prepared::read(sql, purpose, prepared, meanings)
    }

    /// The meaning of a fragment's bytes, under the contracts that the manifest names. `None`: it cannot be told.
    async fn meaning(&self, bytes: &[u8]) -> Result<Option<Fragment>, ClientError> {
        loop {
            let dataset = match self.contracts.decode(bytes) {
                Ok(fragment) => return Ok(Some(fragment)),
                Err(Some(dataset)) => dataset,
                Err(None) => return Ok(None),
            };
            if self.contract(&dataset).await?.is_none() {
                return Ok(None);
            }
        }
    }

    /// The contract that the manifest names for a dataset. `None`: it names none, or the coordinator does not show it.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub async fn contract(&self, dataset: &str) -> Result<Option<Arc<Contract>>, ClientError> {
        if let Some(known) = self.contracts.get(dataset) {
            return Ok(Some(known));
        }
        let manifest = self.identity.manifest();
        let Some(pinned) = manifest.datasets.iter().find(|of| of.name == dataset) else { return Ok(None) };
        let mut rpc = self.rpc.clone();
        let told = soon(async {
            match rpc.contract(v1::ContractRequest { dataset: dataset.to_owned() }).await {
                Err(status) if matches!(status.code(), Code::Unimplemented | Code::NotFound) => {
                    Ok(tonic::Response::new(v1::ContractResponse::default()))
                }
                told => told,
            }
        });
        self.contracts.take_up(dataset, &told.await?.text, &pinned.contract_sha256);
        Ok(self.contracts.get(dataset))
    }

    /// Asks, waits and fetches. `timeout` is the boroughs' deadline; without it the coordinator's own limit applies.
    ///
    /// A partial answer is an `Ok`: its statement names the missing boroughs. Dropping the future leaves the query
    /// running; see [`Client::query_until`].
    ///
    /// # Errors
    /// [`ClientError`], each variant.
    pub async fn query(
        &self,
        sql: &str,
        purpose: &str,
        timeout: Option<Duration>,
        on_progress: impl FnMut(&v1::Progress),
    ) -> Result<Answer, ClientError> {
        self.query_until(sql, purpose, timeout, on_progress, std::future::pending()).await
    }

    /// As [`Client::query`]. If `stop` completes first, the query is also cancelled at the coordinator.
    ///
    /// # Errors
    /// As [`Client::query`]; [`ClientError::Cancelled`] after `stop`.
    pub async fn query_until(
        &self,
        sql: &str,
        purpose: &str,
        timeout: Option<Duration>,
        on_progress: impl FnMut(&v1::Progress),
        stop: impl Future<Output = ()>,
    ) -> Result<Answer, ClientError> {
        tokio::pin!(stop);
        let prepared = tokio::select! {
            prepared = self.prepare(sql, purpose, false) => prepared?,
            () = &mut stop => return Err(ClientError::Cancelled),
        };
        self.ask_until(&prepared, timeout, on_progress, stop).await
    }

    /// As [`Client::query_until`], for a question that is planned.
    ///
    /// # Errors
    /// As [`Client::query_until`].
    pub async fn ask_until(
        &self,
        prepared: &Prepared,
        timeout: Option<Duration>,
        on_progress: impl FnMut(&v1::Progress),
        stop: impl Future<Output = ()>,
    ) -> Result<Answer, ClientError> {
        tokio::pin!(stop);
        // This call is not interrupted, because a query without a known id could not be cancelled.
        let query_id = self.start(prepared, timeout).await?;

        let deadline = async {
            match timeout {
                Some(limit) => sleep(limit.saturating_add(GRACE)).await,
                None => std::future::pending().await,
            }
        };
        let stopped = tokio::select! {
            answer = self.await_answer(&query_id, on_progress) => return answer,
            () = &mut stop => ClientError::Cancelled,
            () = deadline => ClientError::NoAnswer,
        };
        // If this fails, the coordinator's deadline ends the query.
        let _ = within(CANCEL, self.cancel(&query_id)).await;
        Err(stopped)
    }

    /// Signs and runs a prepared question, and returns the query's id.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Transport`].
    pub async fn start(&self, prepared: &Prepared, timeout: Option<Duration>) -> Result<String, ClientError> {
        self.run(prepared, timeout, false).await
    }

    /// As [`Client::start`], for a question that continues while no client waits for it. [`Client::await_answer`]
    /// fetches its answer later, up to ten minutes after its end.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Transport`].
    pub async fn start_detached(&self, prepared: &Prepared, timeout: Option<Duration>) -> Result<String, ClientError> {
        self.run(prepared, timeout, true).await
    }

    async fn run(&self, prepared: &Prepared, timeout: Option<Duration>, detached: bool) -> Result<String, ClientError> {
        let mut rpc = self.rpc.clone();
        let signed = prepared.sign(&self.identity, timeout)?;
        let prepared_id = prepared.prepared_id.clone();
        let request = v1::RunRequest { prepared_id, deadline_ms: deadline_ms(timeout), detached, signed };
        let ran = soon(rpc.run(request)).await?;
        ran.refusal.map_or(Ok(ran.query_id), |refusal| Err(refusal.into()))
    }

    /// Waits for a query, over lost connections, and fetches its answer.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn await_answer(
        &self,
        query_id: &str,
        mut on_progress: impl FnMut(&v1::Progress),
    ) -> Result<Answer, ClientError> {
        let mut failures = 0;
        loop {
            match self.watch(query_id, &mut on_progress, &mut failures).await {
                Ok(Some((outcome, refusal))) => {
                    if let Some(refusal) = refusal {
                        return Err(refusal.into());
                    }
                    released(outcome)?;
                    break;
                }
                Ok(None) => again(&mut failures, "the coordinator stopped reporting").await?,
                Err(status) if is_passing(&status) => {
                    again(&mut failures, "the connection to the coordinator was lost").await?;
                }
                Err(status) => return Err(status.into()),
            }
        }
        failures = 0;
        loop {
            match self.fetch(query_id).await {
                Err(Fetching::Call(status)) if is_passing(&status) => {
                    again(&mut failures, "the connection was lost while fetching").await?;
                }
                Err(Fetching::Call(status)) => return Err(status.into()),
                Err(Fetching::Content(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// Cancels a query at the coordinator and at the boroughs.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub async fn cancel(&self, query_id: &str) -> Result<(), ClientError> {
        let mut rpc = self.rpc.clone();
        soon(rpc.cancel(v1::CancelRequest { query_id: query_id.into() })).await.map(drop)
    }

    /// Follows one Watch to the final state and the reason for it; `None` if the stream ended without a final state.
    async fn watch(
        &self,
        query_id: &str,
        on_progress: &mut impl FnMut(&v1::Progress),
        failures: &mut u32,
    ) -> Result<Option<(State, Option<v1::Refusal>)>, Status> {
        let mut rpc = self.rpc.clone();
        let mut states = rpc.watch(v1::WatchRequest { query_id: query_id.into() }).await?.into_inner();
        while let Some(progress) = states.message().await? {
            *failures = 0;
            on_progress(&progress);
            let state = progress.state();
            if matches!(state, State::Released | State::NotAnswered | State::Cancelled | State::Refused) {
                return Ok(Some((state, progress.refusal)));
            }
        }
        Ok(None)
    }

    async fn fetch(&self, query_id: &str) -> Result<Answer, Fetching> {
        let mut rpc = self.rpc.clone();
        let request = v1::FetchRequest { query_id: query_id.into() };
        let mut stream = rpc.fetch(request).await.map_err(Fetching::Call)?.into_inner();
        let mut chunks = Chunks::default();
        while let Some(chunk) = stream.message().await.map_err(Fetching::Call)? {
            chunks.add(chunk).map_err(Fetching::Content)?;
        }
        let answer = chunks.finish().map_err(Fetching::Content)?;
        // The log holds other answers too.
        if answer.statement.query_id != query_id {
            let fault = "the coordinator sent the answer of another question".to_owned();
            return Err(Fetching::Content(ClientError::Transport(fault)));
        }
        Ok(answer)
    }
}

/// Loads the files of a configuration, and checks that the certificate identifies the asker.
///
/// # Errors
/// [`ConfigError::Unusable`], naming the file.
pub(crate) fn identity(config: &Config) -> Result<Identity, ConfigError> {
    let paths = Paths {
        manifest: config.manifest.clone(),
        certificate: config.cert.clone(),
        key: config.key.clone(),
        revocation: config.revocation_lists.clone(),
        denied: None,
        pinned: None,
    };
    Identity::load(paths).map_err(|error| ConfigError::Unusable { reason: error.to_string() })
}

enum Fetching {
    Call(Status),
    Content(ClientError),
}

/// A unary call's message, in [`CALL`].
async fn soon<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, ClientError> {
    match within(CALL, call).await {
        Ok(reply) => Ok(reply?.into_inner()),
        Err(_) => Err(ClientError::Transport(format!("the coordinator did not reply in {} s", CALL.as_secs()))),
    }
}

fn released(outcome: State) -> Result<(), ClientError> {
    match outcome {
        State::Released => Ok(()),
        State::Cancelled => Err(ClientError::Cancelled),
        State::Refused => Err(ClientError::Refused {
            rule: "boroughs".into(),
            message: "every borough that was asked refused".into(),
            advice: "`loda explain` gives each borough's reason".into(),
        }),
        _ => Err(ClientError::NoAnswer),
    }
}

/// Whether another attempt can help: the other end is away, or the connection ended (connections have a maximum age). A
/// status with a cause was made in this process. A status without a cause came from the coordinator.
fn is_passing(status: &Status) -> bool {
    let made_here = std::error::Error::source(status).is_some();
    match status.code() {
        Code::Unavailable => true,
        Code::Unknown | Code::Internal | Code::Cancelled => made_here,
        _ => false,
    }
}

async fn again(failures: &mut u32, why: &str) -> Result<(), ClientError> {
    if *failures >= RETRIES {
        return Err(ClientError::Transport(format!("{why}, {RETRIES} times in a row")));
    }
    sleep(Duration::from_millis(250 << *failures)).await;
    *failures += 1;
    Ok(())
}

/// The deadline in milliseconds. 0 means the coordinator's own limit, so the shortest deadline is 1 ms.
fn deadline_ms(timeout: Option<Duration>) -> u32 {
    timeout.map_or(0, |limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_mistaken_for_none() {
        assert_eq!(deadline_ms(None), 0);
        assert_eq!(deadline_ms(Some(Duration::ZERO)), 1);
        assert_eq!(deadline_ms(Some(Duration::from_secs(90))), 90_000);
        assert_eq!(deadline_ms(Some(Duration::MAX)), u32::MAX);
    }

    #[test]
    fn only_released_is_an_answer() {
        assert!(released(State::Released).is_ok());
        assert!(matches!(released(State::NotAnswered), Err(ClientError::NoAnswer)));
        assert!(matches!(released(State::Cancelled), Err(ClientError::Cancelled)));
        assert!(matches!(released(State::Refused), Err(ClientError::Refused { .. })));
    }
}

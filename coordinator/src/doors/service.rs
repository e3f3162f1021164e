//! The calls that all doors offer, with the same limits, for an asker who has signed in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use loda_identity::{Gss, Manifest, Peer};
use loda_ledger::End;
use loda_proto::v1;
use loda_question::{Refusal, Rule};
use loda_service::read_log;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::doors::fault::Fault;
use crate::doors::limiter::PerAskerLimiter;
use crate::doors::sign_in::asker::{Asker, Denied, Scope};
use crate::doors::sign_in::tokens::{MadeToken, TokenFault, TokenInfo, Tokens, Wanted};
use crate::plan::planner::OpenColumns;
use crate::plan::split::Prepared;
use crate::query::explain::Verdicts;
use crate::query::query::Query;
use crate::query::service::{QueryService, today};
use crate::result::local_query;
use crate::work::Page;

/// The facade that all doors share. Expensive calls wait for one of their asker's places ([`PerAskerLimiter`]).
pub(crate) struct DoorService {
    pub(crate) queries: Arc<QueryService>,
    pub(crate) tokens: Arc<Tokens>,
    limiter: PerAskerLimiter,
    state: PathBuf,
}

impl DoorService {
    /// `state`: the folder with the coordinator's log.
    pub(crate) fn new(queries: Arc<QueryService>, tokens: Arc<Tokens>, state: &Path) -> Self {
        Self { queries, tokens, limiter: PerAskerLimiter::default(), state: state.to_owned() }
    }

    /// Waits for a place for an expensive call.
    async fn turn(&self, asker: &Asker) -> Result<OwnedSemaphorePermit, Fault> {
        self.limiter.take(&asker.id).await.ok_or(Fault::Denied(Denied::Rate))
    }

    pub(crate) fn manifest(&self) -> Arc<Manifest> {
        self.queries.manifest()
    }

    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.queries.catalogue
    }

    /// Asks all nodes, and returns their descriptions of themselves.
    pub(crate) async fn nodes(&self, asker: &Asker) -> Result<Vec<v1::NodeEntry>, Fault> {
        let _turn = self.turn(asker).await?;
        Ok(self.queries.describe_all().await)
    }

    /// The purposes that this asker may state: those that boroughs have agreed to, and the asker's token allows.
    pub(crate) fn purposes(&self, asker: &Asker) -> Vec<v1::Purpose> {
        let mut all = self.queries.purposes.of(&asker.id, &today());
        all.retain(|one| asker.has_purpose(&one.purpose));
        all
    }

    /// A query of this asker, with a purpose that the asker may now state. All other queries are not found.
    pub(crate) fn query(&self, asker: &Asker, id: &Uuid) -> Result<Arc<Query>, Fault> {
        let query = self.queries.registry.query(id, &asker.id);
        query.filter(|query| asker.has_purpose(&query.prepared.purpose)).ok_or(Fault::NotFound("question"))
    }

    /// All queries of this asker with such a purpose, newest first.
    pub(crate) fn queries(&self, asker: &Asker) -> Vec<Arc<Query>> {
        let mut all = self.queries.registry.of(&asker.id);
        all.retain(|query| asker.has_purpose(&query.prepared.purpose));
        all
    }

    /// Plans a question.
    pub(crate) async fn plan(&self, asker: &Asker, sql: String, purpose: String) -> Result<Arc<Prepared>, Fault> {
        let _turn = self.turn(asker).await?;
        Ok(self.queries.plan(asker.id.clone(), purpose, sql).await?)
    }

    /// The columns and parameters of SQL with open parameters.
    pub(crate) async fn columns(&self, asker: &Asker, sql: String) -> Result<OpenColumns, Fault> {
        let _turn = self.turn(asker).await?;
        Ok(self.queries.columns(&asker.id, sql).await?)
    }

    /// Whether SQL asks no borough. Parsing is CPU work: it runs where it does not delay other calls.
    pub(crate) async fn is_local(&self, asker: &Asker, sql: &str) -> Result<bool, Fault> {
        let _turn = self.turn(asker).await?;
        let (queries, sql) = (Arc::clone(&self.queries), sql.to_owned());
        let found = self.queries.tasks.run(async move { local_query::is_local(&queries.planner, &sql) });
        found.await.map_err(|_| Fault::Internal)
    }

    /// Answers a local query. `last`: the SQL and statement of the asker's last answer.
    pub(crate) async fn local(
        &self,
        asker: &Asker,
        sql: &str,
        last: Option<(String, v1::Statement)>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), Fault> {
        let _turn = self.turn(asker).await?;
        Ok(self.queries.workers.local(&asker.id, sql, last).await?)
    }

    /// Explains a question. With `ask`, each borough says whether it would answer.
    pub(crate) async fn explain(
        &self,
        asker: &Asker,
        prepared: Arc<Prepared>,
        ask: Option<Verdicts>,
    ) -> Result<v1::PrepareResponse, Fault> {
        let _turn = self.turn(asker).await?;
        self.queries.explained(prepared, ask).await.map_err(|_| Fault::Internal)
    }

    /// Keeps a planned question under an id, for a later call that runs it.
    pub(crate) fn keep(&self, prepared: Arc<Prepared>) -> Uuid {
        self.queries.registry.prepare(prepared)
    }

    /// The planned question with this id, if it is this asker's.
    pub(crate) fn kept(&self, asker: &Asker, id: &Uuid) -> Option<Arc<Prepared>> {
        self.queries.registry.prepared(id, &asker.id)
    }

    /// Runs a planned question. A deadline of 0 stands for the longest time.
    pub(crate) fn ask(&self, prepared: Arc<Prepared>, deadline_ms: u32, detached: bool) -> Result<Arc<Query>, Fault> {
        Ok(self.queries.start(prepared, deadline_ms, detached, None)?)
    }

    /// The same, with the asker's signature if there is one.
    pub(crate) fn ask_signed(&self, prepared: Arc<Prepared>, run: &v1::RunRequest) -> Result<Arc<Query>, Fault> {
        Ok(self.queries.start(prepared, run.deadline_ms, run.detached, run.signed.as_ref())?)
    }

    /// The text of a dataset's contract.
    pub(crate) fn contract(&self, dataset: &str) -> Result<String, Fault> {
        self.queries.catalogue.contract_text(dataset).map(str::to_owned).ok_or(Fault::NotFound("dataset"))
    }

    /// Ends a query, unless its answer is there.
    pub(crate) fn cancel(&self, query: &Query) {
        self.queries.cancel(query, End::Cancelled);
    }

    /// Reads an answer, while it holds one of the asker's places.
    pub(crate) async fn read<T>(&self, asker: &Asker, read: impl FnOnce() -> T) -> Result<T, Fault> {
        let _turn = self.turn(asker).await?;
        Ok(read())
    }

    /// Writes a part of an answer as a file. Also returns whether there are more rows.
    pub(crate) async fn write(&self, asker: &Asker, query: &Query, page: Page) -> Result<(Vec<u8>, bool), Fault> {
        let _turn = self.turn(asker).await?;
        let result = query.result.get().ok_or(Fault::Internal)?;
        self.queries.workers.write(&asker.id, result, page).await.ok_or(Fault::Internal)
    }

    /// A page of the coordinator's log, or of a borough's. Reading what was asked and released is itself logged.
    pub(crate) async fn read_log(
        &self,
        asker: &Asker,
        request: v1::ReadLogRequest,
    ) -> Result<v1::ReadLogResponse, Fault> {
        asker.may(Scope::Audit)?;
        let _turn = self.turn(asker).await?;
        let Some(wanted) = read_log::wanted(&request) else {
            let message = "a condition has at most 200 characters, and a day is written as 2026-05-31";
            return Err(Refusal::new(Rule::Statement, message, "Write it so").into());
        };
        let gss = match request.borough.as_str() {
            "" => None,
            borough => {
                let gss: Option<Gss> = borough.parse().ok().filter(|gss| self.manifest().member(gss).is_some());
                Some(gss.ok_or(Fault::NotFound("borough"))?)
            }
        };
        if request.texts {
            let of = gss.as_ref().map_or("the coordinator", Gss::as_str);
            let detail = format!("query log of {of} read, with what was asked and released");
            self.queries.admin(&asker.id, detail).map_err(|fault| {
                tracing::error!("{fault}");
                Fault::Internal
            })?;
        }
        if let Some(gss) = gss {
            let request = v1::ReadLogRequest { auditor: asker.id.to_string(), ..request };
            let page = self.queries.nodes.read_log(&gss, request).await.map_err(|fault| {
                tracing::warn!(borough = %gss, "its query log cannot be read: {fault:#}");
                Refusal::new(
                    Rule::Busy,
                    "the borough's node cannot be reached, or did not answer in time",
                    "Try again, or ask the borough for its log",
                )
            })?;
            return match page.refusal {
                Some(v1::Refusal { message, advice, .. }) => Err(Refusal::new(Rule::Log, message, advice).into()),
                None => Ok(page),
            };
        }
        let (state, tree) = (self.state.clone(), self.queries.tree.clone());
        let page = tokio::task::spawn_blocking(move || read_log::read(&state, &wanted, &request, tree.as_ref())).await;
        let Ok(Ok(page)) = page else {
            tracing::error!("the log cannot be read");
            return Err(Fault::Internal);
        };
        Ok(page)
    }

    /// The log's entry of an answer, with the proof that the log holds it.
    pub(crate) async fn recorded(&self, asker: &Asker, query: &Query) -> Result<Option<v1::RecordedResponse>, Fault> {
        let _turn = self.turn(asker).await?;
        self.queries.recorded(query, &self.state.join("log.jsonl")).await.map_err(|fault| {
            tracing::error!("an entry of the log cannot be proven: {fault:#}");
            Fault::Internal
        })
    }

    pub(crate) fn tokens(&self, asker: &Asker) -> Vec<TokenInfo> {
        self.tokens.of(&asker.id)
    }

    /// Makes a token for the holder of a certificate. The token is withdrawn if it cannot be logged.
    pub(crate) fn make_token(&self, owner: &Peer, wanted: Wanted) -> Result<MadeToken, Fault> {
        let made = self.tokens.make(owner, wanted)?;
        let scopes: Vec<&str> = made.info.scopes.iter().map(|scope| scope.name()).collect();
        let detail = format!("token {} made: {} until {}", made.info.id, scopes.join(" "), made.info.until);
        if let Err(fault) = self.queries.admin(&owner.id, detail) {
            self.tokens.revoke(&owner.id, &made.info.id)?;
            return Err(TokenFault::Disk(fault.into()).into());
        }
        Ok(made)
    }

    /// Revokes a token and then logs it. The token must end even if nothing can be logged.
    pub(crate) fn revoke_token(&self, asker: &Asker, id: &str) -> Result<(), Fault> {
        self.tokens.revoke(&asker.id, id)?;
        let logged = self.queries.admin(&asker.id, format!("token {id} revoked"));
        Ok(logged.map_err(|fault| TokenFault::Disk(fault.into()))?)
    }
}

//! The gRPC door, for holders of a certificate: the command line and the client library.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use loda_identity::Identity;
use loda_proto::v1::query_server::Query as QueryApi;
use loda_proto::{CHUNK, v1};
use loda_question::Rule;
use loda_service::successors;
use loda_transport::PeerInfo;
use prost::Message;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::doors::fault::Fault;
use crate::doors::service::DoorService;
use crate::doors::sign_in::asker::{Asker, By, Denied, Scope};
use crate::doors::sign_in::tokens::{TokenFault, TokenInfo, Wanted};
use crate::query::explain::{Verdicts, wire_refusal};
use crate::query::query::Query;

/// The door over [`DoorService`]. The caller is the holder of the connection's certificate.
/// [`loda_transport::AuthoriseLayer`] has checked it.
pub struct GrpcDoor {
    service: Arc<DoorService>,
    identity: Identity,
}

impl GrpcDoor {
    pub(crate) fn new(service: Arc<DoorService>, identity: Identity) -> Self {
        Self { service, identity }
    }

    fn query(&self, asker: &Asker, id: &str) -> Result<Arc<Query>, Status> {
        self.service.query(asker, &parse_id(id)?).map_err(|_| Status::not_found("unknown_query"))
    }
}

fn caller<T>(request: &Request<T>) -> Result<Asker, Status> {
    let info = request.extensions().get::<PeerInfo>();
    let info = info.ok_or_else(|| Status::unauthenticated("caller_unauthenticated"))?;
    Asker::of_certificate(&info.peer).map_err(|denied| status(&denied.into()))
}

/// A fault as a gRPC status. The text is a static code, followed by a sentence for limits that a person can act on.
fn status(fault: &Fault) -> Status {
    match fault {
        Fault::Denied(denied @ Denied::Rate) => Status::resource_exhausted(format!("{}: {denied}", denied.code())),
        Fault::Denied(denied) => Status::permission_denied(denied.code()),
        Fault::Token(fault @ TokenFault::Wanted(_)) => Status::invalid_argument(fault.to_string()),
        Fault::Token(TokenFault::Full) => Status::resource_exhausted("tokens_full"),
        Fault::Token(TokenFault::None) => Status::not_found("unknown_token"),
        Fault::NotFound(_) => Status::not_found("not_found"),
        Fault::Refused(refusal) if refusal.rule == Rule::Busy => Status::resource_exhausted(refusal.rule.name()),
        Fault::Refused(refusal) => Status::invalid_argument(refusal.rule.name()),
        Fault::Token(TokenFault::Disk(_)) | Fault::Internal => {
            // Only the operator learns the cause.
            let _logged = fault.detail();
            Status::internal("internal")
        }
    }
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl QueryApi for GrpcDoor {
    type WatchStream = Replies<v1::Progress>;
    type FetchStream = Replies<v1::ResultChunk>;

    async fn catalogue(
        &self,
        request: Request<v1::CatalogueRequest>,
    ) -> Result<Response<v1::CatalogueResponse>, Status> {
        let nodes = self.service.nodes(&caller(&request)?).await.map_err(|fault| status(&fault))?;
        let holders = |dataset: &str| {
            let holds = |n: &&v1::NodeEntry| n.datasets.iter().any(|d| d.name == dataset);
            nodes.iter().filter(holds).map(|n| n.borough.clone()).collect()
        };
        Ok(Response::new(self.service.catalogue().wire(&holders)))
    }

    async fn contract(&self, request: Request<v1::ContractRequest>) -> Result<Response<v1::ContractResponse>, Status> {
        let _asker = caller(&request)?;
        let text = self.service.contract(&request.into_inner().dataset).map_err(|fault| status(&fault))?;
        Ok(Response::new(v1::ContractResponse { text }))
    }

    async fn nodes(&self, request: Request<v1::NodesRequest>) -> Result<Response<v1::NodesResponse>, Status> {
        let nodes = self.service.nodes(&caller(&request)?).await.map_err(|fault| status(&fault))?;
        let manifest = self.service.manifest();
        let (federation, manifest_version) = (manifest.federation.clone(), manifest.version);
        Ok(Response::new(v1::NodesResponse { federation, manifest_version, nodes }))
    }

    async fn purposes(&self, request: Request<v1::PurposesRequest>) -> Result<Response<v1::PurposesResponse>, Status> {
        let purposes = self.service.purposes(&caller(&request)?);
        Ok(Response::new(v1::PurposesResponse { purposes }))
    }

    async fn successors(
        &self,
        request: Request<v1::SuccessorsRequest>,
    ) -> Result<Response<v1::SuccessorsResponse>, Status> {
        let versions = successors::told(&self.identity, request.into_inner().version);
        Ok(Response::new(v1::SuccessorsResponse { versions }))
    }

    async fn prepare(&self, request: Request<v1::PrepareRequest>) -> Result<Response<v1::PrepareResponse>, Status> {
        let asker = caller(&request)?;
        asker.may(Scope::Ask).map_err(|denied| status(&denied.into()))?;
        let v1::PrepareRequest { sql, purpose, ask_nodes } = request.into_inner();
        // Who asks here has a certificate, and can sign.
        let ask = ask_nodes.then_some(Verdicts { signed: true });
        let prepared = match self.service.plan(&asker, sql, purpose).await {
            Ok(prepared) => prepared,
            Err(Fault::Refused(refusal)) => {
                let refusal = Some(wire_refusal(&refusal));
                return Ok(Response::new(v1::PrepareResponse { refusal, ..Default::default() }));
            }
            Err(fault) => return Err(status(&fault)),
        };
        let prepared_id = self.service.keep(Arc::clone(&prepared)).to_string();
        let explained = self.service.explain(&asker, prepared, ask).await.map_err(|fault| status(&fault))?;
        Ok(Response::new(v1::PrepareResponse { prepared_id, ..explained }))
    }

    async fn run(&self, request: Request<v1::RunRequest>) -> Result<Response<v1::RunResponse>, Status> {
        let asker = caller(&request)?;
        asker.may(Scope::Ask).map_err(|denied| status(&denied.into()))?;
        let request = request.into_inner();
        let prepared = self.service.kept(&asker, &parse_id(&request.prepared_id)?);
        let prepared = prepared.ok_or_else(|| Status::not_found("unknown_prepared"))?;
        Ok(Response::new(match self.service.ask_signed(prepared, &request) {
            Ok(query) => v1::RunResponse { query_id: query.id.to_string(), refusal: None },
            Err(Fault::Refused(refusal)) => {
                v1::RunResponse { refusal: Some(wire_refusal(&refusal)), ..Default::default() }
            }
            Err(fault) => return Err(status(&fault)),
        }))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let asker = caller(&request)?;
        let query = self.query(&asker, &request.into_inner().query_id)?;
        let watching = Some((WatchStream::new(query.watch()), query.watched()));
        let told = futures::stream::unfold(watching, |watching| async {
            let (mut states, watcher) = watching?;
            let state = states.next().await?;
            let query = watcher.query();
            let progress = v1::Progress {
                state: state.into(),
                boroughs: query.progress.boroughs(),
                refusal: query.refusal.get().map(wire_refusal),
            };
            let next = (!state.is_final()).then_some((states, watcher));
            Some((Ok(progress), next))
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let asker = caller(&request)?;
        let query = self.query(&asker, &request.into_inner().query_id)?;
        if query.result.get().is_none() {
            return Err(Status::failed_precondition("not_ready"));
        }
        let mut offset = 0_usize;
        let mut first = true;
        let chunks = futures::stream::iter(std::iter::from_fn(move || {
            let result = query.result.get()?;
            let rest = result.arrow_ipc.get(offset..).filter(|rest| first || !rest.is_empty())?;
            let chunk = rest.get(..CHUNK / 2).unwrap_or(rest);
            offset = offset.saturating_add(chunk.len());
            let statement = std::mem::take(&mut first).then(|| result.statement.encode_to_vec());
            Some(Ok(v1::ResultChunk { statement, arrow_ipc: chunk.to_vec() }))
        }));
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn read_log(&self, request: Request<v1::ReadLogRequest>) -> Result<Response<v1::ReadLogResponse>, Status> {
        let asker = caller(&request)?;
        match self.service.read_log(&asker, request.into_inner()).await {
            Ok(page) => Ok(Response::new(page)),
            Err(Fault::Refused(refusal)) => {
                let refusal = Some(wire_refusal(&refusal));
                Ok(Response::new(v1::ReadLogResponse { refusal, ..Default::default() }))
            }
            Err(fault) => Err(status(&fault)),
        }
    }

    async fn recorded(&self, request: Request<v1::RecordedRequest>) -> Result<Response<v1::RecordedResponse>, Status> {
        let asker = caller(&request)?;
        let query = self.query(&asker, &request.into_inner().query_id)?;
        let recorded = self.service.recorded(&asker, &query).await.map_err(|fault| status(&fault))?;
        Ok(Response::new(recorded.unwrap_or_default()))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
        let asker = caller(&request)?;
        let query = self.query(&asker, &request.into_inner().query_id)?;
        self.service.cancel(&query);
        Ok(Response::new(v1::CancelResponse {}))
    }

    async fn new_token(&self, request: Request<v1::NewTokenRequest>) -> Result<Response<v1::NewTokenResponse>, Status> {
        let asker = caller(&request)?;
        let By::Certificate(owner) = &asker.by else { return Err(Status::permission_denied("role")) };
        let v1::NewTokenRequest { name, scopes, purposes, days } = request.into_inner();
        let scopes = scopes.iter().map(|scope| Scope::named(scope)).collect::<Option<Vec<_>>>();
        let scopes = scopes.ok_or_else(|| Status::invalid_argument("a scope is read, ask or audit"))?;
        let wanted = Wanted { name, scopes, purposes, days };
        let made = self.service.make_token(owner, wanted).map_err(|fault| status(&fault))?;
        Ok(Response::new(v1::NewTokenResponse { token: made.secret, info: Some(wire_token(made.info)) }))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let tokens = self.service.tokens(&caller(&request)?).into_iter().map(wire_token);
        Ok(Response::new(v1::ListTokensResponse { tokens: tokens.collect() }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let owner = caller(&request)?;
        self.service.revoke_token(&owner, &request.into_inner().id).map_err(|fault| status(&fault))?;
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }
}

/// The public fields of a token.
fn wire_token(info: TokenInfo) -> v1::TokenInfo {
    v1::TokenInfo {
        id: info.id,
        name: info.name,
        scopes: info.scopes.into_iter().map(|scope| scope.name().to_owned()).collect(),
        purposes: info.purposes,
        made: info.made,
        until: info.until,
        used: info.used.unwrap_or_default(),
    }
}

fn parse_id(id: &str) -> Result<Uuid, Status> {
    Uuid::try_parse(id).map_err(|_| Status::invalid_argument("id"))
}

//! The calls on statements: plan, run, fetch and cancel. Each statement is visible only to its asker.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{Any, Command, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{CancelStatus, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use futures::{Stream, TryStreamExt};
use loda_answer::{Answer, STATEMENT, reason};
use loda_proto::v1::State;
use prost::Message;
use prost::bytes::Bytes;
use tonic::{Request, Response, Status};

use super::parameters::Template;
use super::sessions::{OptionFault, Sessions, SetSessionOptionsRequest, SetSessionOptionsResult};
use super::statements::{Statement, StatementKind, Statements};
use super::status::{denied, fault};
use crate::doors::fault::Fault;
use crate::doors::service::DoorService;
use crate::doors::sign_in::asker::{Asker, Scope};
use crate::plan::split::Prepared;
use crate::query::query::Query;
use crate::result::post_process::planned_schema;

/// The session option, the word in a leading comment, and the header that state a purpose.
pub(super) const PURPOSE: &str = "purpose";
const HEADER: &str = "loda-purpose";

/// The most bytes of a batch on the wire.
const CHUNK: usize = 1 << 20;

pub(super) struct Flight {
    pub(super) service: Arc<DoorService>,
    pub(super) statements: Statements,
    pub(super) sessions: Sessions,
}

pub(super) type FlightRows = Pin<Box<dyn Stream<Item = Result<arrow_flight::FlightData, Status>> + Send>>;

impl Flight {
    pub(super) fn new(service: Arc<DoorService>) -> Self {
        Self { service, statements: Statements::default(), sessions: Sessions::default() }
    }

    /// Plans a statement from the contracts alone.
    pub(super) async fn plan<T>(&self, asker: &Asker, request: &Request<T>, sql: String) -> Result<Statement, Status> {
        asker.may(Scope::Ask).map_err(denied)?;
        let purpose = self.purpose(asker, request, &sql)?;
        let template = Template::of(&sql).filter(|template| template.parameters > 0);
        match template {
            Some(template) => {
                let (schema, wanted) = self.open(asker, &template).await?;
                Ok(Statement::new(asker.id.clone(), sql, purpose, schema, StatementKind::Open(template, wanted)))
            }
            None => self.closed(asker, sql, purpose).await,
        }
    }

    /// A statement that needs no parameters.
    pub(super) async fn closed(&self, asker: &Asker, sql: String, purpose: String) -> Result<Statement, Status> {
        if self.service.is_local(asker, &sql).await.map_err(fault)? {
            let (schema, _) = self.local(asker, &sql).await?;
            return Ok(Statement::new(asker.id.clone(), sql, purpose, schema, StatementKind::Local));
        }
        let prepared = self.service.plan(asker, sql.clone(), purpose.clone()).await.map_err(fault)?;
        let schema = planned_schema(&prepared.split);
        Ok(Statement::new(asker.id.clone(), sql, purpose, schema, StatementKind::Federated(prepared)))
    }

    /// The columns of a statement with open parameters, as the SQL alone determines them, and the parameters. A
    /// parameter of unknown type is declared as text, because most clients can send text.
    async fn open(&self, asker: &Asker, template: &Template) -> Result<(SchemaRef, SchemaRef), Status> {
        let known = self.service.columns(asker, template.numbered()).await.map_err(fault)?;
        let reason = reason::field(known.columns.iter().map(|column| column.name().as_str()));
        let columns = known.columns.into_iter().chain([reason]);
        let parameter = |number: usize| {
            let name = format!("${number}");
            let kind = match known.parameters.get(&name).cloned().flatten() {
                None | Some(DataType::Utf8View | DataType::LargeUtf8 | DataType::Null) => DataType::Utf8,
                Some(kind) => kind,
            };
            Field::new(name, kind, true)
        };
        let wanted = (1..=template.parameters).map(parameter);
        Ok((Arc::new(Schema::new(columns.collect::<Vec<_>>())), Arc::new(Schema::new(wanted.collect::<Vec<_>>()))))
    }

    async fn local(&self, asker: &Asker, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), Status> {
        let last = self.sessions.get(asker).and_then(|session| session.last);
        self.service.local(asker, sql, last).await.map_err(fault)
    }

    /// The purpose from a leading comment, a header or a session option, in this order.
    fn purpose<T>(&self, asker: &Asker, request: &Request<T>, sql: &str) -> Result<String, Status> {
        let header = request.metadata().get(HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let of_session = || self.sessions.get(asker).map(|session| session.purpose);
        let stated = leading_purpose(sql).or(header).or_else(of_session).unwrap_or_default();
        asker.purpose(&stated).map_err(denied)
    }

    pub(super) fn statement(&self, asker: &Asker, handle: &[u8]) -> Result<Arc<Statement>, Status> {
        // A token that is bound to purposes cannot reach statements of other purposes.
        let found = self.statements.get(handle, &asker.id).filter(|statement| asker.has_purpose(&statement.purpose));
        found.ok_or_else(|| Status::not_found("there is no such statement, or it is not yours"))
    }

    /// Makes a new statement and runs it, once, before this returns. Clients read the schema from here, and the schema
    /// holds the answer's statement. So the answer must already exist.
    pub(super) async fn info(
        &self,
        asker: &Asker,
        descriptor: FlightDescriptor,
        statement: Statement,
    ) -> Result<Response<FlightInfo>, Status> {
        let (id, statement) = self.statements.add(statement);
        let schema = match &statement.kind {
            StatementKind::Federated(prepared) => {
                let query = self.query(asker, &statement, prepared)?;
                wait(&query).await?;
                let result = query.result.get().ok_or_else(|| Status::internal("internal"))?;
                let last = (statement.sql.clone(), result.statement.clone());
                self.sessions.change(asker, |session| session.last = Some(last));
                with_statement(&statement.schema, &result.statement)
            }
            StatementKind::Local | StatementKind::Open(..) => Arc::clone(&statement.schema),
        };
        let ticket = TicketStatementQuery { statement_handle: Bytes::copy_from_slice(id.as_bytes()) };
        info(descriptor, &schema, ticket.as_any())
    }

    /// The query of a statement. A repeated call gets the same query.
    fn query(&self, asker: &Asker, statement: &Statement, prepared: &Arc<Prepared>) -> Result<Arc<Query>, Status> {
        asker.may(Scope::Ask).map_err(denied)?;
        let Some(id) = statement.query.get() else {
            let query = self.service.ask(Arc::clone(prepared), 0, false).map_err(fault)?;
            let _first = statement.query.set(query.id);
            return Ok(query);
        };
        let kept = self.service.query(asker, id);
        kept.map_err(|_| Status::not_found("the answer is not kept any more: ask again"))
    }

    pub(super) async fn run(&self, asker: &Asker, statement: &Statement) -> Result<FlightRows, Status> {
        let prepared = match &statement.kind {
            StatementKind::Local => {
                let (schema, batches) = self.local(asker, &statement.sql).await?;
                return Ok(rows(schema, batches));
            }
            StatementKind::Open(..) => return Err(Status::failed_precondition("bind the parameters first")),
            StatementKind::Federated(prepared) => prepared,
        };
        let query = self.query(asker, statement, prepared)?;
        wait(&query).await?;
        let result = query.result.get().ok_or_else(|| Status::internal("internal"))?;
        let read = || Answer::read(&result.arrow_ipc, result.statement.clone());
        let answer = self.service.read(asker, read).await.map_err(fault)?;
        let answer = answer.map_err(|_| Status::internal("internal"))?;
        let schema = with_statement(&answer.schema, &answer.statement);
        let whole = |batch: RecordBatch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec());
        let batches = answer.batches.into_iter().map(whole).collect::<Result<Vec<_>, _>>();
        Ok(rows(Arc::clone(&schema), batches.map_err(|_| Status::internal("internal"))?))
    }

    /// Ends the statements that the asker was about to fetch.
    pub(super) fn cancel(&self, asker: &Asker, info: &FlightInfo) -> Result<CancelStatus, Status> {
        let mut status = CancelStatus::NotCancellable;
        for endpoint in &info.endpoint {
            let ticket = endpoint.ticket.as_ref().map(|ticket| ticket.ticket.as_ref()).unwrap_or_default();
            let command = Any::decode(ticket).ok().and_then(|any| Command::try_from(any).ok());
            let Some(Command::TicketStatementQuery(ticket)) = command else { continue };
            let statement = self.statement(asker, &ticket.statement_handle)?;
            status = CancelStatus::Cancelled;
            if let Some(query) = statement.query.get().and_then(|id| self.service.query(asker, id).ok()) {
                self.service.cancel(&query);
            }
            self.statements.close(&ticket.statement_handle, &asker.id);
        }
        Ok(status)
    }

    /// # Errors
    /// If the asker may not ask: the options here are for questions.
    pub(super) fn set_options(
        &self,
        asker: &Asker,
        wanted: SetSessionOptionsRequest,
    ) -> Result<SetSessionOptionsResult, Status> {
        asker.may(Scope::Ask).map_err(denied)?;
        let mut errors = HashMap::new();
        for (name, value) in wanted.session_options {
            let fault = match (name.as_str(), value.string_value) {
                (PURPOSE, None) => {
                    self.sessions.change(asker, |session| session.purpose.clear());
                    None
                }
                (PURPOSE, Some(purpose)) if purpose.chars().count() <= 200 && asker.purpose(&purpose).is_ok() => {
                    self.sessions.change(asker, |session| session.purpose = purpose);
                    None
                }
                // Clients set these on their own. There is only one catalog and one schema.
                ("catalog", Some(catalog)) if catalog == crate::plan::planner::CATALOG => None,
                ("schema", Some(schema)) if schema == crate::plan::planner::SCHEMA => None,
                (PURPOSE | "catalog" | "schema", _) => Some(2),
                _ => Some(1),
            };
            if let Some(value) = fault {
                errors.insert(name, OptionFault { value });
            }
        }
        Ok(SetSessionOptionsResult { errors })
    }
}

/// `purpose: …` in the leading comment of a statement.
fn leading_purpose(sql: &str) -> Option<String> {
    let sql = sql.trim_start();
    let comment = match (sql.strip_prefix("--"), sql.strip_prefix("/*")) {
        (Some(line), _) => line.lines().next()?,
        (_, Some(block)) => block.split("*/").next()?,
        _ => return None,
    };
    let (name, purpose) = comment.split_once([':', '='])?;
    (name.trim().eq_ignore_ascii_case(PURPOSE)).then(|| purpose.trim().to_owned())
}

/// Waits for the answer. If the client leaves meanwhile, the query loses its watcher and ends.
async fn wait(query: &Arc<Query>) -> Result<(), Status> {
    let watcher = query.watched();
    let mut states = query.watch();
    // The sender lives as long as the query.
    let _ended = states.wait_for(|state| state.is_final()).await.is_ok();
    drop(watcher);
    let state = *query.watch().borrow();
    match state {
        State::Released => Ok(()),
        State::Cancelled => Err(Status::cancelled("the question was cancelled")),
        _ => Err(match query.refusal.get() {
            Some(refusal) => fault(Fault::Refused(refusal.clone())),
            None => Status::deadline_exceeded("no borough answered in time"),
        }),
    }
}

/// Puts the answer's statement into the schema's metadata.
fn with_statement(schema: &Schema, statement: &loda_proto::v1::Statement) -> SchemaRef {
    let mut schema = schema.clone();
    schema.metadata.insert(STATEMENT.to_owned(), loda_answer::statement_json(statement).to_string());
    Arc::new(schema)
}

pub(super) fn rows(schema: SchemaRef, batches: Vec<RecordBatch>) -> FlightRows {
    let batches = futures::stream::iter(batches.into_iter().map(Ok::<_, FlightError>));
    let encoded = FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(CHUNK).build(batches);
    Box::pin(encoded.map_err(Status::from))
}

pub(super) fn info(descriptor: FlightDescriptor, schema: &Schema, ticket: Any) -> Result<Response<FlightInfo>, Status> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket.encode_to_vec()));
    let info = FlightInfo::new().try_with_schema(schema).map_err(|_| Status::internal("internal"))?;
    Ok(Response::new(info.with_endpoint(endpoint).with_descriptor(descriptor)))
}

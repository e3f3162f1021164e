//! The service: each call signed in, its command answered.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command, CommandGetCatalogs,
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandStatementQuery, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor,
    FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use futures::{Stream, TryStreamExt};
use loda_answer::Answer;
use loda_proto::v1::State;
use prost::Message;
use prost::bytes::Bytes;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::parameters::{self, Template};
use super::sessions::{
    CloseSessionResult, GetSessionOptionsResult, OptionFault, SessionOptionValue, Sessions, SetSessionOptionsRequest,
    SetSessionOptionsResult,
};
use super::statements::{Kind, Statement, Statements};
use super::{local, metadata};
use crate::doors::Doors;
use crate::doors::http::Problem;
use crate::doors::sign_in::{Asker, Denied, Scope, Shown, SignedIn};
use crate::finish::{REASON, planned_schema};
use crate::jobs::{Query, is_final};

/// The header, the session option and the word of a leading comment that state a purpose.
const PURPOSE: &str = "purpose";
const HEADER: &str = "loda-purpose";

/// The metadata key of a statement, as JSON.
const STATEMENT: &str = "loda.statement";

/// Bytes of a batch on the wire at most.
const CHUNK: usize = 1 << 20;

pub(super) struct Flight {
    doors: Arc<Doors>,
    statements: Statements,
    sessions: Sessions,
}

type Rows = Pin<Box<dyn Stream<Item = Result<arrow_flight::FlightData, Status>> + Send>>;
type Results = Pin<Box<dyn Stream<Item = Result<arrow_flight::Result, Status>> + Send>>;

impl Flight {
    pub(super) fn new(doors: Arc<Doors>) -> Self {
        Self { doors, statements: Statements::default(), sessions: Sessions::default() }
    }

    /// Plans a statement by contract alone.
    async fn plan<T>(&self, asker: &Asker, request: &Request<T>, sql: String) -> Result<Statement, Status> {
        asker.may(Scope::Ask).map_err(refused)?;
        let purpose = self.purpose(asker, request, &sql)?;
        let template = Template::of(&sql).filter(|template| template.parameters > 0);
        match template {
            Some(template) => {
                let (schema, wanted) = self.open(&template).await?;
                Ok(Statement::new(asker.id.clone(), sql, purpose, schema, Kind::Open(template, wanted)))
            }
            None => self.closed(asker, sql, purpose).await,
        }
    }

    /// A statement that wants no parameters.
    async fn closed(&self, asker: &Asker, sql: String, purpose: String) -> Result<Statement, Status> {
        if local::is_local(&self.doors.questions.planner, &sql) {
            let (schema, _) = self.local(asker, &sql).await?;
            return Ok(Statement::new(asker.id.clone(), sql, purpose, schema, Kind::Local));
        }
        let prepared = self.doors.prepare(asker, sql.clone(), purpose.clone(), false).await.map_err(problem)?;
        let id = uuid::Uuid::try_parse(&prepared.prepared_id).map_err(|_| Status::internal("internal"))?;
        let planned = self.doors.questions.jobs.prepared(&id, &asker.id);
        let planned = planned.ok_or_else(|| Status::not_found("the statement is not kept any more"))?;
        let schema = planned_schema(&planned.split);
        Ok(Statement::new(asker.id.clone(), sql, purpose, schema, Kind::Federated(prepared.prepared_id)))
    }

    /// The columns of a statement whose parameters are not known, as SQL alone has them; and the parameters. One whose type
    /// nothing tells is said to be text, which is what most clients can give.
    async fn open(&self, template: &Template) -> Result<(SchemaRef, SchemaRef), Status> {
        let known =
            self.doors.questions.columns(template.numbered()).await.map_err(|refusal| problem(refusal.into()))?;
        let columns = known.columns.into_iter().chain([Field::new(REASON, DataType::Utf8, true)]);
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
        let last = self.sessions.get(&asker.id).and_then(|session| session.last);
        let questions = Arc::clone(&self.doors.questions);
        let sql = sql.to_owned();
        let answered = self
            .doors
            .questions
            .crew
            .run(async move { local::answer(&questions.planner, &questions.catalogue, last.as_ref(), &sql).await });
        let answered = answered.await.map_err(|_| Status::internal("internal"))?;
        answered.map_err(|refusal| problem(crate::questions::wire_refusal(&refusal).into()))
    }

    /// Stated in a leading comment, a header or a session option, in this order.
    fn purpose<T>(&self, asker: &Asker, request: &Request<T>, sql: &str) -> Result<String, Status> {
        let header = request.metadata().get(HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let of_session = || self.sessions.get(&asker.id).map(|session| session.purpose);
        let stated = leading_purpose(sql).or(header).or_else(of_session).unwrap_or_default();
        asker.purpose(&stated).map_err(refused)
    }

    fn statement(&self, asker: &Asker, handle: &[u8]) -> Result<Arc<Statement>, Status> {
        let found = self.statements.get(handle, &asker.id);
        found.ok_or_else(|| Status::not_found("there is no such statement, or it is not yours"))
    }

    /// What a client fetches: a statement of its own, which runs now and once. Clients take the schema from here, and with it
    /// what the answer says of itself: so there has to be one.
    async fn info(
        &self,
        asker: &Asker,
        descriptor: FlightDescriptor,
        statement: Statement,
    ) -> Result<Response<FlightInfo>, Status> {
        let (id, statement) = self.statements.add(statement);
        let schema = match &statement.kind {
            Kind::Federated(prepared) => {
                let query = self.query(asker, &statement, prepared)?;
                wait(&query).await?;
                let result = query.result.get().ok_or_else(|| Status::internal("internal"))?;
                let last = (statement.sql.clone(), result.statement.clone());
                self.sessions.change(&asker.id, |session| session.last = Some(last));
                with_statement(&statement.schema, &result.statement)
            }
            Kind::Local | Kind::Open(..) => Arc::clone(&statement.schema),
        };
        let ticket = TicketStatementQuery { statement_handle: Bytes::copy_from_slice(id.as_bytes()) };
        info(descriptor, &schema, ticket.as_any())
    }

    /// The question of a statement; whoever comes again gets the same one.
    fn query(&self, asker: &Asker, statement: &Statement, prepared: &str) -> Result<Arc<Query>, Status> {
        asker.may(Scope::Ask).map_err(refused)?;
        let Some(id) = statement.query.get() else {
            let query = self.doors.run(asker, prepared, 0, false).map_err(problem)?;
            let _first = statement.query.set(query.id);
            return Ok(query);
        };
        let kept = self.doors.questions.jobs.query(id, &asker.id);
        kept.ok_or_else(|| Status::not_found("the answer is not kept any more: ask again"))
    }

    async fn run(&self, asker: &Asker, statement: &Statement) -> Result<Rows, Status> {
        let prepared = match &statement.kind {
            Kind::Local => {
                let (schema, batches) = self.local(asker, &statement.sql).await?;
                return Ok(rows(schema, batches));
            }
            Kind::Open(..) => return Err(Status::failed_precondition("bind the parameters first")),
            Kind::Federated(prepared) => prepared,
        };
        let query = self.query(asker, statement, prepared)?;
        wait(&query).await?;
        let result = query.result.get().ok_or_else(|| Status::internal("internal"))?;
        let answer = Answer::read(&result.arrow_ipc, result.statement.clone());
        let answer = answer.map_err(|_| Status::internal("internal"))?;
        let schema = with_statement(&answer.schema, &answer.statement);
        let whole = |batch: RecordBatch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec());
        let batches = answer.batches.into_iter().map(whole).collect::<Result<Vec<_>, _>>();
        Ok(rows(Arc::clone(&schema), batches.map_err(|_| Status::internal("internal"))?))
    }

    /// Ends the statements that somebody was about to fetch.
    fn cancel(&self, asker: &Asker, info: &FlightInfo) -> Result<CancelStatus, Status> {
        let mut status = CancelStatus::NotCancellable;
        for endpoint in &info.endpoint {
            let ticket = endpoint.ticket.as_ref().map(|ticket| ticket.ticket.as_ref()).unwrap_or_default();
            let command = Any::decode(ticket).ok().and_then(|any| Command::try_from(any).ok());
            let Some(Command::TicketStatementQuery(ticket)) = command else { continue };
            let statement = self.statement(asker, &ticket.statement_handle)?;
            status = CancelStatus::Cancelled;
            if let Some(query) = statement.query.get().and_then(|id| self.doors.questions.jobs.query(id, &asker.id)) {
                self.doors.questions.jobs.cancel(&query);
            }
            self.statements.close(&ticket.statement_handle, &asker.id);
        }
        Ok(status)
    }

    fn set_options(&self, asker: &Asker, wanted: SetSessionOptionsRequest) -> SetSessionOptionsResult {
        let mut errors = std::collections::HashMap::new();
        for (name, value) in wanted.session_options {
            let fault = match (name.as_str(), value.string_value) {
                (PURPOSE, None) => {
                    self.sessions.change(&asker.id, |session| session.purpose.clear());
                    None
                }
                (PURPOSE, Some(purpose)) if purpose.chars().count() <= 200 && asker.purpose(&purpose).is_ok() => {
                    self.sessions.change(&asker.id, |session| session.purpose = purpose);
                    None
                }
                // Clients set these by themselves; there is one of each.
                ("catalog", Some(catalog)) if catalog == crate::plan::CATALOG => None,
                ("schema", Some(schema)) if schema == crate::plan::SCHEMA => None,
                (PURPOSE | "catalog" | "schema", _) => Some(2),
                _ => Some(1),
            };
            if let Some(value) = fault {
                errors.insert(name, OptionFault { value });
            }
        }
        SetSessionOptionsResult { errors }
    }
}

/// Who calls.
fn asker<T>(request: &Request<T>) -> Result<Asker, Status> {
    match request.extensions().get::<SignedIn>() {
        Some(SignedIn(Ok(asker))) => Ok(asker.clone()),
        Some(SignedIn(Err(denied))) => Err(refused(*denied)),
        None => Err(refused(Denied::Unknown)),
    }
}

/// Who calls, where he may see what there is.
fn reader<T>(request: &Request<T>) -> Result<Asker, Status> {
    let asker = asker(request)?;
    asker.may(Scope::Read).map_err(refused)?;
    Ok(asker)
}

fn refused(denied: Denied) -> Status {
    let text = format!("{}: {denied}", denied.code());
    match denied {
        Denied::Unknown | Denied::Token | Denied::Expired | Denied::Disagree => Status::unauthenticated(text),
        Denied::Provider => Status::unavailable(text),
        Denied::Role | Denied::Purpose => Status::permission_denied(text),
        Denied::Rate => Status::resource_exhausted(text),
    }
}

fn problem(problem: Problem) -> Status {
    let advice = if problem.advice.is_empty() { String::new() } else { format!(". {}", problem.advice) };
    let text = format!("{}: {}{advice}", problem.code, problem.detail);
    match problem.status {
        401 => Status::unauthenticated(text),
        403 => Status::permission_denied(text),
        404 => Status::not_found(text),
        429 => Status::resource_exhausted(text),
        400..500 => Status::invalid_argument(text),
        _ => Status::internal("internal"),
    }
}

/// `purpose: …` in the comment that a statement begins with.
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

/// Waits for the answer; whoever goes away meanwhile is no watcher any more, and the question ends.
async fn wait(query: &Arc<Query>) -> Result<(), Status> {
    let watcher = query.watched();
    let mut states = query.watch();
    // The sender lives as long as the query.
    let _ended = states.wait_for(|state| is_final(*state)).await.is_ok();
    drop(watcher);
    let state = *query.watch().borrow();
    match state {
        State::Released => Ok(()),
        State::Cancelled => Err(Status::cancelled("the question was cancelled")),
        _ => Err(Status::deadline_exceeded("no borough answered in time")),
    }
}

/// What an answer says of itself goes with its columns.
fn with_statement(schema: &Schema, statement: &loda_proto::v1::Statement) -> SchemaRef {
    let mut schema = schema.clone();
    schema.metadata.insert(STATEMENT.to_owned(), loda_answer::statement_json(statement).to_string());
    Arc::new(schema)
}

fn rows(schema: SchemaRef, batches: Vec<RecordBatch>) -> Rows {
    let batches = futures::stream::iter(batches.into_iter().map(Ok::<_, FlightError>));
    let encoded = FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(CHUNK).build(batches);
    Box::pin(encoded.map_err(Status::from))
}

fn info(descriptor: FlightDescriptor, schema: &Schema, ticket: Any) -> Result<Response<FlightInfo>, Status> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket.encode_to_vec()));
    let info = FlightInfo::new().try_with_schema(schema).map_err(|_| Status::internal("internal"))?;
    Ok(Response::new(info.with_endpoint(endpoint).with_descriptor(descriptor)))
}

/// A schema as prepared statements tell it.
fn told(schema: &Schema) -> Result<Bytes, Status> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &arrow::ipc::writer::IpcWriteOptions::default())
        .try_into()
        .map_err(|_| Status::internal("internal"))?;
    Ok(bytes)
}

fn made<T>(made: Result<T, FlightError>) -> Result<T, Status> {
    made.map_err(|_| Status::invalid_argument("this filter cannot be used"))
}

fn told_once<M: Message>(message: &M) -> Results {
    let result = arrow_flight::Result { body: message.encode_to_vec().into() };
    Box::pin(futures::stream::iter([Ok(result)]))
}

type Soon<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

/// Answers a command with one batch of metadata: its schema first, then itself. Written as `async_trait` would, which does
/// not look into macros.
macro_rules! metadata {
    ($info:ident, $get:ident, $command:ty, |$flight:ident, $value:ident| $batch:expr) => {
        fn $info<'life0, 'async_trait>(
            &'life0 self,
            query: $command,
            request: Request<FlightDescriptor>,
        ) -> Soon<'async_trait, FlightInfo>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                reader(&request)?;
                let ($flight, $value) = (self, query.clone());
                let batch: RecordBatch = made($batch)?;
                info(request.into_inner(), &batch.schema(), query.as_any())
            })
        }

        fn $get<'life0, 'async_trait>(
            &'life0 self,
            query: $command,
            request: Request<Ticket>,
        ) -> Soon<'async_trait, <Self as FlightService>::DoGetStream>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                reader(&request)?;
                let ($flight, $value) = (self, query);
                let batch: RecordBatch = made($batch)?;
                Ok(Response::new(rows(batch.schema(), vec![batch])))
            })
        }
    };
}

#[tonic::async_trait]
impl FlightSqlService for Flight {
    type FlightService = Self;

    /// A user's name and a token in place of a password become a bearer token.
    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        asker(&request)?;
        let shown = request.extensions().get::<Shown>().cloned();
        let reply = HandshakeResponse { protocol_version: 0, payload: Bytes::new() };
        let mut response: Response<Pin<Box<dyn Stream<Item = _> + Send>>> =
            Response::new(Box::pin(futures::stream::iter([Ok(reply)])));
        if let Some(Shown(token)) = shown {
            let bearer = format!("Bearer {token}").parse::<MetadataValue<_>>();
            response.metadata_mut().insert("authorization", bearer.map_err(|_| Status::internal("internal"))?);
        }
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let asker = asker(&request)?;
        let statement = self.plan(&asker, &request, query.query).await?;
        self.info(&asker, request.into_inner(), statement).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let asker = asker(&request)?;
        let known = self.statement(&asker, &query.prepared_statement_handle)?;
        if matches!(known.kind, Kind::Open(..)) {
            return Err(Status::failed_precondition("bind the parameters first"));
        }
        // Each execution is a question of its own.
        let again = self.closed(&asker, known.sql.clone(), known.purpose.clone()).await?;
        self.info(&asker, request.into_inner(), again).await
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let asker = asker(&request)?;
        let statement = self.statement(&asker, &ticket.statement_handle)?;
        Ok(Response::new(self.run(&asker, &statement).await?))
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let asker = asker(&request)?;
        let known = self.statement(&asker, &query.prepared_statement_handle)?;
        let again = match known.kind {
            Kind::Open(..) => return Err(Status::failed_precondition("bind the parameters first")),
            _ => self.closed(&asker, known.sql.clone(), known.purpose.clone()).await?,
        };
        Ok(Response::new(self.run(&asker, &again).await?))
    }

    metadata!(get_flight_info_catalogs, do_get_catalogs, CommandGetCatalogs, |_flight, query| metadata::catalogs(
        query
    ));
    metadata!(get_flight_info_schemas, do_get_schemas, CommandGetDbSchemas, |_flight, query| metadata::schemas(query));
    metadata!(get_flight_info_tables, do_get_tables, CommandGetTables, |flight, query| {
        metadata::tables(query, &flight.doors.questions.catalogue)
    });
    metadata!(get_flight_info_table_types, do_get_table_types, CommandGetTableTypes, |_flight, query| {
        metadata::table_types(query)
    });
    metadata!(get_flight_info_sql_info, do_get_sql_info, CommandGetSqlInfo, |_flight, query| {
        metadata::sql_info().and_then(|data| query.into_builder(data).build())
    });
    metadata!(get_flight_info_xdbc_type_info, do_get_xdbc_type_info, CommandGetXdbcTypeInfo, |_flight, query| {
        metadata::types().and_then(|data| query.into_builder(data).build())
    });
    metadata!(get_flight_info_primary_keys, do_get_primary_keys, CommandGetPrimaryKeys, |_flight, _query| {
        Ok(metadata::no_primary_keys())
    });
    metadata!(get_flight_info_exported_keys, do_get_exported_keys, CommandGetExportedKeys, |_flight, _query| {
        Ok(metadata::no_foreign_keys())
    });
    metadata!(get_flight_info_imported_keys, do_get_imported_keys, CommandGetImportedKeys, |_flight, _query| {
        Ok(metadata::no_foreign_keys())
    });
    metadata!(get_flight_info_cross_reference, do_get_cross_reference, CommandGetCrossReference, |_flight, _query| {
        Ok(metadata::no_foreign_keys())
    });

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let asker = asker(&request)?;
        let statement = self.plan(&asker, &request, query.query).await?;
        let parameters = match &statement.kind {
            Kind::Open(_, wanted) => Arc::clone(wanted),
            _ => Arc::new(Schema::empty()),
        };
        let (id, statement) = self.statements.add(statement);
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: Bytes::copy_from_slice(id.as_bytes()),
            dataset_schema: told(&statement.schema)?,
            parameter_schema: told(&parameters)?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let asker = asker(&request)?;
        self.statements.close(&query.prepared_statement_handle, &asker.id);
        Ok(())
    }

    /// Binds parameters: what comes of it has a handle of its own.
    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let asker = asker(&request)?;
        let known = self.statement(&asker, &query.prepared_statement_handle)?;
        let batches = parameters::received(request.into_inner()).await.map_err(Status::invalid_argument)?;
        let filled: Vec<RecordBatch> = batches.into_iter().filter(|batch| batch.num_rows() > 0).collect();
        let literals = match filled.as_slice() {
            [] => Vec::new(),
            [batch] => parameters::literals(batch).map_err(Status::invalid_argument)?,
            _ => return Err(Status::invalid_argument("give one row of parameters")),
        };
        let template = match &known.kind {
            Kind::Open(template, _) => template.clone(),
            _ if literals.is_empty() => {
                return Ok(DoPutPreparedStatementResult {
                    prepared_statement_handle: Some(query.prepared_statement_handle),
                });
            }
            _ => return Err(Status::invalid_argument("the statement has no parameters")),
        };
        let sql = template
            .bound(&literals)
            .ok_or_else(|| Status::invalid_argument(format!("the statement has {} parameters", template.parameters)))?;
        let bound = self.closed(&asker, sql, known.purpose.clone()).await?;
        let (id, _) = self.statements.add(bound);
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(Bytes::copy_from_slice(id.as_bytes())) })
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let asker = asker(&request)?;
        let info = FlightInfo::decode(query.info).map_err(|_| Status::invalid_argument("info"))?;
        let result = self.cancel(&asker, &info)?.into();
        Ok(ActionCancelQueryResult { result })
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        let action = |name: &str, about: &str| ActionType { r#type: name.to_owned(), description: about.to_owned() };
        Some(vec![
            Ok(action("CancelFlightInfo", "Cancels what a FlightInfo would fetch")),
            Ok(action("SetSessionOptions", "Sets `purpose` for the statements to come")),
            Ok(action("GetSessionOptions", "What is set")),
            Ok(action("CloseSession", "Forgets what is set")),
        ])
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        let asker = asker(&request)?;
        let Action { r#type, body } = request.into_inner();
        let malformed = |_| Status::invalid_argument("the action's message cannot be read");
        Ok(Response::new(match r#type.as_str() {
            "CancelFlightInfo" => {
                let wanted = CancelFlightInfoRequest::decode(body).map_err(malformed)?;
                let status = self.cancel(&asker, &wanted.info.unwrap_or_default())?;
                told_once(&CancelFlightInfoResult { status: status.into() })
            }
            "SetSessionOptions" => {
                let wanted = SetSessionOptionsRequest::decode(body).map_err(malformed)?;
                told_once(&self.set_options(&asker, wanted))
            }
            "GetSessionOptions" => {
                let purpose = self.sessions.get(&asker.id).map(|session| session.purpose).unwrap_or_default();
                let value = SessionOptionValue { string_value: Some(purpose) };
                told_once(&GetSessionOptionsResult { session_options: [(PURPOSE.to_owned(), value)].into() })
            }
            "CloseSession" => {
                self.sessions.close(&asker.id);
                told_once(&CloseSessionResult { status: 1 })
            }
            _ => return Err(Status::unimplemented("there is no such action")),
        }))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}

//! The Flight SQL service. Each call checks its asker and answers one command.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, CommandGetCatalogs,
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandStatementQuery, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use futures::Stream;
use prost::Message;
use prost::bytes::Bytes;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::asking::{Flight, PURPOSE, info, rows};
use super::sessions::{CloseSessionResult, GetSessionOptionsResult, SessionOptionValue, SetSessionOptionsRequest};
use super::sql_info::sql_info;
use super::statements::StatementKind;
use super::status::{denied, status};
use super::{metadata, parameters};
use crate::doors::sign_in::asker::{Asker, Denied, Scope};
use crate::doors::sign_in::{Shown, SignedIn};

type Results = Pin<Box<dyn Stream<Item = Result<arrow_flight::Result, Status>> + Send>>;

/// The asker of a call.
pub(super) fn asker<T>(request: &Request<T>) -> Result<Asker, Status> {
    match request.extensions().get::<SignedIn>() {
        Some(SignedIn(Ok(asker))) => Ok(asker.clone()),
        Some(SignedIn(Err(denied))) => Err(status(&(*denied).into())),
        None => Err(status(&Denied::Unknown.into())),
    }
}

/// The asker of a call, if it may read the catalogue.
pub(super) fn reader<T>(request: &Request<T>) -> Result<Asker, Status> {
    let asker = asker(request)?;
    asker.may(Scope::Read).map_err(denied)?;
    Ok(asker)
}

/// A schema in the encoding of prepared statements.
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

/// Answers a command with one batch of metadata: first the schema, then the batch. Written out as `async_trait` would
/// do it, because `async_trait` does not expand macros.
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

    /// Exchanges a user name, and a token as the password, for a bearer token.
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
        if matches!(known.kind, StatementKind::Open(..)) {
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
            StatementKind::Open(..) => return Err(Status::failed_precondition("bind the parameters first")),
            _ => self.closed(&asker, known.sql.clone(), known.purpose.clone()).await?,
        };
        Ok(Response::new(self.run(&asker, &again).await?))
    }

    metadata!(get_flight_info_catalogs, do_get_catalogs, CommandGetCatalogs, |_flight, query| metadata::catalogs(
        query
    ));
    metadata!(get_flight_info_schemas, do_get_schemas, CommandGetDbSchemas, |_flight, query| metadata::schemas(query));
    metadata!(get_flight_info_tables, do_get_tables, CommandGetTables, |flight, query| {
        metadata::tables(query, flight.service.catalogue())
    });
    metadata!(get_flight_info_table_types, do_get_table_types, CommandGetTableTypes, |_flight, query| {
        metadata::table_types(query)
    });
    metadata!(get_flight_info_sql_info, do_get_sql_info, CommandGetSqlInfo, |_flight, query| {
        sql_info().and_then(|data| query.into_builder(data).build())
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
            StatementKind::Open(_, wanted) => Arc::clone(wanted),
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
        if self.statement(&asker, &query.prepared_statement_handle).is_ok() {
            self.statements.close(&query.prepared_statement_handle, &asker.id);
        }
        Ok(())
    }

    /// Binds parameters. The result is a new statement with its own handle.
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
            StatementKind::Open(template, _) => template.clone(),
            _ if literals.is_empty() => {
                return Ok(DoPutPreparedStatementResult {
                    prepared_statement_handle: Some(query.prepared_statement_handle),
                });
            }
            _ => return Err(Status::invalid_argument("the statement has no parameters")),
        };
        let sql = template.bound(&literals).map_err(Status::invalid_argument)?;
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
                told_once(&self.set_options(&asker, wanted)?)
            }
            "GetSessionOptions" => {
                let purpose = self.sessions.get(&asker).map(|session| session.purpose).unwrap_or_default();
                let value = SessionOptionValue { string_value: Some(purpose) };
                told_once(&GetSessionOptionsResult { session_options: [(PURPOSE.to_owned(), value)].into() })
            }
            "CloseSession" => {
                self.sessions.close(&asker);
                told_once(&CloseSessionResult { status: 1 })
            }
            _ => return Err(Status::unimplemented("there is no such action")),
        }))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}

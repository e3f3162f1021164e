//! The calls of the plain protocol that Flight SQL leaves out: the list of tables, and a schema without an answer.
//!
//! All other calls are those of [`Flight`].

use std::pin::Pin;

use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, PollInfo, SchemaAsIpc,
    SchemaResult, Ticket,
};
use futures::Stream;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::asking::Flight;
use super::metadata;
use super::service::{asker, reader};

/// The whole protocol.
pub(super) struct FlightDoor(pub(super) Flight);

impl FlightDoor {
    /// The columns of an answer, as planned, or of a table. Nothing is asked.
    async fn schema_of(&self, request: Request<FlightDescriptor>) -> Result<SchemaResult, Status> {
        let wanted = request.get_ref();
        if wanted.r#type() == DescriptorType::Path {
            reader(&request)?;
            let name = wanted.path.last().map_or("", String::as_str);
            let tables = metadata::listed(self.0.service.catalogue()).map_err(|_| Status::internal("internal"))?;
            let table = tables.into_iter().find(|table| table.name == name);
            let table = table.ok_or_else(|| Status::not_found("there is no such table"))?;
            return encoded(&table.schema);
        }
        let command = Any::decode(&*wanted.cmd).map_err(|_| Status::invalid_argument("the command cannot be read"))?;
        match Command::try_from(command) {
            Ok(Command::CommandStatementQuery(query)) => {
                let asker = asker(&request)?;
                encoded(&self.0.plan(&asker, &request, query.query).await?.schema)
            }
            Ok(Command::CommandPreparedStatementQuery(query)) => {
                let asker = asker(&request)?;
                encoded(&self.0.statement(&asker, &query.prepared_statement_handle)?.schema)
            }
            _ => {
                let info = FlightService::get_flight_info(&self.0, request).await?.into_inner();
                Ok(SchemaResult { schema: info.schema })
            }
        }
    }

    fn tables(&self) -> Result<Vec<FlightInfo>, Status> {
        let tables = metadata::listed(self.0.service.catalogue()).map_err(|_| Status::internal("internal"))?;
        let info = |table: metadata::Listed| {
            let path = [table.catalog, table.db_schema].map(str::to_owned).into_iter().chain([table.name]).collect();
            let info = FlightInfo::new().with_descriptor(FlightDescriptor::new_path(path));
            // Records are not listed: a table has columns, and no endpoint.
            info.try_with_schema(&table.schema).map_err(|_| Status::internal("internal"))
        };
        tables.into_iter().map(info).collect()
    }
}

fn encoded(schema: &arrow::datatypes::Schema) -> Result<SchemaResult, Status> {
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    SchemaAsIpc::new(schema, &options).try_into().map_err(|_| Status::internal("internal"))
}

#[tonic::async_trait]
impl FlightService for FlightDoor {
    type HandshakeStream = <Flight as FlightService>::HandshakeStream;
    type ListFlightsStream = Pin<Box<dyn Stream<Item = Result<FlightInfo, Status>> + Send>>;
    type DoGetStream = <Flight as FlightService>::DoGetStream;
    type DoPutStream = <Flight as FlightService>::DoPutStream;
    type DoActionStream = <Flight as FlightService>::DoActionStream;
    type ListActionsStream = <Flight as FlightService>::ListActionsStream;
    type DoExchangeStream = <Flight as FlightService>::DoExchangeStream;

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        reader(&request)?;
        Ok(Response::new(Box::pin(futures::stream::iter(self.tables()?.into_iter().map(Ok)))))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        self.schema_of(request).await.map(Response::new)
    }

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        FlightService::handshake(&self.0, request).await
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        FlightService::get_flight_info(&self.0, request).await
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        FlightService::poll_flight_info(&self.0, request).await
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        FlightService::do_get(&self.0, request).await
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        FlightService::do_put(&self.0, request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        FlightService::do_action(&self.0, request).await
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        FlightService::list_actions(&self.0, request).await
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        FlightService::do_exchange(&self.0, request).await
    }
}

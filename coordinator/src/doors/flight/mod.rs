//! Flight SQL: the same questions for clients of this protocol (ADBC, JDBC, ODBC).
//!
//! ```text
//! CreatePreparedStatement ─ plan, by contract alone ─► handle, of its asker
//! GetFlightInfo ─ schema, ticket ─► DoGet ─ run, wait, stream ─► rows; their statement in the schema's metadata
//! ```
//!
//! Questions about the catalogue, about the server or about nothing (`SELECT 1`) are answered here. No borough gets
//! them.

mod asking;
mod listing;
mod metadata;
mod parameters;
mod service;
mod sessions;
mod sql_info;
mod statements;
mod status;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Router;

use self::asking::Flight;
use self::listing::FlightDoor;
pub(crate) use self::parameters::stay_values;
pub(super) use self::status::status;
use super::service::DoorService;

/// The largest message from a client, in bytes: the longest SQL, or its parameters.
const LARGEST: usize = 256 << 10;

pub(super) fn router(doors: &Arc<DoorService>) -> Router {
    let service =
        FlightServiceServer::new(FlightDoor(Flight::new(Arc::clone(doors)))).max_decoding_message_size(LARGEST);
    Router::new().route_service("/arrow.flight.protocol.FlightService/{method}", service)
}

//! Flight SQL: the same questions for clients that speak it (ADBC, JDBC, ODBC).
//!
//! ```text
//! CreatePreparedStatement ─ plan, by contract alone ─► handle, of its asker
//! GetFlightInfo ─ schema, ticket ─► DoGet ─ run, wait, stream ─► rows; their statement in the schema's metadata
//! ```
//!
//! What a client asks of the catalogue, of the server or of nothing at all (`SELECT 1`) is answered here, and no borough
//! hears of it.

mod asking;
pub(crate) mod local;
mod metadata;
mod parameters;
mod service;
mod sessions;
mod statements;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Router;

use self::asking::Flight;
pub(super) use self::asking::refused;
pub(crate) use self::parameters::stay_values;
use super::Doors;

/// The largest message that a client sends: the longest SQL, or its parameters.
const LARGEST: usize = 256 << 10;

pub(super) fn router(doors: &Arc<Doors>) -> Router {
    let service = FlightServiceServer::new(Flight::new(Arc::clone(doors))).max_decoding_message_size(LARGEST);
    Router::new().route_service("/arrow.flight.protocol.FlightService/{method}", service)
}

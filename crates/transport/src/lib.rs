//! Connections of the federation: how they are opened, accepted and limited, and who may make which call over them.
//!
//! ```text
//! connect, dial ─ TLS 1.3, both certificates ─► accept_mtls ─┐
//! people's own tools ─ TLS 1.3 ──────────────► accept_public ┴─ limits ─► connection ─ authorise ─► services
//! ```
//!
//! | question | module |
//! |---|---|
//! | how a client reaches a member | [`connect`] |
//! | how a node without an open port is reached | [`dial`] |
//! | how a server admits members | [`accept_mtls`] |
//! | how a server admits people's own tools | [`accept_public`] |
//! | how many connections, bytes and calls | [`limits`] |
//! | whether a caller may use an RPC | [`authorise`] |

#![deny(missing_docs)]

pub mod accept_mtls;
pub mod accept_public;
mod acceptor;
pub mod authorise;
pub mod connect;
mod connection;
pub mod dial;
pub mod limits;

pub use accept_mtls::{incoming, incoming_with};
pub use accept_public::{network_of, open_incoming};
pub use authorise::{AuthoriseLayer, Caller, Denied, authorise, server};
pub use connect::{channel, reach};
pub use connection::{OpenConnection, PeerInfo, TlsConnection};
pub use dial::{Dialled, dial_out};
pub use limits::{CONNECTION_AGE, ConnectionPlace, Limits, Rates};

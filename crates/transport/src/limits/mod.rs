//! The limits on connections, bytes and calls.
//!
//! | limit | default | against |
//! |---|---|---|
//! | one handshake | 5 s | a peer that says nothing |
//! | handshakes at once | 256 | many such; one that takes longer than 300 ms gives up its place; a new connection waits for the others |
//! | live connections | 512 | memory |
//! | live connections of one identity | 32 | an analyst who takes the coordinator's place |
//! | live connections of one network on which nobody has signed in ([`crate::accept_public`]) | 256 | strangers; the oldest gives up its place, since a whole council may have one address |
//! | live connections of all networks on which nobody has signed in | half of all | strangers in the places of members |
//! | bytes from one person, over all connections and after them | 4 MiB, then 256 KiB a second | floods of frames that each cost a little |
//! | a connection's life | 10 min 30 s | connections that outlive their certificate |

pub mod places;
pub mod rate;

use std::time::Duration;

pub use places::ConnectionPlace;
pub use rate::Rates;

/// After this long tonic asks the client to open another connection (see [`crate::server`]).
pub const CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);
/// The time that calls under way then have to end.
pub(crate) const CONNECTION_GRACE: Duration = Duration::from_secs(30);
/// A handshake that takes longer makes room where there are too many.
pub(crate) const SLOW: Duration = Duration::from_millis(300);

/// The limits of a listener; the defaults are those of the table in this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest handshake.
    pub handshake_time: Duration,
    /// The most handshakes at once, at least 1.
    pub handshakes: usize,
    /// The most live connections.
    pub connections: usize,
    /// The most live connections of one identity.
    pub connections_per_peer: usize,
    /// The most live connections without an identity from one network ([`crate::network_of`]).
    pub connections_per_network: usize,
    /// After this long a connection fails, whatever it is doing.
    pub connection_life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_time: Duration::from_secs(5),
            handshakes: 256,
            connections: 512,
            connections_per_peer: 32,
            connections_per_network: 256,
            connection_life: CONNECTION_AGE.saturating_add(CONNECTION_GRACE),
        }
    }
}

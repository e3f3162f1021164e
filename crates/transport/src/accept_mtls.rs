//! A server's side of connections with certificates on both sides: shake hands, find the caller, hand over to tonic.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::Stream;
use loda_federation::Role;
use loda_identity::tls::{ALPN, DIAL};
use loda_identity::{Identity, Refusal};
use tokio::net::{TcpListener, TcpStream};

use crate::acceptor::{Admit, shake, through};
use crate::connection::{PeerInfo, TlsConnection};
use crate::dial::Dialled;
use crate::limits::Limits;
use crate::limits::places::Places;

/// Connections of members of the federation, for tonic's `serve_with_incoming`.
///
/// Each handshake uses the certificate and the trust of its moment. Handshakes run in tasks of their own and end with the
/// stream. A connection that fails is closed, and its code traced. The stream never ends and never yields an error, so
/// that no client can end the server: if accepting itself fails (no file descriptors left), it waits and goes on.
pub fn incoming(
    listener: TcpListener,
    identity: Identity,
) -> impl Stream<Item = Result<TlsConnection, io::Error>> + Send + 'static {
    incoming_with(listener, identity, Limits::default(), None)
}

/// As [`incoming`], with other limits; nodes that dial out are handed to `dialled`.
pub fn incoming_with(
    listener: TcpListener,
    identity: Identity,
    limits: Limits,
    dialled: Option<Dialled>,
) -> impl Stream<Item = Result<TlsConnection, io::Error>> + Send + 'static {
    through(listener, Door { identity, limits, places: Places::default(), dialled })
}

/// The state that every handshake needs.
struct Door {
    identity: Identity,
    limits: Limits,
    places: Places,
    dialled: Option<Dialled>,
}

impl Admit for Door {
    type Guest = TlsConnection;

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn admit(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Result<Option<TlsConnection>, &'static str> {
        let stream = shake(stream, self.identity.server_config(), self.limits).await?;
        let session = stream.get_ref().1;
        let dials = match session.alpn_protocol() {
            Some(ALPN) => false,
            Some(DIAL) => true,
            _ => return Err("handshake_alpn"),
        };
        let chain = session.peer_certificates().unwrap_or_default();
        // Again, under the trust of now: it may have changed while the handshake took its time.
        let peer = self.identity.now().trust.peer_of(chain).map_err(Refusal::code)?;
        let place = self.places.of_peer(&peer.id, self.limits)?;
        let info = PeerInfo { peer, remote };
        let life = self.limits.connection_life;
        let connection = TlsConnection::new(stream.into(), info, &self.identity, life, Some(place));
        if !dials {
            return Ok(Some(connection));
        }
        let (Some(dialled), Role::Node(gss)) = (&self.dialled, connection.info().peer.id.role.clone()) else {
            return Err("dial_not_accepted");
        };
        dialled.add(gss, connection).await.map_err(|_| "dial_failed")?;
        Ok(None)
    }
}

//! A door for people's own tools: a program of theirs, a spreadsheet, a browser.
//!
//! A certificate of the federation is welcome there, and none is needed. A caller without one signs in with a token, which
//! the services behind the door judge. The door's own certificate is one for the web, by an authority that those tools
//! believe, and says nothing about the federation.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures::Stream;
use loda_identity::tls::ALPN;
use loda_identity::{Identity, IdentityError, Refusal, WebCertificate};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};

use crate::acceptor::{Admit, shake, through};
use crate::connection::{Guarded, OpenConnection};
use crate::limits::Limits;
use crate::limits::places::{Arrivals, Places};

/// Connections of any caller, for a server that signs callers in. The stream never ends and never yields an error.
///
/// # Errors
/// [`IdentityError::Tls`] where TLS cannot be set up.
pub fn open_incoming(
    listener: TcpListener,
    identity: Identity,
    web: WebCertificate,
    limits: Limits,
) -> Result<impl Stream<Item = Result<OpenConnection, io::Error>> + Send + 'static, IdentityError> {
    let config = identity.public_server_config(Arc::new(web))?;
    Ok(through(
        listener,
        PublicAdmission { identity, config, limits, places: Places::default(), arrivals: Arrivals::default() },
    ))
}

/// The network of an address, as far as that can be told: one home or office has all of an IPv6 /64.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

struct PublicAdmission {
    identity: Identity,
    config: Arc<ServerConfig>,
    limits: Limits,
    places: Places,
    arrivals: Arrivals,
}

impl Admit for PublicAdmission {
    type Guest = OpenConnection;

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn admit(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Result<Option<OpenConnection>, &'static str> {
        let network = network_of(remote.ip());
        let turn = self.arrivals.turn(network).await.ok_or("stopping")?;
        let stream = tokio::select! {
            shaken = shake(stream, Arc::clone(&self.config), self.limits) => shaken?,
            () = turn.overdue() => return Err("handshakes_full"),
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN);
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let (peer, place) = if chain.is_empty() {
            (None, self.places.of_stranger(network, self.limits, Some(turn))?)
        } else {
            let peer = self.identity.now().trust.peer_of(chain).map_err(Refusal::code)?;
            let place = self.places.of_peer(&peer.id, self.limits)?;
            (Some(peer), place)
        };
        let life = self.limits.connection_life;
        let guarded = Guarded::new(stream.into(), peer.clone(), &self.identity, life, Some(place.clone()));
        Ok(Some(OpenConnection::new(guarded, peer, remote, place, http2)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_network_is_counted_as_one() {
        let of = |address: &str| network_of(address.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }
}

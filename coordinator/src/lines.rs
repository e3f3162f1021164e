//! Lines to nodes: to their addresses, or over connections that they opened.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use loda_identity::{Dialled, Gss, Identity, PeerId, Role, channel};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

/// How long a connection may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// Carries calls to one node.
pub type Line = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, LineFault>;

/// Why a call did not come through.
#[derive(Debug, thiserror::Error)]
#[error("the line to the node failed")]
pub struct LineFault(#[source] tonic::codegen::StdError);

impl LineFault {
    pub fn new(fault: impl Into<tonic::codegen::StdError>) -> Self {
        Self(fault.into())
    }
}

/// Where calls to nodes go: sockets, or a simulation's network.
pub trait Lines: Send + Sync {
    /// A line to a node; whether it holds shows when it is used.
    ///
    /// # Errors
    /// Where there cannot be one.
    fn to(&self, gss: &Gss) -> anyhow::Result<Line>;
}

/// The lines of a served coordinator, connected as needed.
pub(crate) struct Connections {
    identity: Identity,
    dialled: Dialled,
    /// By borough, with the address that each leads to.
    channels: Mutex<BTreeMap<Gss, (String, Channel)>>,
}

impl Connections {
    /// `dialled`: where connections go that nodes open.
    pub(crate) fn new(identity: Identity, dialled: Dialled) -> Self {
        Self { identity, dialled, channels: Mutex::default() }
    }

    fn channel(&self, gss: &Gss) -> anyhow::Result<Channel> {
        let manifest = self.identity.manifest();
        let member = manifest.member(gss).context("no such member")?;
        anyhow::ensure!(!member.dials_out(), "the node has not dialled in");
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((address, channel)) = channels.get(gss)
            && *address == member.address
        {
            return Ok(channel.clone());
        }
        let id = PeerId { domain: manifest.domain.clone(), role: Role::Node(gss.clone()) };
        let channel = channel(&member.address, &self.identity, &id, CONNECT)?;
        channels.insert(gss.clone(), (member.address.clone(), channel.clone()));
        Ok(channel)
    }
}

impl Lines for Connections {
    fn to(&self, gss: &Gss) -> anyhow::Result<Line> {
        let channel = match self.dialled.channel(gss) {
            Some(channel) => channel,
            None => self.channel(gss)?,
        };
        Ok(BoxCloneSyncService::new(channel.map_err(LineFault::new)))
    }
}

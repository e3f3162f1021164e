//! Channels to nodes: to a node's address, or over a connection that the node opened.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use loda_identity::{Gss, Identity, PeerId, Role};
use loda_transport::{Dialled, channel};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

/// The longest time to open a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// Carries calls to one node.
pub type NodeChannel = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, ChannelFault>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[error("the line to the node failed")]
pub struct ChannelFault(#[source] tonic::codegen::StdError);

impl ChannelFault {
    pub fn new(fault: impl Into<tonic::codegen::StdError>) -> Self {
        Self(fault.into())
    }
}

/// Where calls to nodes go: to sockets, or to a simulated network.
pub trait NodeConnector: Send + Sync {
    /// A channel to a node. A broken connection shows only on use.
    ///
    /// # Errors
    /// If there cannot be a channel.
    fn to(&self, gss: &Gss) -> anyhow::Result<NodeChannel>;
}

/// The channels of a serving coordinator, opened on demand.
pub(crate) struct Connections {
    identity: Identity,
    dialled: Dialled,
    /// By borough, with the address that each channel leads to.
    channels: Mutex<BTreeMap<Gss, (String, Channel)>>,
}

impl Connections {
    /// `dialled`: the connections that nodes open.
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

impl NodeConnector for Connections {
    fn to(&self, gss: &Gss) -> anyhow::Result<NodeChannel> {
        let channel = match self.dialled.channel(gss) {
            Some(channel) => channel,
            None => self.channel(gss)?,
        };
        Ok(BoxCloneSyncService::new(channel.map_err(ChannelFault::new)))
    }
}

//! Passing calls on to the leader, as they are and once.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::{sync::watch, time::timeout};
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt as _};

use crate::{channel::Channel, channels::Channels, metadata, peer::Peer, services::AnyService};

/// How long a call waits for a leader to be elected. An election takes about a second.
const LEADER_WAIT: Duration = Duration::from_secs(5);

const NO_LEADER: &str = "The swarm does not have a leader. It's possible that too few managers are online. \
                         Make sure more than half of the managers are online.";

/// Who leads, as far as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leader {
    /// Nobody, or nobody knows.
    #[default]
    Unknown,
    /// This node.
    Here,
    /// The manager at this address (`host:port`).
    At(String),
}

/// The way to the leader. Clones share it.
#[derive(Clone, Debug)]
pub struct Forward {
    leader: watch::Receiver<Leader>,
    channels: Channels,
    wait: Duration,
}

enum Way {
    Here,
    There(Channel),
}

// === impl Forward ===

impl Forward {
    /// Follows who leads, and passes calls on through `channels`.
    #[must_use]
    pub fn new(leader: watch::Receiver<Leader>, channels: Channels) -> Self {
        Self { leader, channels, wait: LEADER_WAIT }
    }

    /// Sets how long a call waits while nobody leads, instead of five seconds.
    #[must_use]
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// A channel to the leader for calls of this node's own; none when this node leads.
    ///
    /// # Errors
    ///
    /// `Unavailable` when there is no leader within the wait, or it cannot be reached.
    pub async fn leader_channel(&self) -> Result<Option<Channel>, Status> {
        match self.way().await? {
            Way::Here => Ok(None),
            Way::There(channel) => Ok(Some(channel)),
        }
    }

    async fn way(&self) -> Result<Way, Status> {
        let mut leader = self.leader.clone();
        let known = leader.wait_for(|leader| *leader != Leader::Unknown);
        let known = timeout(self.wait, known).await.map(|known| known.map(|leader| leader.clone()));
        // Nobody tells any more who leads: this node is about to stop.
        let leader = known.unwrap_or(Ok(Leader::Unknown)).unwrap_or_default();
        match leader {
            Leader::Unknown => Err(Status::unavailable(NO_LEADER)),
            Leader::Here => Ok(Way::Here),
            Leader::At(address) => Ok(Way::There(self.channels.manager(&address).await?)),
        }
    }
}

/// A service that the leader answers.
#[derive(Clone)]
pub(crate) struct Forwarded {
    here: AnyService,
    forward: Forward,
}

impl Forwarded {
    pub(crate) fn new(here: AnyService, forward: Forward) -> Self {
        Self { here, forward }
    }

    async fn answer(self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let channel = match self.forward.way().await? {
            Way::Here => {
                let Ok(answer) = self.here.oneshot(request).await;
                return Ok(answer);
            }
            Way::There(channel) => channel,
        };
        if let Some(first) = metadata::redirected_from(request.headers()) {
            return Err(Status::resource_exhausted(format!("more than one redirect to leader from: {first}")));
        }
        let peer = request.extensions_mut().remove::<Peer>();
        let peer = peer.ok_or_else(|| Status::internal("request was not authorized"))?;
        metadata::vouch(request.headers_mut(), &peer)?;
        // Frames go through as they are, so streams of either direction do too.
        channel.send(request).await
    }
}

impl Service<Request<Body>> for Forwarded {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await.unwrap_or_else(Status::into_http)) })
    }
}

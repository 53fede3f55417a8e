//! Passing calls on to the leader, as they are and once.

mod call;
mod fresh;
mod passed_on;

use std::{
    convert::Infallible,
    future::Future,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt as _};

pub(crate) use self::passed_on::PassedOn;
use self::{call::Call, fresh::Fresh};
use crate::{channel::Channel, channels::Channels, connect_error::ConnectError, metadata, services::AnyService};

/// How long there may be no leader until calls are refused at once, and how long a call is tried. As upstream, whose ten
/// ticks are as long; an election takes about half a second.
const LEADER_WAIT: Duration = Duration::from_secs(10);
/// How long a call may take that sends one message, gets one, and says nothing else.
const UNARY_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause before a call is tried again, unless there is news of the leader.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a leader that was replaced may still take to answer a call.
const LATE_ANSWER: Duration = Duration::from_millis(500);

const NO_LEADER: &str = "The swarm does not have a leader. It's possible that too few managers are online. \
                         Make sure more than half of the managers are online.";
const OTHER_LEADER: &str =
    "another manager has taken over leadership while the call was under way; its outcome is not known";

/// Who leads, as far as this node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leader {
    /// Nobody, or nobody knows.
    Unknown {
        /// Since when.
        since: Instant,
    },
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
    fresh: Fresh,
}

enum Way {
    Here,
    There(Channel),
}

/// Why there is no way to the leader.
#[derive(Debug, thiserror::Error)]
enum NoWay {
    #[error("{NO_LEADER}")]
    NoLeader,
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl From<NoWay> for Status {
    fn from(error: NoWay) -> Self {
        match error {
            NoWay::NoLeader => Self::unavailable(NO_LEADER),
            NoWay::Connect(error) => error.into(),
        }
    }
}

/// Whether an answer says that the managers have no leader, which somebody has to mend.
#[must_use]
pub fn is_leaderless(status: &Status) -> bool {
    status.message().contains(NO_LEADER)
}

// === impl Leader ===

impl Leader {
    /// Nobody leads, from now on.
    #[must_use]
    pub fn unknown() -> Self {
        Self::Unknown { since: Instant::now() }
    }

    /// Whether somebody leads.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
}

// === impl Forward ===

impl Forward {
    /// Follows who leads, and passes calls on through `channels`.
    #[must_use]
    pub fn new(leader: watch::Receiver<Leader>, channels: Channels) -> Self {
        Self { leader, channels, wait: LEADER_WAIT, fresh: Fresh::default() }
    }

    /// Sets how long there may be no leader until calls are refused at once, and how long a call is tried, instead of ten
    /// seconds.
    #[must_use]
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Whatever this node answers as the leader is as new as the cluster: `proof` waits until what this node has is so
    /// new, and gives false if it cannot be told.
    ///
    /// A node leads until it hears of another leader. One that was paused or cut off would answer, for a moment, with what
    /// it had before.
    #[must_use]
    pub fn fresh<F>(self, proof: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self { fresh: Fresh::by(proof), ..self }
    }

    /// A channel to the leader for calls of this node's own; none when this node leads.
    ///
    /// # Errors
    ///
    /// `Unavailable` when there has been no leader for the wait, or it cannot be reached.
    pub async fn leader_channel(&self) -> Result<Option<Channel>, Status> {
        match self.way().await? {
            Way::Here => Ok(None),
            Way::There(channel) => Ok(Some(channel)),
        }
    }

    async fn way(&self) -> Result<Way, NoWay> {
        let mut word = self.leader.clone();
        loop {
            let leader = word.borrow_and_update().clone();
            let since = match leader {
                Leader::Here => return Ok(Way::Here),
                Leader::At(address) => return Ok(Way::There(self.channels.manager(&address).await?)),
                Leader::Unknown { since } => since,
            };
            // If nobody tells any more who leads, this node is about to stop.
            let Ok(Ok(())) = timeout_at(since + self.wait, word.changed()).await else { return Err(NoWay::NoLeader) };
        }
    }

    /// Waits until somebody else than the manager at an address leads.
    async fn is_replaced(&self, address: &str) {
        let mut word = self.leader.clone();
        let other = |leader: &Leader| match leader {
            Leader::Unknown { .. } => false,
            Leader::Here => true,
            Leader::At(at) => at != address,
        };
        if word.wait_for(other).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A service that the leader answers.
#[derive(Clone)]
pub(crate) struct Forwarded {
    here: AnyService,
    forward: Forward,
}

type Answer = Result<Response<Body>, Status>;

/// What has become of one attempt.
enum Attempt {
    /// The answer for the caller.
    Final(Answer),
    /// Nothing was done, or nothing that doing it again would change; this is the answer if there is no other attempt.
    Repeatable(Answer),
}

impl Forwarded {
    pub(crate) fn new(here: AnyService, forward: Forward) -> Self {
        Self { here, forward }
    }

    async fn answer(self, request: Request<Body>) -> Answer {
        let mut call = Call::new(request).await?;
        if !call.lacks_deadline() {
            return self.persist(&mut call).await;
        }
        timeout(UNARY_TIMEOUT, self.persist(&mut call)).await.unwrap_or_else(|_| Err(crate::deadline::exceeded()))
    }

    /// Tries until there is an answer that another attempt cannot better, or for the length of the wait.
    async fn persist(&self, call: &mut Call) -> Answer {
        let give_up = Instant::now() + self.forward.wait;
        let mut word = self.forward.leader.clone();
        loop {
            word.mark_unchanged();
            let answer = match self.attempt(call).await {
                Attempt::Final(answer) => return answer,
                Attempt::Repeatable(answer) => answer,
            };
            if !call.is_whole() || Instant::now() >= give_up {
                return answer;
            }
            // Whoever is told nothing any more about the leader is about to stop.
            if let Ok(Err(_)) = timeout(PAUSE, word.changed()).await {
                return answer;
            }
        }
    }

    async fn attempt(&self, call: &mut Call) -> Attempt {
        let channel = match self.forward.way().await {
            Ok(Way::There(channel)) => channel,
            Ok(Way::Here) => return self.attempt_here(call).await,
            Err(NoWay::Connect(error)) if error.is_transient() => return Attempt::Repeatable(Err(error.into())),
            Err(error) => return Attempt::Final(Err(error.into())),
        };
        if let Some(first) = call.redirected_from() {
            // The caller may find the leader by itself now.
            let refused = Status::resource_exhausted(format!("more than one redirect to leader from: {first}"));
            return Attempt::Final(Err(metadata::undone(refused)));
        }
        let request = match call.vouched_request() {
            Ok(request) => request,
            Err(status) => return Attempt::Final(Err(status)),
        };
        // Frames go through as they are, so streams of either direction do too.
        let sent = tokio::select! { biased; // an answer that is there counts
            sent = channel.try_send(request) => sent,
            () = self.outlasts(&channel), if call.is_unary() => {
                let answer = Err(Status::unavailable(OTHER_LEADER));
                return if call.may_be_repeated() { Attempt::Repeatable(answer) } else { Attempt::Final(answer) };
            }
        };
        match sent {
            Ok(answer) => attempted(Ok(answer)),
            Err(lost) if !lost.sent || call.may_be_repeated() => Attempt::Repeatable(Err(lost.status)),
            Err(lost) => Attempt::Final(Err(lost.status)),
        }
    }

    async fn attempt_here(&self, call: &mut Call) -> Attempt {
        let fresh = &self.forward.fresh;
        if call.reads() && !fresh.is_proven().await {
            return Attempt::Repeatable(Err(metadata::undone(fresh::not_proven())));
        }
        let Ok(answer) = self.here.clone().oneshot(call.request()).await;
        // A write that is refused says what is there, as a read does; it is told only if that was so.
        if call.is_unary() && !call.reads() && fresh::is_refusal(&answer) && !fresh.is_proven().await {
            let refused = Err(fresh::not_proven());
            return if call.may_be_repeated() { Attempt::Repeatable(refused) } else { Attempt::Final(refused) };
        }
        attempted(Ok(answer))
    }

    /// Waits until the leader at the other end of a channel is one no more, and has had time to say what it still knows.
    async fn outlasts(&self, channel: &Channel) {
        self.forward.is_replaced(channel.address()).await;
        tokio::time::sleep(LATE_ANSWER).await;
    }
}

/// Whether an answer says that nothing was done because its sender did not lead.
fn attempted(answer: Answer) -> Attempt {
    let undone = answer.as_ref().is_ok_and(|answer| metadata::is_undone(answer.headers()));
    if undone { Attempt::Repeatable(answer) } else { Attempt::Final(answer) }
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

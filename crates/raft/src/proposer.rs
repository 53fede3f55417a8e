//! The store's change sets on their way into the log.
//!
//! The store calls under its writer slot, so a call only queues. One part takes from the queue, in order, and hands each
//! change set to openraft without waiting for the one before: what arrives while the disk syncs goes into the next batch.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use openraft::{
    errors::ClientWriteError,
    raft::{ClientWriteResult, responder::Responder},
};
use parking_lot::Mutex;
use swarmkit_store::{Applier, MAX_IN_FLIGHT, Proposal, ProposalId, ProposeError, Proposer};
use tokio::sync::mpsc;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    machine::Machine,
    role::Role,
    stall::Progress,
    types::{Command, Types},
};

/// How many change sets may wait to be handed to openraft. The store lets [`MAX_IN_FLIGHT`] be under way; as many again
/// may still lie here after they have failed.
const QUEUE: usize = 2 * MAX_IN_FLIGHT;

/// A change set, and the term of the leadership that it is for.
pub(crate) type Queued = (u64, Proposal);

/// Commits the store's change sets through the log. Clones share the queue.
///
/// Made first and given to the store; [`Raft::start`](crate::Raft::start) then takes it, and what the store had before.
#[derive(Clone, Default)]
pub struct RaftProposer(Arc<Line>);

#[derive(Default)]
struct Line {
    applier: OnceLock<Applier>,
    gate: Mutex<Gate>,
}

/// Whether change sets are taken at the moment.
#[derive(Default)]
enum Gate {
    /// Not started, or ended.
    #[default]
    Stopped,
    /// Another member leads, at this address if that is known.
    Closed { leader: Option<String> },
    /// This member leads in a term.
    Open { term: u64, queue: mpsc::Sender<Queued> },
}

impl RaftProposer {
    /// A proposer that takes nothing until raft is started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where committed change sets go.
    pub(crate) fn applier(&self) -> Option<&Applier> {
        self.0.applier.get()
    }

    /// Takes change sets while this member leads, and refuses them otherwise. What is under way when leadership ends has
    /// an unknown fate.
    pub(crate) fn follow(&self, role: &Role, queue: &mpsc::Sender<Queued>) {
        let next = match role {
            Role::Leader { term } => Gate::Open { term: *term, queue: queue.clone() },
            Role::Follower { leader } => Gate::Closed { leader: leader.as_ref().map(|leader| leader.addr.clone()) },
        };
        let was_open = matches!(std::mem::replace(&mut *self.0.gate.lock(), next), Gate::Open { .. });
        if was_open
            && let Role::Follower { .. } = role
            && let Some(applier) = self.applier()
        {
            applier.abandon(&ProposeError::Unknown);
        }
    }

    /// Takes nothing any more.
    pub(crate) fn stop(&self) {
        *self.0.gate.lock() = Gate::Stopped;
    }
}

impl Proposer for RaftProposer {
    fn attach(&self, applier: Applier) {
        assert!(self.0.applier.set(applier).is_ok(), "invariant: a proposer is attached to one store");
    }

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        match &*self.0.gate.lock() {
            Gate::Stopped => Err(ProposeError::Stopped),
            Gate::Closed { leader } => Err(ProposeError::NotLeader { leader: leader.clone() }),
            Gate::Open { term, queue } => queue.try_send((*term, proposal)).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => ProposeError::Failed("too many change sets wait".to_owned()),
                mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped,
            }),
        }
    }
}

impl fmt::Debug for RaftProposer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RaftProposer")
    }
}

/// The queue between the store and openraft.
pub(crate) fn queue() -> (mpsc::Sender<Queued>, mpsc::Receiver<Queued>) {
    mpsc::channel(QUEUE)
}

/// Hands change sets to openraft until told to stop. `under_way` counts those whose fate is open.
pub(crate) async fn run(
    raft: openraft::Raft<Types, Machine>,
    applier: Applier,
    mut queue: mpsc::Receiver<Queued>,
    under_way: TaskTracker,
    progress: Progress,
    stop: CancellationToken,
) {
    loop {
        let next = tokio::select! { biased; // what is still queued then was not handed out, and is refused
            () = stop.cancelled() => break,
            next = queue.recv() => next,
        };
        let Some((term, proposal)) = next else { return };
        let failure = Some(ProposeError::Unknown);
        progress.begin();
        let fate = Fate {
            applier: applier.clone(),
            id: proposal.id,
            failure,
            progress: progress.clone(),
            _under_way: under_way.token(),
        };
        let reply = Reply::to(move |result: ClientWriteResult<Types>| fate.settle(result));
        let command = Command { payload: proposal.payload };
        // The guard keeps a change set of one leadership out of the next one of the same member.
        let leader = openraft::vote::leader_id_std::CommittedLeaderId::new(term);
        // An error means that openraft has stopped; the reply was dropped by then, and has said so.
        let _ = raft.write(command).with_leader(leader).responder(reply).await;
    }
    queue.close();
    while let Some((_, proposal)) = queue.recv().await {
        applier.reject(proposal.id, ProposeError::Stopped);
    }
}

/// A change set that was handed out. One that is dropped without an answer has an unknown fate.
struct Fate {
    applier: Applier,
    id: ProposalId,
    /// What the store is told in the end; nothing when the change set was applied, since applying it says so.
    failure: Option<ProposeError>,
    progress: Progress,
    _under_way: TaskTrackerToken,
}

impl Fate {
    fn settle(mut self, result: ClientWriteResult<Types>) {
        self.failure = match result {
            Ok(_) => None,
            // Refused before it became an entry. A lease that has run out, or has not begun, leaves no leader to name.
            Err(ClientWriteError::ForwardToLeader(to)) => {
                Some(ProposeError::NotLeader { leader: to.leader_node.map(|leader| leader.addr) })
            }
            // The leadership that it was meant for is over.
            Err(ClientWriteError::PreconditionFailed(_)) => Some(ProposeError::NotLeader { leader: None }),
            Err(ClientWriteError::LogEntryDiscarded(_)) => Some(ProposeError::Unknown),
            Err(ClientWriteError::ChangeMembershipError(error)) => Some(ProposeError::Failed(error.to_string())),
        };
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        self.progress.end();
        if let Some(failure) = self.failure.take() {
            self.applier.reject(self.id, failure);
        }
    }
}

/// Gives an answer of openraft to whoever asked.
pub(crate) struct Reply<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Reply<T> {
    fn to(answer: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(answer))
    }
}

impl<T: Send + 'static> Responder<Types, T> for Reply<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

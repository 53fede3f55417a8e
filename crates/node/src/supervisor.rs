//! The manager of this node, whenever its certificate says that it is one.
//!
//! A node that is promoted starts a manager beside its agent; one that is demoted stops it, forgets its log, and goes on
//! as a worker. The role in the certificate is the one sign that counts: it follows what the cluster has decided, and it
//! reaches this node also where its manager has left raft without being told.
//!
//! A manager that the others have removed from raft, and a certificate that says nothing of it, contradict each other for
//! a moment at most. The log is of no use any more, so it is forgotten; another certificate is asked for, which has the
//! role that the cluster wants by now, and says how to go on.

use std::{pin::pin, sync::Arc, time::Duration};

use swarmkit_api::NodeRole;
use swarmkit_ca::Trust;
use swarmkit_manager::{Error as ManagerError, Manager, ManagerHandle};
use swarmkit_rpc::Channel;
use swarmkit_runtime::Backoff;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    NodeError,
    managing::{How, Making},
};

/// The shortest and the longest pause after a manager that could not join.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// How long a node whose manager was removed waits for another certificate before it asks to be admitted anew, as upstream.
const ROLE_CHANGE: Duration = Duration::from_secs(16);

/// Where the manager that runs is found by the rest of the node, and by those who hold a handle of it.
#[derive(Clone, Default)]
pub(crate) struct Posted {
    manager: watch::Sender<Option<ManagerHandle>>,
    channel: watch::Sender<Option<Channel>>,
}

impl Posted {
    pub(crate) fn post(&self, manager: &ManagerHandle) {
        self.channel.send_replace(Some(manager.channel()));
        self.manager.send_replace(Some(manager.clone()));
    }

    fn withdraw(&self) {
        self.channel.send_replace(None);
        self.manager.send_replace(None);
    }

    /// The manager, if one runs.
    pub(crate) fn manager(&self) -> watch::Receiver<Option<ManagerHandle>> {
        self.manager.subscribe()
    }

    /// The way to it within this process.
    pub(crate) fn channel(&self) -> watch::Receiver<Option<Channel>> {
        self.channel.subscribe()
    }
}

/// How a manager has ended, without an error.
enum End {
    /// The node stops.
    Stopped,
    /// The node is a worker now.
    Demoted,
    /// The other managers have removed it from raft. What the node is to be, its next certificate says.
    Removed,
}

/// Keeps a manager running while the node is one.
pub(crate) struct Supervisor {
    pub(crate) making: Making,
    pub(crate) posted: Posted,
    /// Asks for another certificate.
    pub(crate) renew: Arc<Notify>,
}

impl Supervisor {
    /// Runs `first`, if the node was a manager when it started, and then whatever its roles ask for, until told to stop.
    ///
    /// # Errors
    ///
    /// A manager that was part of the cluster has failed, or `first` could not become one.
    pub(crate) async fn run(self, first: Option<Manager>, stop: CancellationToken) -> Result<(), NodeError> {
        let mut trust = self.making.credentials.subscribe();
        let mut retry = Backoff::new(RETRY.0, RETRY.1, self.making.env.rng("manager of a promoted node"));
        let (mut first, mut promoted) = (first, false);
        loop {
            let manager = match first.take() {
                Some(manager) => Ok(manager),
                None => {
                    promoted = true;
                    tokio::select! { biased; // stopping comes first
                        () = stop.cancelled() => return Ok(()),
                        () = becomes(&mut trust, NodeRole::Manager) => {}
                    }
                    self.making.start(How::Member).await
                }
            };
            let ended = match manager {
                Ok(manager) => self.hold(manager, &mut trust, &stop).await,
                Err(error) => Err(error),
            };
            let pause = match ended {
                Ok(End::Stopped) => return Ok(()),
                Ok(End::Demoted) => {
                    tracing::info!("this node is a worker now");
                    self.making.forget_log().await?;
                    retry.reset();
                    continue;
                }
                Ok(End::Removed) => {
                    tracing::warn!("the manager of this node was removed from raft, and forgets its log");
                    self.making.forget_log().await?;
                    trust.mark_unchanged();
                    self.renew.notify_one();
                    tokio::select! { biased; // stopping comes first
                        () = stop.cancelled() => return Ok(()),
                        changed = trust.changed() => if changed.is_err() { return Ok(()) },
                        () = self.making.env.sleep(ROLE_CHANGE) => {}
                    }
                    continue;
                }
                // Its tasks are no worse off than before, and whoever promoted it sees that it is no manager yet.
                Err(error) if promoted && is_not_in(&error) => {
                    self.posted.withdraw();
                    let pause = retry.next_delay();
                    tracing::warn!(%error, ?pause, "this node is to be a manager and cannot yet");
                    pause
                }
                Err(error) => return Err(error),
            };
            tokio::select! { biased; // stopping need not wait for the pause
                () = stop.cancelled() => return Ok(()),
                () = becomes(&mut trust, NodeRole::Worker) => self.making.forget_log().await?,
                () = self.making.env.sleep(pause) => {}
            }
        }
    }

    /// Runs a manager to its end.
    async fn hold(
        &self,
        manager: Manager,
        trust: &mut watch::Receiver<Arc<Trust>>,
        stop: &CancellationToken,
    ) -> Result<End, NodeError> {
        self.posted.post(&manager.handle());
        let over = stop.child_token();
        let mut running = pin!(manager.run(over.clone()));
        tokio::select! { biased; // what it says of itself is the cause, whatever its role has become
            ended = &mut running => match ended {
                Ok(()) => Ok(End::Stopped),
                Err(ManagerError::Removed) => {
                    self.posted.withdraw();
                    Ok(End::Removed)
                }
                Err(error) => Err(error.into()),
            },
            () = becomes(trust, NodeRole::Worker) => {
                self.posted.withdraw();
                over.cancel();
                if let Err(error) = running.await {
                    tracing::warn!(%error, "the manager of a node that was demoted did not end well");
                }
                Ok(if stop.is_cancelled() { End::Stopped } else { End::Demoted })
            }
        }
    }
}

/// Whether a manager has failed before it was part of the cluster.
fn is_not_in(error: &NodeError) -> bool {
    match error {
        NodeError::Manager(error) => {
            matches!(error, ManagerError::NotAdmitted { .. } | ManagerError::NoManager | ManagerError::Listen { .. })
        }
        NodeError::NoLog { .. } => true,
        _ => false,
    }
}

/// Waits until the certificate is one of that role. A node whose certificates end is about to end itself.
async fn becomes(trust: &mut watch::Receiver<Arc<Trust>>, role: NodeRole) {
    if trust.wait_for(|trust| trust.identity().role == role).await.is_err() {
        std::future::pending().await
    }
}

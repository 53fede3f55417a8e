//! What managers say about this node and its cluster, for the agent and for the node around it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use swarmkit_api::{Meta, Node, Object as _, wire};
use swarmkit_executor::{DynExecutor, ExecError};
use tokio::sync::watch;

use crate::{
    SessionError,
    manager::{Managers, Messages},
    session::next,
};

/// How long the executor may take over what managers say.
const EXECUTOR_TIMEOUT: Duration = Duration::from_secs(5);

/// What managers last said. Every part is empty until the first session.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    /// This node as managers have it: its desired role, its certificate's state, its availability. What is reported of
    /// it, and when it was written, is not a reason to say it again, so these parts may be old.
    pub node: Option<Arc<Node>>,
    /// The root certificates that the cluster trusts, as PEM.
    pub root_ca: Bytes,
    /// All managers.
    pub managers: Vec<wire::WeightedPeer>,
    /// The keys that encrypt the traffic of networks.
    pub network_keys: Vec<wire::EncryptionKey>,
}

/// How the agent gets on with managers.
#[derive(Clone, Debug, Default)]
pub struct Contact {
    /// There is a session now.
    pub established: bool,
    /// How many sessions there were.
    pub sessions: u64,
    /// How many attempts have failed since the last session.
    pub failures: u32,
    /// Why the last one failed, or the last session ended.
    pub error: Option<Arc<SessionError>>,
}

/// Reads session messages and tells everybody whom they concern.
pub(crate) struct Herald {
    pub(crate) executor: Arc<dyn DynExecutor>,
    pub(crate) managers: Arc<dyn Managers>,
    pub(crate) membership: watch::Sender<Membership>,
    /// By their clock, the keys that the executor has.
    known_keys: BTreeSet<u64>,
}

impl Herald {
    pub(crate) fn new(
        executor: Arc<dyn DynExecutor>,
        managers: Arc<dyn Managers>,
        membership: watch::Sender<Membership>,
    ) -> Self {
        Self { executor, managers, membership, known_keys: BTreeSet::new() }
    }

    /// Reads until the stream ends.
    pub(crate) async fn listen(&mut self, messages: &mut Messages<wire::SessionMessage>) -> SessionError {
        loop {
            match next("the session", messages).await {
                Ok(message) => self.absorb(message).await,
                Err(error) => return error,
            }
        }
    }

    /// Tells what is new in a message. An absent part says nothing.
    pub(crate) async fn absorb(&mut self, message: wire::SessionMessage) {
        self.absorb_managers(message.managers);
        if !message.root_ca.is_empty() {
            let root_ca = message.root_ca;
            self.membership.send_if_modified(|known| replace(&mut known.root_ca, root_ca));
        }
        self.absorb_keys(message.network_bootstrap_keys).await;
        if let Some(node) = message.node {
            match Node::from_wire(node) {
                Ok(node) => self.absorb_node(node).await,
                Err(error) => tracing::warn!(%error, "cannot read what the manager says of this node"),
            }
        }
    }

    /// A list without anybody would leave this node with nobody to turn to, so it counts as nothing said.
    fn absorb_managers(&self, managers: Vec<wire::WeightedPeer>) {
        let named = |manager: &wire::WeightedPeer| manager.peer.as_ref().is_some_and(|peer| !peer.addr.is_empty());
        if !managers.iter().any(named) {
            return;
        }
        self.managers.learn(&managers);
        self.membership.send_if_modified(|known| replace(&mut known.managers, managers));
    }

    /// Keys are replaced when there is a new one among them; fewer of the known ones change nothing.
    async fn absorb_keys(&mut self, keys: Vec<wire::EncryptionKey>) {
        if keys.iter().all(|key| self.known_keys.contains(&key.lamport_time)) {
            return;
        }
        if let Err(error) = in_time(self.executor.set_network_bootstrap_keys(&keys)).await {
            tracing::error!(%error, "the executor does not take the network keys");
            return;
        }
        self.known_keys = keys.iter().map(|key| key.lamport_time).collect();
        self.membership.send_if_modified(|known| replace(&mut known.network_keys, keys));
    }

    async fn absorb_node(&mut self, node: Node) {
        let is_news = self.membership.borrow().node.as_ref().is_none_or(|known| !same_function(known, &node));
        if !is_news {
            return;
        }
        if let Err(error) = in_time(self.executor.configure(&node)).await {
            tracing::error!(%error, "the executor does not take the node's configuration");
        }
        self.membership.send_modify(|known| known.node = Some(Arc::new(node)));
    }
}

/// An executor that hangs does not keep the node from hearing its managers.
async fn in_time(call: impl Future<Output = Result<(), ExecError>>) -> Result<(), ExecError> {
    let end = tokio::time::timeout(EXECUTOR_TIMEOUT, call).await;
    end.unwrap_or_else(|_| Err(ExecError::temporary("it did not answer in time")))
}

/// Puts a value in place of another, and says whether it is a different one.
fn replace<T: PartialEq>(known: &mut T, said: T) -> bool {
    let differs = *known != said;
    *known = said;
    differs
}

/// Whether two readings of a node are the same but for what is reported of it.
fn same_function(a: &Node, b: &Node) -> bool {
    let bare = |node: &Node| Node {
        meta: Meta::default(),
        status: wire::NodeStatus::default(),
        manager_status: None,
        ..node.clone()
    };
    bare(a) == bare(b)
}

//! The calls that are open, and the nodes that listen for theirs: the state of one leader term.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::stream::BoxStream;
use swarmkit_api::{
    NodeId,
    wire::swarmkit::exec::v1::{Assigned, Call, OpenRequest, ServeRequest},
};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{ExecError, broker::CALLS_MAX, broker::CALLS_PER_NODE, check::Place};

/// What a client sends.
pub(crate) type FromClient = BoxStream<'static, Result<OpenRequest, Status>>;
/// What a node sends.
pub(crate) type FromNode = BoxStream<'static, Result<ServeRequest, Status>>;

/// See the module's purpose. Kept behind a lock that is never held while anything is waited for.
#[derive(Default)]
pub(crate) struct Desk {
    calls: BTreeMap<String, Entry>,
    /// The calls to each node, in the order of their ids.
    by_node: BTreeMap<NodeId, BTreeSet<String>>,
    listeners: BTreeMap<NodeId, BTreeMap<u64, Arc<Notify>>>,
    listeners_so_far: u64,
}

/// A call that is open.
struct Entry {
    node: NodeId,
    /// Not yet served.
    offer: Option<(Call, Ends)>,
}

/// What the node gets that serves a call, and what it gives.
pub(crate) struct Ends {
    pub(crate) client: FromClient,
    pub(crate) node: oneshot::Sender<FromNode>,
    /// Cancelled when the client has gone.
    pub(crate) over: CancellationToken,
}

/// A node that listens.
pub(crate) struct Listening {
    pub(crate) node: NodeId,
    key: u64,
    pub(crate) news: Arc<Notify>,
    /// The calls that it knows of.
    told: BTreeSet<String>,
}

impl Desk {
    /// Whether a node listens.
    pub(crate) fn listens(&self, node: &NodeId) -> bool {
        self.listeners.contains_key(node)
    }

    /// Opens a call. Nodes that listen are told of it.
    pub(crate) fn open(&mut self, id: &str, place: &Place, call: Call, ends: Ends) -> Result<(), ExecError> {
        if self.calls.len() >= CALLS_MAX {
            return Err(ExecError::TooMany(CALLS_MAX, "this cluster".to_owned()));
        }
        let of_node = self.by_node.entry(place.node.clone()).or_default();
        if of_node.len() >= CALLS_PER_NODE {
            return Err(ExecError::TooMany(CALLS_PER_NODE, format!("node {}", place.name)));
        }
        of_node.insert(id.to_owned());
        self.calls.insert(id.to_owned(), Entry { node: place.node.clone(), offer: Some((call, ends)) });
        for news in self.listeners.get(&place.node).into_iter().flat_map(BTreeMap::values) {
            news.notify_one();
        }
        Ok(())
    }

    /// A call has ended, one way or another.
    pub(crate) fn close(&mut self, id: &str) {
        let Some(entry) = self.calls.remove(id) else { return };
        if let Some(ids) = self.by_node.get_mut(&entry.node) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_node.remove(&entry.node);
            }
        }
    }

    /// A node takes a call. Whoever may not is told the same as where there is none.
    pub(crate) fn take(&mut self, id: &str, node: &NodeId) -> Result<Ends, ExecError> {
        let entry = self.calls.get_mut(id).filter(|entry| entry.node == *node);
        let offer = entry.and_then(|entry| entry.offer.take());
        offer.map(|(_, ends)| ends).ok_or(ExecError::UnknownCall)
    }

    /// A node listens.
    pub(crate) fn listen(&mut self, node: NodeId) -> Listening {
        self.listeners_so_far += 1;
        let (key, news) = (self.listeners_so_far, Arc::new(Notify::new()));
        self.listeners.entry(node.clone()).or_default().insert(key, Arc::clone(&news));
        Listening { node, key, news, told: BTreeSet::new() }
    }

    /// A node does not listen any more. What it serves goes on.
    pub(crate) fn unlisten(&mut self, listening: &Listening) {
        if let Some(others) = self.listeners.get_mut(&listening.node) {
            others.remove(&listening.key);
            if others.is_empty() {
                self.listeners.remove(&listening.node);
            }
        }
    }

    /// The next call that a node has not been told of.
    pub(crate) fn next_for(&self, listening: &mut Listening) -> Option<Assigned> {
        let nothing = BTreeSet::new();
        let present = self.by_node.get(&listening.node).unwrap_or(&nothing);
        listening.told.retain(|id| present.contains(id));
        let mut offered = present.iter().filter_map(|id| Some((id, self.calls.get(id)?.offer.as_ref()?)));
        let (id, (call, _)) = offered.find(|(id, _)| !listening.told.contains(*id))?;
        listening.told.insert(id.clone());
        Some(Assigned { id: id.clone(), call: Some(call.clone()) })
    }
}

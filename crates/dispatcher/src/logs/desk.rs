//! Who wants which logs, who listens for that, and how far each node is: the state of one leader term.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{
    NodeId, TaskId,
    wire::{LogSelector, LogSubscriptionOptions, SubscribeLogsMessage, SubscriptionMessage},
};
use tokio::sync::{Notify, mpsc};

use super::LogError;

/// How many messages may wait for one reader. Beyond that, the nodes that publish to it wait.
const WAITING_MESSAGES: usize = 64;

/// See the module's purpose. Kept behind a lock that is never held while anything is waited for.
#[derive(Default)]
pub(super) struct Desk {
    subscriptions: BTreeMap<String, Subscription>,
    /// The subscriptions that concern each node.
    by_node: BTreeMap<NodeId, BTreeSet<String>>,
    listeners: BTreeMap<NodeId, BTreeMap<u64, Arc<Notify>>>,
    listeners_so_far: u64,
}

/// A wish for logs.
struct Subscription {
    selector: LogSelector,
    options: LogSubscriptionOptions,
    nodes: BTreeMap<NodeId, Progress>,
    unplaced: BTreeSet<TaskId>,
    output: mpsc::Sender<SubscribeLogsMessage>,
    /// Told when a node is done.
    progress: Arc<Notify>,
}

/// How far a node is with a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    Publishing,
    Done,
    /// It gave not everything, and why.
    Incomplete(String),
}

/// The reading end of a subscription.
pub(super) struct Reading {
    pub(super) id: String,
    pub(super) messages: mpsc::Receiver<SubscribeLogsMessage>,
    pub(super) progress: Arc<Notify>,
}

/// A node that listens.
pub(super) struct Listening {
    pub(super) node: NodeId,
    key: u64,
    pub(super) news: Arc<Notify>,
    /// The subscriptions that it knows of.
    told: BTreeSet<String>,
}

impl Desk {
    // === readers ===

    /// Opens a subscription.
    pub(super) fn subscribe(&mut self, id: String, selector: LogSelector, options: LogSubscriptionOptions) -> Reading {
        let (output, messages) = mpsc::channel(WAITING_MESSAGES);
        let progress = Arc::new(Notify::new());
        let (nodes, unplaced) = (BTreeMap::new(), BTreeSet::new());
        let subscription = Subscription { selector, options, nodes, unplaced, output, progress: Arc::clone(&progress) };
        self.subscriptions.insert(id.clone(), subscription);
        Reading { id, messages, progress }
    }

    /// A subscription concerns these nodes too, and waits for these tasks.
    pub(super) fn concern(&mut self, id: &str, nodes: &BTreeSet<NodeId>, unplaced: BTreeSet<TaskId>) {
        let Some(subscription) = self.subscriptions.get_mut(id) else { return };
        subscription.unplaced = unplaced;
        for node in nodes {
            if subscription.nodes.contains_key(node) {
                continue;
            }
            let progress = if self.listeners.contains_key(node) {
                Progress::Publishing
            } else {
                Progress::Incomplete(format!("node {node} is not available"))
            };
            subscription.nodes.insert(node.clone(), progress);
            self.by_node.entry(node.clone()).or_default().insert(id.to_owned());
            tell(&self.listeners, node);
        }
    }

    /// Whether everything was given that will be given, and what is missing of it. A reader that follows is never done.
    pub(super) fn outcome(&self, id: &str) -> Option<Result<(), LogError>> {
        let subscription = self.subscriptions.get(id)?;
        let done = subscription.nodes.values().all(|progress| *progress != Progress::Publishing);
        if subscription.options.follow || !done {
            return None;
        }
        let mut missing: Vec<_> = subscription
            .nodes
            .values()
            .filter_map(|progress| match progress {
                Progress::Incomplete(reason) => Some(reason.clone()),
                Progress::Publishing | Progress::Done => None,
            })
            .collect();
        missing.extend(subscription.unplaced.iter().map(|task| format!("task {task} has not been scheduled")));
        Some(if missing.is_empty() { Ok(()) } else { Err(LogError::Incomplete(missing.join(", "))) })
    }

    /// Nobody wants it any more.
    pub(super) fn unsubscribe(&mut self, id: &str) {
        let Some(subscription) = self.subscriptions.remove(id) else { return };
        for node in subscription.nodes.keys() {
            if let Some(ids) = self.by_node.get_mut(node) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_node.remove(node);
                }
            }
            tell(&self.listeners, node);
        }
    }

    // === nodes ===

    /// A node listens.
    pub(super) fn listen(&mut self, node: NodeId) -> Listening {
        self.listeners_so_far += 1;
        let (key, news) = (self.listeners_so_far, Arc::new(Notify::new()));
        self.listeners.entry(node.clone()).or_default().insert(key, Arc::clone(&news));
        // Who follows wants also what a node writes that was away for a while.
        for id in self.by_node.get(&node).into_iter().flatten() {
            if let Some(subscription) = self.subscriptions.get_mut(id).filter(|found| found.options.follow) {
                subscription.nodes.insert(node.clone(), Progress::Publishing);
            }
        }
        Listening { node, key, news, told: BTreeSet::new() }
    }

    /// A node does not listen any more. When it does so nowhere, it will not finish what it has begun.
    pub(super) fn unlisten(&mut self, listening: &Listening) {
        let node = &listening.node;
        let Some(others) = self.listeners.get_mut(node) else { return };
        others.remove(&listening.key);
        if !others.is_empty() {
            return;
        }
        self.listeners.remove(node);
        let reason = format!("node {node} disconnected unexpectedly");
        for id in self.by_node.get(node).into_iter().flatten() {
            if let Some(subscription) = self.subscriptions.get_mut(id) {
                subscription.advance(node, Progress::Incomplete(reason.clone()));
            }
        }
    }

    /// The next thing that a node has not been told: a subscription, or the end of one.
    pub(super) fn next_for(&self, listening: &mut Listening) -> Option<SubscriptionMessage> {
        let nothing = BTreeSet::new();
        let concerning = self.by_node.get(&listening.node).unwrap_or(&nothing);
        let ended = listening.told.iter().find(|id| !concerning.contains(*id)).cloned();
        if let Some(id) = ended {
            listening.told.remove(&id);
            return Some(SubscriptionMessage { id, close: true, ..Default::default() });
        }
        let open = concerning.iter().filter(|id| !listening.told.contains(*id));
        let (id, subscription) = open
            .filter_map(|id| Some((id, self.subscriptions.get(id)?)))
            .find(|(_, subscription)| subscription.nodes.get(&listening.node) == Some(&Progress::Publishing))?;
        listening.told.insert(id.clone());
        Some(SubscriptionMessage {
            id: id.clone(),
            selector: Some(subscription.selector.clone()),
            options: Some(subscription.options.clone()),
            close: false,
        })
    }

    /// Where a node may publish for a subscription that concerns it.
    pub(super) fn output(&self, id: &str, node: &NodeId) -> Result<mpsc::Sender<SubscribeLogsMessage>, LogError> {
        let subscription = self.subscriptions.get(id).filter(|found| found.nodes.contains_key(node));
        subscription.map(|found| found.output.clone()).ok_or(LogError::UnknownSubscription)
    }

    /// A node has published all that it has, or what it could.
    pub(super) fn done(&mut self, id: &str, node: &NodeId, error: Option<String>) {
        if let Some(subscription) = self.subscriptions.get_mut(id) {
            let progress = error.map_or(Progress::Done, |error| Progress::Incomplete(format!("node {node}: {error}")));
            subscription.advance(node, progress);
        }
    }
}

impl Subscription {
    /// What a node has said once about its end stays.
    fn advance(&mut self, node: &NodeId, to: Progress) {
        if let Some(progress) = self.nodes.get_mut(node)
            && *progress == Progress::Publishing
        {
            *progress = to;
            self.progress.notify_one();
        }
    }
}

fn tell(listeners: &BTreeMap<NodeId, BTreeMap<u64, Arc<Notify>>>, node: &NodeId) {
    for news in listeners.get(node).into_iter().flat_map(BTreeMap::values) {
        news.notify_one();
    }
}

//! Who wants which logs, who listens for that, and how far each node is: the state of one leader term.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use prost_types::Timestamp;
use swarmkit_api::{
    NodeId, TaskId,
    wire::{LogMessage, LogSelector, LogSubscriptionOptions, SubscribeLogsMessage, SubscriptionMessage},
};
use tokio::sync::Notify;

use super::{
    LogError,
    cursor::{LogCursor, Replay},
    queue::{Gone, Inlet, Outlet, Room, queue},
    selection::Selection,
};

/// See the module's purpose. Kept behind a lock that is never held while anything is waited for.
#[derive(Default)]
pub(super) struct Desk {
    subscriptions: BTreeMap<String, Subscription>,
    /// The subscriptions that concern each node.
    by_node: BTreeMap<NodeId, BTreeSet<String>>,
    /// The newest listener of a node is the one that is told: an older one may be of a connection that is broken.
    listeners: BTreeMap<NodeId, BTreeMap<u64, Arc<Notify>>>,
    listeners_so_far: u64,
}

/// A wish for logs.
struct Subscription {
    selector: LogSelector,
    options: LogSubscriptionOptions,
    began: Timestamp,
    shares: BTreeMap<NodeId, Share>,
    unplaced: BTreeSet<TaskId>,
    inlet: Inlet,
    /// Told when a node is done.
    progress: Arc<Notify>,
    /// A node was sent away because the reader was behind.
    paused: Arc<AtomicBool>,
}

/// What one node has to give to a subscription.
struct Share {
    progress: Progress,
    /// How often the node was asked. Each time has an id of its own, so what it sends for an earlier one is refused.
    asked: u32,
    /// The listener that was asked.
    listener: u64,
    /// The tasks of the node that are known to be selected.
    tasks: BTreeSet<TaskId>,
    /// How far the node was read.
    cursor: LogCursor,
}

/// How far a node is with a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    Publishing,
    /// To be asked again when the reader has caught up.
    Paused,
    Done,
    /// It gave not everything, and why.
    Incomplete(String),
}

/// The reading end of a subscription.
pub(super) struct Reading {
    pub(super) id: String,
    pub(super) messages: Outlet,
    pub(super) progress: Arc<Notify>,
    pub(super) paused: Arc<AtomicBool>,
}

/// A node that listens.
pub(super) struct Listening {
    pub(super) node: NodeId,
    key: u64,
    pub(super) news: Arc<Notify>,
    /// What it was asked for and knows of.
    told: BTreeSet<String>,
}

/// Where a node publishes what it was asked for once.
pub(super) struct Place {
    pub(super) id: String,
    pub(super) inlet: Inlet,
    replay: Replay,
}

impl Desk {
    // === readers ===

    /// Opens a subscription, at that time.
    pub(super) fn subscribe(
        &mut self,
        id: String,
        selector: LogSelector,
        options: LogSubscriptionOptions,
        began: Timestamp,
    ) -> Reading {
        let (inlet, messages) = queue();
        let (progress, paused) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let reading =
            Reading { id: id.clone(), messages, progress: Arc::clone(&progress), paused: Arc::clone(&paused) };
        let (shares, unplaced) = (BTreeMap::new(), BTreeSet::new());
        let subscription = Subscription { selector, options, began, shares, unplaced, inlet, progress, paused };
        self.subscriptions.insert(id, subscription);
        reading
    }

    /// A subscription concerns these nodes too, and waits for these tasks.
    pub(super) fn concern(&mut self, id: &str, selection: Selection) {
        let Some(subscription) = self.subscriptions.get_mut(id) else { return };
        subscription.unplaced = selection.unplaced;
        for (node, tasks) in selection.nodes {
            if let Some(share) = subscription.shares.get_mut(&node) {
                share.tasks = tasks;
                continue;
            }
            let mut share = Share::new(&node, tasks);
            if let Some((listener, news)) = newest(&self.listeners, &node) {
                share.ask(listener);
                news.notify_one();
            }
            subscription.shares.insert(node.clone(), share);
            self.by_node.entry(node).or_default().insert(id.to_owned());
        }
    }

    /// Whether everything was given that will be given, and what is missing of it. A reader that follows is never done.
    pub(super) fn outcome(&self, id: &str) -> Option<Result<(), LogError>> {
        let subscription = self.subscriptions.get(id)?;
        if subscription.options.follow {
            return None;
        }
        let mut missing = Vec::new();
        for share in subscription.shares.values() {
            match &share.progress {
                Progress::Publishing | Progress::Paused => return None,
                Progress::Done => {}
                Progress::Incomplete(reason) => missing.push(reason.clone()),
            }
        }
        missing.extend(subscription.unplaced.iter().map(|task| format!("task {task} has not been scheduled")));
        Some(if missing.is_empty() { Ok(()) } else { Err(LogError::Incomplete(missing.join(", "))) })
    }

    /// The reader has caught up: nodes that were sent away are asked again.
    pub(super) fn go_on(&mut self, id: &str) {
        let Some(subscription) = self.subscriptions.get_mut(id) else { return };
        subscription.paused.store(false, Ordering::Relaxed);
        for (node, share) in &mut subscription.shares {
            if share.progress == Progress::Paused {
                match newest(&self.listeners, node) {
                    Some((listener, news)) => {
                        share.ask(listener);
                        news.notify_one();
                    }
                    None => share.progress = Progress::Incomplete(disconnected(node)),
                }
            }
        }
    }

    /// Nobody wants it any more.
    pub(super) fn unsubscribe(&mut self, id: &str) {
        let Some(subscription) = self.subscriptions.remove(id) else { return };
        for node in subscription.shares.keys() {
            if let Some(ids) = self.by_node.get_mut(node) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_node.remove(node);
                }
            }
            for news in self.listeners.get(node).into_iter().flat_map(BTreeMap::values) {
                news.notify_one();
            }
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
            if let Some(subscription) = self.subscriptions.get_mut(id).filter(|found| found.options.follow)
                && let Some(share) = subscription.shares.get_mut(&node)
            {
                share.ask(key);
            }
        }
        Listening { node, key, news, told: BTreeSet::new() }
    }

    /// A node does not listen any more. What it was asked for there it is asked for where it still listens; without such
    /// a place, it will not finish what it has begun.
    pub(super) fn unlisten(&mut self, listening: &Listening) {
        let node = &listening.node;
        let Some(others) = self.listeners.get_mut(node) else { return };
        others.remove(&listening.key);
        if others.is_empty() {
            self.listeners.remove(node);
        }
        for id in self.by_node.get(node).into_iter().flatten() {
            let Some(subscription) = self.subscriptions.get_mut(id) else { continue };
            let Some(share) = subscription.shares.get_mut(node) else { continue };
            if share.listener != listening.key || !share.is_open() {
                continue;
            }
            match newest(&self.listeners, node) {
                Some((listener, news)) => {
                    share.ask(listener);
                    news.notify_one();
                }
                None => {
                    share.progress = Progress::Incomplete(disconnected(node));
                    subscription.progress.notify_one();
                }
            }
        }
    }

    /// The next thing that a node has not been told: a subscription, or the end of one.
    pub(super) fn next_for(&self, listening: &mut Listening) -> Option<SubscriptionMessage> {
        let nothing = BTreeSet::new();
        let concerning = self.by_node.get(&listening.node).unwrap_or(&nothing);
        let ended = listening.told.iter().find(|asked| self.share(asked, &listening.node).is_none()).cloned();
        if let Some(id) = ended {
            listening.told.remove(&id);
            return Some(SubscriptionMessage { id, close: true, ..Default::default() });
        }
        concerning.iter().find_map(|id| {
            let subscription = self.subscriptions.get(id)?;
            let share = subscription.shares.get(&listening.node)?;
            let asked = share.id(id);
            if share.progress != Progress::Publishing
                || share.listener != listening.key
                || !listening.told.insert(asked.clone())
            {
                return None;
            }
            Some(SubscriptionMessage {
                id: asked,
                selector: Some(subscription.selector.clone()),
                options: Some(subscription.options_for(&listening.node, share)),
                close: false,
            })
        })
    }

    /// Where a node may publish what it was asked for.
    pub(super) fn place(&self, asked: &str, node: &NodeId) -> Result<Place, LogError> {
        let (subscription, share) = self.share(asked, node).ok_or(LogError::UnknownSubscription)?;
        Ok(Place { id: asked.to_owned(), inlet: subscription.inlet.clone(), replay: share.cursor.replay() })
    }

    /// A node publishes records, for which there is room. What was read of it before is left out.
    pub(super) fn publish(
        &mut self,
        place: &mut Place,
        node: &NodeId,
        mut records: Vec<LogMessage>,
        room: Room,
    ) -> Result<(), LogError> {
        let share = self.share_mut(&place.id, node).ok_or(LogError::UnknownSubscription)?;
        records.retain(|record| place.replay.is_new(record));
        if records.is_empty() {
            return Ok(());
        }
        records.iter().for_each(|record| share.cursor.read(record));
        place.inlet.put(SubscribeLogsMessage { messages: records }, room).map_err(|Gone| LogError::Abandoned)
    }

    /// A node has published all that it has, or what it could.
    pub(super) fn done(&mut self, asked: &str, node: &NodeId, error: Option<String>) {
        let progress = error.map_or(Progress::Done, |error| Progress::Incomplete(format!("node {node}: {error}")));
        self.advance(asked, node, progress);
    }

    /// A node publishes no more until the reader has caught up.
    pub(super) fn pause(&mut self, asked: &str, node: &NodeId) {
        self.advance(asked, node, Progress::Paused);
        if let Some(subscription) = self.subscriptions.get(subscription_of(asked)) {
            subscription.paused.store(true, Ordering::Relaxed);
            // The reader may have caught up just now, and be waiting.
            subscription.progress.notify_one();
        }
        if let Some(news) = self.listeners.get(node).and_then(|listeners| listeners.values().next_back()) {
            news.notify_one();
        }
    }

    /// What a node has said once about its end stays.
    fn advance(&mut self, asked: &str, node: &NodeId, to: Progress) {
        let Some(share) = self.share_mut(asked, node).filter(|share| share.progress == Progress::Publishing) else {
            return;
        };
        share.progress = to;
        if let Some(subscription) = self.subscriptions.get(subscription_of(asked)) {
            subscription.progress.notify_one();
        }
    }

    /// What a node was asked for last under that id, unless it is not wanted any more.
    fn share(&self, asked: &str, node: &NodeId) -> Option<(&Subscription, &Share)> {
        let id = subscription_of(asked);
        let subscription = self.subscriptions.get(id)?;
        let share = subscription.shares.get(node)?;
        (share.progress != Progress::Paused && share.id(id) == asked).then_some((subscription, share))
    }

    fn share_mut(&mut self, asked: &str, node: &NodeId) -> Option<&mut Share> {
        self.share(asked, node)?;
        self.subscriptions.get_mut(subscription_of(asked))?.shares.get_mut(node)
    }
}

impl Subscription {
    /// What to ask a node for: what the reader asked for, or what is left of that.
    fn options_for(&self, node: &NodeId, share: &Share) -> LogSubscriptionOptions {
        if share.asked <= 1 {
            return self.options.clone();
        }
        let all_known = !self.selector.node_ids.iter().any(|id| id == node.as_str());
        let complete = all_known && share.tasks.iter().all(|task| share.cursor.knows(task.as_str()));
        share.cursor.resume(&self.options, self.began, complete)
    }
}

impl Share {
    /// Of a node that does not listen.
    fn new(node: &NodeId, tasks: BTreeSet<TaskId>) -> Self {
        let progress = Progress::Incomplete(format!("node {node} is not available"));
        Self { progress, asked: 0, listener: 0, tasks, cursor: LogCursor::default() }
    }

    fn ask(&mut self, listener: u64) {
        self.progress = Progress::Publishing;
        self.asked += 1;
        self.listener = listener;
    }

    fn is_open(&self) -> bool {
        matches!(self.progress, Progress::Publishing | Progress::Paused)
    }

    /// The id under which the node was asked last.
    fn id(&self, subscription: &str) -> String {
        match self.asked {
            0 | 1 => subscription.to_owned(),
            again => format!("{subscription}.{again}"),
        }
    }
}

/// The subscription for which a node was asked under that id. Ids of subscriptions have no dots.
fn subscription_of(asked: &str) -> &str {
    asked.split_once('.').map_or(asked, |(id, _)| id)
}

fn disconnected(node: &NodeId) -> String {
    format!("node {node} disconnected unexpectedly")
}

/// The listener of a node that is told.
fn newest<'a>(
    listeners: &'a BTreeMap<NodeId, BTreeMap<u64, Arc<Notify>>>,
    node: &NodeId,
) -> Option<(u64, &'a Arc<Notify>)> {
    listeners.get(node)?.last_key_value().map(|(key, news)| (*key, news))
}

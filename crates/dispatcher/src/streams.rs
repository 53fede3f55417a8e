//! What a node is told as long as it listens: session messages, assignments, and the old list of tasks.
//!
//! A stream works when its reader asks for more. What happened meanwhile is then told in one message, so a slow reader
//! gets fewer messages rather than late ones, and an idle one gets each at once.

use std::sync::Arc;

use futures_util::{Stream, stream};
use swarmkit_api::{Cluster, Kind, Node, NodeId, Object as _, TaskState, wire};
use swarmkit_rpc::ServiceError as _;
use swarmkit_store::{Change, ClusterBy, DEFAULT_CLUSTER, Interest, State, Store, TaskBy, Update, View, Watch};
use tokio::{sync::watch, time::Instant};
use tonic::Status;

use crate::{
    DispatcherError,
    assignments::{AssignmentSet, same_wish},
    config::FIRST_MESSAGE_WAIT,
    secrets::{Asked, SecretDesk},
    sessions::{ManagerList, Session},
    term::sleep_until,
};

/// Turns something that gives one message after the other into the stream that a service answers with. The first error
/// is its end.
fn messages<S, T>(source: S) -> impl Stream<Item = Result<T, Status>> + Send + 'static
where
    S: Source<T> + Send + 'static,
    T: Send + 'static,
{
    stream::unfold(Some(source), |source| async move {
        let mut source = source?;
        match source.next().await {
            Ok(message) => Some((Ok(message), Some(source))),
            Err(error) => Some((Err(error.to_status()), None)),
        }
    })
}

trait Source<T> {
    fn next(&mut self) -> impl Future<Output = Result<T, DispatcherError>> + Send;
}

/// The next thing that the store has to tell, unless the session ends before.
async fn update(session: &Session, watch: &mut Watch) -> Result<Update, DispatcherError> {
    tokio::select! { biased; // a session that is over is told nothing more
        reason = session.ended() => Err(reason),
        update = watch.next() => update.map_err(|_| DispatcherError::Stopped),
    }
}

/// A stream other than the session's own is not told why its session is over, only that the call is.
fn for_others(reason: DispatcherError) -> DispatcherError {
    match reason {
        DispatcherError::MustDisconnect => DispatcherError::Cancelled,
        reason => reason,
    }
}

// === the session's own stream ===

/// The messages of a session: everything at first, and everything again whenever a part of it has changed.
pub(crate) fn session(
    store: &Store,
    session: Arc<Session>,
) -> impl Stream<Item = Result<wire::SessionMessage, Status>> + Send + 'static {
    let interest = Interest::none().object::<Node>(&session.node).kinds([Kind::Cluster]);
    let (watch, managers) = (store.watch(interest), session.managers());
    messages(SessionSource { session, watch, managers, shown: None, leaving: None })
}

struct SessionSource {
    session: Arc<Session>,
    watch: Watch,
    managers: watch::Receiver<ManagerList>,
    /// What the last message was made from.
    shown: Option<Shown>,
    /// Why the stream ends after one last message.
    leaving: Option<DispatcherError>,
}

#[derive(Clone, PartialEq)]
struct Shown {
    node: Option<Arc<Node>>,
    keys: Vec<wire::EncryptionKey>,
    root_ca: bytes::Bytes,
    managers: ManagerList,
}

impl Source<wire::SessionMessage> for SessionSource {
    async fn next(&mut self) -> Result<wire::SessionMessage, DispatcherError> {
        if let Some(reason) = self.leaving.take() {
            return Err(reason);
        }
        if self.shown.is_none() {
            let update = update(&self.session, &mut self.watch).await?;
            let managers = self.managers.borrow_and_update().clone();
            return Ok(self.show(Shown::of(update.view(), &self.session.node, managers)));
        }
        loop {
            let view = tokio::select! { biased; // the end first, as it is told with everything that came before
                reason = self.session.ended() => return self.leave(reason),
                Ok(()) = self.managers.changed() => None,
                update = self.watch.next() => Some(update.map_err(|_| DispatcherError::Stopped)?.view().clone()),
            };
            let view = self.newest(view)?;
            let managers = self.managers.borrow_and_update().clone();
            let shown = match (view, &self.shown) {
                (Some(view), _) => Shown::of(&view, &self.session.node, managers),
                (None, Some(shown)) => Shown { managers, ..shown.clone() },
                (None, None) => continue,
            };
            if self.shown.as_ref() != Some(&shown) {
                return Ok(self.show(shown));
            }
        }
    }
}

impl SessionSource {
    /// The latest of what the store has to tell by now.
    fn newest(&mut self, mut view: Option<View>) -> Result<Option<View>, DispatcherError> {
        while let Some(update) = self.watch.try_next().map_err(|_| DispatcherError::Stopped)? {
            view = Some(update.view().clone());
        }
        Ok(view)
    }

    /// When the dispatcher stops, the node is told everything a last time, so that it knows whom to turn to.
    fn leave(&mut self, reason: DispatcherError) -> Result<wire::SessionMessage, DispatcherError> {
        match (&reason, &self.shown) {
            (DispatcherError::MustDisconnect, Some(shown)) => {
                let shown = Shown { managers: self.managers.borrow_and_update().clone(), ..shown.clone() };
                self.leaving = Some(reason);
                Ok(self.show(shown))
            }
            _ => Err(reason),
        }
    }

    fn show(&mut self, shown: Shown) -> wire::SessionMessage {
        let message = wire::SessionMessage {
            session_id: self.session.id.clone(),
            node: shown.node.as_ref().map(|node| node.to_wire()),
            managers: shown.managers.to_vec(),
            network_bootstrap_keys: shown.keys.clone(),
            root_ca: shown.root_ca.clone(),
        };
        self.shown = Some(shown);
        message
    }
}

impl Shown {
    fn of(state: &State, node: &NodeId, managers: ManagerList) -> Self {
        let cluster = state.find(ClusterBy::Name(DEFAULT_CLUSTER)).next();
        let keys = cluster.map(|cluster: &Arc<Cluster>| cluster.network_bootstrap_keys.clone()).unwrap_or_default();
        let root_ca = cluster.map(|cluster| cluster.root_ca.ca_cert.clone()).unwrap_or_default();
        Self { node: state.get::<Node>(node).cloned(), keys, root_ca, managers }
    }
}

// === assignments ===

/// What the node shall have: all of it in the first message, then what changes.
pub(crate) fn assignments(
    store: &Store,
    session: Arc<Session>,
    secrets: Arc<SecretDesk>,
) -> impl Stream<Item = Result<wire::AssignmentsMessage, Status>> + Send + 'static {
    let node = session.node.clone();
    let watch = store.watch(Interest::none().tasks_of_node(node.clone()).volumes_of_node(node));
    let set = AssignmentSet::new(session.node.clone());
    messages(AssignmentsSource { session, watch, set, asked: Asked::new(secrets), sequence: 0, until: None })
}

struct AssignmentsSource {
    session: Arc<Session>,
    watch: Watch,
    set: AssignmentSet,
    asked: Asked,
    sequence: u64,
    /// When the first message is sent, whatever drivers have yet to answer.
    until: Option<Instant>,
}

impl Source<wire::AssignmentsMessage> for AssignmentsSource {
    async fn next(&mut self) -> Result<wire::AssignmentsMessage, DispatcherError> {
        let complete = self.sequence == 0;
        loop {
            if let Some(reason) = self.session.end_reason() {
                return Err(for_others(reason));
            }
            while let Some(update) = self.watch.try_next().map_err(|_| DispatcherError::Stopped)? {
                self.set.absorb(&update);
            }
            self.asked.ask(self.set.take_wants());
            while let Some(provision) = self.asked.try_next() {
                self.set.provide(provision);
            }
            let is_ready = if complete { self.is_complete() } else { self.set.has_news() };
            if is_ready {
                break;
            }
            let until = self.until.filter(|_| complete);
            tokio::select! { biased; // the store first, as it may tell that an answer is not needed any more
                update = update(&self.session, &mut self.watch) => self.set.absorb(&update.map_err(for_others)?),
                provision = self.asked.next() => self.set.provide(provision),
                () = sleep_until(until), if until.is_some() => {}
            }
        }
        let (r#type, changes) = if complete {
            (wire::assignments_message::Type::Complete, self.set.take_all())
        } else {
            (wire::assignments_message::Type::Incremental, self.set.take_some())
        };
        let applies_to = if complete { String::new() } else { self.sequence.to_string() };
        self.sequence += 1;
        let results_in = self.sequence.to_string();
        Ok(wire::AssignmentsMessage { r#type: r#type.into(), applies_to, results_in, changes })
    }
}

impl AssignmentsSource {
    /// Whether the first message can be sent: drivers have answered, or have had their time.
    fn is_complete(&mut self) -> bool {
        let now = Instant::now();
        !self.set.is_waiting() || *self.until.get_or_insert(now + FIRST_MESSAGE_WAIT) <= now
    }
}

// === the old list of tasks ===

/// All tasks of the node, and all of them again whenever one has changed. For agents that know no assignments.
pub(crate) fn tasks(
    store: &Store,
    session: Arc<Session>,
) -> impl Stream<Item = Result<wire::TasksMessage, Status>> + Send + 'static {
    let watch = store.watch(Interest::none().tasks_of_node(session.node.clone()));
    messages(TasksSource { session, watch, is_first: true })
}

struct TasksSource {
    session: Arc<Session>,
    watch: Watch,
    is_first: bool,
}

impl Source<wire::TasksMessage> for TasksSource {
    async fn next(&mut self) -> Result<wire::TasksMessage, DispatcherError> {
        let mut is_news = std::mem::replace(&mut self.is_first, false);
        loop {
            let update = update(&self.session, &mut self.watch).await.map_err(for_others)?;
            is_news |= is_news_to(&self.session.node, &update);
            let mut view = update.view().clone();
            while let Some(update) = self.watch.try_next().map_err(|_| DispatcherError::Stopped)? {
                is_news |= is_news_to(&self.session.node, &update);
                view = update.view().clone();
            }
            if !is_news {
                continue;
            }
            let tasks = view
                .find(TaskBy::Node(Some(&self.session.node)))
                .filter(|task| task.status.state >= TaskState::Assigned)
                .map(|task| task.to_wire())
                .collect();
            return Ok(wire::TasksMessage { tasks });
        }
    }
}

/// Whether an update says anything that the node has not reported itself. A task that it has not yet accepted is always news.
fn is_news_to(node: &NodeId, update: &Update) -> bool {
    let Update::Delta(delta) = update else { return true };
    delta.changes.iter().any(|change| {
        let Change::Task(edit) = change else { return false };
        match (&edit.before, &edit.after) {
            (Some(before), Some(after)) => {
                let is_assigned = after.node_id.as_ref() == Some(node) && after.status.state == TaskState::Assigned;
                let was_known = before.status.state >= TaskState::Assigned;
                let is_known = after.status.state >= TaskState::Assigned;
                is_assigned || was_known != is_known || (is_known && !same_wish(before, after))
            }
            (task, None) | (None, task) => task.as_ref().is_some_and(|task| task.status.state >= TaskState::Assigned),
        }
    })
}

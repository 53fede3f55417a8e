//! The log broker: brings those who want logs together with the nodes that have them.
//!
//! Clients subscribe, nodes listen for subscriptions that concern them, and publish. A reader that is behind holds up the
//! nodes that publish to it. One that stalls holds up nobody: what may wait for it is bounded in bytes, and nodes that cannot
//! get rid of more are sent away, and asked for the rest when it has caught up.

mod cursor;
mod desk;
mod queue;
mod selection;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream, stream::BoxStream};
use parking_lot::Mutex;
use swarmkit_api::{NodeId, wire};
use swarmkit_rpc::{ErrorCode, Peer, ServiceError};
use swarmkit_runtime::Env;
use swarmkit_store::{Store, View, Watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

pub use self::cursor::{LogCursor, Replay};
use self::{
    desk::{Desk, Listening, Place, Reading},
    selection::Selection,
};

/// How long a node may wait for one reader before it is sent away. While it waits it holds a part of its connection, and
/// four that wait hold all of it: its heartbeats, which have five seconds, must come through all the same.
const STALL: Duration = Duration::from_secs(1);

/// Why a log request was refused, or gave not everything.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// This manager does not lead: ask another one.
    #[error("broker is not running")]
    NotRunning,
    /// A term is running already.
    #[error("broker is already running")]
    AlreadyRunning,
    /// The request does not say whose logs.
    #[error("log selector must be provided")]
    NoSelector,
    /// The request selects nothing.
    #[error("log selector must not be empty")]
    EmptySelector,
    /// What was published does not say for whom.
    #[error("missing subscription ID")]
    NoSubscription,
    /// Nobody wants it, or nobody wants it of this node.
    #[error("unknown subscription ID")]
    UnknownSubscription,
    /// One stream is for one subscription.
    #[error("different subscription IDs in the same session")]
    OtherSubscription,
    /// A node may publish its own logs only.
    #[error("invalid NodeID: {0}")]
    ForeignNode(String),
    /// The reader has gone.
    #[error("nobody reads the subscription any more")]
    Abandoned,
    /// The reader is behind. The node is asked for the rest when it has caught up.
    #[error("the reader is behind")]
    Behind,
    /// Everything was given that could be, and this is why it is not all.
    #[error("warning: incomplete log stream. some logs could not be retrieved for the following reasons: {0}")]
    Incomplete(String),
}

impl ServiceError for LogError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotRunning | Self::Incomplete(_) => ErrorCode::Unknown,
            Self::AlreadyRunning => ErrorCode::Internal,
            Self::NoSelector | Self::EmptySelector | Self::NoSubscription | Self::OtherSubscription => {
                ErrorCode::InvalidArgument
            }
            Self::UnknownSubscription => ErrorCode::NotFound,
            Self::ForeignNode(_) => ErrorCode::PermissionDenied,
            Self::Abandoned => ErrorCode::Cancelled,
            Self::Behind => ErrorCode::ResourceExhausted,
        }
    }
}

/// Brokers logs while its manager leads. Clones are one broker.
///
/// It is two services itself: `LogsServer::new(broker.clone())` for clients, `LogBrokerServer::new(broker)` for nodes.
#[derive(Clone)]
pub struct LogBroker {
    env: Env,
    store: Store,
    term: Arc<Mutex<Option<Term>>>,
}

/// One leader term.
#[derive(Clone)]
struct Term {
    desk: Arc<Mutex<Desk>>,
    stop: CancellationToken,
}

/// Ends the term however its future ends.
struct Running<'a>(&'a LogBroker, CancellationToken);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.term.lock() = None;
        self.1.cancel();
    }
}

impl LogBroker {
    /// A broker that finds tasks in `store`.
    #[must_use]
    pub fn new(env: Env, store: Store) -> Self {
        Self { env, store, term: Arc::default() }
    }

    /// Serves one leader term, until `stop`. Every stream ends then.
    ///
    /// # Errors
    ///
    /// [`LogError::AlreadyRunning`].
    pub async fn run(&self, stop: CancellationToken) -> Result<(), LogError> {
        let stop = stop.child_token();
        {
            let mut term = self.term.lock();
            if term.is_some() {
                return Err(LogError::AlreadyRunning);
            }
            *term = Some(Term { desk: Arc::default(), stop: stop.clone() });
        }
        let _running = Running(self, stop.clone());
        stop.cancelled().await;
        Ok(())
    }

    fn term(&self) -> Result<Term, LogError> {
        self.term.lock().clone().ok_or(LogError::NotRunning)
    }

    fn subscribe(&self, request: wire::SubscribeLogsRequest) -> Result<Reader, LogError> {
        let selector = request.selector.ok_or(LogError::NoSelector)?;
        if selection::is_empty(&selector) {
            return Err(LogError::EmptySelector);
        }
        let options = request.options.unwrap_or_default();
        let term = self.term()?;
        let watch = options.follow.then(|| self.store.watch(selection::interest(&selector)));
        let (id, began) = (self.env.new_id(), self.env.now().into());
        let reading = term.desk.lock().subscribe(id, selector.clone(), options.clone(), began);
        let reader = Reader { term, reading, selector, follow: options.follow, watch };
        reader.look(&self.store.view());
        Ok(reader)
    }

    fn listen(&self, node: NodeId) -> Result<Listener, LogError> {
        let term = self.term()?;
        let listening = term.desk.lock().listen(node);
        Ok(Listener { term, listening })
    }

    async fn publish(
        &self,
        node: NodeId,
        mut messages: impl Stream<Item = Result<wire::PublishLogsMessage, Status>> + Unpin,
    ) -> Result<(), Status> {
        let term = self.term().map_err(|error| error.to_status())?;
        let mut place = None;
        let end = tokio::select! { biased; // a term that is over passes nothing on
            () = term.stop.cancelled() => Err(LogError::NotRunning.into()),
            end = pass_on(&term, &node, &mut place, &mut messages) => end,
        };
        if let Some(Place { id, .. }) = place {
            let mut desk = term.desk.lock();
            match &end {
                Ok(()) => desk.done(&id, &node, None),
                Err(Unpublished::Refused(LogError::Behind)) => desk.pause(&id, &node),
                Err(error) => desk.done(&id, &node, Some(error.to_string())),
            }
        }
        end.map_err(|error| match error {
            Unpublished::Refused(error) => error.to_status(),
            Unpublished::Broken(status) => status,
        })
    }
}

/// Why a node could not publish all.
#[derive(Debug, thiserror::Error)]
enum Unpublished {
    #[error(transparent)]
    Refused(#[from] LogError),
    /// The stream of the node ended with that.
    #[error("{}", .0.message())]
    Broken(#[from] Status),
}

/// Passes on what a node publishes, until it has no more. Waits while the reader is behind, but not for ever.
async fn pass_on(
    term: &Term,
    node: &NodeId,
    place: &mut Option<Place>,
    messages: &mut (impl Stream<Item = Result<wire::PublishLogsMessage, Status>> + Unpin),
) -> Result<(), Unpublished> {
    while let Some(message) = messages.next().await {
        let wire::PublishLogsMessage { subscription_id, messages: records, close } = message?;
        if subscription_id.is_empty() {
            return Err(LogError::NoSubscription.into());
        }
        let place = match place {
            Some(known) if known.id == subscription_id => known,
            Some(_) => return Err(LogError::OtherSubscription.into()),
            None => place.insert(term.desk.lock().place(&subscription_id, node)?),
        };
        if close {
            return Ok(());
        }
        let from = |record: &wire::LogMessage| record.context.as_ref().map(|context| context.node_id.clone());
        let foreign = records.iter().map(from).find(|from| from.as_deref() != Some(node.as_str()));
        if let Some(foreign) = foreign {
            return Err(LogError::ForeignNode(foreign.unwrap_or_default()).into());
        }
        let room = tokio::time::timeout(STALL, place.inlet.room(&records)).await.map_err(|_| LogError::Behind)?;
        let room = room.map_err(|_| LogError::Abandoned)?;
        // Nothing is waited for from here on: what counts as read has been put where it is read.
        term.desk.lock().publish(place, node, records, room)?;
    }
    Ok(())
}

/// Reads a subscription. Dropping it ends it.
struct Reader {
    term: Term,
    reading: Reading,
    selector: wire::LogSelector,
    follow: bool,
    watch: Option<Watch>,
}

impl Reader {
    /// Finds out whom the subscription concerns now.
    fn look(&self, view: &View) {
        let selection = Selection::of(&self.selector, self.follow, view);
        self.term.desk.lock().concern(&self.reading.id, selection);
    }

    /// The next message; none when everything was given.
    async fn next(&mut self) -> Option<Result<wire::SubscribeLogsMessage, LogError>> {
        loop {
            let Reading { id, messages, progress, paused } = &mut self.reading;
            let message = messages.take_now();
            if paused.load(Ordering::Relaxed) && messages.is_low() {
                self.term.desk.lock().go_on(id);
            }
            if message.is_some() {
                return message.map(Ok);
            }
            if let Some(end) = self.term.desk.lock().outcome(id) {
                // What was published before the last node was done is there by now.
                return match messages.take_now() {
                    Some(message) => Some(Ok(message)),
                    None => end.err().map(Err),
                };
            }
            let view = tokio::select! { biased; // messages before anything that may end the stream
                Some(message) = messages.take() => return Some(Ok(message)),
                () = self.term.stop.cancelled() => return Some(Err(LogError::NotRunning)),
                view = next_view(&mut self.watch) => view,
                () = progress.notified() => continue,
            };
            match view {
                Some(view) => self.look(&view),
                None => return Some(Err(LogError::NotRunning)),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.term.desk.lock().unsubscribe(&self.reading.id);
    }
}

/// Waits until the selection may have changed. Never, for who does not follow.
async fn next_view(watch: &mut Option<Watch>) -> Option<View> {
    match watch {
        Some(watch) => watch.next().await.ok().map(|update| update.view().clone()),
        None => std::future::pending().await,
    }
}

/// A node that listens. Dropping it ends that.
struct Listener {
    term: Term,
    listening: Listening,
}

impl Listener {
    async fn next(&mut self) -> Option<wire::SubscriptionMessage> {
        loop {
            let message = self.term.desk.lock().next_for(&mut self.listening);
            if message.is_some() {
                return message;
            }
            tokio::select! { biased; // the end of the term ends the stream, whatever there is to tell
                () = self.term.stop.cancelled() => return None,
                () = self.listening.news.notified() => {}
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.term.desk.lock().unlisten(&self.listening);
    }
}

fn refused(error: LogError) -> Status {
    error.to_status()
}

#[tonic::async_trait]
impl wire::logs_server::Logs for LogBroker {
    type SubscribeLogsStream = BoxStream<'static, Result<wire::SubscribeLogsMessage, Status>>;

    async fn subscribe_logs(
        &self,
        request: Request<wire::SubscribeLogsRequest>,
    ) -> Result<Response<Self::SubscribeLogsStream>, Status> {
        let reader = self.subscribe(request.into_inner()).map_err(refused)?;
        let messages = stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next().await? {
                Ok(message) => Some((Ok(message), Some(reader))),
                Err(error) => Some((Err(refused(error)), None)),
            }
        });
        Ok(Response::new(messages.boxed()))
    }
}

#[tonic::async_trait]
impl wire::log_broker_server::LogBroker for LogBroker {
    type ListenSubscriptionsStream = BoxStream<'static, Result<wire::SubscriptionMessage, Status>>;

    async fn listen_subscriptions(
        &self,
        request: Request<wire::ListenSubscriptionsRequest>,
    ) -> Result<Response<Self::ListenSubscriptionsStream>, Status> {
        let node = Peer::of(&request)?.identity()?.node.clone();
        let listener = self.listen(node).map_err(refused)?;
        let messages = stream::unfold(listener, |mut listener| async move {
            let message = listener.next().await?;
            Some((Ok(message), listener))
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn publish_logs(
        &self,
        request: Request<tonic::Streaming<wire::PublishLogsMessage>>,
    ) -> Result<Response<wire::PublishLogsResponse>, Status> {
        let node = Peer::of(&request)?.identity()?.node.clone();
        self.publish(node, request.into_inner()).await?;
        Ok(Response::new(wire::PublishLogsResponse {}))
    }
}

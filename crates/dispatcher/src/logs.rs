//! The log broker: brings those who want logs together with the nodes that have them.
//!
//! Clients subscribe, nodes listen for subscriptions that concern them, and publish. A reader that stalls holds up the
//! nodes that publish to it, and nobody else: nothing is kept here but a few messages for each reader.

mod desk;
mod selection;

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream, stream::BoxStream};
use parking_lot::Mutex;
use swarmkit_api::{NodeId, wire};
use swarmkit_rpc::{ErrorCode, Peer, ServiceError};
use swarmkit_runtime::Env;
use swarmkit_store::{Store, View, Watch};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use self::{
    desk::{Desk, Listening, Reading},
    selection::Selection,
};

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
        let reading = term.desk.lock().subscribe(self.env.new_id(), selector.clone(), options.clone());
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
        let term = self.term().map_err(refused)?;
        let mut publication = None;
        let end = tokio::select! { biased; // a term that is over passes nothing on
            () = term.stop.cancelled() => Err(refused(LogError::NotRunning)),
            end = Publication::read(&term, &node, &mut publication, &mut messages) => end,
        };
        if let Some(publication) = publication {
            let error = end.as_ref().err().map(|status: &Status| status.message().to_owned());
            term.desk.lock().done(&publication.id, &node, error);
        }
        end
    }
}

/// What one node publishes for one subscription.
struct Publication {
    id: String,
    output: tokio::sync::mpsc::Sender<wire::SubscribeLogsMessage>,
}

impl Publication {
    /// Passes messages on until the node has no more. Waits while the reader is behind.
    async fn read(
        term: &Term,
        node: &NodeId,
        publication: &mut Option<Self>,
        messages: &mut (impl Stream<Item = Result<wire::PublishLogsMessage, Status>> + Unpin),
    ) -> Result<(), Status> {
        while let Some(message) = messages.next().await {
            let message = message?;
            if message.subscription_id.is_empty() {
                return Err(refused(LogError::NoSubscription));
            }
            let known = match publication {
                Some(known) if known.id == message.subscription_id => known,
                Some(_) => return Err(refused(LogError::OtherSubscription)),
                None => {
                    let output = term.desk.lock().output(&message.subscription_id, node).map_err(refused)?;
                    publication.insert(Self { id: message.subscription_id.clone(), output })
                }
            };
            if message.close {
                return Ok(());
            }
            let from = |message: &wire::LogMessage| message.context.as_ref().map(|context| context.node_id.clone());
            let foreign = message.messages.iter().map(from).find(|from| from.as_deref() != Some(node.as_str()));
            if let Some(foreign) = foreign {
                return Err(refused(LogError::ForeignNode(foreign.unwrap_or_default())));
            }
            let passed_on = wire::SubscribeLogsMessage { messages: message.messages };
            known.output.send(passed_on).await.map_err(|_| refused(LogError::Abandoned))?;
        }
        Ok(())
    }
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
        self.term.desk.lock().concern(&self.reading.id, &selection.nodes, selection.unplaced);
    }

    /// The next message; none when everything was given.
    async fn next(&mut self) -> Option<Result<wire::SubscribeLogsMessage, LogError>> {
        loop {
            let Reading { id, messages, progress } = &mut self.reading;
            let view = tokio::select! { biased; // messages before anything that may end the stream
                Some(message) = messages.recv() => return Some(Ok(message)),
                () = self.term.stop.cancelled() => return Some(Err(LogError::NotRunning)),
                view = next_view(&mut self.watch) => view,
                end = outcome(&self.term, id, progress) => {
                    // What was published before the last node was done is there already.
                    return match messages.try_recv() {
                        Ok(message) => Some(Ok(message)),
                        Err(_) => end.err().map(Err),
                    };
                }
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

/// Waits until the subscription is done, one way or the other.
async fn outcome(term: &Term, id: &str, progress: &Notify) -> Result<(), LogError> {
    loop {
        let outcome = term.desk.lock().outcome(id);
        match outcome {
            Some(outcome) => return outcome,
            None => progress.notified().await,
        }
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

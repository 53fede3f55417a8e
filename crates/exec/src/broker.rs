//! The two services: clients open calls, nodes listen for them and serve them.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use parking_lot::Mutex;
use swarmkit_api::wire::swarmkit::exec::v1::{
    Assigned, Input, ListenRequest, OpenRequest, Output, ServeRequest, exec_broker_server, exec_server, open_request,
    serve_request,
};
use swarmkit_rpc::{Peer, ServiceError as _};
use swarmkit_runtime::Env;
use swarmkit_store::Store;
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    ExecError,
    audit::{self, Audit},
    check,
    conversation::{Feeding, Reading, Source},
    desk::{Desk, Ends, FromClient, FromNode, Listening},
};

/// How many calls one node may have at a time. An agent serves as many; each costs a process there.
pub const CALLS_PER_NODE: usize = 64;
/// How many calls there may be at a time. Each costs two streams here, whose windows hold 2 MiB at the very worst.
pub const CALLS_MAX: usize = 512;

/// How long the first message of a stream may take.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// How long a node that listens may take to come for a call.
const ANSWER: Duration = Duration::from_secs(10);
/// The same for one that does not: agents open their sessions anew now and then, which takes milliseconds.
const ANSWER_OF_DEAF: Duration = Duration::from_secs(1);

/// Brokers calls while its manager leads. Clones are one broker.
///
/// It is two services itself: `ExecServer::new(broker.clone())` for clients, `ExecBrokerServer::new(broker)` for nodes.
#[derive(Clone)]
pub struct ExecBroker {
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
struct Running<'a>(&'a ExecBroker, CancellationToken);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.term.lock() = None;
        self.1.cancel();
    }
}

impl ExecBroker {
    /// A broker that finds tasks and nodes in `store`.
    #[must_use]
    pub fn new(env: Env, store: Store) -> Self {
        Self { env, store, term: Arc::default() }
    }

    /// Serves one leader term, until `stop`. Every call ends then, and its client is told why.
    ///
    /// # Errors
    ///
    /// [`ExecError::AlreadyRunning`].
    pub async fn run(&self, stop: CancellationToken) -> Result<(), ExecError> {
        let stop = stop.child_token();
        {
            let mut term = self.term.lock();
            if term.is_some() {
                return Err(ExecError::AlreadyRunning);
            }
            *term = Some(Term { desk: Arc::default(), stop: stop.clone() });
        }
        let _running = Running(self, stop.clone());
        stop.cancelled().await;
        Ok(())
    }

    fn term(&self) -> Result<Term, ExecError> {
        self.term.lock().clone().ok_or(ExecError::NotRunning)
    }

    /// Takes a call of a client, and tells its node.
    async fn begin(&self, peer: &Peer, mut client: FromClient) -> Result<Reading, ExecError> {
        let first = tokio::time::timeout(FIRST_MESSAGE, client.next()).await.map_err(|_| ExecError::NoCall)?;
        let call = match first {
            Some(Ok(OpenRequest { message: Some(open_request::Message::Call(call)) })) => call,
            _ => return Err(ExecError::Protocol("the first message must be the call")),
        };
        let begun = (|| {
            let term = self.term()?;
            let place = check::place(&call, &self.store.view())?;
            let (id, over) = (self.env.new_id(), CancellationToken::new());
            let (answer, answered) = oneshot::channel();
            let audit;
            let (patience, otherwise) = {
                let mut desk = term.desk.lock();
                let ends = Ends { client, node: answer, over: over.clone() };
                desk.open(&id, &place, call.clone(), ends)?;
                audit = Audit::begin(&id, peer, &call, &place);
                if desk.listens(&place.node) {
                    (ANSWER, ExecError::Silent(place.name.clone()))
                } else {
                    (ANSWER_OF_DEAF, ExecError::Deaf(place.name.clone()))
                }
            };
            let source = Source::Awaited { node: answered, until: Instant::now() + patience, otherwise };
            Ok(Reading { id, desk: term.desk, term: term.stop, over, source, node: place.name, audit, done: false })
        })();
        begun.inspect_err(|error| audit::refused(peer, &call, error))
    }

    /// Gives a node what it has to serve.
    async fn serve_call(&self, peer: &Peer, mut node: FromNode) -> Result<Feeding, ExecError> {
        let id = match tokio::time::timeout(FIRST_MESSAGE, node.next()).await.map_err(|_| ExecError::NoCall)? {
            Some(Ok(ServeRequest { message: Some(serve_request::Message::Id(id)) })) => id,
            _ => return Err(ExecError::Protocol("the first message must name the call")),
        };
        let identity = peer.identity.as_ref().ok_or(ExecError::UnknownCall)?;
        let ends = self.term()?.desk.lock().take(&id, &identity.node)?;
        Feeding::new(ends, node)
    }
}

/// A node that listens. Dropping it ends that.
struct Listener {
    term: Term,
    listening: Listening,
}

impl Listener {
    async fn next(&mut self) -> Option<Assigned> {
        loop {
            let call = self.term.desk.lock().next_for(&mut self.listening);
            if call.is_some() {
                return call;
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

fn refused(error: ExecError) -> Status {
    error.to_status()
}

#[tonic::async_trait]
impl exec_server::Exec for ExecBroker {
    type OpenStream = BoxStream<'static, Result<Output, Status>>;

    async fn open(
        &self,
        request: Request<tonic::Streaming<OpenRequest>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let peer = Peer::of(&request)?;
        let reading = self.begin(&peer, request.into_inner().boxed()).await.map_err(refused)?;
        let outputs = stream::unfold(reading, |mut reading| async move {
            let output = reading.next().await?;
            Some((output.map_err(refused), reading))
        });
        Ok(Response::new(outputs.boxed()))
    }
}

#[tonic::async_trait]
impl exec_broker_server::ExecBroker for ExecBroker {
    type ListenStream = BoxStream<'static, Result<Assigned, Status>>;
    type ServeStream = BoxStream<'static, Result<Input, Status>>;

    async fn listen(&self, request: Request<ListenRequest>) -> Result<Response<Self::ListenStream>, Status> {
        let node = Peer::of(&request)?.identity()?.node.clone();
        let term = self.term().map_err(refused)?;
        let listening = term.desk.lock().listen(node);
        let calls = stream::unfold(Listener { term, listening }, |mut listener| async move {
            let call = listener.next().await?;
            Some((Ok(call), listener))
        });
        Ok(Response::new(calls.boxed()))
    }

    async fn serve(
        &self,
        request: Request<tonic::Streaming<ServeRequest>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        let peer = Peer::of(&request)?;
        let feeding = self.serve_call(&peer, request.into_inner().boxed()).await.map_err(refused)?;
        let inputs = stream::unfold(Some(feeding), |feeding| async move {
            let mut feeding = feeding?;
            match feeding.next().await? {
                Ok(input) => Some((Ok(input), Some(feeding))),
                Err(error) => Some((Err(refused(error)), None)),
            }
        });
        Ok(Response::new(inputs.boxed()))
    }
}

#[cfg(test)]
mod tests;

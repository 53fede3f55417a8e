//! Members across a network: gRPC over the managers' mutual TLS.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Shared},
    stream::{BoxStream, Stream},
};
use parking_lot::Mutex;
use swarmkit_api::{
    NodeId,
    wire::swarmkit::raft::v1::{
        self as wire, raft_transport_client::RaftTransportClient, raft_transport_server::RaftTransport,
        raft_transport_server::RaftTransportServer,
    },
};
use swarmkit_rpc::{Channel, ChannelOptions, Channels, ConnectError, ErrorCode, Origin, Peer, ServiceError, Transport};
use swarmkit_runtime::Spawner;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Answers, Destination, Lane, Messenger, SendError};
use crate::receiver::{ReceiveError, Receiver};

/// The largest message, in bytes: entries of 2 MiB, or a single one of the largest size, with room to spare.
const MESSAGE_BYTES: usize = 4 << 20;

/// How long a connection that carries calls may be silent before the other side is asked whether it lives. Short, since
/// a stream of entries has no deadline of its own.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Carries messages over connections of its own: one for each member and lane. Clones share them.
#[derive(Clone)]
pub struct RpcMessenger(Arc<Connections>);

struct Connections {
    lanes: BTreeMap<Lane, Channels>,
    spawner: Spawner,
    /// Connections in the making. They are finished whether or not a call has the patience to wait, since a heartbeat
    /// has less than a handshake needs.
    dialling: Mutex<BTreeMap<(Lane, String), Dialling>>,
}

type Dialling = Shared<BoxFuture<'static, Result<Channel, ConnectError>>>;
type Client = RaftTransportClient<Channel>;

impl RpcMessenger {
    /// A messenger without connections. They belong to the spawner's crew.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>, spawner: Spawner) -> Self {
        let options = ChannelOptions { keep_alive: Some(KEEP_ALIVE), ..ChannelOptions::default() };
        let channels = |lane| (lane, Channels::new(transport.clone(), options.clone(), spawner.clone()));
        let lanes = [Lane::Log, Lane::Heartbeat, Lane::Snapshot].into_iter().map(channels).collect();
        Self(Arc::new(Connections { lanes, spawner, dialling: Mutex::default() }))
    }

    /// Cuts all connections and makes no more, so that the spawner's crew can end.
    pub fn close(&self) {
        self.0.lanes.values().for_each(Channels::close);
    }

    /// A client for a member, connected to the right node.
    fn client(&self, to: &Destination) -> Answer<Client> {
        let (this, to) = (self.clone(), to.clone());
        Box::pin(async move {
            let channels = &this.0.lanes[&to.lane];
            let channel = match channels.open_manager(&to.addr) {
                Some(open) => open,
                None => {
                    this.dial(to.lane, &to.addr).await.map_err(|error| SendError::Unreachable(error.to_string()))?
                }
            };
            if let Err(found) = is_node(channel.server(), &to.node_id) {
                channels.forget(&to.addr);
                return Err(SendError::Unreachable(format!("{} is {found}, not {}", to.addr, to.node_id)));
            }
            let client = RaftTransportClient::new(channel);
            Ok(client.max_decoding_message_size(MESSAGE_BYTES).max_encoding_message_size(MESSAGE_BYTES))
        })
    }

    /// Makes a connection, or waits for the one that is being made.
    fn dial(&self, lane: Lane, addr: &str) -> Dialling {
        let mut all = self.0.dialling.lock();
        all.retain(|_, dialling| dialling.peek().is_none());
        let start = || {
            let (channels, addr) = (self.0.lanes[&lane].clone(), addr.to_owned());
            let address = addr.clone();
            let made = self.0.spawner.spawn("dial", async move { channels.manager(&addr).await });
            let gone = move || ConnectError::Closed { address, reason: "this node is stopping".to_owned() };
            async move { made.await.ok().flatten().unwrap_or_else(|| Err(gone())) }.boxed().shared()
        };
        all.entry((lane, addr.to_owned())).or_insert_with(start).clone()
    }

    fn call<Q: Send + 'static, A: Send + 'static, F>(
        &self,
        to: &Destination,
        request: Q,
        within: Duration,
        call: impl FnOnce(Client, Request<Q>) -> F + Send + 'static,
    ) -> Answer<A>
    where
        F: Future<Output = Result<Response<A>, Status>> + Send + 'static,
    {
        let (this, to) = (self.clone(), to.clone());
        Box::pin(async move {
            let calling = async {
                let client = this.client(&to).await?;
                let mut request = Request::new(request);
                request.set_timeout(within);
                call(client, request).await.map(Response::into_inner).map_err(|status| refused(&status))
            };
            let late = |_| Err(SendError::Unreachable("no answer in time".to_owned()));
            tokio::time::timeout(within, calling).await.unwrap_or_else(late)
        })
    }
}

/// A stream whose type the compiler can follow through a call of a generated client.
struct Outgoing<T>(BoxStream<'static, T>);

impl<T> Stream for Outgoing<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.as_mut().poll_next(context)
    }
}

/// Who was found instead of the node, if it is another.
fn is_node(found: &Origin, node: &NodeId) -> Result<(), String> {
    match found {
        Origin::Remote { identity: Some(identity), .. } if identity.node == *node => Ok(()),
        Origin::Remote { identity: Some(identity), .. } => Err(identity.node.to_string()),
        Origin::Remote { identity: None, .. } | Origin::Local => Err("nobody".to_owned()),
    }
}

fn refused(status: &Status) -> SendError {
    SendError::Unreachable(format!("{}: {}", status.code(), status.message()))
}

impl fmt::Debug for RpcMessenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RpcMessenger")
    }
}

impl Messenger for RpcMessenger {
    fn append_stream(
        &self,
        to: &Destination,
        requests: BoxStream<'static, wire::AppendRequest>,
    ) -> Answer<Answers<wire::AppendResponse>> {
        let (this, to) = (self.clone(), to.clone());
        Box::pin(async move {
            let mut client = this.client(&to).await?;
            let answers =
                client.append_stream(Outgoing(requests)).await.map_err(|status| refused(&status))?.into_inner();
            Ok(answers.map(|answer| answer.map_err(|status| refused(&status))).boxed())
        })
    }

    fn append(&self, to: &Destination, request: wire::AppendRequest, within: Duration) -> Answer<wire::AppendResponse> {
        self.call(to, request, within, async move |mut client, request| client.append(request).await)
    }

    fn vote(&self, to: &Destination, request: wire::VoteRequest, within: Duration) -> Answer<wire::VoteResponse> {
        self.call(to, request, within, async move |mut client, request| client.vote(request).await)
    }

    fn pre_vote(&self, to: &Destination, request: wire::VoteRequest, within: Duration) -> Answer<wire::VoteResponse> {
        self.call(to, request, within, async move |mut client, request| client.pre_vote(request).await)
    }

    fn transfer_leader(
        &self,
        to: &Destination,
        request: wire::TransferLeaderRequest,
        within: Duration,
    ) -> Answer<wire::TransferLeaderResponse> {
        self.call(to, request, within, async move |mut client, request| client.transfer_leader(request).await)
    }

    fn install_snapshot(
        &self,
        to: &Destination,
        parts: BoxStream<'static, wire::InstallSnapshotRequest>,
    ) -> Answer<wire::InstallSnapshotResponse> {
        let (this, to) = (self.clone(), to.clone());
        Box::pin(async move {
            let mut client = this.client(&to).await?;
            client.install_snapshot(Outgoing(parts)).await.map(Response::into_inner).map_err(|status| refused(&status))
        })
    }
}

/// Answers other members over gRPC.
#[derive(Clone, Debug)]
pub struct RaftService {
    receiver: LateReceiver,
    stop: CancellationToken,
}

/// The place of a receiver that comes after the service was mounted: a manager that joins must be reachable before it
/// has a member. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LateReceiver(Arc<OnceLock<Receiver>>);

impl LateReceiver {
    /// Hands in the receiver. Only the first one counts.
    pub fn set(&self, receiver: Receiver) {
        let _ = self.0.set(receiver);
    }
}

impl RaftService {
    /// The service, to be mounted on the managers' port.
    #[must_use]
    pub fn server(receiver: Receiver) -> RaftTransportServer<Self> {
        let late = LateReceiver::default();
        late.set(receiver);
        Self::late_server(late, CancellationToken::new())
    }

    /// The service for a member that does not exist yet. Until it does, others are told that nobody is there. A leader
    /// keeps a stream open for as long as it leads; `stop` ends those streams, so that a server can drain.
    #[must_use]
    pub fn late_server(receiver: LateReceiver, stop: CancellationToken) -> RaftTransportServer<Self> {
        let server = RaftTransportServer::new(Self { receiver, stop });
        server.max_decoding_message_size(MESSAGE_BYTES).max_encoding_message_size(MESSAGE_BYTES)
    }

    fn receiver(&self) -> Result<&Receiver, Status> {
        self.receiver.0.get().ok_or_else(|| Status::unavailable("raft: node is not yet part of a raft cluster"))
    }
}

impl ServiceError for ReceiveError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::InvalidArgument,
            Self::NotForUs { .. } => ErrorCode::FailedPrecondition,
            Self::Impostor { .. } => ErrorCode::PermissionDenied,
            Self::Stopped => ErrorCode::Unavailable,
            Self::Log(_) => ErrorCode::Internal,
        }
    }
}

fn sender<T>(request: &Request<T>) -> Result<NodeId, Status> {
    Ok(Peer::of(request)?.identity()?.node.clone())
}

fn answered<T>(answer: Result<T, ReceiveError>) -> Result<Response<T>, Status> {
    answer.map(Response::new).map_err(|error| error.to_status())
}

/// The messages of a stream, up to its end or its breaking off.
fn messages<T: Send + 'static>(stream: Streaming<T>) -> BoxStream<'static, T> {
    stream.scan((), |(), message| std::future::ready(message.ok())).boxed()
}

#[tonic::async_trait]
impl RaftTransport for RaftService {
    type AppendStreamStream = BoxStream<'static, Result<wire::AppendResponse, Status>>;

    async fn append(&self, request: Request<wire::AppendRequest>) -> Result<Response<wire::AppendResponse>, Status> {
        let sender = sender(&request)?;
        answered(self.receiver()?.append(&sender, request.into_inner()).await)
    }

    async fn append_stream(
        &self,
        request: Request<Streaming<wire::AppendRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        let sender = sender(&request)?;
        let requests = messages(request.into_inner()).take_until(self.stop.clone().cancelled_owned()).boxed();
        let answers = self.receiver()?.append_stream(&sender, requests);
        Ok(Response::new(answers.map(|answer| answer.map_err(|error| error.to_status())).boxed()))
    }

    async fn vote(&self, request: Request<wire::VoteRequest>) -> Result<Response<wire::VoteResponse>, Status> {
        let sender = sender(&request)?;
        answered(self.receiver()?.vote(&sender, request.into_inner()).await)
    }

    async fn pre_vote(&self, request: Request<wire::VoteRequest>) -> Result<Response<wire::VoteResponse>, Status> {
        let sender = sender(&request)?;
        answered(self.receiver()?.pre_vote(&sender, request.into_inner()).await)
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderResponse>, Status> {
        let sender = sender(&request)?;
        answered(self.receiver()?.transfer_leader(&sender, request.into_inner()).await)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::InstallSnapshotRequest>>,
    ) -> Result<Response<wire::InstallSnapshotResponse>, Status> {
        let sender = sender(&request)?;
        answered(self.receiver()?.install_snapshot(&sender, messages(request.into_inner())).await)
    }
}

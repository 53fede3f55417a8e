//! The managers of a cluster, over the network or in this process.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream::BoxStream};
use swarmkit_api::{NodeId, wire};
use swarmkit_rpc::{Channel, Channels, OBSERVATION_DEFAULT, Remote, Remotes};
use tokio::sync::watch;
use tonic::{Response, Streaming};
use wire::{
    dispatcher_client::DispatcherClient,
    log_broker_client::LogBrokerClient,
    resource_allocator_client::ResourceAllocatorClient,
    swarmkit::exec::v1::{self as exec, exec_broker_client::ExecBrokerClient},
};

use crate::{
    ConnectError,
    manager::{Call, Connection, Experience, ManagerClient, Managers, Messages},
};

/// The largest message that an agent takes, as upstream: the first assignments hold all its tasks and secrets.
const MESSAGE_BYTES_MAX: usize = i32::MAX as usize;

/// Finds managers as a node of a cluster does: its own one while there is one, otherwise one of those it knows, by how
/// well they have served.
///
/// A manager of this node that has failed is passed over once, if there is another: it may have left the group of
/// managers without having been told.
#[derive(Clone)]
pub struct ClusterManagers {
    remotes: Remotes,
    channels: Channels,
    own: Option<Own>,
}

/// The manager of this node.
#[derive(Clone)]
struct Own {
    node: NodeId,
    channel: watch::Receiver<Option<Channel>>,
    /// The last session with it has failed, and none was opened with another manager since.
    failed: Arc<AtomicBool>,
}

impl ClusterManagers {
    /// The managers in `remotes`, over `channels`. What managers say of each other goes into `remotes`.
    #[must_use]
    pub fn new(remotes: Remotes, channels: Channels) -> Self {
        Self { remotes, channels, own: None }
    }

    /// Prefers the manager of this node, while `own` holds a way to it.
    #[must_use]
    pub fn preferring(self, node: NodeId, own: watch::Receiver<Option<Channel>>) -> Self {
        let own = Own { node, channel: own, failed: Arc::default() };
        Self { own: Some(own), ..self }
    }

    async fn dial(&self) -> Result<Connection, ConnectError> {
        let own = self.own.as_ref().and_then(|own| Some((own, own.channel.borrow().clone()?)));
        let Some((own, channel)) = own else { return self.dial_remote(&[]).await };
        if own.failed.swap(false, Ordering::Relaxed)
            && let Ok(connection) = self.dial_remote(&[own.node.as_str()]).await
        {
            return Ok(connection);
        }
        let failed = own.failed.clone();
        let close = move |experience| failed.store(experience == Experience::Bad, Ordering::Relaxed);
        Ok(Connection::new(Arc::new(GrpcManager::new(channel)), close))
    }

    async fn dial_remote(&self, excluded: &[&str]) -> Result<Connection, ConnectError> {
        let remote = self.remotes.select(excluded)?;
        match self.channels.manager(&remote.address).await {
            Ok(channel) => {
                let (remotes, channels) = (self.remotes.clone(), self.channels.clone());
                let close = move |experience| match experience {
                    Experience::Neutral => {}
                    Experience::Bad => {
                        remotes.observe_if_known(&remote, -OBSERVATION_DEFAULT);
                        channels.forget(&remote.address);
                    }
                };
                Ok(Connection::new(Arc::new(GrpcManager::new(channel)), close))
            }
            Err(error) => {
                self.remotes.observe_if_known(&remote, -OBSERVATION_DEFAULT);
                Err(error.into())
            }
        }
    }
}

impl Managers for ClusterManagers {
    fn connect(&self) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        self.dial().boxed()
    }

    fn learn(&self, managers: &[wire::WeightedPeer]) {
        let mut known = Vec::new();
        for WeightedPeer { peer, weight } in managers.iter().filter_map(WeightedPeer::of) {
            self.remotes.observe(peer.clone(), weight);
            known.push(peer);
        }
        self.remotes.replace(known);
    }
}

impl fmt::Debug for ClusterManagers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterManagers").field("remotes", &self.remotes.list()).finish_non_exhaustive()
    }
}

/// A manager as a session message names it, if it says where it is.
struct WeightedPeer {
    peer: Remote,
    weight: i32,
}

impl WeightedPeer {
    fn of(said: &wire::WeightedPeer) -> Option<Self> {
        let peer = said.peer.as_ref().filter(|peer| !peer.addr.is_empty())?;
        let peer = Remote { node: NodeId::from_wire(peer.node_id.clone()), address: peer.addr.clone() };
        let weight = i32::try_from(said.weight).unwrap_or(OBSERVATION_DEFAULT);
        Some(Self { peer, weight })
    }
}

/// A manager at the other end of a channel.
#[derive(Clone, Debug)]
pub struct GrpcManager {
    dispatcher: DispatcherClient<Channel>,
    logs: LogBrokerClient<Channel>,
    resources: ResourceAllocatorClient<Channel>,
    calls: ExecBrokerClient<Channel>,
}

impl GrpcManager {
    /// The manager behind `channel`, which may also be a service of this process.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self {
            dispatcher: DispatcherClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            logs: LogBrokerClient::new(channel.clone()),
            resources: ResourceAllocatorClient::new(channel.clone()),
            calls: ExecBrokerClient::new(channel),
        }
    }
}

impl ManagerClient for GrpcManager {
    fn session(&self, request: wire::SessionRequest) -> Call<'_, Messages<wire::SessionMessage>> {
        let mut client = self.dispatcher.clone();
        async move { client.session(request).await.map(stream) }.boxed()
    }

    fn heartbeat(&self, request: wire::HeartbeatRequest) -> Call<'_, wire::HeartbeatResponse> {
        let mut client = self.dispatcher.clone();
        async move { client.heartbeat(request).await.map(Response::into_inner) }.boxed()
    }

    fn update_task_status(&self, request: wire::UpdateTaskStatusRequest) -> Call<'_, wire::UpdateTaskStatusResponse> {
        let mut client = self.dispatcher.clone();
        async move { client.update_task_status(request).await.map(Response::into_inner) }.boxed()
    }

    fn update_volume_status(
        &self,
        request: wire::UpdateVolumeStatusRequest,
    ) -> Call<'_, wire::UpdateVolumeStatusResponse> {
        let mut client = self.dispatcher.clone();
        async move { client.update_volume_status(request).await.map(Response::into_inner) }.boxed()
    }

    fn assignments(&self, request: wire::AssignmentsRequest) -> Call<'_, Messages<wire::AssignmentsMessage>> {
        let mut client = self.dispatcher.clone();
        async move { client.assignments(request).await.map(stream) }.boxed()
    }

    #[expect(deprecated, reason = "for managers that know nothing newer")]
    fn tasks(&self, request: wire::TasksRequest) -> Call<'_, Messages<wire::TasksMessage>> {
        let mut client = self.dispatcher.clone();
        async move { client.tasks(request).await.map(stream) }.boxed()
    }

    fn listen_subscriptions(
        &self,
        request: wire::ListenSubscriptionsRequest,
    ) -> Call<'_, Messages<wire::SubscriptionMessage>> {
        let mut client = self.logs.clone();
        async move { client.listen_subscriptions(request).await.map(stream) }.boxed()
    }

    fn publish_logs(
        &self,
        messages: BoxStream<'static, wire::PublishLogsMessage>,
    ) -> Call<'_, wire::PublishLogsResponse> {
        let mut client = self.logs.clone();
        async move { client.publish_logs(Outgoing(messages)).await.map(Response::into_inner) }.boxed()
    }

    fn listen_calls(&self, request: exec::ListenRequest) -> Call<'_, Messages<exec::Assigned>> {
        let mut client = self.calls.clone();
        async move { client.listen(request).await.map(stream) }.boxed()
    }

    fn serve_call(&self, messages: BoxStream<'static, exec::ServeRequest>) -> Call<'_, Messages<exec::Input>> {
        let mut client = self.calls.clone();
        async move { client.serve(Outgoing(messages)).await.map(stream) }.boxed()
    }

    fn attach_network(&self, request: wire::AttachNetworkRequest) -> Call<'_, wire::AttachNetworkResponse> {
        let mut client = self.resources.clone();
        async move { client.attach_network(request).await.map(Response::into_inner) }.boxed()
    }

    fn detach_network(&self, request: wire::DetachNetworkRequest) -> Call<'_, wire::DetachNetworkResponse> {
        let mut client = self.resources.clone();
        async move { client.detach_network(request).await.map(Response::into_inner) }.boxed()
    }
}

fn stream<T: Send + 'static>(answer: Response<Streaming<T>>) -> Messages<T> {
    answer.into_inner().boxed()
}

/// A boxed stream under a name of its own, without which the compiler cannot tell that calls with it are `Send`.
struct Outgoing<T>(BoxStream<'static, T>);

impl<T> Stream for Outgoing<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next_unpin(context)
    }
}

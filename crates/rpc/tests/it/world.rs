//! A cluster of nodes with certificates, and services that remember who called.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::{Stream, StreamExt as _, stream};
use parking_lot::Mutex;
use swarmkit_api::{
    ClusterId, NodeId, NodeRole,
    wire::{self, ca_server::CaServer, health_server::HealthServer, log_broker_server::LogBrokerServer},
};
use swarmkit_ca::{Credentials, Identity, KeySource as _, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys};
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, ConnectError, Forward, Peer, ServerOptions, ServerRole, Services,
    StrangerLimits, TlsTransport, Transport, serve,
};
use swarmkit_runtime::{Clock, Crew, Env, Spawner};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// A clock that a test turns.
#[derive(Clone)]
pub(crate) struct Wall(Arc<AtomicU64>);

impl Wall {
    pub(crate) fn turn(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

impl Clock for Wall {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// One cluster: its root, its clock, and the crew that everything of a test belongs to.
pub(crate) struct World {
    pub(crate) wall: Wall,
    pub(crate) env: Env,
    pub(crate) root: RootCa,
    pub(crate) crew: Crew,
}

/// A manager that serves.
pub(crate) struct Served {
    pub(crate) address: String,
    pub(crate) credentials: Credentials,
    pub(crate) desk: Desk,
    pub(crate) authority: Authority,
    pub(crate) services: Services,
}

impl World {
    pub(crate) fn new() -> Self {
        let wall = Wall(Arc::new(AtomicU64::new(1_893_499_200)));
        let env = Env::seeded(1, wall.clone());
        let root = RootCa::create(&SystemKeys, &env).unwrap();
        Self { wall, env, root, crew: Crew::under(&CancellationToken::new()) }
    }

    pub(crate) fn spawner(&self) -> Spawner {
        self.crew.spawner()
    }

    pub(crate) fn certificate(&self, node: &str, role: NodeRole) -> NodeCertificate {
        self.certificate_of(&identity(node, role))
    }

    fn certificate_of(&self, identity: &Identity) -> NodeCertificate {
        let key = SystemKeys.generate().unwrap();
        let chain = self.root.issue(&key.request().unwrap(), identity, LEAF_VALIDITY_DEFAULT, &self.env).unwrap();
        NodeCertificate::new(&chain, key).unwrap()
    }

    pub(crate) fn node(&self, node: &str, role: NodeRole) -> Credentials {
        self.node_of(&identity(node, role))
    }

    pub(crate) fn node_of(&self, identity: &Identity) -> Credentials {
        Credentials::new(self.root.without_signer(), self.certificate_of(identity), &self.env).unwrap()
    }

    /// A manager on a port of its own, which answers everything itself.
    pub(crate) async fn manager(&self, node: &str) -> Served {
        self.manager_with(node, ServerOptions::default(), None).await
    }

    pub(crate) async fn manager_with(&self, node: &str, options: ServerOptions, forward: Option<Forward>) -> Served {
        self.serve(node, options, forward, StrangerLimits::default()).await
    }

    /// A manager that lets strangers take so much.
    pub(crate) async fn manager_bounding(&self, limits: StrangerLimits) -> Served {
        self.serve("m", ServerOptions::default(), None, limits).await
    }

    async fn serve(
        &self,
        node: &str,
        options: ServerOptions,
        forward: Option<Forward>,
        limits: StrangerLimits,
    ) -> Served {
        let credentials = self.node(node, NodeRole::Manager);
        let transport = TlsTransport::new(credentials.clone());
        let listener = transport.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (desk, authority) = (Desk::new(&self.root), Authority::of(&credentials));
        let services = desk.services(authority.clone(), forward.as_ref()).bounding_strangers(limits);
        drop(self.spawner().spawn("server", serve(listener, services.clone(), options, self.spawner())));
        Served { address, credentials, desk, authority, services }
    }

    /// A connection from a node to a manager.
    pub(crate) async fn connect(&self, from: &Credentials, to: &str) -> Result<Channel, ConnectError> {
        self.connect_by(&TlsTransport::new(from.clone()), to, ServerRole::Manager).await
    }

    pub(crate) async fn connect_by(
        &self,
        transport: &dyn Transport,
        to: &str,
        role: ServerRole,
    ) -> Result<Channel, ConnectError> {
        Channel::connect(transport, to, role, &ChannelOptions::default(), &self.spawner()).await
    }
}

pub(crate) fn identity(node: &str, role: NodeRole) -> Identity {
    Identity::new(NodeId::from(node), role, ClusterId::from("ours"))
}

/// Some services. They remember who called, and do what their names say.
#[derive(Clone)]
pub(crate) struct Desk {
    bundle: String,
    callers: Arc<Mutex<Vec<Peer>>>,
    /// How many calls are waiting for ever.
    pub(crate) waiting: Arc<AtomicU64>,
    published: Arc<Mutex<Vec<String>>>,
}

/// A service name that [`wire::health_server::Health::check`] never answers.
pub(crate) const NEVER: &str = "never";
/// A service name that it answers after a second.
pub(crate) const SOON: &str = "soon";
/// How many messages come on a stream of subscriptions before it falls silent.
pub(crate) const SUBSCRIPTIONS: usize = 3;

/// Counts itself for as long as it lives.
struct Waiting(Arc<AtomicU64>);

impl Waiting {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Desk {
    pub(crate) fn new(root: &RootCa) -> Self {
        Self {
            bundle: root.bundle().to_owned(),
            callers: Arc::default(),
            waiting: Arc::default(),
            published: Arc::default(),
        }
    }

    pub(crate) fn services(&self, authority: Authority, forward: Option<&Forward>) -> Services {
        let services = Services::new(authority).with(HealthServer::new(self.clone())).unwrap();
        let (ca, logs) = (CaServer::new(self.clone()), LogBrokerServer::new(self.clone()));
        match forward {
            None => services.with(ca).and_then(|services| services.with(logs)),
            Some(forward) => {
                services.with_forwarded(ca, forward).and_then(|services| services.with_forwarded(logs, forward))
            }
        }
        .unwrap()
    }

    /// The last caller.
    pub(crate) fn caller(&self) -> Peer {
        self.callers.lock().last().cloned().expect("somebody called")
    }

    pub(crate) fn calls(&self) -> usize {
        self.callers.lock().len()
    }

    pub(crate) fn published(&self) -> Vec<String> {
        self.published.lock().clone()
    }

    /// Lets other futures run until nobody waits here any more.
    pub(crate) async fn idle(&self) {
        while self.waiting.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets other futures run until somebody waits here.
    pub(crate) async fn busy(&self) {
        while self.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    }

    fn note<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.callers.lock().push(Peer::of(request)?);
        Ok(())
    }
}

#[async_trait]
impl wire::health_server::Health for Desk {
    async fn check(
        &self,
        request: Request<wire::HealthCheckRequest>,
    ) -> Result<Response<wire::HealthCheckResponse>, Status> {
        self.note(&request)?;
        let _waiting = Waiting::new(&self.waiting);
        match request.get_ref().service.as_str() {
            NEVER => std::future::pending().await,
            SOON => tokio::time::sleep(Duration::from_secs(1)).await,
            _ => {}
        }
        Ok(Response::new(wire::HealthCheckResponse { status: 1 }))
    }
}

#[async_trait]
impl wire::ca_server::Ca for Desk {
    async fn get_root_ca_certificate(
        &self,
        request: Request<wire::GetRootCaCertificateRequest>,
    ) -> Result<Response<wire::GetRootCaCertificateResponse>, Status> {
        self.note(&request)?;
        Ok(Response::new(wire::GetRootCaCertificateResponse { certificate: self.bundle.clone().into() }))
    }

    async fn get_unlock_key(
        &self,
        request: Request<wire::GetUnlockKeyRequest>,
    ) -> Result<Response<wire::GetUnlockKeyResponse>, Status> {
        self.note(&request)?;
        Ok(Response::new(wire::GetUnlockKeyResponse::default()))
    }
}

#[async_trait]
impl wire::log_broker_server::LogBroker for Desk {
    type ListenSubscriptionsStream = Pin<Box<dyn Stream<Item = Result<wire::SubscriptionMessage, Status>> + Send>>;

    /// Some subscriptions, then nothing and no end.
    async fn listen_subscriptions(
        &self,
        request: Request<wire::ListenSubscriptionsRequest>,
    ) -> Result<Response<Self::ListenSubscriptionsStream>, Status> {
        self.note(&request)?;
        let waiting = Waiting::new(&self.waiting);
        let some = (0..SUBSCRIPTIONS).map(|n| wire::SubscriptionMessage { id: n.to_string(), ..Default::default() });
        let endless = stream::iter(some).map(Ok).chain(stream::pending()).map(move |message| {
            let _ = &waiting;
            message
        });
        Ok(Response::new(Box::pin(endless)))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<wire::PublishLogsMessage>>,
    ) -> Result<Response<wire::PublishLogsResponse>, Status> {
        self.note(&request)?;
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            self.published.lock().push(message.subscription_id);
        }
        Ok(Response::new(wire::PublishLogsResponse {}))
    }
}

/// What a test calls.
pub(crate) async fn check(channel: &Channel, service: &str) -> Result<(), Status> {
    let request = wire::HealthCheckRequest { service: service.to_owned() };
    wire::health_client::HealthClient::new(channel.clone()).check(request).await.map(drop)
}

pub(crate) async fn root_bundle(channel: &Channel) -> Result<String, Status> {
    let answer = wire::ca_client::CaClient::new(channel.clone())
        .get_root_ca_certificate(wire::GetRootCaCertificateRequest {})
        .await?;
    Ok(String::from_utf8(answer.into_inner().certificate.to_vec()).unwrap())
}

/// The same, and sends so many bytes that the server does not know.
pub(crate) async fn root_bundle_with(channel: &Channel, bytes: usize) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await?;
    let path = http::uri::PathAndQuery::from_static("/docker.swarmkit.v1.CA/GetRootCACertificate");
    let codec = tonic_prost::ProstCodec::<wire::HealthCheckRequest, wire::GetRootCaCertificateResponse>::default();
    let padding = wire::HealthCheckRequest { service: "x".repeat(bytes) };
    client.unary(Request::new(padding), path, codec).await.map(drop)
}

pub(crate) async fn unlock_key(channel: &Channel) -> Result<(), Status> {
    wire::ca_client::CaClient::new(channel.clone()).get_unlock_key(wire::GetUnlockKeyRequest {}).await.map(drop)
}

pub(crate) async fn listen(channel: &Channel) -> Result<Streaming<wire::SubscriptionMessage>, Status> {
    let mut client = wire::log_broker_client::LogBrokerClient::new(channel.clone());
    client.listen_subscriptions(wire::ListenSubscriptionsRequest {}).await.map(Response::into_inner)
}

pub(crate) async fn publish(channel: &Channel, ids: &[&str]) -> Result<(), Status> {
    let messages: Vec<_> = ids
        .iter()
        .map(|id| wire::PublishLogsMessage { subscription_id: (*id).to_owned(), ..Default::default() })
        .collect();
    let mut client = wire::log_broker_client::LogBrokerClient::new(channel.clone());
    client.publish_logs(stream::iter(messages)).await.map(drop)
}

//! A store, and a client of the services in front of it.

use std::sync::Arc;

use swarmkit_allocator::{InertNetworks, NetworkProvider};
use swarmkit_api::{ClusterId, NodeRole, wire};
use swarmkit_ca::{ExternalCa, Identity, JoinToken, NoExternalCa, RootCa, RootDigest, SystemKeys};
use swarmkit_control::{AttachmentApi, BackupApi, ControlApi, ControlConfig, Members, SchedulingApi, WatchApi};
use swarmkit_rpc::{Authority, Channel, Services};
use swarmkit_runtime::{Crew, Env};
use swarmkit_secret_drivers::PluginDrivers;
use swarmkit_store::{Store, StoreError, Transaction, View};
use swarmkit_testing::{ServiceBuilder, named};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status};
use wire::{
    control_client::ControlClient,
    control_server::ControlServer,
    resource_allocator_client::ResourceAllocatorClient,
    resource_allocator_server::ResourceAllocatorServer,
    swarmkit::{
        backup::v1::{backup_client::BackupClient, backup_server::BackupServer},
        scheduling::v1::{scheduling_client::SchedulingClient, scheduling_server::SchedulingServer},
    },
    watch_client::WatchClient,
    watch_server::WatchServer,
};

/// What a request is refused with.
pub(crate) type Refusal = (Code, String);

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) members: Members,
    pub(crate) stop: CancellationToken,
    channel: Channel,
    /// What answers run in.
    _crew: Crew,
}

impl World {
    /// An empty store.
    pub(crate) fn new() -> Self {
        Self::asking(Arc::new(NoExternalCa))
    }

    /// An empty store of a cluster whose networks are known to somebody.
    pub(crate) fn with_networks(networks: Arc<dyn NetworkProvider>) -> Self {
        Self::made_of(Arc::new(NoExternalCa), networks)
    }

    /// An empty store, and somebody who asks authorities elsewhere.
    fn asking(external_ca: Arc<dyn ExternalCa>) -> Self {
        Self::made_of(external_ca, Arc::new(InertNetworks))
    }

    fn made_of(external_ca: Arc<dyn ExternalCa>, networks: Arc<dyn NetworkProvider>) -> Self {
        let env = swarmkit_testing::env();
        let store = Store::local(env.clone());
        let (members, stop) = (Members::default(), CancellationToken::new());
        let crew = Crew::under(&CancellationToken::new());
        let config = ControlConfig {
            members: members.clone(),
            new_join_token: new_join_token(&env),
            certificate_expiry: Arc::new(|chain| {
                let seconds = std::str::from_utf8(chain).ok()?.parse().ok()?;
                Some(prost_types::Timestamp { seconds, nanos: 0 })
            }),
            external_ca,
            networks,
            secret_drivers: Arc::new(PluginDrivers::new([("keeper".to_owned(), "/nowhere".into())])),
        };
        let own = Identity::new("m".into(), NodeRole::Manager, "c".into());
        let attachments = AttachmentApi::new(env.clone(), store.clone());
        let services = Services::new(Authority::fixed(own))
            .with(ResourceAllocatorServer::new(attachments))
            .and_then(|services| services.with(ControlServer::new(ControlApi::new(env.clone(), store.clone(), config))))
            .and_then(|services| services.with(SchedulingServer::new(SchedulingApi::new(env, store.clone()))))
            .and_then(|services| services.with(WatchServer::new(WatchApi::new(store.clone(), stop.clone()))))
            .and_then(|services| {
                services.with(BackupServer::new(BackupApi::new(store.clone(), stop.clone(), crew.spawner())))
            })
            .unwrap();
        Self { channel: Channel::here(&services), store, members, stop, _crew: crew }
    }

    /// A store with a cluster, its root certificate and its tokens.
    pub(crate) async fn with_cluster() -> Self {
        Self::with_cluster_asking(Arc::new(NoExternalCa)).await
    }

    pub(crate) async fn with_cluster_asking(external_ca: Arc<dyn ExternalCa>) -> Self {
        let world = Self::asking(external_ca);
        let env = swarmkit_testing::env();
        let mut cluster = swarmkit_testing::cluster();
        let root = RootCa::create(&SystemKeys, &env).unwrap();
        cluster.root_ca = Arc::new(wire::RootCa {
            ca_key: root.signing_key().unwrap().to_pem().as_bytes().to_vec().into(),
            ca_cert: root.bundle().to_owned().into(),
            ..Default::default()
        });
        let token = || new_join_token(&env)(&cluster).unwrap();
        let join_tokens = Some(wire::JoinTokens { worker: token(), manager: token() });
        cluster.root_ca = Arc::new(wire::RootCa { join_tokens, ..cluster.root_ca.as_ref().clone() });
        world.put(|tx| tx.create(cluster).map(drop)).await;
        world
    }

    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone())
    }

    /// As the node of the manager itself, `m`.
    pub(crate) fn attachments(&self) -> ResourceAllocatorClient<Channel> {
        ResourceAllocatorClient::new(self.channel.clone())
    }

    pub(crate) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone())
    }

    pub(crate) fn backup(&self) -> BackupClient<Channel> {
        BackupClient::new(self.channel.clone())
    }

    pub(crate) fn scheduling(&self) -> SchedulingClient<Channel> {
        SchedulingClient::new(self.channel.clone())
    }

    pub(crate) fn view(&self) -> View {
        self.store.view()
    }

    pub(crate) async fn put(&self, edit: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) {
        self.store.update(edit).await.unwrap();
    }

    /// Makes a call that must be refused in one line and change nothing.
    pub(crate) async fn refused<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Refusal {
        let before = self.store.version();
        let status = call.await.err().expect("refused");
        assert_eq!(self.store.version(), before, "a refusal changes nothing");
        assert!(!status.message().is_empty() && !status.message().contains('\n'), "one line: {:?}", status.message());
        (status.code(), status.message().to_owned())
    }

    pub(crate) async fn create(&self, spec: wire::ServiceSpec) -> wire::Service {
        let request = wire::CreateServiceRequest { spec: Some(spec) };
        self.control().create_service(request).await.unwrap().into_inner().service.unwrap()
    }

    pub(crate) async fn create_refused(&self, spec: wire::ServiceSpec) -> Refusal {
        self.refused(self.control().create_service(wire::CreateServiceRequest { spec: Some(spec) })).await
    }

    /// The cluster as it is stored, and a request that changes nothing of it.
    pub(crate) fn cluster_update(&self) -> wire::UpdateClusterRequest {
        let view = self.view();
        let cluster = view.cluster().unwrap();
        wire::UpdateClusterRequest {
            cluster_id: cluster.id.to_string(),
            cluster_version: Some(cluster.meta.version.into()),
            spec: Some(wire::ClusterSpec::clone(&cluster.spec)),
            rotation: None,
        }
    }
}

/// As a manager makes tokens.
fn new_join_token(env: &Env) -> Arc<swarmkit_control::NewJoinToken> {
    let env = env.clone();
    Arc::new(move |cluster| {
        if cluster.root_ca.ca_cert.is_empty() {
            return Err("the cluster has no root certificate".to_owned());
        }
        Ok(JoinToken::generate(RootDigest::of(&cluster.root_ca.ca_cert), cluster.fips, &env).as_str().to_owned())
    })
}

/// The specification of a replicated service.
pub(crate) fn web(name: &str) -> wire::ServiceSpec {
    spec_of(swarmkit_testing::service(name).replicas(2))
}

pub(crate) fn spec_of(service: ServiceBuilder) -> wire::ServiceSpec {
    service.build().spec.as_ref().clone()
}

/// A service that uses secrets and configs, each in a file of its own name.
pub(crate) fn using(name: &str, secrets: &[&str], configs: &[&str]) -> wire::ServiceSpec {
    let file = |name: &str| wire::FileTarget { name: name.to_owned(), ..Default::default() };
    let secret = |name: &&str| wire::SecretReference {
        secret_id: (*name).to_owned(),
        secret_name: (*name).to_owned(),
        target: Some(wire::secret_reference::Target::File(file(name))),
    };
    let config = |name: &&str| wire::ConfigReference {
        config_id: (*name).to_owned(),
        config_name: (*name).to_owned(),
        target: Some(wire::config_reference::Target::File(file(name))),
    };
    spec_of(swarmkit_testing::service(name).container(|container| {
        container.secrets = secrets.iter().map(secret).collect();
        container.configs = configs.iter().map(config).collect();
    }))
}

pub(crate) fn annotations(name: &str) -> Option<wire::Annotations> {
    Some(named(name))
}

pub(crate) fn invalid(text: &str) -> Refusal {
    (Code::InvalidArgument, text.to_owned())
}

/// The refusal of a request that names nothing.
pub(crate) fn no_argument() -> Refusal {
    invalid("invalid argument")
}

pub(crate) fn not_found(text: &str) -> Refusal {
    (Code::NotFound, text.to_owned())
}

pub(crate) fn default_cluster() -> ClusterId {
    ClusterId::from(swarmkit_store::DEFAULT_CLUSTER)
}

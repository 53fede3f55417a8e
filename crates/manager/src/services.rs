//! The services of a manager, and where each is answered.

use std::{sync::Arc, time::UNIX_EPOCH};

use prost_types::Timestamp;
use swarmkit_allocator::NetworkProvider;
use swarmkit_api::wire::{
    ca_server::CaServer,
    control_server::ControlServer,
    dispatcher_server::DispatcherServer,
    health_server::HealthServer,
    log_broker_server::LogBrokerServer,
    logs_server::LogsServer,
    node_ca_server::NodeCaServer,
    raft_membership_server::RaftMembershipServer,
    raft_server::RaftServer,
    resource_allocator_server::ResourceAllocatorServer,
    swarmkit::{
        backup::v1::backup_server::BackupServer,
        exec::v1::{exec_broker_server::ExecBrokerServer, exec_server::ExecServer},
        raft::v1::raft_member_server::RaftMemberServer,
        scheduling::v1::scheduling_server::SchedulingServer,
    },
    watch_server::WatchServer,
};
use swarmkit_ca::{ExternalCa, JoinToken, RootDigest, Validity};
use swarmkit_control::{
    AttachmentApi, BackupApi, ControlApi, ControlConfig, HealthApi, Members, SchedulingApi, WatchApi,
};
use swarmkit_dispatcher::{Dispatcher, LogBroker};
use swarmkit_exec::ExecBroker;
use swarmkit_issuer::CaApi;
use swarmkit_raft::RaftService;
use swarmkit_rpc::{Authority, Forward, MountError, Services};
use swarmkit_runtime::{Env, Spawner};
use swarmkit_secret_drivers::SecretDrivers;
use swarmkit_store::Store;
use tokio_util::sync::CancellationToken;

use crate::{
    membership::MembershipApi,
    raft_service::RaftApi,
    seat::{Seat, WeakSeat},
};

/// The health of what joining managers and local clients ask for, by the names that they use.
pub(crate) const RAFT: &str = "Raft";
pub(crate) const CONTROL: &str = "ControlAPI";

/// What the services need of the manager around them.
pub(crate) struct Parts<'a> {
    pub(crate) env: &'a Env,
    pub(crate) store: &'a Store,
    pub(crate) authority: &'a Authority,
    pub(crate) forward: &'a Forward,
    pub(crate) members: &'a Members,
    pub(crate) external_ca: &'a Arc<dyn ExternalCa>,
    pub(crate) networks: &'a Arc<dyn NetworkProvider>,
    pub(crate) secret_drivers: &'a Arc<dyn SecretDrivers>,
    pub(crate) dispatcher: &'a Dispatcher,
    pub(crate) logs: &'a LogBroker,
    pub(crate) exec: &'a ExecBroker,
    pub(crate) seat: &'a Seat,
    pub(crate) membership: &'a MembershipApi,
    /// What answers run in that go on after the call.
    pub(crate) spawner: &'a Spawner,
    /// Ends what callers wait for.
    pub(crate) stop: &'a CancellationToken,
}

/// The services for other nodes. What only the leader can answer is passed on to it; reads are answered here.
pub(crate) fn remote(parts: &Parts<'_>) -> Result<Services, MountError> {
    let health = HealthApi::default();
    // From the beginning: the leader asks for it before it admits this manager.
    health.set(RAFT, true);
    let raft = RaftApi(parts.seat.clone());
    joint(parts, health)?
        .with_passed_on(ControlServer::new(control(parts)), parts.forward)?
        .with(LogsServer::new(parts.logs.clone()))?
        .with(RaftServer::new(raft.clone()))?
        .with(RaftMemberServer::new(raft))?
        .with(RaftService::late_server(parts.seat.receiver(), parts.stop.clone()))?
        .with_forwarded(RaftMembershipServer::new(parts.membership.clone()), parts.forward)
}

/// The services on the control socket, where everything that writes goes to the leader.
pub(crate) fn local(parts: &Parts<'_>, health: HealthApi) -> Result<Services, MountError> {
    health.set(CONTROL, false);
    joint(parts, health)?
        .with_forwarded(ControlServer::new(control(parts)), parts.forward)?
        .with_forwarded(LogsServer::new(parts.logs.clone()), parts.forward)
}

/// The way to the leader for what must not be older than the cluster: a leader proves that it still leads.
pub(crate) fn fresh(forward: Forward, seat: WeakSeat) -> Forward {
    forward.fresh(move || {
        // Whoever keeps a handle must not keep the log open.
        let seat = seat.clone();
        async move {
            match seat.raft() {
                Some(raft) => raft.read_barrier().await.is_ok(),
                None => false,
            }
        }
    })
}

fn joint(parts: &Parts<'_>, health: HealthApi) -> Result<Services, MountError> {
    let backup = BackupApi::new(parts.store.clone(), parts.stop.clone(), parts.spawner.clone());
    let scheduling = SchedulingApi::new(parts.env.clone(), parts.store.clone());
    let ca = CaApi::new(parts.env.clone(), parts.store.clone(), parts.stop.clone());
    let attachments = AttachmentApi::new(parts.env.clone(), parts.store.clone());
    Services::new(parts.authority.clone())
        .with(HealthServer::new(health))?
        .with(WatchServer::new(WatchApi::new(parts.store.clone(), parts.stop.clone())))?
        .with_forwarded(CaServer::new(ca.clone()), parts.forward)?
        .with_forwarded(NodeCaServer::new(ca), parts.forward)?
        .with_forwarded(DispatcherServer::new(parts.dispatcher.clone()), parts.forward)?
        .with_forwarded(LogBrokerServer::new(parts.logs.clone()), parts.forward)?
        .with_forwarded(ExecServer::new(parts.exec.clone()), parts.forward)?
        .with_forwarded(ExecBrokerServer::new(parts.exec.clone()), parts.forward)?
        .with_forwarded(ResourceAllocatorServer::new(attachments), parts.forward)?
        .with_forwarded(BackupServer::new(backup), parts.forward)?
        .with_forwarded(SchedulingServer::new(scheduling), parts.forward)
}

fn control(parts: &Parts<'_>) -> ControlApi {
    let env = parts.env.clone();
    let config = ControlConfig {
        members: parts.members.clone(),
        external_ca: parts.external_ca.clone(),
        networks: parts.networks.clone(),
        secret_drivers: parts.secret_drivers.clone(),
        new_join_token: Arc::new(move |cluster| {
            if cluster.root_ca.ca_cert.is_empty() {
                return Err("the cluster has no root certificate".to_owned());
            }
            let digest = RootDigest::of(&cluster.root_ca.ca_cert);
            Ok(JoinToken::generate(digest, cluster.fips, &env).as_str().to_owned())
        }),
        certificate_expiry: Arc::new(|chain| {
            let validity = Validity::of_chain(std::str::from_utf8(chain).ok()?).ok()?;
            let since_epoch = validity.not_after.duration_since(UNIX_EPOCH).ok()?;
            Some(Timestamp { seconds: i64::try_from(since_epoch.as_secs()).ok()?, nanos: 0 })
        }),
    };
    ControlApi::new(parts.env.clone(), parts.store.clone(), config)
}

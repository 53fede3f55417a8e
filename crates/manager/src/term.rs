//! One leader term: everything that only the leader does.

use std::sync::Arc;

use swarmkit_allocator::NetworkProvider;
use swarmkit_ca::{ExternalCa, Identity};
use swarmkit_csi::VolumePlugins;
use swarmkit_dispatcher::{Dispatcher, LogBroker};
use swarmkit_exec::ExecBroker;
use swarmkit_raft::{Raft, RaftOptions};
use swarmkit_runtime::{Crew, Env, PartError};
use swarmkit_store::Store;
use tokio_util::sync::CancellationToken;

use crate::{
    FirstLeader,
    bootstrap::{self, Bootstrap},
    network_keys, roles, voters,
};

/// What a leader term is made of. Clones make the same term again.
#[derive(Clone)]
pub(crate) struct LeaderTerm {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) own: Identity,
    pub(crate) first: Option<FirstLeader>,
    pub(crate) options: RaftOptions,
    pub(crate) networks: Arc<dyn NetworkProvider>,
    pub(crate) volume_plugins: Arc<dyn VolumePlugins>,
    pub(crate) external_ca: Arc<dyn ExternalCa>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) logs: LogBroker,
    pub(crate) exec: ExecBroker,
}

impl LeaderTerm {
    /// Runs the term, until told to stop or until a part of it ends.
    ///
    /// # Errors
    ///
    /// Why the first part ended that did so before its time.
    pub(crate) async fn run(self, raft: Raft, stop: CancellationToken) -> Result<(), PartError> {
        let Self { env, store, own, first, options, networks, volume_plugins, external_ca, dispatcher, logs, exec } =
            self;
        let first = first.as_ref();
        let with = Bootstrap { env: &env, own: &own, first, raft: &options, networks: &*networks };
        bootstrap::ensure(&store, &with).await?;
        let mut crew = Crew::under(&stop);
        crew.spawn("voters", |stop| voters::run(raft.clone(), env.clone(), stop));
        crew.spawn("issuer", |stop| swarmkit_issuer::run(env.clone(), store.clone(), external_ca, stop));
        crew.spawn("root rotation", |stop| swarmkit_issuer::rotate(env.clone(), store.clone(), stop));
        crew.spawn("network keys", |stop| network_keys::run(env.clone(), store.clone(), stop));
        crew.spawn("allocator", |stop| swarmkit_allocator::run(env.clone(), store.clone(), networks, stop));
        crew.spawn("scheduler", |stop| swarmkit_scheduler::run(env.clone(), store.clone(), stop));
        crew.spawn("orchestrator", |stop| swarmkit_orchestrator::run(env.clone(), store.clone(), stop));
        crew.spawn("rebalancer", |stop| swarmkit_rebalancer::run(env.clone(), store.clone(), stop));
        crew.spawn("volumes", |stop| swarmkit_csi::run(store.clone(), volume_plugins, stop));
        crew.spawn("role manager", |stop| roles::run(env.clone(), store.clone(), raft, stop));
        crew.spawn("dispatcher", move |stop| async move { dispatcher.run(stop).await });
        crew.spawn("log broker", move |stop| async move { logs.run(stop).await });
        crew.spawn("exec broker", move |stop| async move { exec.run(stop).await });
        crew.finish().await
    }
}

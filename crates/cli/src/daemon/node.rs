//! A node, and something beside it that ends with it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use swarmkit_api::wire;
use swarmkit_ca::UnlockKey;
use swarmkit_csi::{CsiNode, CsiPlugins};
use swarmkit_executor::DynExecutor;
use swarmkit_node::{Node, NodeError, NodeHandle};
use swarmkit_runtime::Env;
use swarmkit_secret_drivers::PluginDrivers;
use tokio_util::sync::CancellationToken;

use super::{
    code_pages,
    executor::{ExecutorError, ExecutorFlags},
    networks::NetworkFlags,
    restore::RestoreError,
    signals::Signals,
};
use crate::{dev::DevError, unlocking::UnlockError};

/// How long removing what a node left behind may take.
const CLEARING: Duration = Duration::from_secs(10);

/// How long after a node is ready it has settled: its first session, the answers to it and what follows take less.
const SETTLED: Duration = Duration::from_secs(10);
/// Where storage plugins stage and mount volumes, below the state directory.
const VOLUMES: &str = "csi";

/// How a node is set up.
#[derive(Debug)]
pub(crate) struct NodeOptions {
    pub(crate) state_dir: PathBuf,
    pub(crate) listen_control: PathBuf,
    pub(crate) listen_remote: String,
    pub(crate) advertise_remote: Option<String>,
    /// A manager to join.
    pub(crate) join_addr: Option<String>,
    /// The token for it, or for those that the node remembers.
    pub(crate) join_token: Option<String>,
    /// Whether a manager goes on alone.
    pub(crate) force_new_cluster: bool,
    /// Whether a cluster that is founded locks its managers.
    pub(crate) autolock: bool,
    /// Who signs for a cluster that is founded, outside of it.
    pub(crate) external_cas: Vec<wire::ExternalCa>,
    /// The storage plugins of this node, and where they listen.
    pub(crate) csi_plugins: Vec<(String, PathBuf)>,
    /// The secret drivers of a manager, and where they listen.
    pub(crate) secret_drivers: Vec<(String, PathBuf)>,
    /// How long a node may be down before its tasks are given up for lost.
    pub(crate) node_down_period: Option<Duration>,
    /// What opens the keys of a locked manager.
    pub(crate) unlock_key: Option<UnlockKey>,
    pub(crate) hostname: Option<String>,
    pub(crate) executor: ExecutorFlags,
    /// Which networks the cluster has.
    pub(crate) networks: NetworkFlags,
    /// The state directory goes with the node, so nobody would ever look after a task that it leaves behind.
    pub(crate) temporary: bool,
}

/// Why `swarmd` failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The node cannot start, or has ended by itself.
    #[error("{0}")]
    Node(#[from] NodeError),
    /// Tasks cannot be run here.
    #[error("{0}")]
    Executor(#[from] ExecutorError),
    /// Nobody can say where storage plugins would mount volumes.
    #[error("cannot tell the path of the state directory: {0}")]
    StateDir(io::Error),
    /// The system does not let us be told to stop.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// The unlock key cannot be had.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// The unlock key cannot be waited for.
    #[error(transparent)]
    Locked(#[from] super::locked::WaitError),
    /// `swarmd restore` failed.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Nobody could ask for metrics.
    #[error("cannot serve metrics at {address}: {source}")]
    Metrics {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// `swarmd dev` failed.
    #[error("{0}")]
    Dev(#[from] DevError),
}

/// Runs a node, and `beside` it from when it is ready. When either ends, both are stopped and awaited.
///
/// A signal while the node is getting ready ends it with success. From then on signals are for `beside` to handle.
pub(crate) async fn running(
    options: NodeOptions,
    env: &Env,
    signals: &mut Signals,
    beside: impl AsyncFnOnce(&mut Signals, NodeHandle) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let stop = CancellationToken::new();
    let temporary = options.temporary;
    let (node, executor) = tokio::select! { biased; // whoever wants to stop does not want to wait for a manager
        name = signals.next() => {
            tracing::info!(signal = name, "stopping before the node was ready");
            return Ok(());
        }
        node = Box::pin(start(options, env, &stop)) => node?,
    };
    let handle = node.handle();
    let mut run = std::pin::pin!(node.run(stop.clone()));
    let beside = async {
        tokio::select! { biased; // as above
            name = signals.next() => {
                tracing::info!(signal = name, "stopping before the node was ready");
                return Ok(());
            }
            ready = handle.ready() => ready?,
        }
        tracing::info!(id = %handle.id(), "node is ready");
        tokio::select! { biased; // the end of what runs beside the node is not to be missed
            ended = beside(signals, handle.clone()) => ended,
            never = settle() => never,
        }
    };
    let result = tokio::select! { biased; // a node that has ended is the cause of whatever fails beside it
        ended = &mut run => ended.map_err(RunError::from),
        result = beside => {
            stop.cancel();
            // Whoever waits for a node that is ending learns only that it has ended.
            run.await?;
            result
        }
    };
    if temporary {
        clear(&*executor).await;
    }
    result
}

/// Lets go of what only starting has needed, and then waits for ever.
async fn settle<T>() -> T {
    tokio::time::sleep(SETTLED).await;
    if let Err(error) = code_pages::give_back() {
        tracing::debug!(%error, "the memory that only starting has needed is kept");
    }
    std::future::pending().await
}

/// Removes whatever the node did not get to remove.
async fn clear(executor: &dyn DynExecutor) {
    match tokio::time::timeout(CLEARING, executor.reconcile(&[])).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "tasks may be left behind"),
        Err(_) => tracing::error!("tasks may be left behind: removing them takes too long"),
    }
}

async fn start(
    options: NodeOptions,
    env: &Env,
    stop: &CancellationToken,
) -> Result<(Node, Arc<dyn DynExecutor>), RunError> {
    let executor = options.executor.open(&options.state_dir, env).await?;
    let volumes = node_volumes(options.csi_plugins.clone(), &options.state_dir)?;
    let mut builder = Node::builder(options.state_dir, Arc::clone(&executor))
        .env(env.clone())
        .listen_control(options.listen_control)
        .listen_remote(options.listen_remote)
        .autolock(options.autolock)
        .external_cas(options.external_cas)
        .volume_plugins(Arc::new(CsiPlugins::new(options.csi_plugins)))
        .secret_drivers(Arc::new(PluginDrivers::new(options.secret_drivers)))
        .networks(options.networks.provider())
        .network_options(options.networks.options())
        .unlock_key(options.unlock_key);
    if let Some(period) = options.node_down_period {
        builder = builder.node_down_period(period);
    }
    if let Some(address) = options.advertise_remote {
        builder = builder.advertise(address);
    }
    builder = match (options.join_addr, options.join_token) {
        (Some(address), token) => builder.join(address, token),
        (None, Some(token)) => builder.join_token(token),
        (None, None) => builder,
    };
    if options.force_new_cluster {
        builder = builder.force_new_cluster();
    }
    if let Some(volumes) = volumes {
        builder = builder.node_volumes(volumes);
    }
    if let Some(hostname) = options.hostname {
        builder = builder.hostname(hostname);
    }
    Ok((builder.start(stop).await?, executor))
}

/// Plugins get paths to work in, which mean the same to them wherever they were started.
fn node_volumes(plugins: Vec<(String, PathBuf)>, state_dir: &Path) -> Result<Option<Arc<CsiNode>>, RunError> {
    if plugins.is_empty() {
        return Ok(None);
    }
    let state_dir = std::path::absolute(state_dir).map_err(RunError::StateDir)?;
    Ok(Some(Arc::new(CsiNode::new(plugins, state_dir.join(VOLUMES)))))
}

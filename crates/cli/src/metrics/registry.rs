//! All metrics of a node, and their text.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry as Client,
};
use swarmkit_api::{TaskState, wire::node_status};
use swarmkit_node::NodeHandle;

use super::usage::{Measurement, TASKS_MAX};

/// The upper ends of histograms, in seconds: upstream's, which begin at 5 ms, and finer ones below.
const BUCKETS: [f64; 18] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 10.0,
];

/// The same for how long it takes to run a task: images are fetched meanwhile.
const SCHEDULING_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Every state that a task may be shown in, under upstream's names.
pub(super) const TASK_STATES: [TaskState; 14] = [
    TaskState::New,
    TaskState::Pending,
    TaskState::Assigned,
    TaskState::Accepted,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Complete,
    TaskState::Shutdown,
    TaskState::Failed,
    TaskState::Rejected,
    TaskState::Remove,
    TaskState::Orphaned,
];

/// Every state that a node may be shown in.
pub(super) const NODE_STATES: [node_status::State; 4] = [
    node_status::State::Unknown,
    node_status::State::Down,
    node_status::State::Ready,
    node_status::State::Disconnected,
];

/// All metrics of a node. Clones share them.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    client: Client,
    metrics: Metrics,
    leads: Mutex<Option<Ask>>,
    differs: Mutex<Option<Ask>>,
    measured: Measurement,
}

/// Something about the manager of this node that is asked for at every scrape, since it changes without a write to the
/// store.
type Ask = Box<dyn Fn() -> bool + Send + Sync>;

/// The gauges and histograms, to be set.
pub(super) struct Metrics {
    pub(super) leader: Gauge,
    pub(super) differs: Gauge,
    pub(super) nodes: Family<State, Gauge>,
    pub(super) tasks: Family<State, Gauge>,
    pub(super) services: Gauge,
    pub(super) networks: Gauge,
    pub(super) secrets: Gauge,
    pub(super) configs: Gauge,
    pub(super) manager: Gauge,
    pub(super) info: Family<NodeInfo, Gauge>,
    pub(super) proposal: Histogram,
    pub(super) snapshot: Histogram,
    pub(super) write: Histogram,
    pub(super) batch: Histogram,
    pub(super) lock: Histogram,
    /// From when a task was given to its node until it ran there.
    pub(super) scheduling: Histogram,
    /// Those that this process has answered.
    pub(super) server: Calls,
    /// Those that it has made of others.
    pub(super) client: Calls,
}

/// Calls on one of their two sides.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) started: Family<Call, Counter>,
    pub(super) handled: Family<Handled, Counter>,
    pub(super) handling: Family<Call, Histogram>,
}

impl Calls {
    fn new() -> Self {
        let handling = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        Self { started: Family::default(), handled: Family::default(), handling }
    }
}

/// Which node of which cluster this is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct NodeInfo {
    pub(super) swarm_id: String,
    pub(super) node_id: String,
}

/// The state of a node or task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct State {
    pub(super) state: &'static str,
}

/// A method.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Call {
    pub(super) grpc_service: &'static str,
    pub(super) grpc_method: &'static str,
    pub(super) grpc_type: &'static str,
}

/// How calls of a method ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Handled {
    pub(super) grpc_service: &'static str,
    pub(super) grpc_method: &'static str,
    pub(super) grpc_type: &'static str,
    pub(super) grpc_code: String,
}

/// What a state is called in a label: as on the wire, in lower case, but for COMPLETE.
pub(super) fn task_label(state: TaskState) -> State {
    let state = match state {
        TaskState::New => "new",
        TaskState::Pending => "pending",
        TaskState::Assigned => "assigned",
        TaskState::Accepted => "accepted",
        TaskState::Preparing => "preparing",
        TaskState::Ready => "ready",
        TaskState::Starting => "starting",
        TaskState::Running => "running",
        TaskState::Complete => "complete",
        TaskState::Shutdown => "shutdown",
        TaskState::Failed => "failed",
        TaskState::Rejected => "rejected",
        TaskState::Remove => "remove",
        TaskState::Orphaned => "orphaned",
    };
    State { state }
}

pub(super) fn node_label(state: node_status::State) -> State {
    let state = match state {
        node_status::State::Unknown => "unknown",
        node_status::State::Down => "down",
        node_status::State::Ready => "ready",
        node_status::State::Disconnected => "disconnected",
    };
    State { state }
}

impl Registry {
    /// The metrics of a node. All gauges are 0.
    #[must_use]
    pub fn new() -> Self {
        let histogram = || Histogram::new(BUCKETS);
        let metrics = Metrics {
            leader: Gauge::default(),
            differs: Gauge::default(),
            nodes: Family::default(),
            tasks: Family::default(),
            services: Gauge::default(),
            networks: Gauge::default(),
            secrets: Gauge::default(),
            configs: Gauge::default(),
            manager: Gauge::default(),
            info: Family::default(),
            proposal: histogram(),
            snapshot: histogram(),
            write: histogram(),
            batch: histogram(),
            lock: histogram(),
            scheduling: Histogram::new(SCHEDULING_BUCKETS),
            server: Calls::new(),
            client: Calls::new(),
        };
        TASK_STATES.map(task_label).iter().for_each(|state| drop(metrics.tasks.get_or_create(state)));
        NODE_STATES.map(node_label).iter().for_each(|state| drop(metrics.nodes.get_or_create(state)));
        let mut client = Client::default();
        register(&mut client, &metrics);
        let measured = Measurement::default();
        client.register_collector(Box::new(measured.clone()));
        Self(Arc::new(Inner { client, metrics, leads: Mutex::default(), differs: Mutex::default(), measured }))
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// How to ask whether the manager leads.
    pub(super) fn set_leads(&self, leads: Option<Ask>) {
        *self.0.leads.lock() = leads;
    }

    /// Whether the manager leads now.
    pub(super) fn leads(&self) -> bool {
        self.0.leads.lock().as_ref().is_some_and(|ask| ask())
    }

    /// How to ask whether the manager's store was found to differ from the leader's.
    pub(super) fn set_differs(&self, differs: Option<Ask>) {
        *self.0.differs.lock() = differs;
    }

    /// What the tasks of this node use.
    pub(super) fn measured(&self) -> &Measurement {
        &self.0.measured
    }

    /// From now on the metrics tell what the tasks of that node use, measured when they are asked for.
    pub(crate) fn measure(&self, node: NodeHandle) {
        self.0.measured.set(Some(Arc::new(move || {
            let node = node.clone();
            Box::pin(async move { node.usage(TASKS_MAX).await })
        })));
    }

    /// The metrics tell no more of tasks.
    pub(crate) fn forget_tasks(&self) {
        self.0.measured.set(None);
    }

    /// Everything, in the text format of OpenMetrics, with what tasks used when they were measured last.
    ///
    /// # Errors
    ///
    /// Never in practice: writing to a string does not fail.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let metrics = &self.0.metrics;
        for (gauge, ask) in [(&metrics.leader, &self.0.leads), (&metrics.differs, &self.0.differs)] {
            gauge.set(ask.lock().as_ref().is_some_and(|ask| ask()).into());
        }
        let mut out = String::new();
        text::encode(&mut out, &self.0.client)?;
        Ok(out)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

/// Gives every metric its name. The `_total` of gauges is upstream's naming.
fn register(client: &mut Client, metrics: &Metrics) {
    let gauges = [
        ("swarm_manager_leader", "1 on the manager that leads, else 0", &metrics.leader),
        (
            "swarm_manager_store_differs",
            "1 if this manager's store was found to differ from the leader's",
            &metrics.differs,
        ),
        ("swarm_manager_services_total", "Services of the cluster", &metrics.services),
        ("swarm_manager_networks_total", "Networks of the cluster", &metrics.networks),
        ("swarm_manager_secrets_total", "Secrets of the cluster", &metrics.secrets),
        ("swarm_manager_configs_total", "Configs of the cluster", &metrics.configs),
        ("swarm_node_manager", "1 while this node is a manager, else 0", &metrics.manager),
    ];
    for (name, help, gauge) in gauges {
        client.register(name, help, gauge.clone());
    }
    client.register("swarm_manager_nodes", "Nodes of the cluster by state", metrics.nodes.clone());
    client.register("swarm_manager_tasks_total", "Tasks of the cluster by state", metrics.tasks.clone());
    client.register("swarm_node_info", "Which node of which cluster this is", metrics.info.clone());
    let histograms = [
        ("swarm_raft_transaction_latency_seconds", "From a proposal to its visibility", &metrics.proposal),
        ("swarm_raft_snapshot_latency_seconds", "Writing a snapshot", &metrics.snapshot),
        ("swarm_store_write_tx_latency_seconds", "From the call of a transaction to its end", &metrics.write),
        ("swarm_store_batch_latency_seconds", "From the call of a batch to its end", &metrics.batch),
        (
            "swarm_dispatcher_scheduling_delay_seconds",
            "How long it took from when a task was given to its node until it ran there",
            &metrics.scheduling,
        ),
        ("swarm_store_memory_store_lock_duration_seconds", "How long a writer held the store", &metrics.lock),
    ];
    for (name, help, histogram) in histograms {
        client.register(name, help, histogram.clone());
    }
    let Calls { started, handled, handling } = metrics.server.clone();
    client.register("grpc_server_started", "Calls that were begun", started);
    client.register("grpc_server_handled", "Calls that are over, by their code", handled);
    client.register("grpc_server_handling_seconds", "How long calls took", handling);
    let Calls { started, handled, handling } = metrics.client.clone();
    client.register("grpc_client_started", "Calls of other nodes that were begun", started);
    client.register("grpc_client_handled", "Calls of other nodes that are over, by their code", handled);
    client.register("grpc_client_handling_seconds", "How long calls of other nodes took", handling);
}

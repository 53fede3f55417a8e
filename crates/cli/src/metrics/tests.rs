//! Gauges that follow a store, and spans that become histograms.

use swarmkit_api::{Node, NodeId, Service, ServiceId, Task, TaskId, TaskState, wire};
use swarmkit_runtime::{Crew, Env};
use swarmkit_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::*;

/// The value of a sample.
fn sample(registry: &Registry, name: &str) -> Option<f64> {
    let text = registry.text().unwrap();
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next().unwrap().parse().ok()
}

/// Lets the collector absorb what was committed.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// How many there are of what has no states.
const TOTALS: [&str; 4] = [
    "swarm_manager_services_total",
    "swarm_manager_networks_total",
    "swarm_manager_secrets_total",
    "swarm_manager_configs_total",
];

#[tokio::test]
async fn gauges_follow_the_store_and_are_reset_with_it() {
    let (registry, store) = (Registry::new(), Store::local(Env::real()));
    let mut crew = Crew::under(&CancellationToken::new());
    crew.spawn("collector", {
        let (registry, store) = (registry.clone(), store.clone());
        move |_| async move {
            Collector::new(&registry, &NodeId::from("n1"), || true).follow(&store).await;
            Ok::<(), std::io::Error>(())
        }
    });
    let node = Node::new(NodeId::from("n1"));
    let task = Task::new(TaskId::from("t1"), wire::TaskSpec::default());
    let create = |tx: &mut swarmkit_store::Transaction| -> Result<(), StoreError> {
        tx.create(node.clone())?;
        tx.create(Service::new(ServiceId::from("s1"), wire::ServiceSpec::default()))?;
        tx.create(swarmkit_testing::network("n"))?;
        tx.create(swarmkit_testing::secret("s", "x"))?;
        tx.create(swarmkit_testing::config("c", "x"))?;
        tx.create(swarmkit_testing::cluster())?;
        tx.create(task.clone()).map(drop)
    };
    store.update(create).await.unwrap();
    settle().await;
    let shown = |name| sample(&registry, name).unwrap();
    assert_eq!(shown("swarm_manager_leader"), 1.0);
    assert_eq!(shown("swarm_node_manager"), 1.0);
    for name in TOTALS {
        assert_eq!(shown(name), 1.0, "{name}");
    }
    assert_eq!(shown("swarm_node_info{swarm_id=\"default\",node_id=\"n1\"}"), 1.0);
    assert_eq!(shown("swarm_manager_nodes{state=\"unknown\"}"), 1.0);
    for other in ["down", "ready", "disconnected"] {
        assert_eq!(sample(&registry, &format!("swarm_manager_nodes{{state=\"{other}\"}}")), Some(0.0), "{other}");
    }
    assert_eq!(shown("swarm_manager_tasks_total{state=\"new\"}"), 1.0);
    assert_eq!(shown("swarm_manager_tasks_total{state=\"complete\"}"), 0.0);

    let assign = |tx: &mut swarmkit_store::Transaction| -> Result<(), StoreError> {
        tx.edit::<Task>(&TaskId::from("t1"), |task| task.status.state = TaskState::Assigned).map(drop)
    };
    store.update(assign).await.unwrap();
    assert_eq!(shown("swarm_dispatcher_scheduling_delay_seconds_count"), 0.0);
    let run = |tx: &mut swarmkit_store::Transaction| -> Result<(), StoreError> {
        let mut task = Task::clone(tx.get::<Task>(&TaskId::from("t1")).unwrap());
        task.status.state = TaskState::Running;
        tx.update(task).map(drop)
    };
    store.update(run).await.unwrap();
    settle().await;
    assert_eq!(shown("swarm_manager_tasks_total{state=\"new\"}"), 0.0);
    assert_eq!(shown("swarm_manager_tasks_total{state=\"running\"}"), 1.0);
    assert_eq!(shown("swarm_dispatcher_scheduling_delay_seconds_count"), 1.0);
    store.update(|tx| tx.delete::<Task>(&TaskId::from("t1"))).await.unwrap();
    settle().await;
    assert_eq!(shown("swarm_manager_tasks_total{state=\"running\"}"), 0.0);

    assert_eq!(shown("swarm_manager_store_differs"), 0.0);
    swarmkit_testing::diverge(&store);
    assert_eq!(shown("swarm_manager_store_differs"), 1.0, "it is asked for, not waited for");

    store.close();
    crew.finish().await.unwrap();
    for name in ["swarm_manager_leader", "swarm_manager_store_differs", "swarm_node_manager"].into_iter().chain(TOTALS)
    {
        assert_eq!(shown(name), 0.0, "{name}");
    }
    assert_eq!(shown("swarm_manager_nodes{state=\"unknown\"}"), 0.0);
}

#[tokio::test]
async fn transactions_are_timed_from_their_call_to_their_visibility() {
    let registry = Registry::new();
    let layer = Timers::new(&registry).with_filter(Timers::filter());
    let _subscribed = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let store = Store::local(Env::real());
    for id in ["n1", "n2"] {
        store.update(|tx| tx.create(Node::new(NodeId::from(id)))).await.unwrap();
    }
    let edits =
        ["n3", "n4"].map(|id| move |tx: &mut swarmkit_store::Transaction| tx.create(Node::new(id.into())).map(drop));
    store.batch::<StoreError, _>(edits).await.unwrap();
    let count = |name: &str| sample(&registry, &format!("{name}_count")).unwrap();
    assert_eq!(count("swarm_store_write_tx_latency_seconds"), 2.0);
    assert_eq!(count("swarm_store_batch_latency_seconds"), 1.0);
    assert_eq!(count("swarm_raft_transaction_latency_seconds"), 3.0);
    assert_eq!(count("swarm_store_memory_store_lock_duration_seconds"), 3.0);
    assert_eq!(count("swarm_raft_snapshot_latency_seconds"), 0.0);
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code_on_either_side() {
    let registry = Registry::new();
    let layer = Timers::new(&registry).with_filter(Timers::filter());
    let _subscribed = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let method = "/docker.swarmkit.v1.Control/GetNode";
    for code in [Some(tonic::Code::Ok), Some(tonic::Code::NotFound), None] {
        // The names of spans are known to the compiler.
        let answered = tracing::debug_span!("rpc.call", method, code = tracing::field::Empty);
        let asked = tracing::debug_span!("rpc.client", method, code = tracing::field::Empty);
        if let Some(code) = code {
            answered.record("code", tracing::field::debug(code));
            asked.record("code", tracing::field::debug(code));
        }
        if code.is_none() {
            drop(tracing::debug_span!("rpc.client", method, code = tracing::field::Empty));
        }
    }
    let labels = "grpc_service=\"docker.swarmkit.v1.Control\",grpc_method=\"GetNode\",grpc_type=\"unary\"";
    let shown =
        |name: String| sample(&registry, &name).unwrap_or_else(|| panic!("{name}: {}", registry.text().unwrap()));
    for (side, cancelled) in [("server", 1.0), ("client", 2.0)] {
        assert_eq!(shown(format!("grpc_{side}_started_total{{{labels}}}")), 2.0 + cancelled);
        for (code, count) in [("OK", 1.0), ("NotFound", 1.0), ("Cancelled", cancelled)] {
            assert_eq!(shown(format!("grpc_{side}_handled_total{{{labels},grpc_code=\"{code}\"}}")), count);
        }
        assert_eq!(shown(format!("grpc_{side}_handling_seconds_count{{{labels}}}")), 2.0 + cancelled);
    }
}

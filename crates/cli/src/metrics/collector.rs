//! The gauges of a manager's store, kept current by its changes.

use std::sync::Arc;

use swarmkit_api::{Config, Kind, Network, Node, NodeId, Secret, Service, Task, wire::node_status};
use swarmkit_store::{Change, Store, Update, View, WatchEnded};

use super::{
    Registry,
    delays::Delays,
    registry::{NODE_STATES, NodeInfo, State, TASK_STATES, node_label, task_label},
};

/// Keeps the gauges of one manager. They are 0 again when it is dropped.
#[derive(Debug)]
pub struct Collector {
    registry: Registry,
    node: NodeId,
}

impl Collector {
    /// A collector for the manager on that node; `leads` tells at any moment whether it does.
    #[must_use]
    pub fn new(registry: &Registry, node: &NodeId, leads: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        registry.metrics().manager.set(1);
        registry.set_leads(Some(Box::new(leads)));
        Self { registry: registry.clone(), node: node.clone() }
    }

    /// Follows the store until it is closed. Cancel safe: what was shown is then reset.
    pub async fn follow(self, store: &Store) {
        let kinds = [Kind::Node, Kind::Task, Kind::Service, Kind::Network, Kind::Secret, Kind::Config, Kind::Cluster];
        let mut watch = store.watch(swarmkit_store::Interest::none().kinds(kinds));
        let differing = store.watch_divergence();
        self.registry.set_differs(Some(Box::new(move || differing.borrow().is_some())));
        let mut delays = Delays::default();
        loop {
            match watch.next().await {
                Ok(Update::Snapshot(view)) => {
                    delays.restart(&view);
                    self.count(&view);
                }
                Ok(Update::Delta(delta)) => {
                    delta.changes.iter().for_each(|change| self.absorb(change));
                    self.observe(&mut delays, &delta.changes);
                    self.totals(&delta.view);
                }
                Err(WatchEnded) => return,
            }
        }
    }

    /// Starts over.
    fn count(&self, view: &View) {
        self.reset_states();
        view.all::<Node>().for_each(|node| self.shift(None, Some(node)));
        view.all::<Task>().for_each(|task| self.shift_task(None, Some(task)));
        self.totals(view);
    }

    /// Moves one object from one count to another, if its state has changed.
    fn absorb(&self, change: &Change) {
        match change {
            Change::Node(edit) => self.shift(edit.before.as_ref(), edit.after.as_ref()),
            Change::Task(edit) => self.shift_task(edit.before.as_ref(), edit.after.as_ref()),
            // These have no states; how many there are costs nothing to ask.
            Change::Service(_)
            | Change::Network(_)
            | Change::Cluster(_)
            | Change::Secret(_)
            | Change::Resource(_)
            | Change::Extension(_)
            | Change::Config(_)
            | Change::Volume(_) => {}
        }
    }

    /// Tells how long tasks took to run, on the leader.
    fn observe(&self, delays: &mut Delays, changes: &[Change]) {
        let tasks = changes.iter().filter_map(|change| change.as_::<Task>());
        for delay in tasks.filter_map(|edit| delays.absorb(edit.before.as_deref(), edit.after.as_deref())) {
            if self.registry.leads() {
                self.registry.metrics().scheduling.observe(delay.as_secs_f64());
            }
        }
    }

    fn shift(&self, before: Option<&Arc<Node>>, after: Option<&Arc<Node>>) {
        let label = |node: &Arc<Node>| {
            node_label(node_status::State::try_from(node.status.state).unwrap_or(node_status::State::Unknown))
        };
        let nodes = &self.registry.metrics().nodes;
        shift(before.map(label), after.map(label), |state, by| {
            nodes.get_or_create(&state).inc_by(by);
        });
    }

    fn shift_task(&self, before: Option<&Arc<Task>>, after: Option<&Arc<Task>>) {
        let label = |task: &Arc<Task>| task_label(task.status.state);
        let tasks = &self.registry.metrics().tasks;
        shift(before.map(label), after.map(label), |state, by| {
            tasks.get_or_create(&state).inc_by(by);
        });
    }

    fn totals(&self, view: &View) {
        let metrics = self.registry.metrics();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.services.set(count(view.count::<Service>()));
        metrics.networks.set(count(view.count::<Network>()));
        metrics.secrets.set(count(view.count::<Secret>()));
        metrics.configs.set(count(view.count::<Config>()));
        if let Some(cluster) = view.cluster() {
            let info = NodeInfo { swarm_id: cluster.id.to_string(), node_id: self.node.to_string() };
            metrics.info.get_or_create(&info).set(1);
        }
    }

    fn reset_states(&self) {
        let metrics = self.registry.metrics();
        for state in NODE_STATES.map(node_label) {
            metrics.nodes.get_or_create(&state).set(0);
        }
        for state in TASK_STATES.map(task_label) {
            metrics.tasks.get_or_create(&state).set(0);
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.registry.set_leads(None);
        self.registry.set_differs(None);
        self.reset_states();
        let metrics = self.registry.metrics();
        for gauge in [&metrics.manager, &metrics.services, &metrics.networks, &metrics.secrets, &metrics.configs] {
            gauge.set(0);
        }
    }
}

fn shift(before: Option<State>, after: Option<State>, mut add: impl FnMut(State, i64)) {
    if before == after {
        return;
    }
    if let Some(state) = before {
        add(state, -1);
    }
    if let Some(state) = after {
        add(state, 1);
    }
}

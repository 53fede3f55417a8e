//! What the scheduler shall decide, worked out from the objects alone and in the plainest way: no books, nothing in
//! order, nothing remembered. Every question looks at every task again. The engine is held to the answers.

mod plain;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmkit_api::{Cluster, Node, NodeId, Service, ServiceId, Task, TaskId, TaskState, wire};
use swarmkit_store::View;
use wire::{generic_resource::Resource, swarmkit::scheduling::v1::Strategy};

pub(super) use self::plain::waits;
use self::plain::{
    Level, count, described, has_plugins, holds, host_ports, is_on_platform, is_open, is_wanted, kind, levels, mounts,
    name, reserved, runs_kind, text,
};

/// A cluster at one moment. Whoever decides something tells it, so that the next answer counts it.
#[derive(Clone)]
pub(super) struct Naive {
    now: SystemTime,
    pub(super) nodes: BTreeMap<NodeId, Arc<Node>>,
    services: BTreeMap<ServiceId, Arc<Service>>,
    clusters: Vec<Arc<Cluster>>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
}

/// What can speak against a node, in the order in which it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Filter {
    Ready,
    Resources,
    Plugin,
    Executor,
    Constraint,
    Platform,
    HostPort,
    MaxReplicas,
    Volume,
}

// === impl Naive ===

impl Naive {
    pub(super) fn of(view: &View, now: SystemTime) -> Self {
        Self {
            now,
            nodes: view.all::<Node>().map(|node| (node.id.clone(), node.clone())).collect(),
            services: view.all::<Service>().map(|service| (service.id.clone(), service.clone())).collect(),
            clusters: view.all::<Cluster>().cloned().collect(),
            tasks: view.all::<Task>().map(|task| (task.id.clone(), Task::clone(task))).collect(),
        }
    }

    /// Puts a task onto a node.
    pub(super) fn place(&mut self, task: &TaskId, node: &NodeId, given: &[wire::GenericResource]) {
        let task = self.tasks.get_mut(task).expect("the task is there");
        task.status.state = TaskState::Assigned;
        task.node_id = Some(node.clone());
        task.assigned_generic_resources = given.to_vec();
    }

    /// The tasks that wait for any node.
    pub(super) fn waiting(&self) -> Vec<Task> {
        let waits = |task: &&Task| task.node_id.is_none() && waits(task);
        self.tasks.values().filter(waits).cloned().collect()
    }

    /// The first thing that speaks against running a task on a node.
    pub(super) fn refusal(&self, task: &Task, node: &Node) -> Option<Filter> {
        let spec = &task.spec;
        let placement = spec.placement.clone().unwrap_or_default();
        let same_service = |other: &&Task| task.service_id.is_some() && other.service_id == task.service_id;
        let of_service = self.on(&node.id).filter(|other| is_wanted(other)).filter(same_service).count();
        let taken: BTreeSet<_> = self.on(&node.id).flat_map(host_ports).collect();
        let checks = [
            (Filter::Ready, is_open(node)),
            (Filter::Resources, self.has_room(task, node)),
            (Filter::Plugin, has_plugins(task, node)),
            (Filter::Executor, runs_kind(spec, node)),
            (Filter::Constraint, placement.constraints.iter().all(|constraint| holds(constraint, node))),
            (Filter::Platform, is_on_platform(&placement.platforms, node)),
            (Filter::HostPort, host_ports(task).iter().all(|port| !taken.contains(port))),
            (Filter::MaxReplicas, placement.max_replicas == 0 || (of_service as u64) < placement.max_replicas),
            (Filter::Volume, mounts(spec).iter().all(|mount| mount.r#type() != wire::mount::Type::Cluster)),
        ];
        checks.into_iter().find(|(_, passes)| !passes).map(|(filter, _)| filter)
    }

    /// What a task is told that no node can run.
    pub(super) fn no_suitable_node(&self, task: &Task) -> String {
        let mut counts = BTreeMap::<Filter, usize>::new();
        for refusal in self.nodes.values().filter_map(|node| self.refusal(task, node)) {
            *counts.entry(refusal).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(filter, count)| (std::cmp::Reverse(*count), *filter));
        let texts: Vec<_> =
            counts.iter().map(|(filter, count)| text(*filter, *count, self.nodes.len(), task)).collect();
        match texts.as_slice() {
            [] => "no suitable node".to_owned(),
            texts => format!("no suitable node ({})", texts.join("; ")),
        }
    }

    /// What a task is told whose own node refuses it.
    pub(super) fn not_there(&self, task: &Task, refusal: Filter) -> String {
        text(refusal, 1, self.nodes.len() + 1, task)
    }

    /// Whether a task is told why it waits: not when its service is gone, nor when that has gone on to another version.
    pub(super) fn is_told(&self, task: &Task) -> bool {
        let Some(service) = &task.service_id else { return true };
        self.services.get(service).is_some_and(|service| service.spec_version <= task.spec_version)
    }

    /// The nodes that would do best for a task, any of them: at each level the branches with the fewest tasks of the
    /// service that can take it, and of their nodes those of the lowest rank.
    pub(super) fn best(&self, task: &Task) -> BTreeSet<NodeId> {
        let open: Vec<_> = self.nodes.values().filter(|node| self.refusal(task, node).is_none()).cloned().collect();
        let all: Vec<_> = self.nodes.values().cloned().collect();
        self.best_of(task, &levels(task), &all, &open)
    }

    fn best_of(&self, task: &Task, levels: &[Level], all: &[Arc<Node>], open: &[Arc<Node>]) -> BTreeSet<NodeId> {
        let Some((level, deeper)) = levels.split_first() else {
            let lowest = open.iter().map(|node| self.rank(task, &node.id)).min();
            let lowest = open.iter().filter(|node| Some(self.rank(task, &node.id)) == lowest);
            return lowest.map(|node| node.id.clone()).collect();
        };
        let below = |nodes: &[Arc<Node>], value: &str| -> Vec<Arc<Node>> {
            nodes.iter().filter(|node| level.of(node) == value).cloned().collect()
        };
        let tasks = |value: &str| below(all, value).iter().map(|node| self.of_service(task, &node.id)).sum::<usize>();
        let values: BTreeSet<String> = open.iter().map(|node| level.of(node)).collect();
        let fewest = values.iter().map(|value| tasks(value)).min();
        let emptiest = values.iter().filter(|value| Some(tasks(value)) == fewest);
        emptiest.flat_map(|value| self.best_of(task, deeper, &below(all, value), &below(open, value))).collect()
    }

    /// How good a node is, the least being the best: recent failures if there are five, then active tasks of the service
    /// and active tasks, or the largest share that is reserved and again active tasks, the most being the best.
    fn rank(&self, task: &Task, node: &NodeId) -> (i64, i64, i64) {
        let failures = self.tasks.values().filter(|failed| {
            let mode = task.service_id.as_ref().and_then(|id| self.services.get(id)?.spec.mode);
            let is_global =
                matches!(mode, Some(wire::service_spec::Mode::Global(_) | wire::service_spec::Mode::GlobalJob(_)));
            let at = failed.status.applied_at.or(failed.status.timestamp).map(|at| SystemTime::try_from(at).unwrap());
            let age = at.map_or(Duration::ZERO, |at| self.now.duration_since(at).unwrap_or_default());
            matches!(failed.status.state, TaskState::Failed | TaskState::Rejected)
                && !is_global
                && failed.node_id.as_ref() == Some(node)
                && task.service_id.is_some()
                && (&failed.service_id, failed.spec_version) == (&task.service_id, task.spec_version)
                && age < Duration::from_secs(5 * 60)
        });
        let failures = Some(failures.count() as i64).filter(|count| *count >= 5).unwrap_or(0);
        let active = self.on(node).filter(|other| is_wanted(other)).count() as i64;
        if self.packs(task) {
            return (failures, -self.share(&self.nodes[node]), -active);
        }
        (failures, self.of_service(task, node) as i64, active)
    }

    /// Whether a task goes to the fullest node: its service says, else the cluster, else not.
    fn packs(&self, task: &Task) -> bool {
        let service = task.service_id.as_ref().and_then(|service| self.services.get(service));
        let own = service.and_then(|service| service.spec.scheduling.as_ref()).map(|own| own.strategy());
        let of_cluster = self.clusters.first().and_then(|cluster| cluster.spec.scheduling.as_ref());
        let of_cluster = of_cluster.map(|scheduling| scheduling.strategy());
        own.filter(|own| *own != Strategy::Unset).or(of_cluster) == Some(Strategy::BinPack)
    }

    /// The largest part of anything of a node that is reserved, in parts of 2^20.
    fn share(&self, node: &Node) -> i64 {
        const WHOLE: i64 = 1 << 20;
        if node.description.as_ref().is_none_or(|description| description.resources.is_none()) {
            return 0;
        }
        let has = described(node);
        let part = |taken: i64, has: i64| match taken {
            0 => 0,
            taken if taken >= has => WHOLE,
            taken => i64::try_from(i128::from(taken) * i128::from(WHOLE) / i128::from(has)).unwrap(),
        };
        let sum = |amount: fn(&wire::Resources) -> i64| self.on(&node.id).map(|task| amount(&reserved(task))).sum();
        let held: Vec<_> = self.on(&node.id).flat_map(|task| &task.assigned_generic_resources).collect();
        let of_kind = |kind: &str| {
            let counted: i64 = held
                .iter()
                .filter(|unit| plain::kind(unit) == kind && name(unit).is_none())
                .map(|unit| count(unit))
                .sum();
            let names: BTreeSet<_> =
                held.iter().filter(|unit| plain::kind(unit) == kind).filter_map(|unit| name(unit)).collect();
            let units: Vec<_> = has.generic.iter().filter(|unit| plain::kind(unit) == kind).collect();
            match units.first() {
                Some(unit) if name(unit).is_none() => part(counted, count(unit)),
                _ => part(counted + names.len() as i64, units.len() as i64),
            }
        };
        let kinds: BTreeSet<&str> = held.iter().map(|unit| plain::kind(unit)).collect();
        let plain =
            [part(sum(|has| has.nano_cpus), has.nano_cpus), part(sum(|has| has.memory_bytes), has.memory_bytes)];
        kinds.into_iter().map(of_kind).chain(plain).max().unwrap_or(0)
    }

    /// How many active tasks of a task's service are on each node.
    pub(super) fn of_service(&self, task: &Task, node: &NodeId) -> usize {
        let of_service = |other: &&Task| task.service_id.is_some() && other.service_id == task.service_id;
        self.on(node).filter(|other| is_wanted(other)).filter(of_service).count()
    }

    /// The tasks that hold something of a node.
    fn on<'n>(&'n self, node: &'n NodeId) -> impl Iterator<Item = &'n Task> {
        self.tasks.values().filter(move |task| {
            task.node_id.as_ref() == Some(node)
                && task.status.state > TaskState::Pending
                && task.status.state <= TaskState::Running
        })
    }

    fn has_room(&self, task: &Task, node: &Node) -> bool {
        let has = described(node);
        let wants = reserved(task);
        let taken =
            |amount: fn(&wire::Resources) -> i64| self.on(&node.id).map(|other| amount(&reserved(other))).sum::<i64>();
        let fits =
            |amount: fn(&wire::Resources) -> i64| amount(&wants) == 0 || taken(amount) + amount(&wants) <= amount(&has);
        let kinds: BTreeSet<&str> = wants.generic.iter().map(kind).collect();
        fits(|resources| resources.nano_cpus)
            && fits(|resources| resources.memory_bytes)
            && kinds.into_iter().all(|kind| {
                let wanted = wants.generic.iter().filter(|wanted| plain::kind(wanted) == kind).map(count).sum::<i64>();
                match has.generic.iter().find(|unit| plain::kind(unit) == kind) {
                    None => false,
                    Some(unit) if name(unit).is_some() => wanted <= self.free(node, kind).len() as i64,
                    Some(unit) => {
                        let given = self.on(&node.id).flat_map(|other| &other.assigned_generic_resources);
                        let given = given.filter(|given| plain::kind(given) == kind && name(given).is_none());
                        given.map(count).sum::<i64>() + wanted <= count(unit)
                    }
                }
            })
    }

    /// The named units of a kind that nobody holds, in the order of the node.
    fn free(&self, node: &Node, kind: &str) -> Vec<wire::GenericResource> {
        let held: Vec<_> = self.on(&node.id).flat_map(|task| &task.assigned_generic_resources).collect();
        let units = described(node).generic.into_iter().filter(|unit| plain::kind(unit) == kind);
        units.filter(|unit| name(unit).is_some() && !held.contains(&unit)).collect()
    }

    /// What a task is given on a node: the first free names where the node has names, a count where it has a count.
    pub(super) fn given(&self, task: &Task, node: &Node) -> Vec<wire::GenericResource> {
        let mut wanted = BTreeMap::<String, i64>::new();
        for unit in &reserved(task).generic {
            *wanted.entry(kind(unit).to_owned()).or_default() += count(unit);
        }
        let mut given = Vec::new();
        for (kind, wanted) in wanted.into_iter().filter(|(_, wanted)| *wanted > 0) {
            let described = described(node).generic;
            if described.iter().any(|unit| plain::kind(unit) == kind && name(unit).is_some()) {
                given.extend(self.free(node, &kind).into_iter().take(usize::try_from(wanted).unwrap()));
            } else {
                let unit = wire::DiscreteGenericResource { kind, value: wanted };
                given.push(wire::GenericResource { resource: Some(Resource::DiscreteResourceSpec(unit)) });
            }
        }
        given
    }
}

//! What is known of the cluster, and what it means for someone who waits for its services.

use std::collections::{BTreeMap, BTreeSet};

use swarmkit_api::{
    TaskState,
    wire::{self, service_spec::Mode, swarmkit::orchestration::v1::Waiting},
};

use crate::output::Names;

/// The services, tasks and nodes of a cluster, kept current by what a watch tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    services: BTreeMap<String, wire::Service>,
    tasks: BTreeMap<String, wire::Task>,
    nodes: BTreeMap<String, wire::Node>,
    /// Per place, the tasks that ended by themselves. Kept beyond the tasks, which are cleared away after a while.
    ended: BTreeMap<Place, BTreeSet<String>>,
}

/// Where a task stands in its service: a slot, or a node where there are no slots.
pub(crate) type Place = (String, u64, String);

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) service: String,
    pub(crate) task: String,
    pub(crate) state: TaskState,
    pub(crate) node: String,
    /// How often the task of this place was replaced because it had ended.
    pub(crate) restarts: usize,
    /// When it got into its state.
    pub(crate) since: Option<prost_types::Timestamp>,
    /// Why it is not as it should be; empty when it is.
    pub(crate) note: String,
    /// Whether it is what was waited for: running, or complete.
    pub(crate) is_settled: bool,
}

/// A service that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(crate) service: String,
    /// `2 of 3 tasks run`.
    pub(crate) what: String,
    /// `web.3 is PENDING: no suitable node`.
    pub(crate) why: Vec<String>,
}

/// How many reasons are told of one service.
const REASONS_MAX: usize = 3;

// === impl World ===

impl World {
    /// Everything, as it was listed.
    pub(crate) fn absorb_lists(
        &mut self,
        services: Vec<wire::Service>,
        tasks: Vec<wire::Task>,
        nodes: Vec<wire::Node>,
    ) {
        self.services = services.into_iter().map(|service| (service.id.clone(), service)).collect();
        self.tasks = BTreeMap::new();
        self.nodes = nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
        tasks.into_iter().for_each(|task| self.absorb_task(task));
    }

    /// One change. Changes that are older than what is known, because they were on their way while everything was
    /// listed, are left out.
    pub(crate) fn absorb_event(&mut self, event: wire::watch_message::Event) {
        use wire::object::Object;

        let is_removal = event.action() == wire::WatchActionKind::WatchActionRemove;
        match event.object.and_then(|object| object.object) {
            Some(Object::Service(service)) if is_removal => drop(self.services.remove(&service.id)),
            Some(Object::Service(service)) => {
                let known = self.services.get(&service.id).map(|known| version(known.meta.as_ref()));
                if known <= Some(version(service.meta.as_ref())) {
                    self.services.insert(service.id.clone(), service);
                }
            }
            Some(Object::Task(task)) if is_removal => drop(self.tasks.remove(&task.id)),
            Some(Object::Task(task)) => {
                let known = self.tasks.get(&task.id).map(|known| version(known.meta.as_ref()));
                if known <= Some(version(task.meta.as_ref())) {
                    self.absorb_task(task);
                }
            }
            Some(Object::Node(node)) if is_removal => drop(self.nodes.remove(&node.id)),
            Some(Object::Node(node)) => {
                let known = self.nodes.get(&node.id).map(|known| version(known.meta.as_ref()));
                if known <= Some(version(node.meta.as_ref())) {
                    self.nodes.insert(node.id.clone(), node);
                }
            }
            // Nothing else is watched.
            _ => {}
        }
    }

    fn absorb_task(&mut self, task: wire::Task) {
        let ended = matches!(state(&task), TaskState::Failed | TaskState::Rejected | TaskState::Complete);
        let is_replaced = matches!(task.desired_state(), TaskState::Shutdown | TaskState::Remove);
        if ended && is_replaced {
            self.ended.entry(place(&task)).or_default().insert(task.id.clone());
        }
        self.tasks.insert(task.id.clone(), task);
    }

    pub(crate) fn tasks(&self) -> impl Iterator<Item = &wire::Task> {
        self.tasks.values()
    }

    pub(crate) fn task(&self, id: &str) -> Option<&wire::Task> {
        self.tasks.get(id)
    }

    pub(crate) fn names(&self) -> Names {
        Names::of(self.nodes.values())
    }

    /// The table: for every place its newest task, in order of service and slot.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = self.rows_of(|service| self.services.contains_key(service));
        rows.extend(self.waiting().map(|(service, waiting)| Row {
            service: service.to_owned(),
            task: "-".to_owned(),
            state: TaskState::New,
            node: String::new(),
            restarts: 0,
            since: waiting.since,
            note: waiting.message.clone(),
            is_settled: false,
        }));
        rows.sort_by(|a, b| a.service.cmp(&b.service));
        rows
    }

    /// The services that wait for others, and for what.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (&str, &Waiting)> {
        self.services.values().filter_map(|service| Some((service_name(service), service.waiting.as_ref()?)))
    }

    fn rows_of(&self, is_shown: impl Fn(&String) -> bool) -> Vec<Row> {
        let names = self.names();
        let mut newest: BTreeMap<Place, &wire::Task> = BTreeMap::new();
        for task in self.tasks.values().filter(|task| is_shown(&task.service_id)) {
            let shown = newest.entry(place(task)).or_insert(task);
            if rank(task) > rank(shown) {
                *shown = task;
            }
        }
        let mut rows: Vec<_> = newest
            .iter()
            .map(|(place, task)| Row {
                service: names.service(task).to_owned(),
                task: crate::output::task_name(task, &names),
                state: state(task),
                node: names.node(&task.node_id).to_owned(),
                restarts: self.restarts(place, task),
                since: task.status.as_ref().and_then(|status| status.timestamp),
                note: self.note(place, task),
                is_settled: self.is_settled(task),
            })
            .collect();
        // Stable: the slots of a service stay in their numerical order.
        rows.sort_by(|a, b| a.service.cmp(&b.service));
        rows
    }

    fn restarts(&self, place: &Place, shown: &wire::Task) -> usize {
        let ended = self.ended.get(place).map(|ended| ended.iter().filter(|id| **id != shown.id).count());
        ended.unwrap_or_default()
    }

    /// What is the matter with a task; for one that has just been replaced, what was the matter with the one before.
    fn note(&self, place: &Place, task: &wire::Task) -> String {
        let status = task.status.clone().unwrap_or_default();
        if !status.err.is_empty() {
            return status.err;
        }
        if self.is_settled(task) {
            return String::new();
        }
        let before = self.ended.get(place).into_iter().flatten().filter_map(|id| self.tasks.get(id));
        let before = before.filter(|before| before.id != task.id).max_by_key(|before| rank(before));
        before.and_then(|before| before.status.as_ref()).map(|status| status.err.clone()).unwrap_or_default()
    }

    fn is_settled(&self, task: &wire::Task) -> bool {
        match self.services.get(&task.service_id).and_then(|service| service.spec.as_ref()?.mode.as_ref()) {
            Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)) => state(task) == TaskState::Complete,
            Some(Mode::Replicated(_) | Mode::Global(_)) | None => {
                state(task) == TaskState::Running && task.desired_state() == TaskState::Running
            }
        }
    }

    /// The services whose tasks do not all run, or have not all completed; and the `expected` ones that are not known.
    pub(crate) fn unsettled<'a>(&self, expected: impl IntoIterator<Item = &'a str>) -> Vec<Unsettled> {
        let known: BTreeSet<_> = self.services.values().map(service_name).collect();
        let unknown = expected.into_iter().filter(|name| !known.contains(name)).map(|name| Unsettled {
            service: name.to_owned(),
            what: "the service is not there".to_owned(),
            why: Vec::new(),
        });
        unknown.chain(self.services.values().filter_map(|service| self.unsettled_service(service))).collect()
    }

    fn unsettled_service(&self, service: &wire::Service) -> Option<Unsettled> {
        let spec = service.spec.clone().unwrap_or_default();
        let settled: BTreeSet<_> = self
            .tasks
            .values()
            .filter(|task| task.service_id == service.id && self.is_settled(task) && is_current(task, service))
            .map(place)
            .collect();
        let nodes = || self.nodes.values().filter(|node| takes_tasks(node)).count();
        let (wanted, verb) = match spec.mode {
            Some(Mode::Replicated(replicated)) => (usize::try_from(replicated.replicas).unwrap_or(usize::MAX), "run"),
            Some(Mode::Global(_)) => (nodes(), "run"),
            Some(Mode::ReplicatedJob(job)) => {
                (usize::try_from(job.total_completions).unwrap_or(usize::MAX), "have completed")
            }
            Some(Mode::GlobalJob(_)) => (nodes(), "have completed"),
            None => (0, "run"),
        };
        // A global service may have constraints that leave nodes out: then what exists must be settled.
        let rows: Vec<_> = self.rows_of(|id| *id == service.id).into_iter().filter(|row| !row.is_settled).collect();
        let enough = match spec.mode {
            Some(Mode::Global(_) | Mode::GlobalJob(_)) if !constraints(&spec).is_empty() => {
                rows.is_empty() && !settled.is_empty()
            }
            _ => settled.len() >= wanted,
        };
        if enough {
            return None;
        }
        let why = rows.iter().take(REASONS_MAX).map(|row| {
            let note = if row.note.is_empty() { String::new() } else { format!(": {}", row.note) };
            format!("{} is {}{note}", row.task, row.state.as_str_name())
        });
        let mut why: Vec<_> = service.waiting.iter().map(|waiting| waiting.message.clone()).chain(why).collect();
        if rows.len() > REASONS_MAX {
            why.push(format!("and {} more", rows.len() - REASONS_MAX));
        }
        Some(Unsettled {
            service: service_name(service).to_owned(),
            what: format!("{} of {wanted} tasks {verb}", settled.len()),
            why,
        })
    }
}

fn service_name(service: &wire::Service) -> &str {
    let annotations = service.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
    annotations.map(|annotations| annotations.name.as_str()).unwrap_or_default()
}

fn version(meta: Option<&wire::Meta>) -> u64 {
    meta.and_then(|meta| meta.version).unwrap_or_default().index
}

fn state(task: &wire::Task) -> TaskState {
    task.status.as_ref().map(wire::TaskStatus::state).unwrap_or_default()
}

fn place(task: &wire::Task) -> Place {
    let node = if task.slot == 0 { task.node_id.clone() } else { String::new() };
    (task.service_id.clone(), task.slot, node)
}

/// Whether a task is what its service asks for by now; others are about to be replaced.
fn is_current(task: &wire::Task, service: &wire::Service) -> bool {
    task.spec.as_ref() == service.spec.as_ref().and_then(|spec| spec.task.as_ref())
}

/// Wanted tasks before those that are being replaced, then the newest.
fn rank(task: &wire::Task) -> (bool, i64, i32, u64) {
    let created = task.meta.as_ref().and_then(|meta| meta.created_at).unwrap_or_default();
    let wanted = task.desired_state() <= TaskState::Complete;
    (wanted, created.seconds, created.nanos, version(task.meta.as_ref()))
}

fn takes_tasks(node: &wire::Node) -> bool {
    use wire::{node_spec::Availability, node_status::State};

    node.spec.as_ref().is_some_and(|spec| spec.availability() == Availability::Active)
        && node.status.as_ref().is_some_and(|status| status.state() == State::Ready)
}

fn constraints(spec: &wire::ServiceSpec) -> &[String] {
    let placement = spec.task.as_ref().and_then(|task| task.placement.as_ref());
    placement.map(|placement| placement.constraints.as_slice()).unwrap_or_default()
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;

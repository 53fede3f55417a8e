//! What tasks are found by.
//!
//! A cluster has more tasks than anything else, and writes them most. They are kept in groups by service and by node;
//! what they are rarely asked for (states, names, what they use) is answered from those services in which it occurs.

use std::{borrow::Cow, sync::Arc};

use swarmkit_api::{NodeId, Object as _, ServiceId, Task, TaskId, wire, wire::task_spec::Runtime};

use crate::{
    Change, Edit, StoreError,
    groups::{Facet, Facets, Groups},
    index::{Index, Text, exactly, fold, folded, starting_with},
    intern::Specs,
    kinds::{both, lies_in, texts},
    query::Found,
    state::Tables,
    table::{Record, Table},
};

/// The share of all tasks, as a divisor, from which on looking at all of them is cheaper than looking each one up.
const SCAN_FROM: usize = 4;

/// The indexes of tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskIndexes {
    /// By service, and within it by slot.
    service: Groups<Option<ServiceId>, (u64, TaskId)>,
    /// Tasks without a node are not among them: there are many of them at times, each comes and goes, and hardly anybody asks.
    node: Groups<NodeId, TaskId>,
    facets: Facets,
    /// Names of their own, which few tasks have.
    own_name: Index<Text, TaskId>,
    volume: Index<Text, TaskId>,
}

impl Record for Task {
    type Indexes = TaskIndexes;

    fn reindex(indexes: &mut TaskIndexes, id: &TaskId, before: Option<&Self>, after: Option<&Self>) {
        let in_service = |task: &Self| (task.service_id.clone(), (task.slot, id.clone()));
        let stays = both(before, after, |a, b| a.service_id == b.service_id);
        if !stays || !both(before, after, |a, b| a.slot == b.slot) {
            indexes.service.amend(before.map(in_service), after.map(in_service));
        }
        if !both(before, after, |a, b| a.node_id == b.node_id) {
            let on_node = |task: &Self| task.node_id.clone().map(|node| (node, id.clone()));
            indexes.node.amend(before.and_then(on_node), after.and_then(on_node));
        }
        // What has not changed within the service is not counted anew.
        let same = |alike: fn(&Self, &Self) -> bool| stays && both(before, after, alike);
        let unchanged = Unchanged {
            desired_state: same(|a, b| a.desired_state == b.desired_state),
            state: same(|a, b| a.status.state == b.status.state),
            spec: same(|a, b| Arc::ptr_eq(&a.spec, &b.spec)),
            name: same(|a, b| {
                a.annotations.name.is_empty() == b.annotations.name.is_empty()
                    && a.service_annotations.name == b.service_annotations.name
            }),
        };
        if let Some(task) = after {
            each_facet(task, &unchanged, |facet| indexes.facets.add(facet, &task.service_id));
        }
        if let Some(task) = before {
            each_facet(task, &unchanged, |facet| indexes.facets.subtract(facet, &task.service_id));
        }
        if !both(before, after, |a, b| a.annotations.name == b.annotations.name) {
            let name = |task: &Self| (!task.annotations.name.is_empty()).then(|| fold(&task.annotations.name));
            indexes.own_name.amend(id, before.and_then(name), after.and_then(name));
        }
        if !both(before, after, |a, b| a.volumes == b.volumes) {
            let volumes = |task: &Self| texts(task.volumes.iter().map(|volume| &volume.id));
            indexes.volume.amend_all(
                id,
                &before.map(volumes).unwrap_or_default(),
                &after.map(volumes).unwrap_or_default(),
            );
        }
    }

    fn admit(_: &Tables, _: &Self, _: Option<&Self::Id>) -> Result<(), StoreError> {
        Ok(())
    }

    fn intern(&mut self, specs: &Specs) {
        specs.intern(self);
    }

    lies_in!(Task, tasks);
}

/// Which facets a write has left as they were.
struct Unchanged {
    desired_state: bool,
    state: bool,
    spec: bool,
    name: bool,
}

/// Every facet of a task, but for the unchanged ones.
fn each_facet(task: &Task, unchanged: &Unchanged, mut tell: impl FnMut(Facet<&str>)) {
    if !unchanged.desired_state {
        tell(Facet::DesiredState(task.desired_state));
    }
    if !unchanged.state {
        tell(Facet::State(task.status.state));
    }
    if !unchanged.name && task.annotations.name.is_empty() {
        tell(Facet::ServiceName(&folded(&task.service_annotations.name)));
    }
    if !unchanged.spec {
        if let Some(runtime) = runtime_of(&task.spec) {
            tell(Facet::Runtime(&runtime));
        }
        task.spec.networks.iter().for_each(|network| tell(Facet::Network(&network.target)));
        if let Some(container) = container_of(&task.spec) {
            container.secrets.iter().for_each(|secret| tell(Facet::Secret(&secret.secret_id)));
            container.configs.iter().for_each(|config| tell(Facet::Config(&config.config_id)));
        }
    }
}

/// What runs a task: `container`, `attachment`, or the kind of a generic runtime in lower case.
pub(crate) fn runtime_of(spec: &wire::TaskSpec) -> Option<Cow<'_, str>> {
    spec.runtime.as_ref().map(|runtime| match runtime {
        Runtime::Container(_) => "container".into(),
        Runtime::Attachment(_) => "attachment".into(),
        Runtime::Generic(generic) => folded(&generic.kind),
    })
}

/// What a task runs, if it is a container.
pub(crate) fn container_of(spec: &wire::TaskSpec) -> Option<&wire::ContainerSpec> {
    match &spec.runtime {
        Some(Runtime::Container(container)) => Some(container),
        Some(Runtime::Attachment(_) | Runtime::Generic(_)) | None => None,
    }
}

// === Reading ===

impl Table<Task> {
    /// The tasks of a service, or of none.
    pub(crate) fn of_service(&self, service: Option<&ServiceId>) -> Found<'_, Task> {
        let mut ids: Vec<&TaskId> = self.group(&service.cloned()).map(|(_, id)| id).collect();
        ids.sort_unstable();
        Found::new(ids.into_iter().filter_map(|id| self.get(id)))
    }

    /// The tasks in a slot of a service.
    pub(crate) fn of_slot(&self, service: &ServiceId, slot: u64) -> Found<'_, Task> {
        let Some(group) = self.indexes.service.of(&Some(service.clone())) else { return Found::nothing() };
        let from = (slot, TaskId::from(""));
        Found::new(
            group.range(from..).take_while(move |(number, _)| *number == slot).filter_map(|(_, id)| self.get(id)),
        )
    }

    /// The tasks that a node was given. Those that no node was given are looked for among all.
    pub(crate) fn of_node(&self, node: Option<&NodeId>) -> Found<'_, Task> {
        let Some(node) = node else { return Found::new(self.values().filter(|task| task.node_id.is_none())) };
        let ids = self.indexes.node.of(node);
        Found::new(ids.into_iter().flatten().filter_map(|id| self.get(id)))
    }

    /// The tasks that use a volume.
    pub(crate) fn with_volume(&self, volume: &str) -> Found<'_, Task> {
        self.found(self.indexes.volume.find(exactly(volume)))
    }

    /// The tasks that have a facet.
    pub(crate) fn with_facet(&self, facet: Facet<&str>) -> Found<'_, Task> {
        let facet = facet.owned();
        let groups: Vec<_> = self.indexes.facets.groups(facet.borrowed()).collect();
        let size = |group: &&Option<ServiceId>| self.indexes.service.of(group).map_or(0, |ids| ids.len());
        if groups.iter().map(size).sum::<usize>() >= self.len() / SCAN_FROM {
            return Found::new(self.values().filter(move |task| has(task, facet.borrowed())));
        }
        let members = groups.into_iter().flat_map(|group| self.members(group));
        let mut found: Vec<_> = members.filter(|task| has(task, facet.borrowed())).collect();
        found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Found::new(found.into_iter())
    }

    /// The tasks with that name.
    pub(crate) fn named(&self, name: &str) -> Found<'_, Task> {
        let name = fold(name);
        let mut found: Vec<_> = self.named_like(&name).filter(|(own, _)| own.as_str() == name.as_ref()).collect();
        found.extend(self.found(self.indexes.own_name.find(exactly(&name))).map(|task| (String::new(), task)));
        found.sort_unstable_by(|(_, a), (_, b)| a.id.cmp(&b.id));
        Found::new(found.into_iter().map(|(_, task)| task))
    }

    /// The tasks whose name starts so, in order of their names.
    pub(crate) fn name_starts_with(&self, prefix: &str) -> Found<'_, Task> {
        let prefix = fold(prefix);
        let mut found: Vec<_> = self.named_like(&prefix).collect();
        let own = self.found(self.indexes.own_name.find(starting_with(&prefix)));
        found.extend(own.map(|task| (folded(&task.annotations.name).into_owned(), task)));
        found.sort_unstable_by(|(x, a), (y, b)| x.cmp(y).then_with(|| a.id.cmp(&b.id)));
        Found::new(found.into_iter().map(|(_, task)| task))
    }

    /// Tasks without a name of their own whose name starts so, with that name: `<service>.<slot or node>.<task>`.
    fn named_like(&self, prefix: &str) -> impl Iterator<Item = (String, &Arc<Task>)> {
        // Either the prefix ends within the name of the service, or that ends at one of the prefix's dots.
        let longer = self.indexes.facets.groups_named(prefix);
        let shorter = prefix
            .match_indices('.')
            .flat_map(|(dot, _)| self.indexes.facets.groups(Facet::ServiceName(&prefix[..dot])));
        let mut groups: Vec<_> = longer.chain(shorter).collect();
        groups.sort_unstable();
        groups.dedup();
        let tasks = groups.into_iter().flat_map(|group| self.members(group));
        tasks
            .filter(|task| task.annotations.name.is_empty())
            .map(|task| (folded(&task.name()).into_owned(), task))
            .filter(move |(name, _)| name.starts_with(prefix))
    }

    fn group(&self, service: &Option<ServiceId>) -> impl Iterator<Item = &(u64, TaskId)> {
        self.indexes.service.of(service).into_iter().flatten()
    }

    fn members(&self, service: &Option<ServiceId>) -> impl Iterator<Item = &Arc<Task>> {
        self.group(service).filter_map(|(_, id)| self.get(id))
    }
}

/// Whether a task has a facet.
fn has(task: &Task, wanted: Facet<&str>) -> bool {
    match wanted {
        Facet::DesiredState(state) => task.desired_state == state,
        Facet::State(state) => task.status.state == state,
        Facet::Runtime(runtime) => runtime_of(&task.spec).is_some_and(|own| own == runtime),
        Facet::Network(id) => task.spec.networks.iter().any(|network| network.target == id),
        Facet::Secret(id) => {
            container_of(&task.spec).is_some_and(|spec| spec.secrets.iter().any(|secret| secret.secret_id == id))
        }
        Facet::Config(id) => {
            container_of(&task.spec).is_some_and(|spec| spec.configs.iter().any(|config| config.config_id == id))
        }
        Facet::ServiceName(name) => {
            task.annotations().name.is_empty() && folded(&task.service_annotations.name) == name
        }
    }
}

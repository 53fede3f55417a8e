//! What the scheduler knows, kept up change by change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use swarmkit_api::{
    Cluster, Node, NodeId, Service, ServiceId, Task, TaskId, TaskState, Version, Volume, wire::service_spec::Mode,
};
use swarmkit_store::{Change, Edit, State, TaskBy, Update};

use crate::{
    affinity::{Affinities, Company, Places},
    blocked::{Asked, Blocked},
    books::{Books, NodeIx, is_active},
    decision::Decision,
    feasible::Feasible,
    group::{Group, GroupKey},
    preemption::Known,
    search::Strategy,
    volumes::{Idle, Waiter, Waiting},
};

/// What has to be looked at again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Due {
    /// Nothing was looked at yet.
    pub(crate) everything: bool,
    /// There are other nodes, or they are different: what waits may do so for another reason.
    pub(crate) recount: bool,
    /// Groups that tasks have joined, or whose service is different.
    pub(crate) groups: BTreeSet<GroupKey>,
    /// Nodes that may take more than before: they are new or different, or something became free there.
    pub(crate) freed: BTreeSet<NodeId>,
    /// Nodes that tasks were made for, and that must still agree.
    pub(crate) preassigned: BTreeSet<NodeId>,
    /// Tasks that were asked to stop before they had a node.
    pub(crate) stopped: BTreeSet<TaskId>,
    /// Volumes on nodes that may have no users there.
    pub(crate) idle: BTreeSet<Idle>,
}

/// Nodes, what is on them, and what waits for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) version: Version,
    pub(crate) books: Books,
    /// Which nodes will do for what tasks ask for.
    pub(crate) feasible: Feasible,
    /// What services ask of each other, and the nodes by the labels that they name.
    pub(crate) affinities: Affinities,
    pub(crate) places: Places,
    /// How nodes are chosen for services that do not say.
    strategy: Strategy,
    pub(crate) services: BTreeMap<ServiceId, Arc<Service>>,
    pub(crate) groups: BTreeMap<GroupKey, Group>,
    /// The groups that no node can run, by what they need.
    pub(crate) blocked: Blocked,
    /// Tasks that were made for a node and wait to be confirmed there.
    pub(crate) preassigned: BTreeMap<NodeId, BTreeMap<TaskId, Arc<Task>>>,
    /// Tasks that were asked to stop before they were placed, so that nobody else will end them.
    pub(crate) stopped: BTreeMap<TaskId, Arc<Task>>,
    /// Who waits for which volumes.
    pub(crate) waiting: Waiting,
    /// Who makes room for whom.
    pub(crate) room: Known,
    pub(crate) due: Due,
}

/// What a task is to the scheduler.
pub(crate) enum Standing<'t> {
    /// Not its business: not allocated yet, over, or told to be removed.
    Ignored,
    /// Waits for a node.
    Waiting,
    /// Waits for its node to be confirmed.
    Preassigned(&'t NodeId),
    /// On a node, and booked there.
    Placed(&'t NodeId),
    /// Asked to stop before it was placed.
    Stopped,
}

// === impl Due ===

impl Due {
    pub(crate) fn is_empty(&self) -> bool {
        !self.everything
            && !self.recount
            && self.groups.is_empty()
            && self.freed.is_empty()
            && self.preassigned.is_empty()
            && self.stopped.is_empty()
            && self.idle.is_empty()
    }

    /// Puts back what could not be dealt with.
    pub(crate) fn put_back(&mut self, other: Self) {
        self.everything |= other.everything;
        self.recount |= other.recount;
        self.groups.extend(other.groups);
        self.freed.extend(other.freed);
        self.preassigned.extend(other.preassigned);
        self.stopped.extend(other.stopped);
        self.idle.extend(other.idle);
    }
}

// === impl World ===

impl World {
    /// Takes over an update. A snapshot replaces everything that was known.
    pub(crate) fn absorb(&mut self, update: &Update, now: SystemTime) {
        match update {
            Update::Snapshot(view) => *self = Self::from_state(view, now),
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    self.absorb_change(change, now);
                }
            }
        }
        self.settle();
        self.see_affinities(update.view());
        self.version = update.view().version();
        self.keep_view(update.view());
    }

    /// Nothing but books and one service, for one who asks what would be.
    pub(crate) fn of_books(
        books: Books,
        affinities: Affinities,
        service: Option<&Arc<Service>>,
        cluster: Option<&Arc<Cluster>>,
    ) -> Self {
        let mut world = Self { books, affinities, ..Self::default() };
        world.keep_places();
        world.absorb_cluster(cluster);
        world.absorb_service(None, service);
        world
    }

    /// Numbers nodes in order, if some have come or gone.
    fn settle(&mut self) {
        if let Some(moved) = self.books.sort() {
            self.feasible.renumber(&moved);
            self.places.renumber(&moved);
        }
    }

    /// Looks again at everything that waits for services that have come nearer or gone.
    fn see_affinities(&mut self, state: &State) {
        self.keep_places();
        self.affinities.recount(|service| {
            let tasks = state.find(TaskBy::Service(service)).map(AsRef::as_ref);
            tasks.filter(|task| is_placed(task) && is_active(task))
        });
        let stirred = self.affinities.take_stirred();
        if stirred.is_empty() {
            return;
        }
        for service in &stirred {
            let groups = self.groups.range(GroupKey::before(service)..).map(|(key, _)| key);
            let groups: Vec<_> = groups.take_while(|key| key.service.as_ref() == Some(service)).cloned().collect();
            groups.into_iter().for_each(|key| self.unblock(key));
        }
        let is_stirred = |task: &Arc<Task>| task.service_id.as_ref().is_some_and(|id| stirred.contains(id));
        let nodes = self.preassigned.iter().filter(|(_, tasks)| tasks.values().any(is_stirred));
        self.due.preassigned.extend(nodes.map(|(node, _)| node.clone()));
    }

    /// Keeps the nodes by the labels that are asked for.
    fn keep_places(&mut self) {
        if let Some(scopes) = self.affinities.take_scopes() {
            self.places.keep(&scopes, &self.books);
        }
    }

    /// What binds tasks of a service to others. `None` if nothing does.
    pub(crate) fn company<'s>(&'s self, service: Option<&'s ServiceId>) -> Option<Company<'s>> {
        Company::of(&self.affinities, &self.places, service?, |service| self.books.levels(service).any)
    }

    /// The nodes with the tasks whose place a task takes, and how many are there, of a service that is to be apart from
    /// itself.
    pub(crate) fn mates(&self, task: &Task) -> BTreeMap<NodeIx, u32> {
        let mates = self.affinities.mates(task);
        mates.filter_map(|(node, count)| Some((self.books.find(node)?, count))).collect()
    }

    /// How nodes are chosen for a service.
    pub(crate) fn strategy(&self, service: Option<&ServiceId>) -> Strategy {
        let service = service.and_then(|service| self.services.get(service));
        let own = service.and_then(|service| service.spec.scheduling.as_ref()).map(|own| own.strategy());
        own.and_then(Strategy::of).unwrap_or(self.strategy)
    }

    fn absorb_cluster(&mut self, after: Option<&Arc<Cluster>>) {
        let own = after.and_then(|cluster| cluster.spec.scheduling.as_ref()).map(|own| own.strategy());
        self.strategy = own.and_then(Strategy::of).unwrap_or_default();
    }

    fn from_state(state: &State, now: SystemTime) -> Self {
        let mut world = Self::default();
        for cluster in state.all::<Cluster>() {
            world.absorb_cluster(Some(cluster));
        }
        for service in state.all::<Service>() {
            world.absorb_service(None, Some(service));
        }
        for node in state.all::<Node>() {
            world.absorb_node(None, Some(node));
        }
        for volume in state.all::<Volume>() {
            world.absorb_volume(None, Some(volume));
        }
        for task in state.all::<Task>() {
            world.absorb_task(None, Some(task), now);
        }
        world.due.everything = true;
        world
    }

    pub(crate) fn absorb_change(&mut self, change: &Change, now: SystemTime) {
        match change {
            Change::Node(Edit { before, after }) => self.absorb_node(before.as_ref(), after.as_ref()),
            Change::Service(Edit { before, after }) => self.absorb_service(before.as_ref(), after.as_ref()),
            Change::Task(Edit { before, after }) => self.absorb_task(before.as_ref(), after.as_ref(), now),
            Change::Cluster(Edit { after, .. }) => self.absorb_cluster(after.as_ref()),
            Change::Volume(Edit { before, after }) => self.absorb_volume(before.as_ref(), after.as_ref()),
            _ => {}
        }
    }

    fn absorb_node(&mut self, before: Option<&Arc<Node>>, after: Option<&Arc<Node>>) {
        let Some(id) = after.or(before).map(|node| node.id.clone()) else { return };
        let ix = self.books.set_node(&id, after.cloned());
        if after.is_none() {
            self.release_node(&id);
        }
        if !before.zip(after).is_some_and(|(before, after)| looks_the_same(before, after)) {
            self.feasible.set(ix, after.map(AsRef::as_ref));
            if self.places.set(ix, after.map(AsRef::as_ref)) {
                self.affinities.relocated();
            }
            self.due.recount = true;
            if after.is_some() {
                self.due.freed.insert(id.clone());
            }
            if self.preassigned.contains_key(&id) {
                self.due.preassigned.insert(id);
            }
        }
    }

    fn absorb_service(&mut self, before: Option<&Arc<Service>>, after: Option<&Arc<Service>>) {
        let Some(id) = after.or(before).map(|service| service.id.clone()) else { return };
        self.affinities.set(before.map(AsRef::as_ref), after.map(AsRef::as_ref));
        match after {
            Some(service) => self.services.insert(id.clone(), service.clone()),
            None => self.services.remove(&id),
        };
        self.absorb_priority(before, after);
        if before.map(|service| service.spec_version) != after.map(|service| service.spec_version) {
            let first = GroupKey::before(&id);
            let of_service = self.groups.range(first..).take_while(|(key, _)| key.service.as_ref() == Some(&id));
            self.due.groups.extend(of_service.map(|(key, _)| key.clone()));
        }
    }

    fn absorb_task(&mut self, before: Option<&Arc<Task>>, after: Option<&Arc<Task>>, now: SystemTime) {
        let there = |task: &&Arc<Task>| is_placed(task) && is_active(task);
        self.affinities.moved(before.filter(there).map(AsRef::as_ref), after.filter(there).map(AsRef::as_ref));
        if let Some(task) = before {
            self.remove(task, after.map(AsRef::as_ref));
        }
        if let Some(service) = after.or(before).and_then(|task| task.service_id.as_ref()) {
            self.wake_for(service);
        }
        if let Some(task) = after {
            let waited = before.is_some_and(|before| waits_alike(before, task));
            self.add(task, waited);
            if before.is_none_or(|before| before.status.state <= TaskState::Running) {
                self.record_failure(task, now);
            }
        }
    }

    /// Remembers why groups wait.
    pub(crate) fn note(&mut self, blocked: impl IntoIterator<Item = (GroupKey, Option<Arc<str>>)>) {
        for (key, blocked) in blocked {
            self.block(&key, blocked);
        }
    }

    /// Remembers why a group waits; `None` when it is to be tried again.
    fn block(&mut self, key: &GroupKey, told: Option<Arc<str>>) {
        let Some(group) = self.groups.get(key).filter(|group| group.blocked != told) else { return };
        let asked = told.is_some().then(|| self.asked(key, group));
        let Some(group) = self.groups.get_mut(key) else { return };
        if let (Some(asked), Some(before)) = (std::mem::replace(&mut group.asked, asked), &group.blocked) {
            self.blocked.remove(key, &asked, before);
        }
        group.blocked = told;
        if let (Some(asked), Some(told)) = (&group.asked, &group.blocked) {
            self.blocked.insert(key, asked, told);
        }
    }

    /// What the tasks of a group ask for. The service matters if what else it has counts, or what others have.
    pub(crate) fn asked(&self, key: &GroupKey, group: &Group) -> Asked {
        let is_bound = || !self.affinities.is_empty() && self.company(key.service.as_ref()).is_some();
        let service = key.service.clone().filter(|_| group.needs.counts_service() || is_bound());
        Asked { needs: group.needs.clone(), service }
    }

    /// Tries a group again.
    pub(crate) fn unblock(&mut self, key: GroupKey) {
        if self.groups.contains_key(&key) {
            self.block(&key, None);
            self.due.groups.insert(key);
        }
    }

    /// Looks again at a task about which a decision no longer applied when it was to be written.
    pub(crate) fn retry(&mut self, decision: &Decision) {
        if let Decision::Assign { node, volumes, .. } = decision {
            // Since they were to be used, it was not asked whether anybody else does.
            self.due.idle.extend(volumes.iter().map(|chosen| Idle::of(&chosen.volume, &node.id)));
        }
        if let Some(task) = decision.task() {
            self.retry_task(task);
        }
    }

    fn retry_task(&mut self, task: &Task) {
        match standing(task) {
            Standing::Waiting => {
                self.unblock(GroupKey::of(task));
            }
            Standing::Preassigned(node) => {
                self.due.preassigned.insert(node.clone());
            }
            Standing::Stopped => {
                self.due.stopped.insert(task.id.clone());
            }
            Standing::Placed(_) | Standing::Ignored => {}
        }
    }

    /// Takes over a task. One that `waited` in the same place before is due no sooner for having been written.
    fn add(&mut self, task: &Arc<Task>, waited: bool) {
        match standing(task) {
            Standing::Ignored => {}
            Standing::Waiting => {
                let key = GroupKey::of(task);
                let (feasible, books) = (&mut self.feasible, &self.books);
                let group = self.groups.entry(key.clone()).or_insert_with(|| Group::of(task, feasible, books));
                group.tasks.insert((task.slot, task.id.clone()), task.clone());
                self.waiting.add(task, &Waiter::Group(key.clone()));
                self.room.claims.add(task);
                if !waited {
                    self.affinities.comes(task);
                    self.due.groups.insert(key);
                }
            }
            Standing::Preassigned(node) => {
                self.waiting.add(task, &Waiter::Node(node.clone()));
                self.room.claims.add(task);
                self.preassigned.entry(node.clone()).or_default().insert(task.id.clone(), task.clone());
                if !waited {
                    self.due.preassigned.insert(node.clone());
                }
            }
            Standing::Placed(_) => {
                self.books.add(task);
                self.books.volumes.add(task);
            }
            Standing::Stopped => {
                self.stopped.insert(task.id.clone(), task.clone());
                self.due.stopped.insert(task.id.clone());
            }
        }
    }

    fn remove(&mut self, task: &Arc<Task>, after: Option<&Task>) {
        match standing(task) {
            Standing::Ignored => {}
            Standing::Waiting => {
                let key = GroupKey::of(task);
                self.waiting.remove(task);
                self.give_up_claim(task, after);
                if let Some(group) = self.groups.get_mut(&key) {
                    group.tasks.remove(&(task.slot, task.id.clone()));
                    // An empty group is kept while its task is only being written anew, for it knows why it waits.
                    if group.tasks.is_empty()
                        && !after.is_some_and(|after| matches!(standing(after), Standing::Waiting))
                    {
                        self.block(&key, None);
                        self.groups.remove(&key);
                    }
                }
            }
            Standing::Preassigned(node) => {
                self.waiting.remove(task);
                self.give_up_claim(task, after);
                if let Some(tasks) = self.preassigned.get_mut(node) {
                    tasks.remove(&task.id);
                    if tasks.is_empty() {
                        self.preassigned.remove(node);
                    }
                }
            }
            Standing::Placed(node) => {
                self.books.remove(task);
                self.books.volumes.remove(task);
                if !task.volumes.is_empty()
                    && !after.is_some_and(|after| is_placed(after) && after.volumes == task.volumes)
                {
                    self.release_volumes(task);
                }
                let stays = after.is_some_and(|after| {
                    matches!(standing(after), Standing::Placed(_)) && is_active(after) == is_active(task)
                });
                if !stays {
                    self.due.freed.insert(node.clone());
                }
            }
            Standing::Stopped => {
                self.stopped.remove(&task.id);
            }
        }
    }

    /// A failure is held against the node, unless the task was made for that node: it cannot go elsewhere.
    fn record_failure(&mut self, task: &Task, now: SystemTime) {
        let Some(at) = failed_at(task, now) else { return };
        let (Some(service), Some(node)) = (&task.service_id, &task.node_id) else { return };
        let mode = self.services.get(service).and_then(|service| service.spec.mode.as_ref());
        if matches!(mode, Some(Mode::Global(_) | Mode::GlobalJob(_))) {
            return;
        }
        self.books.record_failure((service.clone(), task.spec_version), node, at, now);
    }
}

/// When a task failed, if it did. One that does not say when has failed now.
pub(crate) fn failed_at(task: &Task, now: SystemTime) -> Option<SystemTime> {
    if !matches!(task.status.state, TaskState::Failed | TaskState::Rejected) {
        return None;
    }
    let at = task.status.applied_at.or(task.status.timestamp).and_then(|at| SystemTime::try_from(at).ok());
    Some(at.unwrap_or(now))
}

/// Whether a task is on a node and booked there.
pub(crate) fn is_placed(task: &Task) -> bool {
    matches!(standing(task), Standing::Placed(_))
}

/// What a task is to the scheduler. Looks at the task alone, so that it can be told from what it was before.
pub(crate) fn standing(task: &Task) -> Standing<'_> {
    let state = task.status.state;
    match &task.node_id {
        _ if state < TaskState::Pending || state > TaskState::Running => Standing::Ignored,
        _ if state == TaskState::Pending && task.desired_state >= TaskState::Remove => Standing::Ignored,
        _ if state == TaskState::Pending && !is_active(task) => Standing::Stopped,
        Some(node) if state == TaskState::Pending => Standing::Preassigned(node),
        Some(node) => Standing::Placed(node),
        None if state == TaskState::Pending => Standing::Waiting,
        None => Standing::Ignored,
    }
}

/// Whether a task waits now for what it waited for before.
fn waits_alike(before: &Task, after: &Task) -> bool {
    match (standing(before), standing(after)) {
        (Standing::Waiting, Standing::Waiting) => GroupKey::of(before) == GroupKey::of(after),
        (Standing::Preassigned(before), Standing::Preassigned(after)) => before == after,
        _ => false,
    }
}

/// Whether two records of a node are the same to everything that decides about placement.
pub(crate) fn looks_the_same(before: &Node, after: &Node) -> bool {
    before.spec == after.spec
        && before.description == after.description
        && before.status.state == after.status.state
        && before.status.addr == after.status.addr
        && before.role == after.role
}

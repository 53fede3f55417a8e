//! What one node shall have: its tasks, and the secrets, configs and volumes that they use. Pure: state in, changes out.
//!
//! A set remembers what it has said, so it is given whole views as well as single changes and says only what is new.
//! What it has to say waits inside, one entry an object, the last word winning; so a slow node costs memory for what it
//! has to learn, not for how often that changed.

mod awaited;
mod said;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{Config, NodeId, Secret, Task, TaskId, TaskState, Volume, VolumeId, wire};
use swarmkit_store::{Change, State, TaskBy, Update, VolumeBy};
use wire::{
    ResourceType, assignment_change::AssignmentAction, task_spec::Runtime, volume_publish_status::State as PublishState,
};

pub(crate) use self::awaited::{Provision, Want};
use self::{
    awaited::Awaited,
    said::{Dependency, Given, Said},
};
use crate::config::CHANGES_PER_MESSAGE;

/// See the module's purpose.
pub(crate) struct AssignmentSet {
    node: NodeId,
    tasks: BTreeMap<TaskId, Arc<Task>>,
    /// As they were when the node was told of them last.
    volumes: BTreeMap<VolumeId, Arc<Volume>>,
    uses: BTreeMap<Dependency, Use>,
    awaited: Awaited,
    said: Said,
}

/// Who needs it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum User {
    Task(TaskId),
    Volume(VolumeId),
}

/// Who needs a dependency, and whether the node was given it.
#[derive(Default)]
struct Use {
    users: BTreeSet<User>,
    given: bool,
}

impl AssignmentSet {
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            tasks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            uses: BTreeMap::new(),
            awaited: Awaited::default(),
            said: Said::default(),
        }
    }

    /// Takes what the store has to tell.
    pub(crate) fn absorb(&mut self, update: &Update) {
        match update {
            Update::Snapshot(view) => self.resync(view),
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    self.change(change, &delta.view);
                }
            }
        }
    }

    /// What drivers have to be asked for since the last time.
    pub(crate) fn take_wants(&mut self) -> Vec<Want> {
        self.awaited.take_wants()
    }

    /// Whether drivers have yet to answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.awaited.is_waiting()
    }

    /// A driver has answered, or failed to. The task is told without what was not provided.
    pub(crate) fn provide(&mut self, provision: Provision) {
        let Provision { task, secret, provided } = provision;
        if !self.awaited.answered(&task, &secret) {
            return;
        }
        if let Some(given) = provided {
            let own = given.id.as_ref() != secret;
            let dependency = Dependency::Secret(given.id.to_string());
            let used = self.uses.entry(dependency.clone()).or_default();
            if own {
                used.users.insert(User::Task(task.clone()));
            }
            // Of two answers for the same secret the first counts, for all.
            if !used.given {
                used.given = true;
                self.said.give(dependency, Given::Secret(given));
            }
        }
        if let Some(held) = self.awaited.release(&task) {
            self.said.tasks.insert(task, Some(held));
        }
    }

    /// Whether there is anything to say.
    pub(crate) fn has_news(&self) -> bool {
        !self.said.is_empty()
    }

    /// All that there is to say.
    pub(crate) fn take_all(&mut self) -> Vec<wire::AssignmentChange> {
        self.said.take(usize::MAX)
    }

    /// As much as fits into one message.
    pub(crate) fn take_some(&mut self) -> Vec<wire::AssignmentChange> {
        self.said.take(CHANGES_PER_MESSAGE)
    }

    /// Compares with a whole state. The first time everything is new.
    fn resync(&mut self, state: &State) {
        let gone: Vec<_> = self.tasks.keys().filter(|task| !self.is_here(state.get::<Task>(task))).cloned().collect();
        for task in gone {
            self.task_gone(&task);
        }
        for task in state.find(TaskBy::Node(Some(&self.node.clone()))) {
            self.task(task, state);
        }
        let node = self.node.clone();
        let gone =
            |volume: &VolumeId| state.get::<Volume>(volume).and_then(|volume| publication(volume, &node)).is_none();
        let gone: Vec<_> = self.volumes.keys().filter(|volume| gone(volume)).cloned().collect();
        for volume in gone {
            self.volume_gone(&volume);
        }
        for volume in state.find(VolumeBy::Node(&node)) {
            self.volume(volume, state);
        }
    }

    fn is_here(&self, task: Option<&Arc<Task>>) -> bool {
        task.is_some_and(|task| task.node_id.as_ref() == Some(&self.node))
    }

    fn change(&mut self, change: &Change, state: &State) {
        match change {
            Change::Task(edit) => match &edit.after {
                Some(task) if self.is_here(Some(task)) => self.task(task, state),
                Some(_) | None => self.task_gone(&edit.id().clone()),
            },
            Change::Volume(edit) => match &edit.after {
                Some(volume) => self.volume(volume, state),
                None => self.volume_gone(&edit.id().clone()),
            },
            _ => {}
        }
    }

    /// A task of this node is new or has changed.
    fn task(&mut self, task: &Arc<Task>, state: &State) {
        let observed = task.status.state;
        if observed < TaskState::Assigned {
            return;
        }
        let was_held = self.awaited.holds(&task.id);
        let known = self.tasks.insert(task.id.clone(), Arc::clone(task));
        let over = observed > TaskState::Running;
        if known.is_none() && !over {
            for dependency in dependencies_of(&task.spec) {
                if let Some(secret) = self.need(dependency, User::Task(task.id.clone()), state) {
                    self.awaited.want(secret, Arc::clone(task));
                }
            }
        }
        if known.is_some() && over {
            self.release_task(task);
        }
        // The agent has told us of a status itself; only what managers want is news to it.
        let is_known = !was_held && known.is_some_and(|known| same_wish(&known, task));
        let is_echo = is_known && observed > TaskState::Assigned;
        if is_echo {
            return;
        }
        // A node that has taken a task up knows it already, and would take its absence for its end.
        let is_taken_up = observed > TaskState::Assigned;
        if !self.awaited.hold(task, is_taken_up) {
            self.said.tasks.insert(task.id.clone(), Some(Arc::clone(task)));
        }
    }

    fn task_gone(&mut self, task: &TaskId) {
        if let Some(known) = self.tasks.remove(task) {
            self.release_task(&known);
            self.said.tasks.insert(task.clone(), None);
        }
    }

    /// A volume is new or has changed. Those that were never published here are none of this node's business.
    fn volume(&mut self, volume: &Arc<Volume>, state: &State) {
        let known = self.volumes.get(&volume.id).map(|known| self.publish_state(known));
        let publish_state = self.publish_state(volume);
        if known == Some(publish_state) {
            return;
        }
        match publish_state {
            Some(PublishState::PendingPublish) => {}
            Some(PublishState::Published) => {
                self.volumes.insert(volume.id.clone(), Arc::clone(volume));
                for secret in &volume.spec.secrets {
                    let needed = Dependency::Secret(secret.secret.clone());
                    if let Some(secret) = self.need(needed, User::Volume(volume.id.clone()), state) {
                        tracing::warn!(secret = %secret.id, volume = %volume.id, "drivers provide secrets for tasks only");
                    }
                }
                self.say_volume(AssignmentAction::Update, volume);
            }
            // Said also when the node was never told of it by this stream: it may have forgotten since.
            Some(PublishState::PendingNodeUnpublish) => {
                self.volumes.insert(volume.id.clone(), Arc::clone(volume));
                self.say_volume(AssignmentAction::Remove, volume);
            }
            Some(PublishState::PendingUnpublish) | None => self.volume_gone(&volume.id),
        }
    }

    /// The node has let go of a volume, or must, since it is not there any more.
    fn volume_gone(&mut self, volume: &VolumeId) {
        let Some(known) = self.volumes.remove(volume) else { return };
        if self.publish_state(&known) == Some(PublishState::Published) {
            self.say_volume(AssignmentAction::Remove, &known);
        }
        // Its secrets may have been others when it was published, so every dependency is asked.
        let user = User::Volume(volume.clone());
        let used: Vec<_> = self.uses.keys().cloned().collect();
        for dependency in used {
            self.release(&dependency, &user);
        }
    }

    fn publish_state(&self, volume: &Volume) -> Option<PublishState> {
        publication(volume, &self.node).map(wire::VolumePublishStatus::state)
    }

    fn say_volume(&mut self, action: AssignmentAction, volume: &Volume) {
        let info = volume.volume_info.as_ref();
        let published = publication(volume, &self.node);
        let assignment = wire::VolumeAssignment {
            id: volume.id.to_string(),
            volume_id: info.map(|info| info.volume_id.clone()).unwrap_or_default(),
            driver: volume.spec.driver.clone(),
            volume_context: info.map(|info| info.volume_context.clone()).unwrap_or_default(),
            publish_context: published.map(|entry| entry.publish_context.clone()).unwrap_or_default(),
            access_mode: volume.spec.access_mode.clone(),
            secrets: volume.spec.secrets.clone(),
        };
        self.said.volumes.insert(volume.id.clone(), (action, assignment));
    }

    /// Something is needed, and given unless the node has it. What does not exist is left out until somebody else needs
    /// it too. A secret whose value is elsewhere is given back: its driver has to be asked.
    fn need(&mut self, dependency: Dependency, user: User, state: &State) -> Option<Arc<Secret>> {
        let used = self.uses.entry(dependency.clone()).or_default();
        used.users.insert(user);
        if used.given {
            return None;
        }
        match find(&dependency, state)? {
            Given::Secret(secret) if secret.spec.driver.is_some() => Some(secret),
            given => {
                used.given = true;
                self.said.give(dependency, given);
                None
            }
        }
    }

    fn release_task(&mut self, task: &Task) {
        let user = User::Task(task.id.clone());
        self.awaited.forget(&task.id);
        for dependency in dependencies_of(&task.spec) {
            self.release(&dependency, &user);
            if let Dependency::Secret(secret) = &dependency {
                self.release(&Dependency::Secret(own_id(secret, &task.id)), &user);
            }
        }
    }

    /// A user does not need a dependency any more. What nobody needs is taken from the node.
    fn release(&mut self, dependency: &Dependency, user: &User) {
        let Some(used) = self.uses.get_mut(dependency) else { return };
        if !used.users.remove(user) || !used.users.is_empty() {
            return;
        }
        if used.given {
            self.said.needed.remove(dependency);
            self.said.unneeded.insert(dependency.clone());
        }
        self.uses.remove(dependency);
    }
}

/// What a volume says of a node. Nothing of other nodes is told to it.
fn publication<'a>(volume: &'a Volume, node: &NodeId) -> Option<&'a wire::VolumePublishStatus> {
    volume.publish_status.iter().find(|entry| entry.node_id == node.as_str())
}

/// What a secret is called at a node that was provided for one task alone. As upstream.
pub(crate) fn own_id(secret: &str, task: &TaskId) -> String {
    format!("{secret}.{task}")
}

fn find(dependency: &Dependency, state: &State) -> Option<Given> {
    match dependency {
        Dependency::Secret(id) => state.get::<Secret>(&id.as_str().into()).cloned().map(Given::Secret),
        Dependency::Config(id) => state.get::<Config>(&id.as_str().into()).cloned().map(Given::Config),
    }
}

/// The secrets and configs that a task needs: those that its container refers to, and those listed for any runtime.
fn dependencies_of(spec: &wire::TaskSpec) -> impl Iterator<Item = Dependency> {
    let listed = spec.resource_references.iter().filter_map(|reference| match reference.resource_type() {
        ResourceType::Secret => Some(Dependency::Secret(reference.resource_id.clone())),
        ResourceType::Config => Some(Dependency::Config(reference.resource_id.clone())),
        ResourceType::Task | ResourceType::Volume => None,
    });
    let container = match &spec.runtime {
        Some(Runtime::Container(container)) => Some(container),
        Some(Runtime::Attachment(_) | Runtime::Generic(_)) | None => None,
    };
    let secrets = container.into_iter().flat_map(|container| &container.secrets);
    let configs = container.into_iter().flat_map(|container| &container.configs);
    listed
        .chain(secrets.map(|reference| Dependency::Secret(reference.secret_id.clone())))
        .chain(configs.map(|reference| Dependency::Config(reference.config_id.clone())))
}

/// Whether managers want the same of both, whatever is reported of them and whenever they were written.
pub(crate) fn same_wish(a: &Task, b: &Task) -> bool {
    // Every field is named, so that a new one has to be thought of.
    let Task {
        id,
        meta: _,
        spec,
        spec_version,
        service_id,
        slot,
        node_id,
        annotations,
        service_annotations,
        status: _,
        desired_state,
        networks,
        endpoint,
        log_driver,
        assigned_generic_resources,
        job_iteration,
        volumes,
        origin: _,
        preemption: _,
    } = a;
    (Arc::ptr_eq(spec, &b.spec) || *spec == b.spec)
        && *desired_state == b.desired_state
        && *id == b.id
        && *spec_version == b.spec_version
        && *service_id == b.service_id
        && *slot == b.slot
        && *node_id == b.node_id
        && *annotations == b.annotations
        && *service_annotations == b.service_annotations
        && *networks == b.networks
        && *endpoint == b.endpoint
        && *log_driver == b.log_driver
        && *assigned_generic_resources == b.assigned_generic_resources
        && *job_iteration == b.job_iteration
        && *volumes == b.volumes
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;

//! Who has which volume where: the one table of reservations.

use std::sync::Arc;

use im::{OrdMap, OrdSet};
use swarmkit_api::{NodeId, Task, Volume, VolumeId};

use super::{Source, mount::only_reads};

/// The cluster's volumes and their users.
///
/// A pure function of the volumes and of the tasks that were [added](Self::add): it comes out the same whether it was
/// kept up change by change or built anew. A copy costs nothing to take, so that a plan reserves on one of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Volumes {
    all: OrdMap<VolumeId, Arc<Volume>>,
    /// Those that tasks can be given, by what mounts call them.
    by_source: OrdSet<(Source, VolumeId)>,
    /// Also of volumes that are not there (any more).
    users: OrdMap<VolumeId, Users>,
}

/// Who has one volume. A task that mounts it twice counts twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Users {
    readers: u32,
    writers: u32,
    nodes: OrdMap<NodeId, u32>,
}

// === impl Volumes ===

impl Volumes {
    /// Takes over a volume's record; `None` when it was deleted.
    pub(crate) fn set(&mut self, id: &VolumeId, volume: Option<&Arc<Volume>>) {
        let before = match volume {
            Some(volume) => self.all.insert(id.clone(), volume.clone()),
            None => self.all.remove(id),
        };
        for source in before.iter().filter(|volume| can_be_given(volume)).flat_map(|volume| Source::of(volume)) {
            self.by_source.remove(&(source, id.clone()));
        }
        for source in volume.into_iter().filter(|volume| can_be_given(volume)).flat_map(|volume| Source::of(volume)) {
            self.by_source.insert((source, id.clone()));
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.all.values()
    }

    pub(crate) fn get(&self, id: &VolumeId) -> Option<&Arc<Volume>> {
        self.all.get(id)
    }

    /// The volumes that a mount can mean and that tasks can be given at all, in order of their ids.
    pub(crate) fn named(&self, source: &Source) -> impl Iterator<Item = &Arc<Volume>> {
        let first = (source.clone(), VolumeId::from(""));
        let ids = self.by_source.range(first..).take_while(move |(found, _)| found == source);
        ids.filter_map(|(_, id)| self.all.get(id))
    }

    /// Reserves the volumes that a task was given, where it is.
    pub(crate) fn add(&mut self, task: &Task) {
        let Some(node) = &task.node_id else { return };
        for given in &task.volumes {
            self.reserve(&VolumeId::from(given.id.as_str()), node, only_reads(&task.spec, given));
        }
    }

    /// Takes back what [`Volumes::add`] reserved for the same record of the task.
    pub(crate) fn remove(&mut self, task: &Task) {
        let Some(node) = &task.node_id else { return };
        for given in &task.volumes {
            let id = VolumeId::from(given.id.as_str());
            let Some(mut users) = self.users.get(&id).cloned() else { continue };
            users.leave(node, only_reads(&task.spec, given));
            if users == Users::default() {
                self.users.remove(&id);
            } else {
                self.users.insert(id, users);
            }
        }
    }

    /// Reserves a volume for one mount.
    pub(super) fn reserve(&mut self, id: &VolumeId, node: &NodeId, read_only: bool) {
        let mut users = self.users.get(id).cloned().unwrap_or_default();
        users.join(node, read_only);
        self.users.insert(id.clone(), users);
    }

    pub(super) fn users(&self, id: &VolumeId) -> Option<&Users> {
        self.users.get(id)
    }

    /// Whether no task has the volume on that node.
    pub(crate) fn is_unused(&self, id: &VolumeId, node: &NodeId) -> bool {
        !self.users(id).is_some_and(|users| users.on(node))
    }
}

/// Its driver has made it, and is not asked to delete it. Until then it cannot be told where it can be reached from.
fn can_be_given(volume: &Volume) -> bool {
    volume.volume_info.as_ref().is_some_and(|info| !info.volume_id.is_empty()) && !volume.pending_delete
}

// === impl Users ===

impl Users {
    /// How many mounts there are of it.
    pub(crate) fn count(&self) -> u32 {
        self.readers + self.writers
    }

    /// Whether somebody may write to it.
    pub(crate) fn write(&self) -> bool {
        self.writers > 0
    }

    /// Whether somebody on that node has it.
    pub(crate) fn on(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node)
    }

    /// Whether somebody has it on another node than that.
    pub(crate) fn elsewhere(&self, node: &NodeId) -> bool {
        self.nodes.len() > usize::from(self.on(node))
    }

    fn join(&mut self, node: &NodeId, read_only: bool) {
        *self.kind(read_only) += 1;
        *self.nodes.entry(node.clone()).or_default() += 1;
    }

    fn leave(&mut self, node: &NodeId, read_only: bool) {
        *self.kind(read_only) -= 1;
        match self.nodes.get(node).copied() {
            Some(2..) => *self.nodes.entry(node.clone()).or_default() -= 1,
            _ => drop(self.nodes.remove(node)),
        }
    }

    fn kind(&mut self, read_only: bool) -> &mut u32 {
        if read_only { &mut self.readers } else { &mut self.writers }
    }
}

#[cfg(test)]
mod tests {
    use swarmkit_testing::world;

    use super::*;
    use crate::volumes::tests::known;

    fn found(volumes: &Volumes, source: &str) -> Vec<String> {
        volumes.named(&Source::parse(source)).map(|volume| volume.id.to_string()).collect()
    }

    fn after(volumes: &mut Volumes, words: &str) {
        let view = world(&format!("volume v {words}"));
        volumes.set(&"v".into(), view.get::<Volume>(&"v".into()));
    }

    #[test]
    fn a_volume_is_found_by_what_it_is_called_now() {
        let view = world("volume v group=g; volume w group=g; volume x");
        let mut volumes = known(&view);
        assert_eq!(found(&volumes, "group:g"), ["v", "w"]);
        assert_eq!([found(&volumes, "v"), found(&volumes, "x")], [["v"], ["x"]]);
        after(&mut volumes, "group=h");
        assert_eq!([found(&volumes, "group:g"), found(&volumes, "group:h")], [["w"], ["v"]]);
        after(&mut volumes, "group=h unmade");
        assert_eq!([found(&volumes, "group:h"), found(&volumes, "v")], [[""; 0]; 2]);
        after(&mut volumes, "group=h");
        volumes.set(&"v".into(), None);
        assert_eq!([found(&volumes, "group:h"), found(&volumes, "v")], [[""; 0]; 2]);
        for id in ["w", "x"] {
            volumes.set(&id.into(), None);
        }
        assert!(volumes == Volumes::default(), "nothing is left");
    }

    #[test]
    fn a_task_reserves_what_it_has_and_leaves_nothing_behind() {
        let service = "service web volume=v volume=w reads=v volume=gone";
        let task = "task web.1 on a given=v given=w given=v given=gone; task web.2";
        let view = world(&format!("node a; volume v; volume w; {service}; {task}"));
        let (mut nobody, mut volumes) = (Volumes::default(), known(&view));
        view.all::<Volume>().for_each(|volume| nobody.set(&volume.id, Some(volume)));
        let (id, a, b) = ("v".into(), NodeId::from("a"), NodeId::from("b"));
        let users = volumes.users(&id).unwrap();
        assert_eq!((users.count(), users.write(), users.on(&a), users.elsewhere(&a)), (2, true, true, false));
        assert_eq!((users.on(&b), users.elsewhere(&b)), (false, true));
        assert_eq!(["v", "w", "gone", "x"].map(|id| volumes.is_unused(&id.into(), &a)), [false, false, false, true]);
        let [one, two] = ["web.1", "web.2"].map(|id| view.get::<Task>(&id.into()).unwrap());
        volumes.add(one);
        volumes.remove(one);
        assert!(volumes == known(&view));
        volumes.remove(two);
        volumes.remove(one);
        assert!(volumes == nobody);
    }
}

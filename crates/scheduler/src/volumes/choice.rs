//! Which volumes a task is given on a node.

use std::sync::Arc;

use swarmkit_api::{
    Node, Volume,
    wire::{VolumeAttachment, volume_publish_status::State},
};

use super::{ClusterMount, Source, Users, Volumes, misfit};

/// A volume for one mount.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chosen {
    pub(crate) volume: Arc<Volume>,
    pub(crate) given: VolumeAttachment,
}

/// What a task is given, as it is written into it.
pub(crate) fn attachments(chosen: &[Chosen]) -> Vec<VolumeAttachment> {
    chosen.iter().map(|chosen| chosen.given.clone()).collect()
}

impl Volumes {
    /// A volume for each of a task's mounts on a node, in their order; or the first mount that is left without one.
    ///
    /// Of a group, the one that is published there already is taken, then the one with the fewest users, then the one
    /// with the least id.
    ///
    /// If there is any way to serve all mounts, one is found. Mounts that name their volume come first, for no other will
    /// do. Then come those that write: in each volume that they can have there is room for one of them, or for all. Those
    /// that read come last: where there is room for more than one of them, there is room for all, and if there is no such
    /// volume in the group, each takes one, as writers did, so that it is the number of volumes that decides.
    pub(crate) fn choose<'m>(&self, mounts: &'m [ClusterMount], node: &Node) -> Result<Vec<Chosen>, &'m ClusterMount> {
        let mut order: Vec<_> = mounts.iter().enumerate().collect();
        order.sort_by_key(|(_, mount)| (matches!(mount.source, Source::Group(_)), mount.read_only));
        let mut reserved = self.clone();
        let mut chosen = vec![None; mounts.len()];
        for (place, mount) in order {
            let Some(volume) = reserved.best_for(mount, node).cloned() else { continue };
            reserved.reserve(&volume.id, &node.id, mount.read_only);
            let (id, source, target) = (volume.id.to_string(), mount.source.to_string(), mount.target.clone());
            chosen[place] = Some(Chosen { volume, given: VolumeAttachment { id, source, target } });
        }
        chosen.into_iter().zip(mounts).map(|(chosen, mount)| chosen.ok_or(mount)).collect()
    }

    /// Whether all mounts of a task can be served on a node.
    pub(crate) fn serve(&self, mounts: &[ClusterMount], node: &Node) -> bool {
        match mounts {
            [] => true,
            [mount] => self.fitting(mount, node).next().is_some(),
            mounts => self.choose(mounts, node).is_ok(),
        }
    }

    fn best_for<'v>(&'v self, mount: &'v ClusterMount, node: &'v Node) -> Option<&'v Arc<Volume>> {
        let users = |volume: &Volume| self.users(&volume.id).map_or(0, Users::count);
        self.fitting(mount, node).min_by_key(|volume| (!is_published(volume, node), users(volume)))
    }

    fn fitting<'v>(&'v self, mount: &'v ClusterMount, node: &'v Node) -> impl Iterator<Item = &'v Arc<Volume>> {
        let misfit = |volume: &Volume| misfit(volume, self.users(&volume.id), mount.read_only, node);
        self.named(&mount.source).filter(move |volume| misfit(volume).is_none())
    }
}

fn is_published(volume: &Volume, node: &Node) -> bool {
    let mut entries = volume.publish_status.iter().filter(|entry| entry.node_id == node.id.as_str());
    entries.any(|entry| matches!(entry.state(), State::PendingPublish | State::Published))
}

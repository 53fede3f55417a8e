//! The decision: what is to be done about a volume.

use std::collections::BTreeSet;

use swarmkit_api::{Node, NodeId, Volume, wire::volume_publish_status::State as Publish};
use swarmkit_store::State;

/// What is to be done about a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Its plugin has to make it.
    Create,
    /// It has to be attached to nodes, and detached from others.
    Move { publish: BTreeSet<NodeId>, unpublish: BTreeSet<NodeId> },
    /// Its plugin has to delete it; then it goes from the store.
    Delete,
}

impl Work {
    /// What has to be done now. `None`: nothing, until the volume, or a node that it is on, is different.
    ///
    /// A volume that is to be deleted before it was made is made first, if it can be: whether the plugin has made it
    /// already, and the answer was lost, is known to the plugin alone.
    pub(crate) fn on(volume: &Volume, state: &State) -> Option<Self> {
        if volume.volume_info.is_none() {
            return Some(Self::Create);
        }
        if volume.pending_delete && volume.publish_status.is_empty() {
            return Some(Self::Delete);
        }
        let (mut publish, mut unpublish) = (BTreeSet::new(), BTreeSet::new());
        for status in &volume.publish_status {
            let node = NodeId::from(status.node_id.as_str());
            match status.state() {
                Publish::PendingPublish => drop(publish.insert(node)),
                Publish::PendingUnpublish => drop(unpublish.insert(node)),
                // Nobody is left there to say that it is unmounted.
                Publish::PendingNodeUnpublish if state.get::<Node>(&node).is_none() => drop(unpublish.insert(node)),
                Publish::PendingNodeUnpublish | Publish::Published => {}
            }
        }
        let any = !publish.is_empty() || !unpublish.is_empty();
        any.then_some(Self::Move { publish, unpublish })
    }

    /// Whether it has something in it that `before` has not: then there is no reason to wait as long as `before` had to.
    pub(crate) fn goes_beyond(&self, before: Option<&Self>) -> bool {
        match (self, before) {
            (Self::Move { publish, unpublish }, Some(Self::Move { publish: had, unpublish: had_too })) => {
                !publish.is_subset(had) || !unpublish.is_subset(had_too)
            }
            (work, Some(before)) => work != before,
            (_, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::{VolumeId, wire};
    use swarmkit_testing as testing;

    use super::*;

    /// A volume on nodes, each with how far it has come there.
    fn volume(made: bool, deleted: bool, on: &[(&str, Publish)]) -> Volume {
        let mut volume = Volume::new(VolumeId::from("v"));
        volume.volume_info = made.then(wire::VolumeInfo::default);
        volume.pending_delete = deleted;
        let status = |(node, state): &(&str, Publish)| wire::VolumePublishStatus {
            node_id: (*node).to_owned(),
            state: (*state).into(),
            ..Default::default()
        };
        volume.publish_status = on.iter().map(status).collect();
        volume
    }

    fn told(volume: &Volume) -> String {
        let list = |nodes: &BTreeSet<NodeId>| nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(",");
        match Work::on(volume, &testing::world("node a; node b; node c")) {
            None => "nothing".to_owned(),
            Some(Work::Create) => "create".to_owned(),
            Some(Work::Delete) => "delete".to_owned(),
            Some(Work::Move { publish, unpublish }) => format!("+{} -{}", list(&publish), list(&unpublish)),
        }
    }

    #[test]
    fn a_volume_is_made_then_moved_and_deleted_when_it_is_nowhere() {
        let there = &[("a", Publish::Published)];
        for (made, deleted, on, expected) in [
            (false, false, &[][..], "create"),
            (false, true, &[], "create"),
            (true, false, &[], "nothing"),
            (true, true, &[], "delete"),
            (true, false, there, "nothing"),
            (true, true, there, "nothing"),
            (true, false, &[("b", Publish::PendingPublish), ("a", Publish::PendingUnpublish)], "+b -a"),
            (true, true, &[("a", Publish::PendingUnpublish)], "+ -a"),
        ] {
            assert_eq!(told(&volume(made, deleted, on)), expected, "{made} {deleted} {on:?}");
        }
    }

    #[test]
    fn a_node_that_is_there_is_waited_for_and_one_that_is_gone_is_not() {
        let unmounting = |node| volume(true, false, &[(node, Publish::PendingNodeUnpublish)]);
        assert_eq!(told(&unmounting("a")), "nothing");
        assert_eq!(told(&unmounting("gone")), "+ -gone");
    }

    #[test]
    fn only_more_to_do_is_a_reason_not_to_wait() {
        let work = |on: &[(&str, Publish)]| Work::on(&volume(true, false, on), &testing::world("node a"));
        let (one, two) = (("a", Publish::PendingPublish), ("b", Publish::PendingPublish));
        let both = work(&[one, two]).unwrap();
        assert!(both.goes_beyond(work(&[one]).as_ref()));
        assert!(both.goes_beyond(None) && both.goes_beyond(Some(&Work::Create)));
        assert!(!both.goes_beyond(Some(&both)) && !work(&[one]).unwrap().goes_beyond(Some(&both)));
        assert!(!Work::Create.goes_beyond(Some(&Work::Create)));
    }
}

//! Whether one volume can serve one mount on one node.

use swarmkit_api::{
    Node, NodeId, Volume,
    wire::{
        Topology, VolumeInfo,
        volume_access_mode::{Scope, Sharing},
        volume_publish_status::State,
        volume_spec::VolumeAvailability,
    },
};

use super::Users;

/// Why a volume cannot serve a mount on a node, in the order in which it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Misfit {
    /// It is paused or drained.
    NotActive,
    /// It is being taken from the node, and would be gone from under the task.
    Leaving,
    /// It is for one node at a time, and a task on another one has it.
    OnOtherNode,
    /// It is for one task at a time, and one has it.
    Taken,
    /// It is for one that writes at a time, and there is one.
    HasWriter,
    /// It is only to be read, and the task would write.
    OnlyRead,
    /// It cannot be reached from the node.
    OutOfReach,
}

/// Why a volume cannot serve a mount on a node, beside those that have it. `None` if it can.
pub(crate) fn misfit(volume: &Volume, users: Option<&Users>, read_only: bool, node: &Node) -> Option<Misfit> {
    let mode = volume.spec.access_mode.as_ref();
    let scope = mode.map_or(Scope::SingleNode, |mode| mode.scope());
    let sharing = mode.map_or(Sharing::None, |mode| mode.sharing());
    if volume.spec.availability() != VolumeAvailability::Active {
        Some(Misfit::NotActive)
    } else if is_leaving(volume, &node.id) {
        Some(Misfit::Leaving)
    } else if scope == Scope::SingleNode && users.is_some_and(|users| users.elsewhere(&node.id)) {
        Some(Misfit::OnOtherNode)
    } else if let Some(refused) = refused_by(sharing, users, read_only) {
        Some(refused)
    } else if !within_reach(volume, node) {
        Some(Misfit::OutOfReach)
    } else {
        None
    }
}

fn refused_by(sharing: Sharing, users: Option<&Users>, read_only: bool) -> Option<Misfit> {
    match sharing {
        Sharing::None => users.is_some_and(|users| users.count() > 0).then_some(Misfit::Taken),
        Sharing::ReadOnly => (!read_only).then_some(Misfit::OnlyRead),
        Sharing::OneWriter => (!read_only && users.is_some_and(Users::write)).then_some(Misfit::HasWriter),
        Sharing::All => None,
    }
}

/// What is being taken from a node is not given there until it is gone. It would be published anew by nobody, since it
/// still has its entry.
pub(super) fn is_leaving(volume: &Volume, node: &NodeId) -> bool {
    let mut entries = volume.publish_status.iter().filter(|entry| entry.node_id == node.as_str());
    entries.any(|entry| matches!(entry.state(), State::PendingNodeUnpublish | State::PendingUnpublish))
}

/// Whether a node is in one of the places where the volume can be reached. A volume or a node that says nothing about
/// that is not kept out by it, as upstream.
fn within_reach(volume: &Volume, node: &Node) -> bool {
    let driver = volume.spec.driver.as_ref().map_or("", |driver| &driver.name);
    let of_driver = node.description.iter().flat_map(|description| &description.csi_info);
    let place = of_driver.filter(|info| info.plugin_name == driver).find_map(|info| info.accessible_topology.as_ref());
    let places = volume.volume_info.iter().flat_map(|VolumeInfo { accessible_topology, .. }| accessible_topology);
    let mut places = places.peekable();
    match place {
        Some(place) if places.peek().is_some() => places.any(|within| contains(within, place)),
        _ => true,
    }
}

/// Whether a place has all the segments of another; it may have more.
fn contains(within: &Topology, place: &Topology) -> bool {
    within.segments.iter().all(|(key, value)| place.segments.get(key).is_some_and(|at| at == value))
}

#[cfg(test)]
mod tests {
    use swarmkit_testing::world;

    use super::*;
    use crate::volumes::tests::known;

    /// Whether a volume can serve a mount on node `a`, which is in zone 1 and rack 2 as the driver `disks` has it.
    /// `web` writes to the volume, `log` reads it.
    #[track_caller]
    fn check(volume: &str, users: &str, mount: &str, expected: Option<Misfit>) {
        let nodes = "node a csi:disks=zone:1,rack:2 csi:other=zone:9; node b csi:disks=zone:2,rack:2; node c";
        let view = world(&format!("{nodes}; service web volume=v; service log reads=v; volume v {volume}; {users}"));
        let [a, c] = ["a", "c"].map(|id| view.get::<Node>(&id.into()).expect("the node is there"));
        let (volumes, id) = (known(&view), "v".into());
        let misfit = |node| misfit(volumes.get(&id).expect("it is there"), volumes.users(&id), mount == "reads", node);
        assert_eq!(misfit(a), expected);
        if expected == Some(Misfit::OutOfReach) {
            assert_eq!(misfit(c), None, "a node that does not say where it is, may be anywhere");
        }
    }

    #[test]
    fn a_volume_serves_a_node_within_reach_unless_something_hinders() {
        check("", "", "writes", None);
        check("pause", "", "reads", Some(Misfit::NotActive));
        check("drain", "", "reads", Some(Misfit::NotActive));
        check("unused=a", "", "reads", Some(Misfit::Leaving));
        check("unpublished=a", "", "reads", Some(Misfit::Leaving));
        check("unused=b pending=c published=a", "", "writes", None);
    }

    #[test]
    fn a_node_has_to_be_in_all_segments_of_one_of_the_places() {
        check("in=zone:1", "", "writes", None);
        check("in=zone:1,rack:2", "", "writes", None);
        check("in=zone:2", "", "writes", Some(Misfit::OutOfReach));
        check("in=zone:1,rack:1", "", "writes", Some(Misfit::OutOfReach));
        check("in=zone:1,row:1", "", "writes", Some(Misfit::OutOfReach));
        check("in=zone:2 in=rack:2", "", "writes", None);
        check("in=zone:9", "", "writes", Some(Misfit::OutOfReach));
    }

    #[test]
    fn one_for_a_single_node_stays_with_the_node_of_its_users() {
        check("sharing=all", "task log.1 on b given=v", "reads", Some(Misfit::OnOtherNode));
        check("sharing=all", "task web.1 on a given=v", "writes", None);
        check("sharing=all", "task web.1 on a given=v; task web.2 on b given=v", "writes", Some(Misfit::OnOtherNode));
        check("sharing=all multi", "task web.1 on b given=v", "writes", None);
        check("sharing=all", "task web.1 on b failed given=v", "writes", None);
        check("sharing=all", "task web.1 on b wants shutdown given=v", "writes", Some(Misfit::OnOtherNode));
    }

    #[test]
    fn how_it_may_be_shared_decides_beside_whom_it_serves() {
        check("multi sharing=none", "", "writes", None);
        check("multi sharing=none", "task log.1 on b given=v", "reads", Some(Misfit::Taken));
        check("multi sharing=none", "task log.1 on a given=v", "reads", Some(Misfit::Taken));
        check("multi sharing=read-only", "", "writes", Some(Misfit::OnlyRead));
        check("multi sharing=read-only", "task log.1 on b given=v", "reads", None);
        check("multi sharing=one-writer", "task web.1 on b given=v", "writes", Some(Misfit::HasWriter));
        check("multi sharing=one-writer", "task web.1 on b given=v", "reads", None);
        check("multi sharing=one-writer", "task log.1 on b given=v", "writes", None);
        check("multi sharing=all", "task web.1 on a given=v; task log.1 on b given=v", "writes", None);
    }
}

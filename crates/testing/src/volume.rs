//! Cluster volumes, and what nodes, services and tasks have of them.

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_api::{
    Volume, VolumeId,
    wire::{
        self, Mount, Topology, mount,
        volume_access_mode::{Scope, Sharing},
        volume_publish_status::State,
        volume_spec::VolumeAvailability,
    },
};

use crate::{NodeBuilder, ServiceBuilder, TaskBuilder, named};

/// A cluster volume that its driver, `disks`, has made. As upstream takes it to be unless told otherwise, it is for one
/// node and one user.
#[must_use]
pub fn volume(name: &str) -> Volume {
    let mut volume = Volume::new(VolumeId::from(name));
    volume.spec = Arc::new(wire::VolumeSpec {
        annotations: Some(named(name)),
        driver: Some(wire::Driver { name: "disks".to_owned(), ..Default::default() }),
        access_mode: Some(wire::VolumeAccessMode {
            access_type: Some(wire::volume_access_mode::AccessType::Mount(Default::default())),
            ..Default::default()
        }),
        ..Default::default()
    });
    volume.volume_info = Some(wire::VolumeInfo { volume_id: format!("csi-{name}"), ..Default::default() });
    volume
}

pub(crate) fn volume_word(mut volume: Volume, word: &str) -> Volume {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let spec = Arc::make_mut(&mut volume.spec);
    let mode = spec.access_mode.get_or_insert_default();
    match key {
        "active" => spec.set_availability(VolumeAvailability::Active),
        "pause" => spec.set_availability(VolumeAvailability::Pause),
        "drain" => spec.set_availability(VolumeAvailability::Drain),
        "group" => value.clone_into(&mut spec.group),
        "multi" => mode.set_scope(Scope::MultiNode),
        "sharing" => mode.set_sharing(sharing(value)),
        "in" => info(&mut volume).accessible_topology.push(topology(value)),
        "unmade" => volume.volume_info = None,
        "leaving" => volume.pending_delete = true,
        "pending" => volume.publish_status.push(entry(value, State::PendingPublish)),
        "published" => volume.publish_status.push(entry(value, State::Published)),
        "unused" => volume.publish_status.push(entry(value, State::PendingNodeUnpublish)),
        "unpublished" => volume.publish_status.push(entry(value, State::PendingUnpublish)),
        _ => panic!("a volume is not `{word}`"),
    }
    volume
}

fn info(volume: &mut Volume) -> &mut wire::VolumeInfo {
    volume.volume_info.as_mut().expect("a volume that was made")
}

fn sharing(text: &str) -> Sharing {
    match text {
        "none" => Sharing::None,
        "read-only" => Sharing::ReadOnly,
        "one-writer" => Sharing::OneWriter,
        "all" => Sharing::All,
        _ => panic!("`{text}` is no way to share a volume"),
    }
}

/// `zone:a,rack:1`.
fn topology(text: &str) -> Topology {
    let segments = text.split(',').filter_map(|segment| segment.split_once(':'));
    let segments: BTreeMap<_, _> = segments.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    assert!(!segments.is_empty(), "`{text}` is no topology");
    Topology { segments }
}

fn entry(node: &str, state: State) -> wire::VolumePublishStatus {
    wire::VolumePublishStatus { node_id: node.to_owned(), state: state.into(), ..Default::default() }
}

/// What a volume is in the words of [`crate::world`], as far as it changes.
pub(crate) fn told(volume: &Volume) -> String {
    let mut words = vec![format!("volume {}", volume.id)];
    match volume.spec.availability() {
        VolumeAvailability::Active => {}
        other => words.push(other.as_str_name().to_ascii_lowercase()),
    }
    for entry in &volume.publish_status {
        let state = match entry.state() {
            State::PendingPublish => "pending",
            State::Published => "published",
            State::PendingNodeUnpublish => "unused",
            State::PendingUnpublish => "unpublished",
        };
        words.push(format!("{state}={}", entry.node_id));
    }
    words.join(" ")
}

impl NodeBuilder {
    /// Where volumes of a driver can be reached from, such as `zone:a,rack:1`.
    pub fn csi(self, driver: &str, segments: &str) -> Self {
        self.description(|description| {
            description.csi_info.push(wire::NodeCsiInfo {
                plugin_name: driver.to_owned(),
                accessible_topology: Some(topology(segments)),
                ..Default::default()
            });
        })
    }
}

impl ServiceBuilder {
    /// With a cluster volume, by its name or as `group:` and a group, at `/volumes/` and a number.
    ///
    /// # Panics
    ///
    /// When it runs no container.
    pub fn cluster_volume(self, source: &str, readonly: bool) -> Self {
        self.container(|container| {
            let target = format!("/volumes/{}", container.mounts.len());
            let r#type = mount::Type::Cluster.into();
            container.mounts.push(Mount { r#type, source: source.to_owned(), target, readonly, ..Default::default() });
        })
    }
}

impl TaskBuilder {
    /// Given that volume for the first of its mounts of cluster volumes that has none yet.
    ///
    /// # Panics
    ///
    /// When there is no such mount.
    pub fn given_volume(self, id: &str) -> Self {
        self.with(|task| {
            let Some(wire::task_spec::Runtime::Container(container)) = &task.spec.runtime else {
                panic!("{} runs no container", task.id)
            };
            let mut mounts = container.mounts.iter().filter(|mount| mount.r#type() == mount::Type::Cluster);
            let mount = mounts.nth(task.volumes.len()).unwrap_or_else(|| panic!("{} mounts no more volumes", task.id));
            let (source, target) = (mount.source.clone(), mount.target.clone());
            task.volumes.push(wire::VolumeAttachment { id: id.to_owned(), source, target });
        })
    }
}

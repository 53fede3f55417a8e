//! What a task asks to have mounted, and what volumes are looked up by.

use swarmkit_api::{
    Volume,
    wire::{self, TaskSpec, mount},
};

/// What a mount says before the name of a group. As upstream.
const GROUP: &str = "group:";

/// What a mount names, and what volumes are looked up by. Both are case-sensitive, as upstream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// The volume of that name.
    Name(String),
    /// Any volume of that group. Those of no group are in the one with the empty name, as upstream.
    Group(String),
}

/// A mount of a cluster volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClusterMount {
    pub(crate) source: Source,
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

/// The mounts of cluster volumes that a task asks for, in its order.
pub(crate) fn cluster_mounts(spec: &TaskSpec) -> impl Iterator<Item = ClusterMount> {
    in_wire(spec).map(|mount| ClusterMount {
        source: Source::parse(&mount.source),
        target: mount.target.clone(),
        read_only: mount.readonly,
    })
}

/// Whether what was given to a task is only read by it. What it was given for no mount of its own, it may write to.
pub(super) fn only_reads(spec: &TaskSpec, given: &wire::VolumeAttachment) -> bool {
    in_wire(spec)
        .find(|mount| mount.source == given.source && mount.target == given.target)
        .is_some_and(|mount| mount.readonly)
}

fn in_wire(spec: &TaskSpec) -> impl Iterator<Item = &wire::Mount> {
    let mounts = swarmkit_executor::container_spec(spec).into_iter().flat_map(|container| &container.mounts);
    mounts.filter(|mount| mount.r#type() == mount::Type::Cluster)
}

// === impl Source ===

impl Source {
    pub(crate) fn parse(text: &str) -> Self {
        match text.strip_prefix(GROUP) {
            Some(group) => Self::Group(group.to_owned()),
            None => Self::Name(text.to_owned()),
        }
    }

    /// What a volume is found by.
    pub(crate) fn of(volume: &Volume) -> impl Iterator<Item = Self> {
        let name = volume.spec.annotations.iter().map(|annotations| Self::Name(annotations.name.clone()));
        name.chain([Self::Group(volume.spec.group.clone())])
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Group(group) => write!(f, "{GROUP}{group}"),
        }
    }
}

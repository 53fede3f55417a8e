//! What is mounted into a container.

use std::collections::BTreeMap;

use bollard::models::{
    self, MountBindOptions, MountBindOptionsPropagationEnum as EnginePropagation, MountTmpfsOptions, MountType,
    MountVolumeOptions, MountVolumeOptionsDriverConfig,
};
use swarmkit_api::{
    Task,
    wire::{
        ContainerSpec, Mount,
        mount::{BindOptions, Consistency, TmpfsOptions, Type, VolumeOptions, bind_options::Propagation},
    },
};
use swarmkit_executor::ExecError;

use super::{Offer, flag, number, refusals::Refusals, text};
use crate::{engine::Api, files::TaskFile};

/// The mounts of a container.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) list: Vec<models::Mount>,
    /// Memory with options, which engines take in this form only: the target, and the options as `mount` has them.
    pub(super) tmpfs: BTreeMap<String, String>,
}

/// What the specification mounts, and the files of secrets and configs.
pub(super) fn mounts(
    task: &Task,
    spec: &ContainerSpec,
    offer: &Offer<'_>,
    refused: &mut Refusals,
) -> Result<Mounts, ExecError> {
    let mut mounts = Mounts::default();
    for mount in &spec.mounts {
        refused.unless(!mount.target.is_empty(), "a mount without a target");
        misplaced(mount, refused);
        let with_options = mount.tmpfs_options.as_ref().is_some_and(|options| !options.options.is_empty());
        match mount.r#type() {
            Type::Tmpfs if with_options => drop(mounts.tmpfs.insert(mount.target.clone(), tmpfs_text(mount))),
            Type::Cluster => mounts.list.push(cluster(task, mount, offer)?),
            Type::Bind | Type::Volume | Type::Tmpfs | Type::Npipe => mounts.list.push(plain(mount, refused)),
        }
    }
    mounts.list.extend(offer.files.iter().map(file));
    Ok(mounts)
}

/// Refuses what means nothing for that kind of mount, or cannot be said of it.
fn misplaced(mount: &Mount, refused: &mut Refusals) {
    let kind = mount.r#type();
    let options = mount.tmpfs_options.as_ref().map(|options| options.options.as_str()).unwrap_or_default();
    let in_words = kind == Type::Tmpfs && !options.is_empty();
    let misplaced = [
        (mount.bind_options.is_some() && kind != Type::Bind, "bind options"),
        (mount.volume_options.is_some() && kind != Type::Volume, "volume options"),
        (mount.tmpfs_options.is_some() && kind != Type::Tmpfs, "tmpfs options"),
        (!mount.source.is_empty() && kind == Type::Tmpfs, "a source"),
        (in_words && mount.consistency() != Consistency::Default, "consistency"),
    ];
    for (_, name) in misplaced.into_iter().filter(|(is_so, _)| *is_so) {
        refused.unless(false, format!("{name} on the mount at {}", mount.target));
    }
}

/// A mount that the engine has a kind for.
fn plain(mount: &Mount, refused: &mut Refusals) -> models::Mount {
    let typ = match mount.r#type() {
        Type::Bind | Type::Cluster => MountType::BIND,
        Type::Volume => MountType::VOLUME,
        Type::Tmpfs => MountType::TMPFS,
        Type::Npipe => MountType::NPIPE,
    };
    models::Mount {
        typ: Some(typ),
        source: text(&mount.source),
        target: text(&mount.target),
        read_only: flag(mount.readonly),
        consistency: consistency(mount.consistency()),
        bind_options: mount.bind_options.as_ref().map(|options| bind(options, refused)),
        volume_options: mount.volume_options.as_ref().map(|options| volume(options, refused)),
        tmpfs_options: mount.tmpfs_options.as_ref().map(memory),
        image_options: None,
    }
}

fn consistency(consistency: Consistency) -> Option<String> {
    match consistency {
        Consistency::Default => None,
        Consistency::Consistent => Some("consistent".to_owned()),
        Consistency::Cached => Some("cached".to_owned()),
        Consistency::Delegated => Some("delegated".to_owned()),
    }
}

fn bind(options: &BindOptions, refused: &mut Refusals) -> MountBindOptions {
    let propagation = match options.propagation() {
        Propagation::Rprivate => EnginePropagation::RPRIVATE,
        Propagation::Private => EnginePropagation::PRIVATE,
        Propagation::Rshared => EnginePropagation::RSHARED,
        Propagation::Shared => EnginePropagation::SHARED,
        Propagation::Rslave => EnginePropagation::RSLAVE,
        Propagation::Slave => EnginePropagation::SLAVE,
    };
    refused.older_than(Api(1, 42), "making the source of a bind mount", options.createmountpoint);
    refused.older_than(Api(1, 44), "non-recursive read-only bind mounts", options.readonlynonrecursive);
    refused.older_than(Api(1, 44), "forced recursive read-only bind mounts", options.readonlyforcerecursive);
    MountBindOptions {
        propagation: Some(propagation),
        non_recursive: flag(options.nonrecursive),
        create_mountpoint: flag(options.createmountpoint),
        read_only_non_recursive: flag(options.readonlynonrecursive),
        read_only_force_recursive: flag(options.readonlyforcerecursive),
    }
}

fn volume(options: &VolumeOptions, refused: &mut Refusals) -> MountVolumeOptions {
    refused.older_than(Api(1, 45), "volume subpath", !options.subpath.is_empty());
    MountVolumeOptions {
        no_copy: flag(options.nocopy),
        labels: (!options.labels.is_empty()).then(|| options.labels.clone().into_iter().collect()),
        driver_config: options.driver_config.as_ref().map(|driver| MountVolumeOptionsDriverConfig {
            name: text(&driver.name),
            options: (!driver.options.is_empty()).then(|| driver.options.clone().into_iter().collect()),
        }),
        subpath: text(&options.subpath),
    }
}

fn memory(options: &TmpfsOptions) -> MountTmpfsOptions {
    MountTmpfsOptions { size_bytes: number(options.size_bytes), mode: number(options.mode.into()), options: None }
}

/// The options of mounted memory in the words of `mount`.
fn tmpfs_text(mount: &Mount) -> String {
    let options = mount.tmpfs_options.clone().unwrap_or_default();
    let mut words = Vec::new();
    if mount.readonly {
        words.push("ro".to_owned());
    }
    if options.mode != 0 {
        words.push(format!("mode={:o}", options.mode));
    }
    if options.size_bytes != 0 {
        words.push(format!("size={}", options.size_bytes));
    }
    words.push(options.options);
    words.join(",")
}

/// A volume of the cluster: the agent has published it on the node, and says where.
fn cluster(task: &Task, mount: &Mount, offer: &Offer<'_>) -> Result<models::Mount, ExecError> {
    let answers =
        |volume: &&swarmkit_api::wire::VolumeAttachment| volume.target == mount.target && volume.source == mount.source;
    let volume = task.volumes.iter().find(answers);
    let volume = volume.ok_or_else(|| {
        ExecError::rejected(format!("no cluster volume was chosen for {} at {}", mount.source, mount.target))
    })?;
    let path = offer.dependencies.volume(&volume.id)?;
    let source = path.to_str().ok_or_else(|| ExecError::rejected("the path of a cluster volume is not text"))?;
    Ok(models::Mount {
        typ: Some(MountType::BIND),
        source: text(source),
        target: text(&mount.target),
        read_only: flag(mount.readonly),
        consistency: consistency(mount.consistency()),
        ..Default::default()
    })
}

/// A secret or a config.
fn file(file: &TaskFile) -> models::Mount {
    models::Mount {
        typ: Some(MountType::BIND),
        source: text(&file.source.to_string_lossy()),
        target: text(&file.target),
        read_only: Some(true),
        ..Default::default()
    }
}

//! Mounts of a specification, decided.

use std::path::{Component, Path, PathBuf};

use swarmkit_api::{
    Task,
    wire::{self, mount},
};
use swarmkit_executor::{Dependencies, ExecError};

use super::{Attach, Attached, Decided, Directory, decide::Asked};

/// The mode of mounted memory that does not say one. As container engines have it.
const MEMORY_MODE: u32 = 0o1777;

/// Decides on every mount of a task, sorted so that none covers one that came before it.
pub(super) fn decide(
    task: &Task,
    spec: &wire::ContainerSpec,
    asked: &Asked<'_>,
    into: &mut Decided,
) -> Result<(), ExecError> {
    let mut attaches = Vec::new();
    for (number, mount) in spec.mounts.iter().enumerate() {
        let refuse = |what: String| ExecError::rejected(format!("mount {}: {what}", mount.target));
        let target = absolute(&mount.target).map_err(refuse)?;
        if attaches.iter().any(|attach: &Attach| attach.target == target) {
            return Err(refuse("two mounts have this target".to_owned()));
        }
        let what = match mount.r#type() {
            mount::Type::Bind => bind(mount, into).map_err(refuse)?,
            mount::Type::Volume => volume(mount, number, asked, into).map_err(refuse)?,
            mount::Type::Tmpfs => memory(mount).map_err(refuse)?,
            mount::Type::Npipe => return Err(refuse("named pipes are for Windows".to_owned())),
            mount::Type::Cluster => cluster(task, mount, asked.dependencies)?,
        };
        attaches.push(Attach { target, what, read_only: mount.readonly });
    }
    attaches.sort_by_key(|attach| attach.target.components().count());
    into.isolation.attaches.extend(attaches);
    Ok(())
}

/// A path that leads nowhere else.
fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain || text.contains('\0') {
        return Err(format!("{text:?} is not an absolute path"));
    }
    if path.parent().is_none() {
        return Err(format!("{text:?} is the root"));
    }
    Ok(path.components().collect())
}

fn bind(mount: &wire::Mount, into: &mut Decided) -> Result<Attached, String> {
    use mount::bind_options::Propagation;
    let source = PathBuf::from(&mount.source);
    if !source.is_absolute() || mount.source.contains('\0') {
        return Err(format!("source {:?} is not an absolute path", mount.source));
    }
    let options = mount.bind_options.unwrap_or_default();
    if !matches!(options.propagation(), Propagation::Rprivate | Propagation::Private) {
        return Err("a process cannot have a propagation other than private".to_owned());
    }
    if options.readonlynonrecursive {
        return Err("a process cannot have mounts that are read-only at the top alone".to_owned());
    }
    if options.createmountpoint {
        into.directories.push(Directory { path: source.clone(), like: None });
    } else if !source.exists() {
        return Err(format!("source {} does not exist on this machine", source.display()));
    }
    Ok(Attached::Path { source, recursive: !options.nonrecursive })
}

fn volume(mount: &wire::Mount, number: usize, asked: &Asked<'_>, into: &mut Decided) -> Result<Attached, String> {
    let options = mount.volume_options.clone().unwrap_or_default();
    if let Some(driver) = options.driver_config.filter(|driver| *driver != wire::Driver::default()) {
        if !matches!(driver.name.as_str(), "" | "local") {
            return Err(format!("a process cannot have volumes of the driver {:?}", driver.name));
        }
        if !driver.options.is_empty() {
            return Err("volumes are directories and have no driver options".to_owned());
        }
    }
    let mut source = if mount.source.is_empty() {
        asked.task_dir.join("volumes").join(number.to_string())
    } else {
        let mut bytes = mount.source.bytes();
        let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins
            || mount.source.len() > 255
            || !bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        {
            return Err(format!("{:?} is no name of a volume", mount.source));
        }
        asked.volumes_dir.join(&mount.source)
    };
    let fill = asked.image.filter(|_| !options.nocopy && options.subpath.is_empty());
    let like = fill.map(|image| (image.root.clone(), PathBuf::from(&mount.target)));
    into.directories.push(Directory { path: source.clone(), like });
    if !options.subpath.is_empty() {
        let below = Path::new(&options.subpath);
        if !below.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("the folder {:?} of the volume leads elsewhere", options.subpath));
        }
        source.push(below);
        into.directories.push(Directory { path: source.clone(), like: None });
    }
    Ok(Attached::Path { source, recursive: true })
}

fn memory(mount: &wire::Mount) -> Result<Attached, String> {
    if !mount.source.is_empty() {
        return Err("memory has no source".to_owned());
    }
    let options = mount.tmpfs_options.clone().unwrap_or_default();
    let size = u64::try_from(options.size_bytes).map_err(|_| "the size is negative".to_owned())?;
    let mode = if options.mode == 0 { MEMORY_MODE } else { options.mode };
    if mode > 0o7777 {
        return Err(format!("{mode:o} is no mode"));
    }
    let (mut exec, mut devices, mut set_user_id) = (false, false, false);
    for option in options.options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "exec" => exec = true,
            "noexec" => exec = false,
            "dev" => devices = true,
            "nodev" => devices = false,
            "suid" => set_user_id = true,
            "nosuid" => set_user_id = false,
            other => return Err(format!("a process cannot have memory with the option {other:?}")),
        }
    }
    Ok(Attached::Memory { size, mode, exec, devices, set_user_id })
}

/// The scheduler has chosen a volume, and the agent has published it.
fn cluster(task: &Task, mount: &wire::Mount, dependencies: &dyn Dependencies) -> Result<Attached, ExecError> {
    let chosen = task.volumes.iter().find(|volume| (&volume.source, &volume.target) == (&mount.source, &mount.target));
    let chosen = chosen
        .ok_or_else(|| ExecError::rejected(format!("mount {}: no cluster volume was chosen for it", mount.target)))?;
    let source = dependencies.volume(&chosen.id)?;
    Ok(Attached::Path { source, recursive: true })
}

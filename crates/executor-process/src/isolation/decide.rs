//! Whether a task is isolated, and what it then has of its own, decided from its specification.

use std::path::{Path, PathBuf};

use swarmkit_api::{Task, wire};
use swarmkit_executor::{Cause, Dependencies, DeviceFile, ExecError};

use super::{Attach, Attached, Isolation, Root, UserMap, mounts, texts};
use crate::{files::Placed, images::Image};

/// The kernel settings that namespaces have of their own, apart from those of the network.
const SYSCTLS: [&str; 9] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.domainname",
];
/// The beginning of the names of others.
const SYSCTLS_BELOW: &str = "fs.mqueue.";

/// What isolation is decided from, beside the specification.
pub(crate) struct Asked<'a> {
    pub(crate) dependencies: &'a dyn Dependencies,
    pub(crate) image: Option<&'a Image>,
    /// What belongs to the task alone, and goes with it.
    pub(crate) task_dir: &'a Path,
    /// Where volumes with a name are.
    pub(crate) volumes_dir: &'a Path,
    /// Who the task is, if a plain user isolates it.
    pub(crate) map: Option<UserMap>,
    /// The devices that it was given.
    pub(crate) devices: &'a [DeviceFile],
    /// Where its secrets and configs are, and where it looks for them.
    pub(crate) files: &'a [Placed],
}

/// What was decided, and what has to be there before the task starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) isolation: Isolation,
    /// Directories to make if they are not there.
    pub(crate) directories: Vec<Directory>,
    /// Files to write.
    pub(crate) texts: Vec<(PathBuf, String)>,
}

/// A directory that has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    /// A new one begins as this one, if that exists: below a root, which links do not lead out of.
    pub(crate) like: Option<(PathBuf, PathBuf)>,
}

/// The fields that are set and that only isolation can give.
pub(crate) fn needs(task: &Task, spec: &wire::ContainerSpec) -> Vec<&'static str> {
    let fields = [
        ("hostname", !spec.hostname.is_empty()),
        ("read-only root", spec.read_only),
        ("mounts", !spec.mounts.is_empty()),
        ("hosts", !spec.hosts.is_empty()),
        (
            "DNS configuration",
            spec.dns_config.as_ref().is_some_and(|dns| *dns != wire::container_spec::DnsConfig::default()),
        ),
        ("sysctls", !spec.sysctls.is_empty()),
        ("cluster volumes", !task.volumes.is_empty()),
    ];
    fields.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect()
}

/// Decides what a task has of its own.
///
/// # Errors
///
/// [`ExecError::Rejected`] for what cannot be, and [`ExecError::Temporary`] for a volume that is not there yet.
pub(crate) fn decide(task: &Task, spec: &wire::ContainerSpec, asked: &Asked<'_>) -> Result<Decided, ExecError> {
    let root = match asked.image {
        None => Root::Machine,
        Some(image) => Root::Layers { lower: image.root.clone(), own: asked.task_dir.join("root") },
    };
    let isolation = Isolation {
        root,
        read_only: spec.read_only,
        map: asked.map,
        hostname: hostname(spec).map_err(ExecError::rejected)?,
        attaches: Vec::new(),
        sysctls: spec.sysctls.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        init: spec.init.unwrap_or(true),
    };
    for name in isolation.sysctls.keys() {
        let own = SYSCTLS.contains(&name.as_str()) || name.starts_with(SYSCTLS_BELOW);
        if !own || name.contains(['/', '\0']) {
            return Err(ExecError::rejected(format!("a process cannot have the sysctl {name}: it is the machine's")));
        }
    }
    let mut decided = Decided { isolation, directories: Vec::new(), texts: Vec::new() };
    surroundings(spec, asked, &mut decided).map_err(ExecError::rejected)?;
    mounts::decide(task, spec, asked, &mut decided)?;
    if asked.image.is_some() {
        for file in asked.files {
            decided.attach(&file.source, file.target.clone(), true);
        }
        for device in asked.devices {
            decided.attach(Path::new(&device.path), PathBuf::from(&device.path), false);
        }
    }
    Ok(decided)
}

impl Decided {
    fn attach(&mut self, source: &Path, target: PathBuf, read_only: bool) {
        let what = Attached::Path { source: source.to_owned(), recursive: true };
        self.isolation.attaches.push(Attach { target, what, read_only });
    }

    /// A file of the task's own with that text, mounted at `target`.
    fn text(&mut self, asked: &Asked<'_>, target: &str, text: String) {
        let name = target.rsplit('/').next().unwrap_or(target);
        let source = asked.task_dir.join("etc").join(name);
        self.attach(&source, PathBuf::from(target), false);
        self.texts.push((source, text));
    }
}

/// What an image cannot know: the host's name, the table of hosts, and how names are resolved.
fn surroundings(spec: &wire::ContainerSpec, asked: &Asked<'_>, decided: &mut Decided) -> Result<(), Cause> {
    let hostname = decided.isolation.hostname.clone();
    let has_image = asked.image.is_some();
    let machine = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    if has_image || hostname.is_some() || !spec.hosts.is_empty() {
        let text = texts::hosts(&machine("/etc/hosts"), &spec.hosts, hostname.as_deref())?;
        decided.text(asked, "/etc/hosts", text);
    }
    let dns = spec.dns_config.clone().unwrap_or_default();
    if has_image || dns != wire::container_spec::DnsConfig::default() {
        let text = texts::resolver(&machine("/etc/resolv.conf"), &dns)?;
        decided.text(asked, "/etc/resolv.conf", text);
    }
    if let Some(hostname) = hostname.filter(|_| has_image || Path::new("/etc/hostname").exists()) {
        decided.text(asked, "/etc/hostname", format!("{hostname}\n"));
    }
    Ok(())
}

fn hostname(spec: &wire::ContainerSpec) -> Result<Option<String>, Cause> {
    let name = &spec.hostname;
    if name.is_empty() {
        return Ok(None);
    }
    let fine = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if fine { Ok(Some(name.clone())) } else { Err(format!("{name:?} cannot be a host name").into()) }
}

//! What exactly is to be run, decided from the task's specification. Pure, apart from looking for the program.

mod program;
mod refusals;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    process::{Resource, Signal},
    thread::CapabilitySet,
};
use serde::{Deserialize, Serialize};
use swarmkit_api::{Task, resources, wire};
use swarmkit_executor::{Cause, Dependencies, DeviceFile, ExecError, container_spec, stop_grace};

use crate::{
    capabilities,
    files::Placed,
    images::Image,
    isolation::{self, Asked, Directory, Isolation, IsolationMode, UserMap},
    logs::LogLimits,
    signals,
    users::{User, Users},
};

pub(crate) use program::find as find_program;

/// Where programs are looked for, unless the task's environment says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that the supervisor of a task needs to know to run it. Kept in the task's directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The id of the task.
    pub(crate) task: String,
    /// The file to execute.
    pub(crate) program: PathBuf,
    /// The arguments, the program's name first.
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) dir: PathBuf,
    /// Who to become. `None` to stay who the executor is.
    pub(crate) identity: Option<Identity>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) oom_score_adj: i64,
    /// The cgroups to enter.
    pub(crate) cgroups: Vec<PathBuf>,
    pub(crate) logs: LogLimits,
    /// What it has of its own. `None` for a plain process of the machine.
    #[serde(default)]
    pub(crate) isolation: Option<Isolation>,
    /// Which of root's capabilities it keeps, as bits. `None` for all that there are.
    #[serde(default)]
    pub(crate) capabilities: Option<u64>,
    /// It cannot gain rights by running a program that has some.
    #[serde(default)]
    pub(crate) no_new_privileges: bool,
    /// The signal that its image wants to be stopped by.
    #[serde(default)]
    pub(crate) stop_signal: Option<i32>,
}

/// Who a process becomes before it runs its program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// One limit of `setrlimit`. `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rlimit {
    pub(crate) name: String,
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
}

/// What the machine offers to a task.
pub(crate) struct Offer<'a> {
    /// The user that the executor runs as. Only user 0 can run tasks as others.
    pub(crate) own: &'a User,
    pub(crate) users: &'a Users,
    /// Where this task's secrets are found.
    pub(crate) secrets_dir: &'a Path,
    /// Where this task's configs are found.
    pub(crate) configs_dir: &'a Path,
    pub(crate) logs: LogLimits,
    /// The hard limit of the executor. `None` is unlimited.
    pub(crate) ceiling: fn(Resource) -> Option<u64>,
    pub(crate) mode: IsolationMode,
    /// Why tasks cannot be isolated here, if that is so.
    pub(crate) isolation: &'a Result<(), String>,
    /// Who isolated tasks are, if the executor is not root.
    pub(crate) map: Option<UserMap>,
    /// What the executor may do.
    pub(crate) capabilities: CapabilitySet,
    /// The image that the task asks for, if it is one.
    pub(crate) image: Option<&'a Image>,
    /// What belongs to the task alone, and goes with it.
    pub(crate) task_dir: &'a Path,
    /// Where volumes with a name are.
    pub(crate) volumes_dir: &'a Path,
    pub(crate) dependencies: &'a dyn Dependencies,
    /// The devices that the task was given.
    pub(crate) devices: &'a [DeviceFile],
    /// The files of its secrets and configs.
    pub(crate) files: &'a [Placed],
}

/// A plan, and what has to be there before it is carried out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    /// Directories to make if they are not there.
    pub(crate) directories: Vec<Directory>,
    /// Files to write.
    pub(crate) texts: Vec<(PathBuf, String)>,
}

/// How to stop a task politely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) signal: Signal,
    pub(crate) grace: Duration,
}

impl Plan {
    /// Decides how to run a task, or says why this machine cannot.
    ///
    /// Cgroups are left to the caller.
    pub(crate) fn decide(task: &Task, offer: &Offer<'_>) -> Result<Planned, ExecError> {
        let spec = container_spec(&task.spec).ok_or_else(|| ExecError::rejected("unsupported runtime"))?;
        let is_isolated = refusals::check(task, spec, offer)?;
        Stop::of(task)?;
        let user = user(spec, offer).map_err(ExecError::rejected)?;
        let env = environment(task, spec, &user, offer);
        let argv = command(spec, offer.image);
        let name = argv.first().ok_or_else(|| ExecError::rejected("a process needs a command"))?;
        let said = [spec.dir.as_str(), offer.image.map_or("", |image| &image.config.dir), "/"];
        let dir = PathBuf::from(said.into_iter().find(|dir| !dir.is_empty()).unwrap_or("/"));
        let program = if is_isolated && (offer.image.is_some() || !spec.mounts.is_empty()) {
            // It is seen inside only.
            PathBuf::new()
        } else {
            let path = env.get("PATH").map_or(PATH, String::as_str);
            program::find(name, path, &dir).map_err(ExecError::rejected)?
        };
        let mut plan = Self {
            task: task.id.to_string(),
            program,
            argv,
            dir,
            identity: identity(spec, offer, &user).map_err(ExecError::rejected)?,
            env,
            rlimits: rlimits(spec, offer).map_err(ExecError::rejected)?,
            oom_score_adj: spec.oom_score_adj,
            cgroups: Vec::new(),
            logs: offer.logs.for_driver(task.log_driver.as_ref()).map_err(ExecError::rejected)?,
            isolation: None,
            capabilities: kept(spec, offer).map_err(ExecError::rejected)?,
            no_new_privileges: spec.privileges.as_ref().is_some_and(|privileges| privileges.no_new_privileges),
            stop_signal: offer.image.and_then(|image| Some(signals::parse(&image.config.stop_signal)?.as_raw())),
        };
        if !is_isolated {
            return Ok(Planned { plan, directories: Vec::new(), texts: Vec::new() });
        }
        // A plain user has one to give: the task is the one that it wants to be, as far as it can see.
        let own = |map: UserMap| match offer.image {
            Some(_) => UserMap { uid: user.uid, gid: user.gid, ..map },
            None => map,
        };
        let asked = Asked {
            dependencies: offer.dependencies,
            image: offer.image,
            task_dir: offer.task_dir,
            volumes_dir: offer.volumes_dir,
            map: offer.map.map(own),
            devices: offer.devices,
            files: offer.files,
        };
        let isolation::Decided { isolation, directories, texts } = isolation::decide(task, spec, &asked)?;
        plan.isolation = Some(isolation);
        Ok(Planned { plan, directories, texts })
    }
}

impl Stop {
    /// How a task wants to be stopped.
    pub(crate) fn of(task: &Task) -> Result<Self, ExecError> {
        let wanted = container_spec(&task.spec).map_or("", |spec| spec.stop_signal.as_str());
        let signal = match wanted {
            "" => Signal::TERM,
            text => signals::parse(text).ok_or_else(|| ExecError::rejected(format!("unknown stop signal {text:?}")))?,
        };
        Ok(Self { signal, grace: stop_grace(&task.spec) })
    }
}

impl Rlimit {
    /// The limits that there are, by the names that container engines use.
    const RESOURCES: [(&str, Resource); 16] = [
        ("as", Resource::As),
        ("core", Resource::Core),
        ("cpu", Resource::Cpu),
        ("data", Resource::Data),
        ("fsize", Resource::Fsize),
        ("locks", Resource::Locks),
        ("memlock", Resource::Memlock),
        ("msgqueue", Resource::Msgqueue),
        ("nice", Resource::Nice),
        ("nofile", Resource::Nofile),
        ("nproc", Resource::Nproc),
        ("rss", Resource::Rss),
        ("rtprio", Resource::Rtprio),
        ("rttime", Resource::Rttime),
        ("sigpending", Resource::Sigpending),
        ("stack", Resource::Stack),
    ];

    pub(crate) fn resource(name: &str) -> Option<Resource> {
        Self::RESOURCES.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource)
    }

    /// Reads a limit. `ceiling` tells the hard limit of the executor itself, which no task goes beyond.
    fn new(limit: &wire::container_spec::Ulimit, ceiling: fn(Resource) -> Option<u64>) -> Result<Self, Cause> {
        let name = &limit.name;
        let resource = Self::resource(name).ok_or_else(|| format!("unknown ulimit {name:?}"))?;
        let (soft, hard) = (u64::try_from(limit.soft).ok(), u64::try_from(limit.hard).ok());
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(format!("ulimit {name}: the soft limit is above the hard one").into());
        }
        if let Some(ceiling) = ceiling(resource)
            && hard.is_none_or(|hard| hard > ceiling)
        {
            let hard = hard.map_or_else(|| "unlimited".to_owned(), |hard| hard.to_string());
            return Err(format!("ulimit {name}: the hard limit {hard} is above that of the node, {ceiling}").into());
        }
        Ok(Self { name: limit.name.clone(), soft, hard })
    }
}

fn rlimits(spec: &wire::ContainerSpec, offer: &Offer<'_>) -> Result<Vec<Rlimit>, Cause> {
    spec.ulimits.iter().map(|limit| Rlimit::new(limit, offer.ceiling)).collect()
}

/// What is run: the command with its arguments; of an image also its own, where the task does not say another one.
fn command(spec: &wire::ContainerSpec, image: Option<&Image>) -> Vec<String> {
    let (before, after) = match image {
        Some(image) if spec.command.is_empty() => {
            let args = if spec.args.is_empty() { &image.config.cmd } else { &spec.args };
            (&image.config.entrypoint, args)
        }
        _ => (&spec.command, &spec.args),
    };
    before.iter().chain(after).cloned().collect()
}

/// The capabilities that the task keeps. Within a user namespace there are all of them, of which none reaches outside.
fn kept(spec: &wire::ContainerSpec, offer: &Offer<'_>) -> Result<Option<u64>, Cause> {
    let is_mapped = offer.image.is_some() && offer.map.is_some();
    if is_mapped && !spec.capability_add.is_empty() {
        return Err(format!("capability {}: only root has some to give", spec.capability_add[0]).into());
    }
    let own = if is_mapped { CapabilitySet::all() } else { offer.capabilities };
    capabilities::kept(spec, offer.image.is_some(), own)
}

/// The user that the task asks for, or its image, or the executor's own.
fn user(spec: &wire::ContainerSpec, offer: &Offer<'_>) -> Result<User, Cause> {
    if let Some(image) = offer.image {
        let text = if spec.user.is_empty() { &image.config.user } else { &spec.user };
        return Ok(image.users.find(if text.is_empty() { "0:0" } else { text })?);
    }
    if spec.user.is_empty() {
        return Ok(offer.own.clone());
    }
    let user = offer.users.find(&spec.user)?;
    let same = (user.uid, user.gid) == (offer.own.uid, offer.own.gid);
    if offer.own.uid != 0 && !same {
        return Err(format!(
            "cannot run as user {:?}: this node runs as user {}, and only root can change that",
            spec.user, offer.own.uid
        )
        .into());
    }
    Ok(user)
}

/// Who to become, if that is another one than the executor.
fn identity(spec: &wire::ContainerSpec, offer: &Offer<'_>, user: &User) -> Result<Option<Identity>, Cause> {
    if offer.own.uid != 0 {
        return if spec.groups.is_empty() {
            Ok(None)
        } else {
            Err(format!("cannot join groups: this node runs as user {}, and only root can", offer.own.uid).into())
        };
    }
    if offer.image.is_none() && spec.user.is_empty() && spec.groups.is_empty() {
        return Ok(None);
    }
    let users = offer.image.map_or(offer.users, |image| &image.users);
    let mut groups = user.groups.clone();
    for group in &spec.groups {
        groups.push(users.group(group)?);
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(Some(Identity { uid: user.uid, gid: user.gid, groups }))
}

/// The environment: a small base, what tells the task who it is, what it was given, and above all what it asks for.
///
/// An image's own variables are part of the base. An entry without `=` takes a variable of the base away. The task's id
/// stays whatever it asks for.
fn environment(task: &Task, spec: &wire::ContainerSpec, user: &User, offer: &Offer<'_>) -> BTreeMap<String, String> {
    let id = |id: Option<&str>| id.unwrap_or_default().to_owned();
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOME".to_owned(), user.home.clone()),
        ("SWARMKIT_TASK_NAME".to_owned(), task.name()),
        ("SWARMKIT_TASK_SLOT".to_owned(), task.slot.to_string()),
        ("SWARMKIT_SERVICE_ID".to_owned(), id(task.service_id.as_ref().map(AsRef::as_ref))),
        ("SWARMKIT_SERVICE_NAME".to_owned(), task.service_annotations.name.clone()),
        ("SWARMKIT_NODE_ID".to_owned(), id(task.node_id.as_ref().map(AsRef::as_ref))),
    ]);
    if let Some(name) = &user.name {
        env.insert("USER".to_owned(), name.clone());
    }
    for entry in offer.image.iter().flat_map(|image| &image.config.env) {
        if let Some((name, value)) = entry.split_once('=') {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    if !spec.secrets.is_empty() {
        env.insert("SWARMKIT_SECRETS_DIR".to_owned(), offer.secrets_dir.to_string_lossy().into_owned());
    }
    if !spec.configs.is_empty() {
        env.insert("SWARMKIT_CONFIGS_DIR".to_owned(), offer.configs_dir.to_string_lossy().into_owned());
    }
    env.extend(resources::environment(&task.assigned_generic_resources));
    for entry in &spec.env {
        match entry.split_once('=') {
            Some((name, value)) => drop(env.insert(name.to_owned(), value.to_owned())),
            None => drop(env.remove(entry)),
        }
    }
    // By this the processes of a task are found, should its supervisor be gone.
    env.insert("SWARMKIT_TASK_ID".to_owned(), task.id.to_string());
    env
}

#[cfg(test)]
mod tests;

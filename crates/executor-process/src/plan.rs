//! What exactly is to be run, decided from the task's specification. Pure, apart from looking for the program.

mod program;
mod refusals;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use swarmkit_api::{Task, resources, wire};
use swarmkit_executor::{Cause, ExecError, container_spec, stop_grace};

use crate::{
    logs::LogLimits,
    signals,
    users::{User, Users},
};

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
#[derive(Clone, Debug)]
pub(crate) struct Offer<'a> {
    /// The user that the executor runs as. Only user 0 can run tasks as others.
    pub(crate) own: &'a User,
    pub(crate) users: &'a Users,
    /// Where this task's secrets are found.
    pub(crate) secrets_dir: &'a Path,
    /// Where this task's configs are found.
    pub(crate) configs_dir: &'a Path,
    pub(crate) logs: LogLimits,
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
    pub(crate) fn new(task: &Task, offer: &Offer<'_>) -> Result<Self, ExecError> {
        let spec = container_spec(&task.spec).ok_or_else(|| ExecError::rejected("unsupported runtime"))?;
        refusals::check(task, spec)?;
        Stop::of(task)?;
        let user = user(spec, offer).map_err(ExecError::rejected)?;
        let env = environment(task, spec, &user, offer);
        let argv: Vec<String> = spec.command.iter().chain(&spec.args).cloned().collect();
        let name = argv.first().ok_or_else(|| ExecError::rejected("a process needs a command"))?;
        let dir = if spec.dir.is_empty() { PathBuf::from("/") } else { PathBuf::from(&spec.dir) };
        let path = env.get("PATH").map_or(PATH, String::as_str);
        let program = program::find(name, path, &dir).map_err(ExecError::rejected)?;
        Ok(Self {
            task: task.id.to_string(),
            program,
            argv,
            dir,
            identity: identity(spec, offer, &user).map_err(ExecError::rejected)?,
            env,
            rlimits: spec.ulimits.iter().map(Rlimit::new).collect::<Result<_, _>>().map_err(ExecError::rejected)?,
            oom_score_adj: spec.oom_score_adj,
            cgroups: Vec::new(),
            logs: offer.logs.for_driver(task.log_driver.as_ref()).map_err(ExecError::rejected)?,
        })
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
    /// The names that `setrlimit` knows, as container engines spell them.
    pub(crate) const NAMES: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];

    fn new(limit: &wire::container_spec::Ulimit) -> Result<Self, Cause> {
        if !Self::NAMES.contains(&limit.name.as_str()) {
            return Err(format!("unknown ulimit {:?}", limit.name).into());
        }
        let (soft, hard) = (u64::try_from(limit.soft).ok(), u64::try_from(limit.hard).ok());
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(format!("ulimit {}: the soft limit is above the hard one", limit.name).into());
        }
        Ok(Self { name: limit.name.clone(), soft, hard })
    }
}

/// The user that the task asks for, or the executor's own.
fn user(spec: &wire::ContainerSpec, offer: &Offer<'_>) -> Result<User, Cause> {
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
    if spec.user.is_empty() && spec.groups.is_empty() {
        return Ok(None);
    }
    let mut groups = user.groups.clone();
    for group in &spec.groups {
        groups.push(offer.users.group(group)?);
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(Some(Identity { uid: user.uid, gid: user.gid, groups }))
}

/// The environment: a small base, what tells the task who it is, what it was given, and above all what it asks for.
///
/// An entry without `=` takes a variable of the base away. The task's id stays whatever it asks for.
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

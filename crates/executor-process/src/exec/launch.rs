//! The launcher of a command: becomes what the task is, and then the command's program.
//!
//! Standard input is a connection to the helper: the order comes through it, and afterwards it ends without a word when the
//! program takes over; whatever is written to it before is why that could not be.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::Command,
};

use rustix::{fs::Mode, process::Signal};
use serde::{Deserialize, Serialize};

use super::Order;
use crate::{
    plan::{self, Identity, Plan},
    supervisor::{Child, become_user, enter_limits, enter_task, start_watched},
    task_dir::TaskDir,
    users::{User, Users},
};

/// What the helper tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) order: Order,
    /// Where to find standard input. None: on standard output, which is a terminal.
    pub(super) stdin: Option<String>,
}

/// Why the program could not take over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// There is no such program.
    NotFound(String),
    /// There is one.
    NotExecutable(String),
    /// Anything else.
    Failed(String),
}

impl From<String> for Report {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// Returns only if the program could not take over.
pub(crate) fn run(dir: &TaskDir) -> i32 {
    let Ok(connection) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) else { return 1 };
    let connection = File::from(connection);
    match take_over(dir, &connection) {
        Ok(child) => {
            // It runs: the helper is told by the end of the connection.
            drop(connection);
            child.see_to_the_end_of_its_group()
        }
        Err(report) => {
            let text = serde_json::to_vec(&report).expect("invariant: a report can be written");
            (&connection).write_all(&text).ok();
            127
        }
    }
}

/// What [`read_launch`] reads.
pub(super) fn write_launch(mut to: impl io::Write, launch: &Launch) -> io::Result<()> {
    let text = serde_json::to_vec(launch)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(&text)
}

fn read_launch(mut from: impl io::Read) -> io::Result<Launch> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut text = Vec::new();
    from.take(u64::from(u32::from_be_bytes(length))).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Becomes the program, or starts it where only a child can be: in the namespaces of the task.
fn take_over(dir: &TaskDir, connection: &File) -> Result<Child, Report> {
    let helper = rustix::process::getppid();
    let launch = read_launch(connection).map_err(|error| format!("reading the order: {error}"))?;
    let plan = dir.plan().map_err(|error| format!("reading the plan: {error}"))?;
    let plan = plan.ok_or_else(|| "the task is not prepared".to_owned())?;
    let is_isolated = plan.isolation.is_some();
    rustix::process::setsid().map_err(|error| format!("opening a session: {error}"))?;
    take_stdin(&launch).map_err(|error| format!("opening standard input: {error}"))?;
    if !is_isolated {
        take_terminal(&launch).map_err(|error| format!("taking the terminal: {error}"))?;
    }
    enter_limits(&plan)?;
    // From here on files are the task's.
    enter_task(dir, &plan)?;
    let plan = amended(plan, &launch.order)?;
    if launch.order.terminal.is_some()
        && let Some(identity) = &plan.identity
    {
        // Programs that open their terminal by its name must be allowed to.
        let uid = Some(rustix::process::Uid::from_raw(identity.uid));
        rustix::fs::fchown(rustix::stdio::stdout(), uid, None).ok();
    }
    become_user(&plan)?;
    // After the change of user, which would take it back. The helper may have ended before.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    if rustix::process::getppid() != helper {
        return Err("the helper is gone".to_owned().into());
    }
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    rustix::process::chdir(&plan.dir).map_err(|error| format!("directory {}: {error}", plan.dir.display()))?;
    let name = &plan.argv[0];
    let path = plan.env.get("PATH").map_or("", String::as_str);
    let program = plan::find_program(name, path, &plan.dir).map_err(|error| missing(name, &error))?;
    let mut command = Command::new(&program);
    command.arg0(name).args(&plan.argv[1..]).env_clear().envs(&plan.env);
    let error = if is_isolated {
        match start_in_session(&mut command, launch) {
            Ok(child) => return Ok(child),
            Err(error) => error,
        }
    } else {
        command.exec()
    };
    let reason = format!("cannot run {}: {error}", program.display());
    Err(if error.kind() == io::ErrorKind::NotFound { Report::NotFound(reason) } else { Report::NotExecutable(reason) })
}

/// Starts the program in a session of its own, with the terminal if there is one, and to end with this process.
#[expect(unsafe_code, reason = "what runs between fork and exec is for the caller to bound")]
fn start_in_session(command: &mut Command, launch: Launch) -> io::Result<Child> {
    let prepare = move || {
        rustix::process::setsid()?;
        take_terminal(&launch)?;
        Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
    };
    // SAFETY: it makes three system calls and nothing else: it takes no memory and no lock, and touches no other thread.
    unsafe { command.pre_exec(prepare) };
    start_watched(command)
}

fn missing(name: &str, error: &dyn std::fmt::Display) -> Report {
    let reason = format!("cannot run {name}: {error}");
    // A path to something that is no program.
    if name.contains('/') && std::path::Path::new(name).exists() {
        Report::NotExecutable(reason)
    } else {
        Report::NotFound(reason)
    }
}

/// Takes standard input where the helper has put it.
fn take_stdin(launch: &Launch) -> io::Result<()> {
    match &launch.stdin {
        Some(path) => Ok(rustix::stdio::dup2_stdin(File::open(path)?)?),
        None => Ok(rustix::stdio::dup2_stdin(rustix::stdio::stdout())?),
    }
}

/// Makes it the terminal of our session, if it is one.
fn take_terminal(launch: &Launch) -> io::Result<()> {
    match launch.stdin {
        Some(_) => Ok(()),
        None => Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin().as_fd())?),
    }
}

/// The plan of the task as the order changes it.
fn amended(mut plan: Plan, order: &Order) -> Result<Plan, Report> {
    if !order.user.is_empty() {
        let user = Users::read().map_err(|error| error.to_string())?.find(&order.user)?;
        let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        if own.0 == 0 {
            let User { uid, gid, groups, .. } = user.clone();
            plan.identity = Some(Identity { uid, gid, groups });
        } else if (user.uid, user.gid) != own {
            return Err(format!(
                "cannot run as user {:?}: this node runs as user {}, and only root can change that",
                order.user, own.0
            )
            .into());
        }
        plan.env.insert("HOME".to_owned(), user.home);
        match user.name {
            Some(name) => drop(plan.env.insert("USER".to_owned(), name)),
            None => drop(plan.env.remove("USER")),
        }
    }
    if order.terminal.is_some() {
        plan.env.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
    }
    let task = plan.env.get("SWARMKIT_TASK_ID").cloned();
    for entry in &order.env {
        if let Some((name, value)) = entry.split_once('=') {
            plan.env.insert(name.to_owned(), value.to_owned());
        }
    }
    // By this what a command leaves behind is found, should its helper be gone.
    plan.env.extend(task.map(|task| ("SWARMKIT_TASK_ID".to_owned(), task)));
    if !order.dir.is_empty() {
        plan.dir = order.dir.clone().into();
    }
    plan.argv.clone_from(&order.args);
    if plan.argv.is_empty() {
        return Err("a command must be given".to_owned().into());
    }
    Ok(plan)
}

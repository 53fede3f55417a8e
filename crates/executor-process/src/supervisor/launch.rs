//! The launcher: becomes what the plan says, and then the task's program.
//!
//! Standard input is a connection to the supervisor. It ends without a word when the program takes over; whatever is written
//! to it before is why that could not be. For an isolated task the launcher starts another program instead, which is the
//! first one in the new namespaces (see [`super::inside`]), hands over to it, and ends.

use std::{
    convert::Infallible,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use rustix::{
    fs::Mode,
    process::{Gid, Rlimit, Signal, Uid},
};

use super::{inside, namespaces};
use crate::{
    capabilities,
    isolation::Isolation,
    plan::{self, Identity, Plan},
    task_dir::TaskDir,
};

/// Returns only if the program could not take over.
pub(super) fn run(dir: &TaskDir) -> i32 {
    let Ok(report) = report() else { return 1 };
    match become_program(dir, &report) {
        Ok(()) => 0,
        Err(reason) => {
            (&report).write_all(reason.as_bytes()).ok();
            127
        }
    }
}

/// The connection to the supervisor, out of the way of the program to come.
pub(super) fn report() -> io::Result<File> {
    Ok(File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?))
}

/// Returns well only if another program has taken over.
fn become_program(dir: &TaskDir, report: &File) -> Result<(), String> {
    let supervisor = rustix::process::getppid();
    let plan = dir.plan().map_err(|error| format!("reading the plan: {error}"))?.ok_or("there is no plan")?;
    rustix::process::setsid().map_err(|error| format!("opening a session: {error}"))?;
    limit(&plan)?;
    if let Some(isolation) = &plan.isolation {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
        return isolate(dir, &plan, isolation, report);
    }
    become_user(&plan)?;
    // After the change of user, which would take it back. The supervisor may have ended before.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    if rustix::process::getppid() != supervisor {
        return Err("the supervisor is gone".to_owned());
    }
    turn_into(&plan, &mut program(&plan)?).map(|never| match never {})
}

/// Makes the namespaces, and hands over to the first program in them.
fn isolate(dir: &TaskDir, plan: &Plan, isolation: &Isolation, report: &File) -> Result<(), String> {
    namespaces::enter_new(isolation.map).map_err(|error| format!("making namespaces: {error}"))?;
    if isolation.map.is_some() {
        // Or it would lose them by not being called root.
        capabilities::pass_on().map_err(|error| format!("passing on capabilities: {error}"))?;
    }
    let start = || {
        let mut first = Command::new(super::spawn::own_program());
        first.arg0("swarmkit-init").arg(inside::INSIDE).arg(dir.path());
        first.env_clear().env("SWARMKIT_TASK_ID", &plan.task).stdin(Stdio::from(report.try_clone()?));
        first.spawn()
    };
    let first = start().map_err(|error| format!("starting in new namespaces: {error}"))?;
    let handover = format!("\0{}\0", first.id());
    (&*report).write_all(handover.as_bytes()).map_err(|error| error.to_string())
}

/// Enters every limit while still being allowed to.
pub(crate) fn limit(plan: &Plan) -> Result<(), String> {
    enter_cgroups(plan)?;
    fs::write("/proc/self/oom_score_adj", plan.oom_score_adj.to_string())
        .map_err(|error| format!("setting the OOM score to {}: {error}", plan.oom_score_adj))?;
    for limit in &plan.rlimits {
        let resource = plan::Rlimit::resource(&limit.name).ok_or_else(|| format!("unknown ulimit {:?}", limit.name))?;
        let values = Rlimit { current: limit.soft, maximum: limit.hard };
        rustix::process::setrlimit(resource, values).map_err(|error| format!("ulimit {}: {error}", limit.name))?;
    }
    Ok(())
}

/// Joins the groups of the task.
pub(super) fn enter_cgroups(plan: &Plan) -> Result<(), String> {
    plan.cgroups.iter().try_for_each(|cgroup| {
        fs::write(cgroup.join("cgroup.procs"), "0")
            .map_err(|error| format!("entering the cgroup {}: {error}", cgroup.display()))
    })
}

/// Becomes the user of the task, with no more rights than the task has.
pub(crate) fn become_user(plan: &Plan) -> Result<(), String> {
    if let Some(kept) = plan.capabilities {
        capabilities::bound(kept).map_err(|error| format!("giving up capabilities: {error}"))?;
    }
    if let Some(identity) = &plan.identity {
        take(identity).map_err(|error| format!("becoming user {}:{}: {error}", identity.uid, identity.gid))?;
    }
    let is_mapped = plan.isolation.as_ref().is_some_and(|isolation| isolation.map.is_some());
    if plan.capabilities.is_some() || is_mapped {
        capabilities::settle(plan.capabilities).map_err(|error| format!("giving up capabilities: {error}"))?;
    }
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(|error| format!("giving up new privileges: {error}"))?;
    }
    Ok(())
}

/// The program in its directory. From here on relative paths are the task's.
pub(super) fn program(plan: &Plan) -> Result<Command, String> {
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    rustix::process::chdir(&plan.dir).map_err(|error| format!("directory {}: {error}", plan.dir.display()))?;
    let mut command = Command::new(&plan.program);
    command.arg0(&plan.argv[0]).args(&plan.argv[1..]).env_clear().envs(&plan.env).stdin(Stdio::null());
    Ok(command)
}

/// Becomes that program, or says why not.
pub(super) fn turn_into(plan: &Plan, program: &mut Command) -> Result<Infallible, String> {
    Err(format!("cannot run {}: {}", plan.program.display(), program.exec()))
}

fn take(identity: &Identity) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    // For this thread alone, which is the only one.
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

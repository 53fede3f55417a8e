//! The launcher: becomes what the plan says, and then the task's program.
//!
//! Standard input is a pipe to the supervisor. It ends without a word when the program takes over; whatever is written
//! to it before is why that could not be.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use rustix::{
    fs::Mode,
    process::{Gid, Resource, Rlimit, Signal, Uid},
};

use crate::{
    plan::{self, Identity, Plan},
    task_dir::TaskDir,
};

/// Returns only if the program could not take over.
pub(super) fn run(dir: &TaskDir) -> i32 {
    let Ok(report) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) else { return 1 };
    let Err(reason) = become_program(dir);
    File::from(report).write_all(reason.as_bytes()).ok();
    127
}

fn become_program(dir: &TaskDir) -> Result<std::convert::Infallible, String> {
    let supervisor = rustix::process::getppid();
    let plan = dir.plan().map_err(|error| format!("reading the plan: {error}"))?.ok_or("there is no plan")?;
    rustix::process::setsid().map_err(|error| format!("opening a session: {error}"))?;
    limit(&plan)?;
    if let Some(identity) = &plan.identity {
        take(identity).map_err(|error| format!("becoming user {}:{}: {error}", identity.uid, identity.gid))?;
    }
    // After the change of user, which would take it back. The supervisor may have ended before.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    if rustix::process::getppid() != supervisor {
        return Err("the supervisor is gone".to_owned());
    }
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    rustix::process::chdir(&plan.dir).map_err(|error| format!("directory {}: {error}", plan.dir.display()))?;
    let mut command = Command::new(&plan.program);
    command.arg0(&plan.argv[0]).args(&plan.argv[1..]).env_clear().envs(&plan.env).stdin(Stdio::null());
    Err(format!("cannot run {}: {}", plan.program.display(), command.exec()))
}

/// Enters every limit while still being allowed to.
fn limit(plan: &Plan) -> Result<(), String> {
    for cgroup in &plan.cgroups {
        fs::write(cgroup.join("cgroup.procs"), "0")
            .map_err(|error| format!("entering the cgroup {}: {error}", cgroup.display()))?;
    }
    fs::write("/proc/self/oom_score_adj", plan.oom_score_adj.to_string())
        .map_err(|error| format!("setting the OOM score to {}: {error}", plan.oom_score_adj))?;
    for limit in &plan.rlimits {
        let resource = resource(limit).ok_or_else(|| format!("unknown ulimit {:?}", limit.name))?;
        let values = Rlimit { current: limit.soft, maximum: limit.hard };
        rustix::process::setrlimit(resource, values).map_err(|error| format!("ulimit {}: {error}", limit.name))?;
    }
    Ok(())
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

fn resource(limit: &plan::Rlimit) -> Option<Resource> {
    let resources = [
        Resource::As,
        Resource::Core,
        Resource::Cpu,
        Resource::Data,
        Resource::Fsize,
        Resource::Locks,
        Resource::Memlock,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Nofile,
        Resource::Nproc,
        Resource::Rss,
        Resource::Rtprio,
        Resource::Rttime,
        Resource::Sigpending,
        Resource::Stack,
    ];
    plan::Rlimit::NAMES.iter().zip(resources).find(|(name, _)| **name == limit.name).map(|(_, resource)| resource)
}

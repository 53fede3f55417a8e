//! The first program in a task's namespaces: mounts what the plan says, and gives way to the task's program, or stays to
//! be its init.

mod base;
mod init;
mod mounts;

pub(super) use init::RUNS;
pub(crate) use init::{Child, start as start_watched};

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::Signal,
};

use super::launch;
use crate::{
    isolation::{Isolation, Root},
    plan::{Plan, find_program},
    task_dir::TaskDir,
};

/// The first argument of this program; the second is the task's directory.
pub(super) const INSIDE: &str = "--swarmkit-run-task-inside";

/// How many links may lead to one place. As the kernel has it.
const LINKS: usize = 40;

/// Returns only if the program could not take over, or after its end.
pub(super) fn run(dir: &TaskDir) -> i32 {
    let Ok(report) = launch::report() else { return 1 };
    match take_over(dir, &report) {
        Ok(child) => child.see_to_its_end(&report),
        Err(reason) => {
            (&report).write_all(reason.as_bytes()).ok();
            127
        }
    }
}

/// Starts the program as a child, or becomes it.
fn take_over(dir: &TaskDir, report: &File) -> Result<init::Child, String> {
    let told = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let mut plan = dir.plan().map_err(told("reading the plan"))?.ok_or("there is no plan")?;
    let isolation = plan.isolation.take().ok_or("the task is not isolated")?;
    rustix::process::setsid().map_err(|error| format!("opening a session: {error}"))?;
    mounts::set_up(&isolation)?;
    if isolation.root != Root::Machine {
        fs::create_dir_all(&plan.dir).map_err(|error| format!("directory {}: {error}", plan.dir.display()))?;
    }
    mounts::close(&isolation)?;
    settle(&isolation)?;
    plan.isolation = Some(isolation);
    launch::become_user(&plan)?;
    await_supervisor(report).map_err(|error| format!("waiting for the supervisor: {error}"))?;
    if plan.program.as_os_str().is_empty() {
        plan.program = find(&plan)?;
    }
    let mut program = launch::program(&plan)?;
    if plan.isolation.as_ref().is_some_and(|isolation| isolation.init) {
        // The copy of it that is standard input.
        let closed = File::open("/dev/null").and_then(|null| Ok(rustix::stdio::dup2_stdin(null)?));
        closed.map_err(told("closing standard input"))?;
        let child = init::start(&mut program);
        return child.map_err(|error| format!("cannot run {}: {error}", plan.program.display()));
    }
    launch::turn_into(&plan, &mut program).map(|never| match never {})
}

/// Mounts what every isolated task has.
pub(super) fn try_out() -> Result<(), String> {
    mounts::leave_machine()?;
    base::processes().map_err(|error| format!("mounting /proc: {error}"))
}

/// The program of an image, which only now can be seen.
pub(super) fn find(plan: &Plan) -> Result<PathBuf, String> {
    let path = plan.env.get("PATH").map_or("", String::as_str);
    find_program(&plan.argv[0], path, &plan.dir).map_err(|error| error.to_string())
}

/// What is set once the mounts are there.
fn settle(isolation: &Isolation) -> Result<(), String> {
    if let Some(hostname) = &isolation.hostname {
        rustix::system::sethostname(hostname.as_bytes()).map_err(|error| format!("setting the host name: {error}"))?;
    }
    Ok(())
}

/// Waits until the supervisor is our parent, and ends with it from then on. After the change of user, which would take
/// that back.
fn await_supervisor(mut supervisor: &File) -> io::Result<()> {
    let is_gone = || io::Error::other("it is gone");
    if supervisor.read(&mut [0; 1])? == 0 {
        return Err(is_gone());
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended just before.
    let mut fds = [PollFd::new(supervisor, PollFlags::OUT)];
    rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) { Err(is_gone()) } else { Ok(()) }
}

/// Makes sure that there is something to mount on. Inside of a root of the task's own only.
fn make_target(target: &Path, is_directory: bool) -> io::Result<()> {
    if target.exists() {
        return Ok(());
    }
    let directory = if is_directory { Some(target) } else { target.parent() };
    directory.map_or(Ok(()), |directory| make_directory(directory, LINKS))?;
    if is_directory {
        return Ok(());
    }
    // Through a link that leads to nothing too.
    File::options().write(true).create(true).truncate(false).open(target).map(drop)
}

/// Makes a directory and those above it; where there is a link that leads to nothing, what it leads to.
fn make_directory(path: &Path, links: usize) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directory(parent, links)?;
    }
    match fs::read_link(path) {
        Err(_) => fs::create_dir(path),
        Ok(_) if links == 0 => Err(rustix::io::Errno::LOOP.into()),
        Ok(to) => make_directory(&path.parent().unwrap_or(Path::new("/")).join(to), links - 1),
    }
}

//! Whether this machine lets us isolate tasks: found out by doing it.

use std::{
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::{inside, namespaces};
use crate::{isolation::UserMap, task_dir::TaskDir};

/// The first argument of this program; the second says which step it is.
pub(super) const PROBE: &str = "--swarmkit-probe-isolation";
/// In new namespaces already.
const INSIDE: &str = "inside";
/// Making them.
const OUTSIDE: &str = "outside";

/// How long it may take.
const PROBING: Duration = Duration::from_secs(10);

/// The map of a task of a plain user, who is the same inside and outside. `None` for root, who needs none.
pub(crate) fn own_map() -> Option<UserMap> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    (!uid.is_root() || !crate::capabilities::may_administer()).then(|| UserMap {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        outside_uid: uid.as_raw(),
        outside_gid: gid.as_raw(),
    })
}

/// Why tasks cannot be isolated, if that is so. `program` is the one that supervisors are started from.
pub(crate) async fn probe(program: &Path) -> Result<(), String> {
    let mut command = tokio::process::Command::new(program);
    command.args([PROBE, OUTSIDE]).env_clear().current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true);
    let told = match tokio::time::timeout(PROBING, command.output()).await {
        Err(_) => return Err("the machine does not say whether it can isolate".to_owned()),
        Ok(told) => told.map_err(|error| format!("{}: {error}", program.display()))?,
    };
    match (told.status.success(), String::from_utf8_lossy(&told.stdout).trim()) {
        (true, _) => Ok(()),
        (false, "") => Err(format!("{} cannot isolate tasks", program.display())),
        (false, reason) => Err(reason.to_owned()),
    }
}

/// Tries it.
pub(super) fn run(step: &TaskDir) -> i32 {
    let done = if step.path() == Path::new(INSIDE) { inside::try_out() } else { outside() };
    match done {
        Ok(()) => 0,
        Err(reason) => {
            writeln!(io::stdout(), "{reason}").ok();
            1
        }
    }
}

fn outside() -> Result<(), String> {
    let map = own_map();
    namespaces::enter_new(map).map_err(|error| format!("new namespaces are refused: {error}"))?;
    if map.is_some() {
        crate::capabilities::pass_on().map_err(|error| format!("capabilities are refused: {error}"))?;
    }
    let mut first = Command::new(super::spawn::own_program());
    let status =
        first.args([PROBE, INSIDE]).status().map_err(|error| format!("starting in new namespaces: {error}"))?;
    if status.success() { Ok(()) } else { Err(String::new()) }
}

//! A manager's log, and the tasks that the agent remembers.

use std::{fs, path::Path, sync::Arc};

use swarmkit_ca::UnlockKey;
use swarmkit_node::NodeError;
use swarmkit_raft::{Inspected, Inspector, ReadOnlyDisk};
use swarmkit_runtime::{Env, Spawner};

use super::finding::Finding;

const CHECK: &str = "log";
const TASKS: &str = "task database";
/// What the task database begins with.
const MAGIC: &[u8] = b"redb";

/// What was found in a log.
#[derive(Debug)]
pub(super) enum Log {
    /// There is none: a worker, or a node that has not begun.
    None,
    /// Its keys are locked.
    Locked,
    /// It cannot be read at all.
    Unreadable(String),
    /// It was read from end to end.
    Read {
        /// What is damaged, and where.
        damage: Vec<String>,
        /// How many entries there are, and how many members they name, if nothing is damaged.
        state: Option<(u64, usize)>,
    },
}

/// Reads the whole log, also below a node that runs.
pub(super) async fn look(state_dir: &Path, unlock: Option<UnlockKey>, env: &Env) -> Log {
    let folder = state_dir.join("raft");
    if !fs::read_dir(&folder).is_ok_and(|mut files| files.next().is_some()) {
        return Log::None;
    }
    let place = state_dir.to_owned();
    let keys = Spawner::blocking(move || swarmkit_node::log_keys(&place, unlock.as_ref())).await;
    let keys = match keys {
        Ok(Ok(keys)) => keys,
        Ok(Err(NodeError::Locked)) => return Log::Locked,
        Ok(Err(error)) => return Log::Unreadable(error.to_string()),
        Err(panicked) => return Log::Unreadable(panicked.to_string()),
    };
    let inspector = Inspector::new(Arc::new(ReadOnlyDisk::new(&folder)), keys, env.clone());
    let mut damage = Vec::new();
    let visit = |inspected| {
        if let Inspected::Damage(finding) = inspected {
            damage.push(finding.to_string());
        }
    };
    if let Err(error) = inspector.log(visit).await {
        return Log::Unreadable(error.to_string());
    }
    match inspector.snapshots().await {
        Ok(reports) => {
            damage.extend(reports.into_iter().filter_map(|report| Some(report.damage?.to_string())));
        }
        Err(error) => return Log::Unreadable(error.to_string()),
    }
    if !damage.is_empty() {
        return Log::Read { damage, state: None };
    }
    match inspector.replay(true).await {
        Ok(replayed) => Log::Read { damage, state: Some((replayed.applied, replayed.members.len())) },
        Err(error) => Log::Unreadable(error.to_string()),
    }
}

/// What is to be said of a log.
pub(super) fn judge(state_dir: &Path, log: &Log, manager: bool) -> Vec<Finding> {
    let shown = state_dir.display();
    match log {
        Log::None if manager => vec![
            Finding::problem(CHECK, "this node is a manager and has no log")
                .mend("start it with --join-addr HOST:PORT, so that it gets the log from the other managers"),
        ],
        Log::None => vec![Finding::skipped(CHECK, "only managers have one")],
        Log::Locked => vec![
            Finding::warning(CHECK, "the keys of the log are locked, so it could not be read")
                .mend("give the key: swarmd doctor --unlock-key-file FILE"),
        ],
        Log::Unreadable(error) => vec![Finding::problem(CHECK, error.clone())],
        Log::Read { damage, state: None } => damage
            .iter()
            .map(|what| {
                Finding::problem(CHECK, what.clone()).mend(format!(
                    "with other managers running, start the node: it gets a new log from them. To look closer: \
                     swarm-rafttool --state-dir {shown} verify"
                ))
            })
            .collect(),
        Log::Read { state: Some((applied, members)), .. } => {
            vec![Finding::ok(CHECK, format!("whole, entries up to {applied}, members: {members}"))]
        }
    }
}

/// The task database, by its first bytes: more cannot be looked at without writing to it.
pub(super) fn tasks(state_dir: &Path) -> Vec<Finding> {
    let folder = state_dir.join("worker");
    let mut findings = Vec::new();
    match fs::read(folder.join("tasks.redb")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.push(Finding::skipped(TASKS, "there is none: no task has been here"));
        }
        Err(error) => findings.push(Finding::problem(TASKS, format!("it cannot be read: {error}"))),
        // A node that was killed as it made the file makes it anew.
        Ok(bytes) if bytes.is_empty() || bytes.starts_with(MAGIC) => {
            findings.push(Finding::ok(TASKS, format!("{} KiB", bytes.len() / 1024)));
        }
        Ok(_) => findings.push(
            Finding::problem(TASKS, "worker/tasks.redb is something else than a database")
                .mend("start the node: it sets the file aside, and its managers send the tasks again"),
        ),
    }
    if folder.join("tasks.redb.damaged").exists() {
        let text = "a damaged one was set aside as worker/tasks.redb.damaged, mostly after a power cut";
        findings.push(Finding::warning(TASKS, text).mend("remove the file once nobody wants to look at it"));
    }
    findings
}

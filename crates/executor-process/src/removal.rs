//! Stopping a task, whatever state it is in, and leaving nothing of it.

use std::{fs, io, os::fd::AsFd as _, path::Path, time::Duration};

use rustix::process::{Pid, Signal};
use swarmkit_executor::ExecError;
use swarmkit_runtime::Spawner;

use crate::{
    alive::Alive,
    cgroups,
    executor::Shared,
    files::TaskFiles,
    images::fill,
    order::Order,
    supervisor::kill_leftovers,
    task_dir::{self, Ended, Started, TaskDir},
};

/// How long a supervisor may take to carry out an order, beyond the grace that it gives to the task.
const OBEDIENCE: Duration = Duration::from_secs(5);
/// How long somebody else may hold a claim without anything coming of it.
const CLAIM: Duration = Duration::from_secs(10);
/// How often to look whether a claim was given up.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How far a task has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Absent,
    Prepared,
    Started(Started),
    Ended(Ended),
}

impl Stage {
    /// What the records say.
    pub(crate) fn of(dir: &TaskDir) -> io::Result<Self> {
        // From the last record to the first, since a later one may appear while we look.
        if let Some(ended) = dir.ended()? {
            return Ok(Self::Ended(ended));
        }
        if let Some(started) = dir.started()? {
            return Ok(Self::Started(started));
        }
        Ok(if dir.plan()?.is_some() { Self::Prepared } else { Self::Absent })
    }
}

/// Waits until whoever is about to start the task, started by an earlier program, gets on or gives up.
pub(crate) struct Patience {
    waited: Duration,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { waited: Duration::ZERO }
    }

    pub(crate) async fn wait(&mut self) -> Result<(), ExecError> {
        if self.waited >= CLAIM {
            return Err(ExecError::temporary("another supervisor holds the task and does nothing"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        self.waited += LOOK_EVERY;
        Ok(())
    }
}

/// Stops the task by `order`, and returns when it runs no more.
pub(crate) async fn stop(dir: &TaskDir, order: Order) -> Result<(), ExecError> {
    let mut patience = Patience::new();
    loop {
        match Stage::of(dir).map_err(ExecError::temporary)? {
            Stage::Absent | Stage::Ended(_) => return Ok(()),
            Stage::Prepared => match dir.claim().map_err(ExecError::temporary)? {
                None => patience.wait().await?,
                // On record, so that a supervisor that an earlier program has started, and that comes late, sees it.
                Some(_claim) => {
                    let reason = "stopped before it was started".to_owned();
                    return dir.put_ended(&Ended::NotStarted { reason }).map_err(ExecError::temporary);
                }
            },
            Stage::Started(started) => match Alive::watch(&dir.alive()).map_err(ExecError::temporary)? {
                Some(alive) => order_and_wait(dir, &alive, &started, order).await.map_err(ExecError::temporary)?,
                None => bury_lost(dir, &started).await.map_err(ExecError::temporary)?,
            },
        }
    }
}

async fn order_and_wait(dir: &TaskDir, alive: &Alive, started: &Started, order: Order) -> io::Result<()> {
    order.give(&dir.control())?;
    let grace = match order {
        Order::Stop(stop) => stop.grace,
        Order::Kill => Duration::ZERO,
    };
    if tokio::time::timeout(grace.saturating_add(OBEDIENCE), alive.gone()).await.is_ok() {
        return Ok(());
    }
    // It holds the pipe, so the process id is still its own.
    let supervisor = i32::try_from(started.supervisor).ok().and_then(Pid::from_raw);
    if started.supervisor != std::process::id()
        && let Some(supervisor) = supervisor
    {
        tracing::warn!(dir = %dir.path().display(), "killing a supervisor that does not obey");
        rustix::process::kill_process(supervisor, Signal::KILL)?;
    }
    let gone = tokio::time::timeout(OBEDIENCE, alive.gone()).await;
    gone.map_err(|_| io::Error::other("the task's supervisor cannot be ended"))
}

/// Deals with a task whose supervisor has ended without a last word: nothing of it runs on, and that is on record.
pub(crate) async fn bury_lost(dir: &TaskDir, started: &Started) -> io::Result<()> {
    // It may have had its last word since we looked.
    if dir.ended()?.is_some() {
        return Ok(());
    }
    let reason = if started.boot == task_dir::boot()? {
        kill_leftovers(dir.task(), dir.plan()?.as_ref()).await?;
        let complaints = fs::read_to_string(dir.complaints()).unwrap_or_default();
        let last = complaints.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        format!("the task's supervisor was ended, so its exit code is not known{last}")
    } else {
        "the machine was restarted".to_owned()
    };
    dir.put_ended(&Ended::Lost { reason })
}

/// Ends the task at once and removes everything that there is of it.
pub(crate) async fn remove(shared: &Shared, dir: &TaskDir) -> Result<(), ExecError> {
    stop(dir, Order::Kill).await?;
    let mut patience = Patience::new();
    // Held until the directory has its new name, so that nobody starts the task in it any more.
    let claim = loop {
        match dir.claim().map_err(ExecError::temporary)? {
            Some(claim) => break Some(claim),
            None if !dir.path().exists() => break None,
            None => patience.wait().await?,
        }
    };
    let name = dir.task().to_owned();
    let (dir, trash, files) = (dir.clone(), shared.new_trash(&name), TaskFiles(shared.shelf.task(&name)));
    let removed = Spawner::blocking(move || {
        let _claim = claim;
        files.remove()?;
        if let Some(plan) = dir.plan()? {
            cgroups::remove(&plan.cgroups)?;
        }
        match fs::rename(dir.path(), &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => delete(&trash),
        }
    });
    removed.await.map_err(ExecError::temporary)?.map_err(ExecError::temporary)
}

/// Deletes what earlier programs wanted to delete.
pub(crate) fn empty_trash(trash: &Path) -> io::Result<()> {
    fs::read_dir(trash)?.try_for_each(|entry| delete(&entry?.path()))
}

fn delete(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Directories that nobody may enter, which the kernel itself makes for an overlay.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fill::remove(rustix::fs::CWD.as_fd(), dir).map_err(|_| error)
        }
        deleted => deleted,
    }
}

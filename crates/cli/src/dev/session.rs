//! From a Compose file to running tasks on a cluster that is there, and back to nothing.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use swarmkit_api::{TaskState, wire};
use swarmkit_node::{NodeError, NodeHandle};
use swarmkit_runtime::Env;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    board::{Board, picture, table},
    deploy::{self, DeployError, Done},
    feed::Feed,
    plain::Plain,
    world::{Unsettled, World},
};
use crate::{client::Client, compose::Project, daemon::log::Tail};

/// How often ages are shown anew.
const REFRESH: Duration = Duration::from_secs(1);

/// How many pictures a second there are at most, however much happens.
const PICTURE_MIN_INTERVAL: Duration = Duration::from_millis(50);

/// How long stopping everything may take. What has not stopped then is killed.
const STOP_DEADLINE: Duration = Duration::from_millis(3500);

/// How long the node may take to kill what did not stop.
const KILL_DEADLINE: Duration = Duration::from_millis(500);

/// How long to wait for the cluster to forget tasks that have stopped.
const TIDY_DEADLINE: Duration = Duration::from_millis(300);

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The file asks for something that the cluster refuses.
    #[error("{file}:{error}")]
    Deploy { file: String, error: DeployError },
    /// The node does not answer as it should.
    #[error("{}", .0.message())]
    Call(Box<Status>),
    /// The node could not stop its tasks.
    #[error("cannot stop the tasks: {0}")]
    Leave(NodeError),
    /// Time is over, and not everything is as it should be.
    #[error("not everything runs after {}{}", crate::units::format_duration(*.after), listed(.unsettled))]
    Unsettled { after: Duration, unsettled: Vec<Unsettled> },
    /// Nobody reads what is printed.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}

fn listed(unsettled: &[Unsettled]) -> String {
    let mut text = String::new();
    for service in unsettled {
        let _ = write!(text, "\n  {}: {}", service.service, service.what);
        for why in &service.why {
            let _ = write!(text, "\n    {why}");
        }
    }
    text
}

/// What a session is about.
pub(crate) struct Session<'a> {
    pub(crate) node: &'a NodeHandle,
    pub(crate) client: &'a Client,
    pub(crate) env: &'a Env,
    pub(crate) project: &'a Project,
    /// The name under which everything is created.
    pub(crate) stack: &'a str,
    /// The file, as the user named it.
    pub(crate) file: &'a Path,
    /// What to tell before the tasks.
    pub(crate) intro: Vec<String>,
    /// Stop as soon as everything is as it should be, or when this time is over.
    pub(crate) check: Option<Duration>,
    /// Show a live table, and the end of this log.
    pub(crate) board: Option<Tail>,
}

impl Session<'_> {
    /// Deploys, shows what happens until `stop` is cancelled or the check is over, and takes everything away again.
    pub(crate) async fn run(&self, stop: &CancellationToken) -> Result<(), SessionError> {
        let began = Instant::now();
        let mut feed = Feed::open(self.client.clone()).await?;
        let result = tokio::select! { biased; // whoever wants to stop has waited long enough
            () = stop.cancelled() => Ok(()),
            result = self.up(&mut feed, began) => result,
        };
        if self.board.is_some() {
            print!("{}", table(feed.world(), self.env.now()));
        }
        let down = self.down(&mut feed).await;
        result.and(down)
    }

    async fn up(&self, feed: &mut Feed, began: Instant) -> Result<(), SessionError> {
        let done = deploy::deploy(&mut self.client.control(), self.project, self.stack).await;
        let done = done.map_err(|error| match error {
            DeployError::Call(status) => SessionError::Call(status),
            error @ DeployError::Refused { .. } => {
                SessionError::Deploy { file: self.file.display().to_string(), error }
            }
        })?;
        match &self.board {
            Some(tail) => self.show_board(feed, tail).await,
            None => self.show_lines(feed, &done, began).await,
        }
    }

    /// Redraws when something has changed, and once a second for the ages.
    async fn show_board(&self, feed: &mut Feed, tail: &Tail) -> Result<(), SessionError> {
        let mut board = Board::open(io::stdout())?;
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (_, height) = crossterm::terminal::size()?;
            board.draw(&picture(&self.intro, feed.world(), self.env.now(), &tail.lines(), height), height)?;
            let pause = tokio::time::sleep(PICTURE_MIN_INTERVAL);
            tokio::select! { biased; // what has changed is worth more than another second
                changed = feed.changed() => changed?,
                _ = refresh.tick() => continue,
            }
            // More often comes soon: one picture for all of it.
            tokio::pin!(pause);
            loop {
                tokio::select! { biased; // the picture is due
                    () = &mut pause => break,
                    changed = feed.changed() => changed?,
                }
            }
        }
    }

    /// Writes a line for every change.
    async fn show_lines(&self, feed: &mut Feed, done: &[(String, Done)], began: Instant) -> Result<(), SessionError> {
        let mut out = io::stdout();
        for line in &self.intro {
            writeln!(out, "{line}")?;
        }
        for (service, done) in done {
            let what = match done {
                Done::Created => "created",
                Done::Updated => "updated",
                Done::Unchanged => "as it was",
                Done::Removed => "removed",
            };
            writeln!(out, "{:>7.1}s  service {service} {what}", began.elapsed().as_secs_f32())?;
        }
        let mut plain = Plain::default();
        let over = self.check.map(|after| began + after);
        loop {
            plain.tell(feed.world(), began.elapsed(), &mut out)?;
            if let Some(over) = over {
                let expected = self.project.services.iter().map(|service| service.name.as_str());
                let unsettled = feed.world().unsettled(expected);
                if unsettled.is_empty() {
                    write!(out, "\n{}", table(feed.world(), self.env.now()))?;
                    return Ok(());
                }
                let after = over - began;
                tokio::select! { biased; // time that is over is over
                    () = tokio::time::sleep_until(over) => {
                        return Err(SessionError::Unsettled { after, unsettled });
                    }
                    changed = feed.changed() => changed?,
                }
            } else {
                feed.changed().await?;
            }
        }
    }

    /// Removes everything and waits until nothing runs.
    async fn down(&self, feed: &mut Feed) -> Result<(), SessionError> {
        let mut control = self.client.control();
        deploy::remove_services(&mut control).await?;
        let stopped = timeout(STOP_DEADLINE, until(feed, |world| !world.tasks().any(may_run))).await;
        match stopped {
            Ok(stopped) => stopped?,
            Err(_) => self.node.leave(KILL_DEADLINE).await.map_err(SessionError::Leave)?,
        }
        // What has stopped is soon tidied up; what is left of it now goes with the state, or at the next start.
        if let Ok(gone) = timeout(TIDY_DEADLINE, until(feed, |world| world.tasks().next().is_none())).await {
            gone?;
        }
        Ok(deploy::remove_blobs(&mut control, self.stack).await?)
    }
}

async fn until(feed: &mut Feed, holds: impl Fn(&World) -> bool) -> Result<(), Status> {
    while !holds(feed.world()) {
        feed.changed().await?;
    }
    Ok(())
}

/// Whether there may be a process of this task.
fn may_run(task: &wire::Task) -> bool {
    let state = task.status.as_ref().map(wire::TaskStatus::state).unwrap_or_default();
    (TaskState::Assigned..=TaskState::Running).contains(&state)
}

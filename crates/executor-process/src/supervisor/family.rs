//! The process of a task, and everything that it has started.

use std::{fs, io, time::Duration};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus};
use tokio::signal::unix::Signal as SignalStream;

use super::Host;
use crate::{cgroups, plan::Plan};

/// How long killed processes may take to disappear. One that hangs in the kernel may take for ever.
const DEATH: Duration = Duration::from_secs(5);
/// How often to look whether they have, for those whose end nobody tells us.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The process that was started for a task. Killed when dropped, unless it has ended.
#[derive(Debug)]
pub(crate) struct Family {
    pid: Pid,
    host: Host,
    reaped: bool,
}

impl Family {
    pub(crate) fn new(pid: Pid, host: Host) -> Self {
        Self { pid, host, reaped: false }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// The process has started another one to take its place, and ends. Its children become ours when it has.
    pub(crate) fn give_way_to(&mut self, successor: Pid) -> io::Result<()> {
        rustix::process::waitpid(Some(self.pid), WaitOptions::empty())?;
        self.pid = successor;
        Ok(())
    }

    /// Sends a signal to the process itself. It cannot reach another one, since we have not yet let go of its id.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid, signal).ok();
    }

    /// Kills everything, as far as it can be found.
    pub(crate) fn kill(&self, plan: &Plan) {
        rustix::process::kill_process_group(self.pid, Signal::KILL).ok();
        cgroups::kill(&plan.cgroups);
        for child in self.strays() {
            rustix::process::kill_process(child, Signal::KILL).ok();
        }
    }

    /// Whether the process has ended. Its id stays ours. Buries what the family has left behind.
    pub(crate) fn has_ended(&self) -> io::Result<bool> {
        for stray in self.strays() {
            rustix::process::waitpid(Some(stray), WaitOptions::NOHANG).ok();
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(rustix::process::waitid(WaitId::Pid(self.pid), options)?.is_some())
    }

    /// After the process has ended: ends what it has left behind, and tells how it ended.
    pub(crate) async fn bury(mut self, plan: &Plan, children: &mut SignalStream) -> io::Result<WaitStatus> {
        let clearing = async {
            loop {
                self.kill(plan);
                self.has_ended()?;
                if self.strays().is_empty() {
                    return Ok::<_, io::Error>(());
                }
                // Whether told or not: look again.
                tokio::time::timeout(LOOK_EVERY, children.recv()).await.ok();
            }
        };
        // What hangs in the kernel is left to it.
        if let Ok(cleared) = tokio::time::timeout(DEATH, clearing).await {
            cleared?;
        }
        self.reaped = true;
        let status = rustix::process::waitpid(Some(self.pid), WaitOptions::empty())?;
        Ok(status.expect("invariant: waiting without a condition gives a status").1)
    }

    /// Our other children: orphans of the family that became ours. Only where all children are the task's.
    fn strays(&self) -> Vec<Pid> {
        if self.host == Host::Shared {
            return Vec::new();
        }
        let text = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        let children = text.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        children.filter(|child| *child != self.pid).collect()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if !self.reaped {
            rustix::process::kill_process_group(self.pid, Signal::KILL).ok();
            rustix::process::kill_process(self.pid, Signal::KILL).ok();
            rustix::process::waitpid(Some(self.pid), WaitOptions::empty()).ok();
        }
    }
}

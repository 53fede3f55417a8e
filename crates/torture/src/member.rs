//! One manager: a process of `swarmd`, its state directory, its log.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::{client::Client, network::Network};

/// How often a process is asked whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// How much of a log is shown to whoever looks for a cause.
const TAIL_LINES: usize = 15;

/// A manager. Dropping it kills its process.
#[derive(Debug)]
pub struct Member {
    index: usize,
    dir: PathBuf,
    process: Option<Child>,
}

/// How a process is to begin.
#[derive(Clone, Debug)]
pub enum Begin {
    /// On what is in the state directory, or with a cluster of its own.
    Alone,
    /// By joining the cluster of the manager at this address.
    Join {
        /// `host:port`.
        address: String,
        /// The token for managers.
        token: String,
    },
}

impl Member {
    /// A member whose state lies below `dir`, with no process yet.
    ///
    /// # Errors
    ///
    /// When its directory cannot be made.
    pub fn new(index: usize, dir: &Path) -> Result<Self> {
        let dir = dir.join(format!("m{index}"));
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self { index, dir, process: None })
    }

    /// Its number among the members, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its state directory.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// What its process has said, over all restarts.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("swarmd.log")
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("swarmd.sock")
    }

    /// A client of its control socket, not connected yet.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.socket())
    }

    /// Starts the process.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or runs already.
    pub fn start(&mut self, swarmd: &Path, network: &Network, begin: &Begin) -> Result<()> {
        ensure!(self.process.is_none(), "member {} runs already", self.index);
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let address = network.address(self.index).to_string();
        let mut command: Command = network.command(self.index, swarmd);
        command.arg("--state-dir").arg(self.state_dir()).arg("--listen-control-api").arg(self.socket());
        command.args(["--listen-remote-api", &address, "--advertise-remote-api", &address]);
        command.args(["--hostname", &format!("m{}", self.index), "--executor", "inert"]);
        if let Begin::Join { address, token } = begin {
            command.args(["--join-addr", address, "--join-token", token]);
        }
        command.env("RUST_BACKTRACE", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().with_context(|| format!("starting {}", swarmd.display()))?);
        Ok(())
    }

    /// Ends the process as a power cut does: at once, and it has no say.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().with_context(|| format!("member {} does not run", self.index))?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Stops the process where it stands: it keeps everything and does nothing.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks the process to end, as a service manager does, without waiting for it.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    ///
    /// When it is still there at the end of the limit, or has ended with a failure.
    pub async fn stopped(&mut self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.has_ended()? {
                self.process = None;
                ensure!(status.success(), "member {} ended: {status}\n{}", self.index, self.tail());
                return Ok(());
            }
            if Instant::now() > until {
                bail!("member {} did not stop within {limit:?}\n{}", self.index, self.tail());
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether a process runs, as far as anybody has told it.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// How the process has ended without having been told to, if it has.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.as_mut().map(Child::try_wait).transpose()?.flatten())
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().with_context(|| format!("member {} does not run", self.index))?;
        Ok(kill_process(Pid::from_child(process), signal)?)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // One that does not run cannot be killed, and need not be.
        let _ = self.kill();
    }
}

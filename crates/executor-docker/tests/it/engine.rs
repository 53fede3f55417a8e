//! An engine that belongs to one test, which ends it and starts it again.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::{Child, Command},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::world::{Ground, PATIENCE};

/// How often it is looked whether something has come about.
const LOOK: Duration = Duration::from_millis(50);

/// An engine without networks, on a directory of its own.
pub(crate) struct OwnEngine {
    dir: TempDir,
    running: Option<Child>,
}

impl OwnEngine {
    /// `None` where none can be started, and then that was said.
    pub(crate) fn find() -> Option<Self> {
        let required = std::env::var("SWARMKIT_REQUIRE_DOCKER").is_ok_and(|required| required == "1");
        let reason = if !rustix::process::geteuid().is_root() {
            // Whoever requires an engine may have been given one by somebody who is.
            "only root can start an engine"
        } else if Command::new("dockerd").arg("--version").output().is_err() {
            assert!(!required, "SWARMKIT_REQUIRE_DOCKER is set, and there is no dockerd");
            "there is no dockerd"
        } else {
            return Some(Self { dir: tempfile::tempdir().unwrap(), running: None });
        };
        let _ = writeln!(std::io::stderr(), "skipped: {reason}");
        None
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Starts it, and returns when it answers.
    pub(crate) async fn start(&mut self, keeps_containers: bool) -> Ground {
        assert!(self.running.is_none(), "it runs");
        let (dir, log) = (self.dir.path(), self.dir.path().join("log"));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let option = |name: &str, value: &str| format!("--{name}={}", dir.join(value).display());
        let mut command = Command::new("dockerd");
        command.args([option("data-root", "data"), option("exec-root", "exec"), option("pidfile", "pid")]);
        command.arg(format!("--host=unix://{}", self.socket().display()));
        command.args(["--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false"]);
        command.arg(format!("--live-restore={keeps_containers}"));
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let mut child = command.spawn().unwrap();
        let answers = async {
            loop {
                match Ground::at(&self.socket()).await {
                    Ok(ground) => return ground,
                    Err(reason) => assert!(child.try_wait().unwrap().is_none(), "{reason}: {}", said(&log)),
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let ground = tokio::time::timeout(PATIENCE, answers).await;
        let ground = ground.unwrap_or_else(|_| panic!("the engine does not come up: {}", said(&log)));
        self.running = Some(child);
        ground
    }

    /// The process that an engine starts beside itself. It dies with an engine that is killed, a little later, and an
    /// engine that is started before that waits for it in vain.
    fn helper(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.dir.path().join("exec/containerd/containerd.pid")).ok()?;
        let helper = Pid::from_raw(text.trim().parse().ok()?)?;
        let line = fs::read(format!("/proc/{}/cmdline", helper.as_raw_nonzero())).ok()?;
        String::from_utf8_lossy(&line).contains(&*self.dir.path().to_string_lossy()).then_some(helper)
    }

    /// Ends it, and returns when nothing of it is left but the containers.
    pub(crate) async fn end(&mut self, signal: Signal) {
        let helper = self.helper();
        let mut child = self.running.take().expect("it runs");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let ended = async {
            while child.try_wait().unwrap().is_none() {
                tokio::time::sleep(LOOK).await;
            }
            while helper.is_some_and(|helper| rustix::process::test_kill_process(helper).is_ok()) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("the engine ends");
    }
}

/// The end of what an engine has said.
fn said(log: &std::path::Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = said.lines().rev().take(5).collect();
    lines.join("\n")
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            kill_process(Pid::from_child(&child), Signal::TERM).ok();
            child.wait().ok();
        }
        if let Some(helper) = self.helper() {
            kill_process(helper, Signal::TERM).ok();
        }
    }
}

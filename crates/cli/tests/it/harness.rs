//! Daemons that end with their test, and waiting for what should happen.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take on a machine that does other things, too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Waits until `probe` gives something.
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for: {what}");
        thread::sleep(POLL);
    }
}

/// Waits until `holds` is true.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

#[expect(clippy::disallowed_methods, reason = "these tests run real programs in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn swarmd() -> Command {
    program(env!("CARGO_BIN_EXE_swarmd"))
}

fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    command.env_remove("SWARM_SOCKET").stdin(Stdio::null());
    command
}

/// A word that no other test and no other run uses, made of digits so that `sleep` takes it for a number.
pub(crate) fn mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("1{:07}{count:03}", std::process::id() % 10_000_000)
}

/// The processes that run `sleep MARK`.
pub(crate) fn sleepers(mark: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // A process may end while it is looked at.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        if program.ends_with(b"sleep") && words.any(|word| word == mark.as_bytes()) {
            found.push(pid);
        }
    }
    found.sort_by_key(|pid| pid.as_raw_nonzero());
    found
}

/// A node, which is killed when the test ends.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) dir: PathBuf,
    pub(crate) socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts a node on a directory and waits until it is ready.
    pub(crate) fn start(dir: &Path, flags: &[&str]) -> Self {
        let daemon = Self::launch(dir, flags);
        daemon.wait_ready();
        daemon
    }

    /// Starts a node and does not wait.
    pub(crate) fn launch(dir: &Path, flags: &[&str]) -> Self {
        let (socket, log) = (dir.join("swarmd.sock"), dir.join("log"));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let child = swarmd()
            .args(["--listen-remote-api", "127.0.0.1:0", "--hostname", dir.file_name().unwrap().to_str().unwrap()])
            .arg("--state-dir")
            .arg(dir.join("state"))
            .arg("--listen-control-api")
            .arg(&socket)
            .args(flags)
            .stdout(Stdio::from(output.try_clone().unwrap()))
            .stderr(Stdio::from(output))
            .spawn()
            .unwrap();
        Self { child, dir: dir.to_owned(), socket, log }
    }

    pub(crate) fn wait_ready(&self) {
        let readied = || self.log().lines().filter(|line| line.contains("node is ready")).count();
        wait_until(&format!("the node in {} to be ready", self.dir.display()), || readied() > 0);
    }

    /// What the node has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn clear_log(&self) {
        fs::write(&self.log, "").unwrap();
    }

    /// Kills the node with no chance to tidy up.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends the node a signal, and does not wait.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid_of(&self.child), signal).unwrap();
    }

    /// Asks the node to stop, and waits until it has.
    pub(crate) fn stop(&mut self, signal: Signal) -> ExitStatus {
        stop(&mut self.child, signal)
    }

    /// Waits until the node has ended by itself.
    pub(crate) fn wait_end(&mut self) -> ExitStatus {
        wait_for("the node to end", || self.child.try_wait().unwrap())
    }

    /// Runs `swarmctl` against this node.
    pub(crate) fn ctl(&self, args: &[&str]) -> Output {
        ctl(&self.socket, args)
    }

    /// Runs `swarmctl`, which must succeed, and gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.ctl(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "swarmctl {args:?}: {error}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs `swarmctl`, which must fail, and gives what it complained about.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.ctl(args);
        assert_eq!(output.status.code(), Some(255), "swarmctl {args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "swarmctl {args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap().trim_end().to_owned()
    }

    /// The objects that a command prints as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let text = self.ok(&[args, &["--format", "json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The tasks of a service that are wanted and run.
    pub(crate) fn running(&self, service: &str) -> Vec<Value> {
        let mut tasks = self.json(&["task", "ls"]);
        tasks.retain(|task| {
            task["service"] == service && task["state"] == "RUNNING" && task["desired_state"] == "RUNNING"
        });
        tasks
    }

    /// Whether there may still be a process of a task.
    fn has_processes(&self) -> bool {
        let tasks = self.ctl(&["task", "ls", "-a", "--format", "json"]).stdout;
        let states = ["ASSIGNED", "ACCEPTED", "PREPARING", "READY", "STARTING", "RUNNING"];
        let text = String::from_utf8_lossy(&tasks);
        text.lines().any(|line| states.iter().any(|state| line.contains(&format!("\"state\":\"{state}\""))))
    }

    /// Waits until exactly `count` tasks of a service run, and gives them.
    pub(crate) fn wait_running(&self, service: &str, count: usize) -> Vec<Value> {
        wait_for(&format!("{count} tasks of {service} to run"), || {
            Some(self.running(service)).filter(|tasks| tasks.len() == count)
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of {}\n{}", self.dir.display(), self.log());
        }
        // Tasks outlive their node by design, so they are taken away first, as far as the node still listens.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            for id in String::from_utf8_lossy(&self.ctl(&["service", "ls", "-q"]).stdout).lines() {
                self.ctl(&["service", "rm", id]);
            }
            let began = now();
            while began.elapsed() < PATIENCE && self.has_processes() {
                thread::sleep(POLL);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs `swarmctl` on a socket.
pub(crate) fn ctl(socket: &Path, args: &[&str]) -> Output {
    swarmctl(socket, args).output().unwrap()
}

/// `swarmctl` on a socket, not yet started.
pub(crate) fn swarmctl(socket: &Path, args: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_swarmctl"));
    command.args(args).env("SWARM_SOCKET", socket);
    command
}

/// Sends a signal and waits for the end.
pub(crate) fn stop(child: &mut Child, signal: Signal) -> ExitStatus {
    kill_process(pid_of(child), signal).unwrap();
    wait_for("the program to end", || child.try_wait().unwrap())
}

pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// A directory with a name that is short enough for sockets in it.
pub(crate) fn directory() -> TempDir {
    tempfile::Builder::new().prefix("swarm-").tempdir().unwrap()
}

/// A port that is free now.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

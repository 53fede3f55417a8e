//! Commands in tasks of a real cluster of one node, and attaching to tasks.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    thread,
};

use rustix::{
    fs::{Mode, OFlags},
    process::Signal,
    pty::OpenptFlags,
    termios::{LocalModes, Winsize},
};

use crate::harness::{Daemon, directory, mark, pid_of, sleepers, stop, swarmctl, wait_for, wait_until};

/// A node with one task that runs `script`, and the id of that task.
fn running(dir: &std::path::Path, script: &str) -> (Daemon, String) {
    let daemon = Daemon::start(dir, &[]);
    daemon.ok(&["service", "create", "--name", "web", "--command", "sh", "--args=-c", &format!("--args={script}")]);
    let task = daemon.wait_running("web", 1)[0]["id"].as_str().unwrap().to_owned();
    (daemon, task)
}

fn exec(daemon: &Daemon, before: &[&str], task: &str, command: &[&str]) -> Command {
    swarmctl(&daemon.socket, &[&["task", "exec"], before, &[task, "--"], command].concat())
}

#[test]
fn a_command_runs_in_a_task_and_its_exit_code_is_that_of_swarmctl() {
    let dir = directory();
    let (mut daemon, task) = running(dir.path(), "exec sleep 3600");
    let script = "echo $SWARMKIT_TASK_ID $A; echo oh >&2; cat; exit 3";
    let output = exec(&daemon, &["--env", "A=own", "--workdir", "/"], &task, &["sh", "-c", script]).output().unwrap();
    let told =
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(told, (Some(3), format!("{task} own\n"), "oh\n".to_owned()));
    for (program, code) in [("nonexistent", 127), ("/etc/passwd", 126)] {
        let output = exec(&daemon, &[], &task, &[program]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(String::from_utf8(output.stderr).unwrap().starts_with(&format!("Error: cannot run {program}")));
    }
    let refused = daemon.refused(&["task", "exec", "nobody", "--", "id"]);
    assert_eq!(refused, "Error: task nobody not found");
    let refused = daemon.refused(&["task", "exec", "-t", &task, "--", "id"]);
    assert!(refused.starts_with("Error: -t needs a terminal on standard input"), "{refused}");
    let refused = daemon.refused(&["task", "attach", "-i", &task]);
    assert_eq!(refused, "Error: this executor does not offer standard input of tasks that run");

    // As anything that is read and written in the shell, whatever bytes it is made of.
    let sent: Vec<u8> = (0..10 * 1024 * 1024_u32).map(|at| (at * 31 + at / 251) as u8).collect();
    let file = dir.path().join("copy");
    let script = format!("tee {}", file.display());
    let mut child = exec(&daemon, &["-i"], &task, &["sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let received = thread::scope(|threads| {
        threads.spawn(|| {
            stdin.write_all(&sent).unwrap();
            drop(stdin);
        });
        let mut received = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut received).unwrap();
        received
    });
    assert!(child.wait().unwrap().success());
    assert!(received == sent, "{} of {} bytes came back", received.len(), sent.len());
    assert!(fs::read(file).unwrap() == sent);

    // A signal ends the command and not its task; a client that is killed takes its command with it.
    let trapped = "trap 'exit 42' TERM; echo ready; while :; do sleep 0.01; done";
    let mut child = exec(&daemon, &[], &task, &["sh", "-c", trapped]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(stop(&mut child, Signal::TERM).code(), Some(42));
    let mark = mark();
    let mut child = exec(&daemon, &[], &task, &["sleep", &mark]).spawn().unwrap();
    wait_until("the command to run", || sleepers(&mark).len() == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the command to be ended", || sleepers(&mark).is_empty());
    assert_eq!(daemon.running("web").len(), 1);

    // The record tells who, what and how it ended, and no values.
    let log = daemon.log();
    assert!(log.contains("a call to a task begins") && log.contains("exit code 3"), "{log}");
    assert!(!log.contains("A=own"), "{log}");
    daemon.ok(&["service", "rm", "web"]);
    daemon.stop(Signal::TERM);
}

/// Both ends of a terminal of 40 lines of 100 characters.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&ours).unwrap();
    rustix::pty::unlockpt(&ours).unwrap();
    let path = rustix::pty::ptsname(&ours, Vec::new()).unwrap();
    let theirs = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    rustix::termios::tcsetwinsize(&ours, Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (ours, theirs)
}

/// Reads from a terminal until it has said something.
fn says(terminal: &OwnedFd, text: &str) -> String {
    let mut said = String::new();
    wait_for(&format!("{text:?}"), || {
        let mut buffer = [0; 4096];
        let read = rustix::io::read(terminal, &mut buffer).unwrap();
        said.push_str(&String::from_utf8_lossy(&buffer[..read]));
        said.contains(text).then(|| said.clone())
    })
}

#[test]
fn a_terminal_is_that_of_the_command_and_as_it_was_afterwards() {
    let dir = directory();
    let (mut daemon, task) = running(dir.path(), "exec sleep 3600");
    let (ours, theirs) = terminal();
    let is_raw = || !rustix::termios::tcgetattr(&theirs).unwrap().local_modes.contains(LocalModes::ICANON);
    let start = |command: &[&str]| {
        let end = || Stdio::from(theirs.try_clone().unwrap());
        exec(&daemon, &["-it"], &task, command).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    };
    let mut child = start(&["sh", "-c", "stty size; read a; echo got $a; stty size; read b; exit 4"]);
    says(&ours, "40 100");
    assert!(is_raw());
    rustix::termios::tcsetwinsize(&ours, Winsize { ws_row: 20, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    // The terminal is not the one of the program's session, so nobody tells it but us.
    rustix::process::kill_process(pid_of(&child), Signal::WINCH).unwrap();
    rustix::io::write(&ours, b"hello\r").unwrap();
    says(&ours, "got hello");
    rustix::io::write(&ours, b"\r").unwrap();
    assert_eq!(wait_for("the end", || child.try_wait().unwrap()).code(), Some(4));
    assert!(!is_raw());

    // Also when it ends by a signal that the command does not outlive.
    let mut child = start(&["sh", "-c", "echo ready; exec sleep 3600"]);
    says(&ours, "ready");
    assert!(is_raw());
    assert_eq!(stop(&mut child, Signal::TERM).code(), Some(143));
    assert!(!is_raw());
    daemon.ok(&["service", "rm", "web"]);
    daemon.stop(Signal::TERM);
}

#[test]
fn who_attaches_reads_what_is_written_from_then_on_and_leaves_the_task_alone() {
    let dir = directory();
    let (mut daemon, task) = running(dir.path(), "while :; do echo tick; sleep 0.05; done");
    let mut child = swarmctl(&daemon.socket, &["task", "attach", &task]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 10];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"tick\ntick\n");
    assert_eq!(stop(&mut child, Signal::INT).code(), Some(130));
    assert_eq!(daemon.running("web").len(), 1, "the task goes on");

    daemon.ok(&["cluster", "update", "default", "--exec", "deny"]);
    let inspected = daemon.ok(&["cluster", "inspect", "default"]);
    assert!(inspected.contains("Commands in tasks: deny"), "{inspected}");
    assert_eq!(daemon.json(&["cluster", "inspect", "default"])[0]["exec"], "deny");
    for command in [&["task", "exec", &task, "--", "id"][..], &["task", "attach", &task]] {
        let refused = daemon.refused(command);
        assert!(refused.starts_with("Error: commands in tasks are forbidden in this cluster"), "{refused}");
    }
    daemon.ok(&["cluster", "update", "default", "--exec", "allow"]);
    assert_eq!(daemon.ok(&["task", "exec", &task, "--", "echo", "again"]), "again");
    daemon.ok(&["service", "rm", "web"]);
    daemon.stop(Signal::TERM);
}

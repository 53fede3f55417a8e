//! `swarmctl service logs`, `task logs` and `node logs`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    cluster::manager,
    harness::{Daemon, PATIENCE, directory, stop, swarmctl, wait_for, wait_until},
};

/// Writes three lines to two streams, and then waits to be stopped.
const TALK: &str = "echo one; echo oops >&2; echo two; exec sleep 1000000";
/// Writes a number every few milliseconds.
const COUNT: &str = "i=0; while :; do i=$((i + 1)); echo $i; sleep 0.02; done";

fn start_shell(node: &Daemon, name: &str, script: &str) -> String {
    let restart = ["--restart-condition", "none"];
    node.ok(&[&["service", "create", "--name", name][..], &restart, &["--", "sh", "-c", script]].concat());
    node.wait_running(name, 1)[0]["id"].as_str().unwrap().to_owned()
}

/// Waits until a command prints so many lines, and gives them in order of the alphabet.
fn lines(node: &Daemon, args: &[&str], count: usize) -> Vec<String> {
    wait_for(&format!("{count} lines of {args:?}"), || {
        let mut lines: Vec<_> = node.ok(args).lines().map(str::to_owned).collect();
        lines.sort();
        Some(lines).filter(|lines| lines.len() == count)
    })
}

#[test]
fn what_tasks_have_written_is_shown_by_service_task_and_node() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let host = dir.path().file_name().unwrap().to_str().unwrap();
    let web = start_shell(&node, "web", TALK);
    let api = start_shell(&node, "api", "echo three; exec sleep 1000000");

    let (short_web, short_api) = (&web[..12], &api[..12]);
    let one = [format!("web.1.{short_web}@{host} | one"), format!("web.1.{short_web}@{host} | two")];
    assert_eq!(lines(&node, &["service", "logs", "web"], 2), one);
    assert_eq!(lines(&node, &["task", "logs", &web], 2), one);
    let three = format!("api.1.{short_api}@{host} | three");
    let all = [&[three][..], &one].concat();
    for args in [["service", "logs", "web", "api"], ["task", "logs", &web, &api]] {
        assert_eq!(lines(&node, &args, 3), all, "{args:?}");
    }
    assert_eq!(lines(&node, &["node", "logs", host], 3), all);

    wait_until("both streams, each where it belongs", || {
        let output = node.ctl(&["service", "logs", "web", "--raw"]);
        output.stdout == b"one\ntwo\n" && output.stderr == b"oops\n"
    });
    assert_eq!(node.ok(&["service", "logs", "web", "--raw", "--stream", "stdout", "--tail", "1"]), "two");
    assert_eq!(node.ok(&["service", "logs", "web", "--raw", "--tail", "0"]), "");
    assert_eq!(
        node.ok(&["service", "logs", "web", "--no-task-ids", "--stream", "stdout", "--tail", "1"]),
        format!("web.1@{host} | two")
    );
    let full = format!("{web}@");
    assert!(node.ok(&["service", "logs", "web", "--no-trunc", "--stream", "stdout", "--tail", "1"]).contains(&full));

    let json = node.json(&["service", "logs", "web"]);
    let texts: Vec<_> = json.iter().map(|line| (&line["message"], &line["stream"])).collect();
    let expected =
        [("one", "stdout"), ("oops", "stderr"), ("two", "stdout")].map(|(a, b)| (Value::from(a), Value::from(b)));
    assert!(expected.iter().all(|(text, stream)| texts.contains(&(text, stream))) && texts.len() == 3, "{json:?}");
    assert!(json.iter().all(|line| line["task_id"] == web.as_str() && line["node"] == host && line["slot"] == 1));

    let last = json.iter().find(|line| line["message"] == "two").unwrap()["time"].as_str().unwrap();
    assert!(node.ok(&["service", "logs", "web", "--raw", "--since", last]).ends_with("two"), "{last}");
    assert_eq!(node.ok(&["service", "logs", "web", "--since", "2200-01-01T00:00:00Z"]), "");
    let stamped =
        node.ok(&["service", "logs", "web", "--timestamps", "--stream", "stdout", "--tail", "1", "--color", "always"]);
    assert!(stamped.starts_with("20") && stamped.contains("\x1b[36mweb.1."), "{stamped}");
}

#[test]
fn logs_of_what_is_not_there_and_flags_that_contradict_each_other_are_refused() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &["--executor", "inert"]);
    assert_eq!(node.refused(&["service", "logs", "none"]), "Error: service none not found");
    assert_eq!(node.refused(&["node", "logs", "none"]), "Error: node none not found");
    assert_eq!(node.refused(&["task", "logs", "none"]), "Error: task none not found");
    assert!(node.refused(&["service", "logs"]).contains("Usage: swarmctl service logs"));
    assert!(node.refused(&["service", "logs", "a", "--raw", "--timestamps"]).contains("cannot be used with"));
    assert!(node.refused(&["service", "logs", "a", "--since", "soon"]).contains("expected a time such as"));
}

#[test]
fn what_a_worker_that_is_gone_has_written_is_missing_and_that_is_said_at_the_end() {
    let (a, b) = (directory(), directory());
    let (manager, addr, token) = manager(a.path());
    let mut worker = Daemon::start(b.path(), &["--join-addr", &addr, "--join-token", &token]);
    let ready = |node: &Daemon| node.json(&["node", "ls"]).iter().filter(|node| node["state"] == "READY").count();
    wait_until("two nodes", || ready(&manager) == 2);
    let global = ["service", "create", "--name", "web", "--mode", "global"];
    manager.ok(&[&global[..], &["--", "sh", "-c", TALK]].concat());
    let tasks = manager.wait_running("web", 2);
    assert_eq!(lines(&manager, &["service", "logs", "web", "--raw"], 4).len(), 4);

    let name = b.path().file_name().unwrap().to_str().unwrap();
    let gone = tasks.iter().find(|task| task["node"] == name).unwrap()["node_id"].as_str().unwrap();
    worker.kill();
    let reason = format!(
        "Error: warning: incomplete log stream. some logs could not be retrieved for the following reasons: \
         node {gone} is not available\n"
    );
    wait_until("the worker to be missed", || {
        let output = manager.ctl(&["service", "logs", "web", "--raw", "--stream", "stdout"]);
        output.stderr == reason.as_bytes() && output.stdout == b"one\ntwo\n" && output.status.code() == Some(255)
    });
    // Started again, so that its tasks are taken away with the service.
    let _worker = Daemon::start(b.path(), &["--join-addr", &addr, "--join-token", &token]);
    wait_until("two nodes again", || ready(&manager) == 2);
    manager.ok(&["service", "rm", "web"]);
    wait_until("all tasks to be gone", || manager.ok(&["task", "ls", "-a", "-q"]).is_empty());
}

/// A reader of logs, whose lines come as it shows them.
struct Follower {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Follower {
    fn start(node: &Daemon, args: &[&str]) -> Self {
        let mut child = swarmctl(&node.socket, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        #[expect(clippy::disallowed_methods, reason = "a pipe of a real program is read")]
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    fn next(&self) -> u64 {
        self.lines.recv_timeout(PATIENCE).expect("another line").parse().unwrap()
    }

    fn end(mut self) -> String {
        stop(&mut self.child, Signal::TERM);
        std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap()
    }
}

#[test]
fn who_follows_a_task_loses_and_doubles_no_line_when_its_manager_is_killed_and_started_again() {
    let dir = directory();
    let mut node = Daemon::start(dir.path(), &[]);
    start_shell(&node, "count", COUNT);
    let all = Follower::start(&node, &["service", "logs", "-f", "--raw", "count"]);
    let mut last = 5;
    assert_eq!([(); 5].map(|()| all.next()), [1, 2, 3, 4, 5]);
    let tail = Follower::start(&node, &["service", "logs", "-f", "--raw", "--tail", "0", "count"]);
    let mut last_of_tail = tail.next();
    assert!(last_of_tail > 5, "what was written before is left out");

    node.kill();
    let node = Daemon::start(dir.path(), &[]);
    // The task has gone on all the while.
    let written = wait_for("lines that were written since", || {
        let output = node.ctl(&["service", "logs", "--raw", "--tail", "1", "count"]);
        String::from_utf8(output.stdout).ok()?.trim().parse::<u64>().ok().filter(|n| *n > last_of_tail + 20)
    });
    while last <= written {
        let next = all.next();
        assert_eq!(next, last + 1);
        last = next;
    }
    while last_of_tail <= written {
        let next = tail.next();
        assert_eq!(next, last_of_tail + 1);
        last_of_tail = next;
    }
    for follower in [all, tail] {
        let said = follower.end();
        assert!(said.starts_with("the logs were cut off (") && said.lines().count() == 1, "{said}");
    }
}

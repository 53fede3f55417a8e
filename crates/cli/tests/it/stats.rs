//! `swarmctl task stats`, and what metrics tell of tasks.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Daemon, directory, free_port, stop, swarmctl, wait_for};

#[test]
fn what_tasks_use_is_shown_and_told_to_prometheus() {
    let (dir, address) = (directory(), format!("127.0.0.1:{}", free_port().unwrap()));
    let node = Daemon::start(dir.path(), &["--listen-metrics", &address]);
    for name in ["web", "api"] {
        node.ok(&["service", "create", "--name", name, "--", "sleep", "1000000"]);
    }
    let web = node.wait_running("web", 1)[0]["id"].as_str().unwrap().to_owned();
    node.wait_running("api", 1);

    let told = node.json(&["task", "stats", "--no-stream"]);
    let services: Vec<_> = told.iter().map(|task| task["service"].as_str().unwrap()).collect();
    assert_eq!(services, ["api", "web"]);
    for task in &told {
        assert!(task["pids"].as_u64() == Some(1) && task["error"] == Value::Null, "{task}");
        assert!(task["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{task}");
        assert!(task["cpus"].as_f64().is_some() && task["cpu_seconds"].as_f64().is_some(), "{task}");
    }
    for args in [&["task", "stats", "--no-stream", &web][..], &["task", "stats", "--no-stream", "--service", "web"]] {
        let text = node.ok(args);
        let last = text.lines().last().unwrap();
        assert!(text.lines().count() == 3 && last.contains(&web) && last.contains("web.1"), "{text}");
    }
    assert!(node.refused(&["task", "stats", "nobody"]).contains("task nobody not found"));

    // The stream goes on: each interval has a line for each task.
    let mut stats = swarmctl(&node.socket, &["task", "stats", "--service", "web", "--format", "json"]);
    let mut stats = stats.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(stats.stdout.take().unwrap()).lines().take(2);
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    stop(&mut stats, Signal::TERM);
    assert!(lines.iter().all(|line| line["id"] == web.as_str()), "{lines:?}");

    let line = format!("swarm_task_pids{{task_id=\"{web}\",task_name=\"web.1.{web}\",service_name=\"web\"}} 1");
    wait_for(&line, || metrics(&address).filter(|text| text.lines().any(|found| found == line)));
    assert!(metrics(&address).unwrap().contains(&format!("swarm_task_cpu_seconds_total{{task_id=\"{web}\"")));
}

#[test]
fn a_node_that_cannot_tell_is_named() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &["--executor", "inert"]);
    node.ok(&["service", "create", "--name", "web", "--image", "any"]);
    node.wait_running("web", 1);
    let told = node.json(&["task", "stats", "--no-stream"]);
    let [task] = told.as_slice() else { panic!("{told:?}") };
    let id = task["node_id"].as_str().unwrap();
    let reason = format!("node {id}: this executor does not offer resource usage");
    assert_eq!((task["error"].as_str(), &task["pids"]), (Some(reason.as_str()), &Value::Null));
    let text = node.ok(&["task", "stats", "--no-stream"]);
    assert_eq!(text.lines().last(), Some(reason.as_str()));
}

/// What a scrape gets.
fn metrics(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    Some(text)
}

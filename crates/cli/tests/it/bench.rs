//! `swarm-bench` against a node.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Daemon, directory, mark, sleepers};

fn bench(node: &Daemon, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_swarm-bench")).arg("--socket").arg(&node.socket).args(args).output().unwrap()
}

#[test]
fn every_task_is_timed_in_each_stage_and_nothing_is_left() {
    let (dir, mark) = (directory(), mark());
    let node = Daemon::start(dir.path(), &[]);
    let output = bench(&node, &["--count", "20", "--format", "json", "--", "sleep", &mark]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["count"], 20);
    let at = |stage: &str, which: &str| report[stage][which].as_f64().unwrap();
    for which in ["min_ms", "p50_ms", "p99_ms", "max_ms"] {
        assert!(0.0 < at("created", which) && at("created", which) <= at("assigned", which), "{report}");
        assert!(at("assigned", which) < at("running", which), "{report}");
    }
    assert!(report["per_second"].as_f64().unwrap() > 0.0, "{report}");
    assert!(node.json(&["service", "ls"]).is_empty() && sleepers(&mark).is_empty());

    let table = bench(&node, &["-c", "1", "--", "sleep", &mark]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("Milliseconds until") && table.contains("\nrunning "), "{table}");
}

#[test]
fn tasks_that_cannot_run_are_an_error_that_says_why() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let output = bench(&node, &["-c", "2", "--image", "nobody/has:this", "--timeout", "1s"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with("swarm-bench: 0 of 2 tasks run after 1 s; one says: no suitable node"), "{told}");
    assert!(node.json(&["service", "ls"]).is_empty());
}

//! Nodes that are stopped or killed, and come back.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::harness::{Daemon, directory, mark, sleepers, wait_until};

#[test]
fn both_signals_end_a_node_with_success() {
    let dir = directory();
    for signal in [Signal::INT, Signal::TERM] {
        let mut node = Daemon::start(dir.path(), &["--executor", "inert"]);
        assert_eq!(node.stop(signal).code(), Some(0), "{}", node.log());
        assert!(!node.socket.exists());
        node.clear_log();
    }
}

#[test]
fn a_killed_node_finds_its_services_and_adopts_their_processes() {
    let dir = directory();
    let mut node = Daemon::start(dir.path(), &[]);
    let mark = mark();
    node.ok(&["service", "create", "--name", "web", "--replicas", "4", "--", "sleep", &mark]);
    node.wait_running("web", 4);
    let before = sleepers(&mark);
    assert_eq!(before.len(), 4);

    node.kill();
    assert_eq!(sleepers(&mark), before, "processes outlive the node");
    node.clear_log();
    let node = Daemon::start(dir.path(), &[]);
    let tasks = node.wait_running("web", 4);
    assert_eq!(tasks.iter().map(|task| task["slot"].as_u64()).collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(sleepers(&mark), before, "none is lost, doubled or orphaned");

    node.ok(&["service", "rm", "web"]);
    wait_until("adopted processes to be stopped", || sleepers(&mark).is_empty());
}

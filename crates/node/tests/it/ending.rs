//! Nodes that end: because they are told to, or because they cannot go on.

use std::{net::TcpListener, time::Duration};

use swarmkit_api::wire;
use swarmkit_node::NodeError;
use swarmkit_raft::RaftOptions;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::world::{PATIENCE, Running, cluster, manager, worker};

/// A request that is written down, if it can be.
fn config(name: &str) -> wire::CreateConfigRequest {
    let annotations = wire::Annotations { name: name.to_owned(), ..Default::default() };
    let data = vec![b'x'; 1024].into();
    let spec = wire::ConfigSpec { annotations: Some(annotations), data, ..Default::default() };
    wire::CreateConfigRequest { spec: Some(spec) }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_looks_for_its_cluster_can_be_stopped() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let token = format!("SWMTKN-1-{}-{}", "1".repeat(50), "1".repeat(25));
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let soon = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
    };
    let (started, ()) = tokio::join!(worker(dir.path(), &nobody, &token).start(&stop), soon);
    assert!(matches!(started, Err(NodeError::Stopped)));
}

#[tokio::test]
async fn either_token_stops_a_node() {
    for stop_the_run in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (start, run) = (CancellationToken::new(), CancellationToken::new());
        let node = manager(dir.path()).start(&start).await.unwrap();
        let handle = node.handle();
        let meanwhile = async {
            handle.ready().await.unwrap();
            if stop_the_run { run.cancel() } else { start.cancel() }
        };
        let (ended, ()) = tokio::join!(tokio::time::timeout(PATIENCE, node.run(run.clone())), meanwhile);
        ended.expect("in time").unwrap();
    }
}

#[tokio::test]
async fn a_node_that_was_stopped_can_be_started_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        Running::start(manager(dir.path())).await.unwrap().ready().await.end().await.unwrap();
    }
}

#[tokio::test]
async fn a_manager_that_cannot_write_its_log_ends_the_node_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let options = RaftOptions { segment_bytes: 4096, ..RaftOptions::default() };
    let running = Running::start(manager(dir.path()).raft(options)).await.unwrap().ready().await;
    std::fs::remove_dir_all(dir.path().join("raft")).unwrap();
    let mut control = running.handle.control().unwrap();
    let write = async {
        for number in 0.. {
            let annotations = wire::Annotations { name: format!("config-{number}"), ..Default::default() };
            let spec = wire::ConfigSpec {
                annotations: Some(annotations),
                data: vec![b'x'; 1024].into(),
                ..Default::default()
            };
            if control.create_config(wire::CreateConfigRequest { spec: Some(spec) }).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, write).await.expect("the disk is gone");
    let error = running.failure().await.to_string();
    assert!(error.starts_with("manager stopped: "), "{error}");
    assert!(!error.contains('\n'), "one line: {error}");
}

#[tokio::test]
async fn who_waits_for_a_node_that_has_ended_is_told() {
    let (_dir, running) = cluster().await;
    let handle = running.handle.clone();
    running.end().await.unwrap();
    assert!(tokio::time::timeout(PATIENCE, handle.ready()).await.expect("at once").is_err());
    let mut control = handle.control().unwrap();
    let written = control.create_config(config("late"));
    let refused = tokio::time::timeout(PATIENCE, written).await.expect("at once").unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

//! What a daemon tells Prometheus.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::harness::{Daemon, directory, free_port, swarmd, wait_for};

/// What a scrape gets: the head and the body.
fn get(address: &str, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Some((head.to_owned(), body.to_owned()))
}

#[test]
fn a_daemon_serves_what_it_measures() {
    let (dir, address) = (directory(), format!("127.0.0.1:{}", free_port().unwrap()));
    let node = Daemon::start(dir.path(), &["--executor", "inert", "--listen-metrics", &address]);
    node.ok(&["service", "create", "--name", "web", "--image", "any", "--replicas", "3"]);
    node.wait_running("web", 3);

    let has = |line: &str| {
        wait_for(line, || get(&address, "/metrics").filter(|(_, body)| body.lines().any(|found| found == line)))
    };
    for line in [
        "swarm_manager_leader 1",
        "swarm_node_manager 1",
        "swarm_manager_services_total 1",
        "swarm_manager_tasks_total{state=\"running\"} 3",
        "swarm_manager_tasks_total{state=\"new\"} 0",
        "swarm_manager_nodes{state=\"ready\"} 1",
    ] {
        has(line);
    }
    let (head, body) = get(&address, "/metrics").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("application/openmetrics-text"), "{head}");
    let value = |name: &str| -> f64 {
        let line = body.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {body}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("swarm_raft_transaction_latency_seconds_count") >= 3.0);
    assert!(value("swarm_raft_transaction_latency_seconds_sum") > 0.0);
    assert!(value("swarm_store_write_tx_latency_seconds_count") >= 1.0);
    let create = "grpc_service=\"docker.swarmkit.v1.Control\",grpc_method=\"CreateService\",grpc_type=\"unary\"";
    assert_eq!(value(&format!("grpc_server_handled_total{{{create},grpc_code=\"OK\"}}")), 1.0);
    assert!(body.contains("swarm_node_info{swarm_id=\""), "{body}");
    assert!(body.ends_with("# EOF\n"));
    assert!(get(&address, "/").unwrap().0.starts_with("HTTP/1.1 404"));
}

#[test]
fn an_address_that_is_taken_ends_the_daemon_before_it_starts() {
    let (dir, taken) = (directory(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap().to_string();
    let state = dir.path().join("state");
    let output = swarmd().args(["--listen-metrics", &address, "--state-dir"]).arg(&state).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains(&format!("swarmd: cannot serve metrics at {address}: ")), "{told}");
    assert!(!state.exists());
}

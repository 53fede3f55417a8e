//! What the cluster says of this node, asked through its own control socket.

use std::path::Path;

use swarmkit_api::{
    NodeRole,
    wire::{self, node_status::State, raft_member_status::Reachability},
};
use swarmkit_ca::Identity;
use swarmkit_runtime::{Env, Spawner};

use super::finding::Finding;
use crate::client::Client;

const CHECK: &str = "cluster";
const SOCKET: &str = "control socket";

/// What the managers have answered.
#[derive(Debug)]
pub(super) enum View {
    /// No manager runs here that could be asked.
    None(&'static str),
    /// It runs, and does not answer.
    Silent(String),
    /// It answers, and refuses, as without a leader.
    Refused(String),
    /// What it knows.
    Told {
        /// All nodes.
        nodes: Vec<wire::Node>,
        /// Whether the root of trust is being replaced.
        rotating: bool,
    },
}

/// Asks.
pub(super) async fn look(socket: &Path, env: &Env, spawner: &Spawner) -> View {
    let client = match Client::connect(socket, env, spawner).await {
        Ok(client) => client,
        Err(error) => return View::Silent(error.to_string()),
    };
    let mut control = client.control();
    let nodes = control.list_nodes(wire::ListNodesRequest::default()).await;
    let clusters = control.list_clusters(wire::ListClustersRequest::default()).await;
    match (nodes, clusters) {
        (Ok(nodes), Ok(clusters)) => {
            let clusters = clusters.into_inner().clusters;
            let rotating = clusters
                .iter()
                .any(|cluster| cluster.root_ca.as_ref().is_some_and(|root| root.root_rotation.is_some()));
            View::Told { nodes: nodes.into_inner().nodes, rotating }
        }
        (Err(status), _) | (_, Err(status)) => View::Refused(status.message().to_owned()),
    }
}

/// What is to be said.
pub(super) fn judge(view: &View, own: Option<&Identity>) -> Vec<Finding> {
    let (nodes, rotating) = match view {
        View::None(why) => return vec![Finding::skipped(CHECK, *why)],
        View::Silent(error) => {
            return vec![
                Finding::problem(SOCKET, error.clone())
                    .mend("name the socket that swarmd listens on: swarmd doctor --listen-control-api PATH"),
            ];
        }
        View::Refused(error) => {
            return vec![
                Finding::problem(CHECK, error.clone())
                    .mend("start the managers that are down, or read docs/recovery.md if they are lost"),
            ];
        }
        View::Told { nodes, rotating } => (nodes, *rotating),
    };
    let mut findings = vec![Finding::ok(SOCKET, "it answers")];
    let leader = nodes.iter().find(|node| node.manager_status.as_ref().is_some_and(|status| status.leader));
    findings.push(match leader {
        Some(leader) => Finding::ok(CHECK, format!("led by node {}; nodes: {}", leader.id, nodes.len())),
        None => Finding::problem(CHECK, "no manager leads")
            .mend("start the managers that are down, or read docs/recovery.md if they are lost"),
    });
    if rotating {
        let text =
            "the root of trust is being replaced: until every node has a new certificate, none may be away for long";
        findings.push(Finding::warning(CHECK, text).mend("look for nodes that are down: swarmctl node ls"));
    }
    findings.extend(nodes.iter().filter_map(unreached));
    findings.extend(own.map(|own| of_own(nodes, own)));
    findings
}

/// A manager that the others do not reach: this one, for all that it knows.
fn unreached(node: &wire::Node) -> Option<Finding> {
    let status = node.manager_status.as_ref()?;
    (status.reachability() == Reachability::Unreachable).then(|| {
        let text = format!("manager {} is not reached at {}", node.id, status.addr);
        Finding::problem(CHECK, text).mend("start it, open the port, or start it with the right --advertise-remote-api")
    })
}

fn of_own(nodes: &[wire::Node], own: &Identity) -> Finding {
    let Some(node) = nodes.iter().find(|node| node.id == own.node.as_str()) else {
        return Finding::problem(CHECK, format!("node {} was removed from the cluster", own.node))
            .mend("start over with an empty state directory, and join again");
    };
    let role = node.role();
    if role != own.role {
        let word = |role| if role == NodeRole::Manager { "manager" } else { "worker" };
        let text =
            format!("the cluster has this node as a {}, and its certificate says {}", word(role), word(own.role));
        return Finding::warning(CHECK, text).mend("wait for its next certificate; it asks for one within seconds");
    }
    let status = node.status.clone().unwrap_or_default();
    match status.state() {
        State::Ready => Finding::ok(CHECK, "this node is READY"),
        state => Finding::problem(CHECK, format!("this node is {}: {}", state.as_str_name(), status.message))
            .mend("look at the log of swarmd for its session with the managers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    fn node(id: &str, state: State, manager: Option<(bool, Reachability)>) -> wire::Node {
        let role = if manager.is_some() { NodeRole::Manager } else { NodeRole::Worker };
        wire::Node {
            id: id.into(),
            role: role.into(),
            status: Some(wire::NodeStatus { state: state.into(), message: "why".into(), ..Default::default() }),
            manager_status: manager.map(|(leader, reached)| wire::ManagerStatus {
                leader,
                addr: format!("{id}:1"),
                reachability: reached.into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn told(nodes: &[wire::Node], rotating: bool, role: NodeRole) -> Vec<(Verdict, String)> {
        let own = Identity::new("a".into(), role, "c".into());
        let findings = judge(&View::Told { nodes: nodes.to_vec(), rotating }, Some(&own));
        findings.into_iter().map(|finding| (finding.verdict, finding.text)).collect()
    }

    const LEADS: Option<(bool, Reachability)> = Some((true, Reachability::Reachable));

    #[test]
    fn a_cluster_that_is_well_says_so_in_three_lines() {
        let lines = told(&[node("a", State::Ready, LEADS)], false, NodeRole::Manager);
        let texts: Vec<&str> = lines.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["it answers", "led by node a; nodes: 1", "this node is READY"]);
        assert!(lines.iter().all(|(verdict, _)| *verdict == Verdict::Ok));
    }

    #[test]
    fn what_the_cluster_knows_of_this_node_is_told() {
        let last = |nodes: &[wire::Node], role| told(nodes, false, role).pop().unwrap();
        let removed = last(&[node("b", State::Ready, LEADS)], NodeRole::Manager);
        assert_eq!(removed, (Verdict::Problem, "node a was removed from the cluster".to_owned()));
        let down = last(&[node("a", State::Down, LEADS)], NodeRole::Manager);
        assert_eq!(down, (Verdict::Problem, "this node is DOWN: why".to_owned()));
        let demoted = last(&[node("a", State::Ready, None), node("b", State::Ready, LEADS)], NodeRole::Manager);
        let text = "the cluster has this node as a worker, and its certificate says manager".to_owned();
        assert_eq!(demoted, (Verdict::Warning, text));
    }

    #[test]
    fn no_leader_a_manager_out_of_reach_and_a_rotation_are_told() {
        let follower = Some((false, Reachability::Unreachable));
        let lines = told(&[node("a", State::Ready, follower)], true, NodeRole::Manager);
        for expected in [
            (Verdict::Problem, "no manager leads"),
            (Verdict::Problem, "manager a is not reached at a:1"),
            (
                Verdict::Warning,
                "the root of trust is being replaced: until every node has a new certificate, none may be away for long",
            ),
        ] {
            assert!(lines.contains(&(expected.0, expected.1.to_owned())), "{expected:?}: {lines:?}");
        }
    }
}

//! What is printed of tasks that wait and of plans, character by character.

use insta::assert_snapshot;
use swarmkit_api::wire::swarmkit::scheduling::v1::{
    Filter, NodeRefusal, Placement, Preempted, Wait, explanation::Standing, need,
};

use super::*;
use crate::output::json;

fn names() -> Names {
    let node = |id: &str, hostname: &str| wire::Node {
        id: id.to_owned(),
        description: Some(wire::NodeDescription { hostname: hostname.to_owned(), ..Default::default() }),
        ..Default::default()
    };
    Names::of(&[node("n1", "one"), node("n2", "two")])
}

fn need(nodes: u64, message: &str, need: need::Need) -> Need {
    Need { nodes, message: message.to_owned(), need: Some(need) }
}

fn explanation() -> Explanation {
    let shortage =
        need::Shortage { resource: "memory".into(), asked: 3 << 30, most_free: 1 << 30, node_id: "n2".into() };
    let condition = need::Condition { state: "DOWN".into(), availability: "ACTIVE".into() };
    let message = "has 1 GiB of memory left of the 3 GiB of memory that a task reserves";
    Explanation {
        standing: Standing::Waiting.into(),
        message: "no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)".to_owned(),
        nodes: 3,
        open: 0,
        refusals: vec![
            Refusal {
                filter: Filter::Resources.into(),
                nodes: 2,
                message: "insufficient resources on 2 nodes".to_owned(),
                needs: vec![need(2, message, need::Need::Shortage(shortage))],
                needs_left_out: 0,
            },
            Refusal {
                filter: Filter::Ready.into(),
                nodes: 1,
                message: "1 node not available for new tasks".to_owned(),
                needs: vec![need(1, "is down", need::Need::Condition(condition))],
                needs_left_out: 4,
            },
        ],
        refused: vec![NodeRefusal {
            node_id: "n1".into(),
            filter: Filter::Resources.into(),
            message: message.to_owned(),
        }],
        refused_left_out: 2,
    }
}

fn planned() -> PlanResponse {
    let place = |node: &str, created, kept| Placement { node_id: node.to_owned(), created, kept };
    let nodes = Explanation { refused: Vec::new(), refused_left_out: 3, ..explanation() };
    PlanResponse {
        version: 7,
        waits_for: "waits for db to run".to_owned(),
        kept: 1,
        replaced: 0,
        given_up: 2,
        created: 4,
        placements: vec![place("n1", 2, 0), place("n2", 1, 1)],
        placements_left_out: 3,
        waits: vec![Wait { tasks: 1, explanation: Some(explanation()) }],
        nodes: Some(nodes),
        preempted: vec![Preempted { task_id: "t9".into(), service_id: "s9".into(), node_id: "n1".into() }],
    }
}

#[test]
fn a_plan_says_where_tasks_would_go_and_why_others_would_wait() {
    assert_snapshot!(plan(&planned(), &names()), @r"
    Waits            : waits for db to run
    New tasks        : 4
    Kept             : 1
    Given up         : 2
    Waiting          : 1

    Node    New    Kept
    ----    ---    ----
    one     2      0
    two     1      1
    and 3 nodes more

    ===> Tasks That Would Make Room
      t9 of service s9 on one

    ===> 1 Task Would Wait
      no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)
        insufficient resources on 2 nodes
          2 nodes: has 1 GiB of memory left of the 3 GiB of memory that a task reserves, at best (on two)
        1 node not available for new tasks
          1 node: is down
          and 4 reasons more
        one: has 1 GiB of memory left of the 3 GiB of memory that a task reserves
        and 2 nodes more

    ===> Nodes That Refuse (of 3)
      insufficient resources on 2 nodes
        2 nodes: has 1 GiB of memory left of the 3 GiB of memory that a task reserves, at best (on two)
      1 node not available for new tasks
        1 node: is down
        and 4 reasons more
    ");
}

#[test]
fn a_plan_without_anything_to_tell_is_short() {
    let quiet = PlanResponse { created: 1, placements: planned().placements[..1].to_vec(), ..Default::default() };
    assert_snapshot!(plan(&quiet, &names()), @r"
    New tasks        : 1
    Waiting          : 0

    Node    New    Kept
    ----    ---    ----
    one     2      0
    ");
}

#[test]
fn a_task_that_waits_says_for_what() {
    assert_snapshot!(explanation_section(&explanation(), &names()), @r"
    ===> Waiting For
      no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)
        insufficient resources on 2 nodes
          2 nodes: has 1 GiB of memory left of the 3 GiB of memory that a task reserves, at best (on two)
        1 node not available for new tasks
          1 node: is down
          and 4 reasons more
        one: has 1 GiB of memory left of the 3 GiB of memory that a task reserves
        and 2 nodes more
    ");
    assert_eq!(explanation_section(&Explanation::default(), &names()), "");
}

#[test]
fn tasks_that_wait_are_told_by_what_they_wait_for_the_most_frequent_first() {
    let task = |id: &str, state: TaskState, err: &str| wire::Task {
        id: id.to_owned(),
        service_id: "s".to_owned(),
        desired_state: TaskState::Running.into(),
        status: Some(wire::TaskStatus { state: state.into(), err: err.to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let tasks = [
        task("a", TaskState::New, "ingress network is missing"),
        task("b", TaskState::Pending, "no suitable node"),
        task("c", TaskState::Pending, "no suitable node"),
        task("d", TaskState::Pending, ""),
        task("e", TaskState::Running, "old"),
    ];
    let mut groups = waiting_by_service(&tasks).remove("s").unwrap();
    let told: Vec<_> = groups.iter().map(|group| (group.tasks, group.message.as_str(), group.first.as_str())).collect();
    assert_eq!(told, [(2, "no suitable node", "b"), (1, "ingress network is missing", "a")]);
    groups[0].explanation = Some(Explanation { refused: Vec::new(), ..explanation() });
    assert_snapshot!(waiting_section(&groups, &names()), @r"
    ===> Waiting Tasks
      2 tasks: no suitable node
        insufficient resources on 2 nodes
          2 nodes: has 1 GiB of memory left of the 3 GiB of memory that a task reserves, at best (on two)
        1 node not available for new tasks
          1 node: is down
          and 4 reasons more
      1 task: ingress network is missing
    ");
    assert_eq!(waiting_section(&[], &names()), "");
}

#[test]
fn explanations_and_plans_as_json() {
    assert_snapshot!(json::line(&json::Explanation::new(&explanation(), &names())), @r#"{"standing":"WAITING","message":"no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)","nodes":3,"open":0,"refusals":[{"filter":"RESOURCES","nodes":2,"message":"insufficient resources on 2 nodes","needs":[{"nodes":2,"message":"has 1 GiB of memory left of the 3 GiB of memory that a task reserves","shortage":{"resource":"memory","asked":3221225472,"most_free":1073741824,"node_id":"n2"}}],"needs_left_out":0},{"filter":"READY","nodes":1,"message":"1 node not available for new tasks","needs":[{"nodes":1,"message":"is down","condition":{"state":"DOWN","availability":"ACTIVE"}}],"needs_left_out":4}],"refused":[{"node_id":"n1","node":"one","filter":"RESOURCES","message":"has 1 GiB of memory left of the 3 GiB of memory that a task reserves"}],"refused_left_out":2}"#);
    assert_snapshot!(json::line(&json::Plan::new(&PlanResponse { waits: Vec::new(), nodes: None, ..planned() }, &names())), @r#"{"waits_for":"waits for db to run","created":4,"kept":1,"replaced":0,"given_up":2,"placements":[{"node_id":"n1","node":"one","created":2,"kept":0},{"node_id":"n2","node":"two","created":1,"kept":1}],"placements_left_out":3,"waits":[],"nodes":null,"preempted":[{"task_id":"t9","service_id":"s9","node_id":"n1"}],"version":7}"#);
}

//! Tasks that were made for a node.

use super::{waiting::Rounds, *};

#[test]
fn a_task_for_a_node_is_confirmed_when_the_node_can_run_it() {
    check("node a; service all global; task all.a pending", &["all.a goes to a"]);
}

#[test]
fn one_that_does_not_fit_waits_and_is_told_why_in_few_words() {
    check(
        "node a memory=1GiB; service all global memory=2GiB; task all.a pending",
        &["all.a waits: insufficient resources on 1 node"],
    );
    for state in ["down", "unknown", "disconnected"] {
        let text = format!("node a {state}; service all global; task all.a pending");
        check(&text, &["all.a waits: 1 node not available for new tasks"]);
    }
}

#[test]
fn one_for_a_node_that_is_not_there_says_so_until_the_node_is_there() {
    check("node a; service all global; task all.b pending", &["all.b waits: node b does not exist"]);
    let mut rounds = Rounds::start("node a; service all global; task all.b pending");
    assert_eq!(rounds.round(), ["all.b waits: node b does not exist"]);
    assert_eq!(rounds.round(), [""; 0], "it is said once");
    assert_eq!(rounds.amend("node b down"), ["all.b waits: 1 node not available for new tasks"]);
    assert_eq!(
        rounds.edit_node("b", |node| node.status.set_state(wire::node_status::State::Ready)),
        ["all.b goes to b"]
    );
}

#[test]
fn they_come_before_the_tasks_that_may_go_anywhere() {
    check(
        "node a memory=1GiB; service all global memory=1GiB; service aaa memory=1GiB; task all.a pending; task aaa.1 pending",
        &["all.a goes to a", "aaa.1 waits: no suitable node (insufficient resources on 1 node)"],
    );
}

#[test]
fn their_failures_are_not_held_against_the_node() {
    let failed: String = (0..6).map(|n| format!("task all.a.{n} on a failed wants shutdown;")).collect();
    let store = testing::store(&format!("node a; node b; service all global; {failed}"));
    let (world, _) = learned(&store.view());
    let key = ("all".into(), Some(swarmkit_api::Version(1)));
    assert_eq!(world.books.faulty(&key, env().now()).len(), 0);
}

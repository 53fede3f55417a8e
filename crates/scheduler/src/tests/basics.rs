//! What happens to tasks and nodes, and what follows.

use swarmkit_api::{Node, Service, Task, TaskState, Version};

use super::{waiting::Rounds, *};

/// Where each task of a plan goes.
fn placed(plan: &[String]) -> Vec<(String, String)> {
    let pairs = plan.iter().filter_map(|line| line.split_once(" goes to "));
    pairs.map(|(task, node)| (task.to_owned(), node.to_owned())).collect()
}

/// How many tasks of a plan each node gets, by node.
fn per_node(plan: &[String]) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    placed(plan).into_iter().for_each(|(_, node)| *counts.entry(node).or_default() += 1);
    counts
}

#[test]
fn two_tasks_go_to_the_two_nodes_that_have_none() {
    check(
        "node a; node b; node c; service web; task web.1 on a; task web.2 pending; task web.3 pending",
        &["web.2 goes to b", "web.3 goes to c"],
    );
}

#[test]
fn a_task_that_is_taken_from_its_node_is_placed_again() {
    let mut rounds = Rounds::start("node a; service all global; service web; task web.1 on a pending");
    rounds.edit_node("a", |node| node.status.set_state(wire::node_status::State::Down));
    assert_eq!(
        rounds.edit_task("web.1", |task| task.node_id = None),
        ["web.1 waits: no suitable node (1 node not available for new tasks)"]
    );
    assert_eq!(rounds.amend("node b"), ["web.1 goes to b"]);
}

#[test]
fn nodes_that_come_and_go_before_a_decision_get_nothing() {
    let mut rounds = Rounds::start("service web; task web.1 pending");
    testing::amend(&rounds.store, "node a");
    write(&rounds.store, |tx| tx.delete::<Node>(&"a".into()).map(drop));
    assert_eq!(rounds.round(), ["web.1 waits: no suitable node"]);
    testing::amend(&rounds.store, "node b");
    let down = |node: &mut Node| node.status.set_state(wire::node_status::State::Down);
    assert_eq!(rounds.edit_node("b", down), ["web.1 waits: no suitable node (1 node not available for new tasks)"]);
}

#[test]
fn a_task_that_is_told_to_go_while_it_waits_is_not_placed_any_more() {
    let mut rounds = Rounds::start("service web; task web.1 pending; task web.2 pending");
    rounds.round();
    rounds.edit_task("web.1", |task| task.desired_state = TaskState::Remove);
    write(&rounds.store, |tx| tx.delete::<Task>(&"web.2".into()).map(drop));
    assert_eq!(rounds.amend("node a"), [""; 0]);
}

#[test]
fn an_assignment_says_what_and_when() {
    let mut rounds = Rounds::start("node a; service web; task web.1 pending");
    rounds.round();
    let view = rounds.store.view();
    let task = view.get::<Task>(&"web.1".into()).unwrap();
    let status = &task.status;
    assert_eq!((status.state, status.err.as_str()), (TaskState::Assigned, ""));
    assert_eq!(status.message, "scheduler assigned task to node");
    assert!(status.timestamp.is_some());
    assert_eq!(status.timestamp, task.meta.updated_at, "when it was written");
}

#[test]
fn tasks_that_come_one_after_the_other_are_placed_like_those_that_come_together() {
    let nodes = "node a; node b; node c; service web";
    let mut rounds = Rounds::start(nodes);
    let single: Vec<_> = (1..=8).flat_map(|slot| rounds.amend(&format!("task web.{slot} pending"))).collect();
    let together: String = (1..=8).map(|slot| format!("task web.{slot} pending;")).collect();
    assert_eq!(single, decisions(&testing::world(&format!("{nodes}; {together}"))));
}

#[test]
fn a_decision_that_was_overtaken_is_made_again_and_nothing_was_booked_for_it() {
    let mut rounds = Rounds::start("node a memory=1GiB; service web memory=1GiB; task web.1 pending");
    rounds.absorb();
    let due = std::mem::take(&mut rounds.world.due);
    let plan = rounds.world.plan(&due, env().now());
    write(&rounds.store, |tx| {
        tx.edit(&"web.1".into(), |task: &mut Task| task.spec_version = Some(Version(7)))?;
        assert!(!plan.decisions[0].write(tx)?, "it is of another version now");
        Ok(())
    });
    rounds.absorb();
    rounds.world.retry(&plan.decisions[0]);
    assert_eq!(rounds.round(), ["web.1 goes to a"]);
}

#[test]
fn a_plan_that_is_not_written_leaves_no_trace() {
    let text =
        "node a memory=1GiB; node b; service web memory=1GiB; service other; task web.1 pending; task other.1 pending";
    let view = testing::world(text);
    let (world, plan) = learned(&view);
    assert_eq!(placed(&told(&plan)).len(), 2);
    assert!(world.books == learned(&view).0.books, "nothing was booked");
    assert_eq!(told(&plan), told(&world.plan(&world.due, env().now())));
}

#[test]
fn a_task_for_a_node_is_confirmed_once_there_is_room() {
    let mut rounds = Rounds::start(
        "node a memory=1GiB; service web memory=1GiB; service all global memory=1GiB; task web.1 on a; task all.a pending",
    );
    assert_eq!(rounds.round(), ["all.a waits: insufficient resources on 1 node"]);
    assert_eq!(rounds.edit_task("web.1", |task| task.status.state = TaskState::Complete), ["all.a goes to a"]);
    let view = rounds.store.view();
    let message = &view.get::<Task>(&"all.a".into()).unwrap().status.message;
    assert_eq!(message, "scheduler confirmed task can run on preassigned node");
}

#[test]
fn a_task_for_a_node_that_ends_or_is_deleted_while_it_waits_is_forgotten() {
    let mut rounds =
        Rounds::start("node a down; node b down; service all global; task all.a pending; task all.b pending");
    assert_eq!(rounds.round().len(), 2);
    rounds.edit_task("all.a", |task| task.status.state = TaskState::Failed);
    write(&rounds.store, |tx| tx.delete::<Task>(&"all.b".into()).map(drop));
    let ready = |node: &mut Node| node.status.set_state(wire::node_status::State::Ready);
    assert_eq!(rounds.edit_node("a", ready), [""; 0]);
    assert_eq!(rounds.edit_node("b", ready), [""; 0]);
}

#[test]
fn a_new_leader_has_the_same_books_after_a_thousand_tasks() {
    let nodes: String = (0..20).map(|node| format!("node n{node} memory=64GiB generic:gpu=100;")).collect();
    let mut rounds = Rounds::start(&format!("{nodes} service web memory=1GiB; service other; service all global"));
    for batch in 0..10 {
        let tasks = (0..100).map(|task| match task % 2 {
            0 => format!("task web.{} pending;", batch * 100 + task + 1),
            _ => format!("task other.{} pending;", batch * 100 + task + 1),
        });
        rounds.amend(&tasks.collect::<String>());
        for task in (0..100).step_by(7) {
            let id = if task % 2 == 0 { "web" } else { "other" };
            rounds
                .edit_task(&format!("{id}.{}", batch * 100 + task + 1), |task| task.status.state = TaskState::Running);
        }
    }
    rounds.absorb();
    let placed = |task: &&std::sync::Arc<Task>| task.node_id.is_some();
    assert_eq!(rounds.store.view().all::<Task>().filter(placed).count(), 1000);
    assert!(rounds.world.books == learned(&rounds.store.view()).0.books, "the books of the old leader and the new one");
}

#[test]
fn a_second_service_fills_the_emptiest_nodes_and_the_first_one_grows_where_least_is() {
    let mut rounds = Rounds::start(
        "node a; node b; node c; node d; service web; service other; task web.1 pending; task web.2 pending",
    );
    assert_eq!(rounds.round(), ["web.1 goes to a", "web.2 goes to b"]);
    assert_eq!(rounds.amend("task other.1 pending; task other.2 pending"), ["other.1 goes to c", "other.2 goes to d"]);
    assert_eq!(rounds.amend("task other.3 pending"), ["other.3 goes to a"]);
    assert_eq!(rounds.amend("task web.3 pending; task web.4 pending"), ["web.3 goes to c", "web.4 goes to d"]);
    assert_eq!(rounds.amend("task web.5 pending"), ["web.5 goes to b"], "a has more of the other");
}

#[test]
fn tasks_with_and_without_a_version_are_spread_alike() {
    let nodes = "node a label:z=1; node b label:z=1; node c; node d; service web constraint=node.labels.z==1";
    let tasks = |version: Option<Version>| {
        let store = testing::store(nodes);
        write(&store, |tx| {
            let spec = tx.get::<Service>(&"web".into()).unwrap().spec.task.clone().unwrap();
            (1..=7).try_for_each(|slot| {
                let task = testing::task(&format!("web.{slot}")).state(TaskState::Pending);
                let task = task.with(|task| (task.spec, task.spec_version) = (spec.clone().into(), version));
                tx.create(task.build()).map(drop)
            })
        });
        per_node(&decisions(&store.view()))
    };
    assert_eq!(tasks(None), tasks(Some(Version(1))));
    assert_eq!(tasks(None).into_values().collect::<Vec<_>>(), [4, 3]);
}

#[test]
fn the_order_in_which_nodes_have_come_decides_nothing() {
    let tasks: String = (1..=9).map(|slot| format!("task web.{slot} pending;")).collect();
    let mut plans = Vec::new();
    for order in [["a", "b", "c", "d"], ["d", "c", "b", "a"], ["b", "d", "a", "c"]] {
        let mut rounds = Rounds::start("service web; service other");
        for node in order {
            rounds.amend(&format!("node {node}"));
        }
        write(&rounds.store, |tx| tx.delete::<Node>(&"b".into()).map(drop));
        rounds.amend("node aa; task other.1 on c");
        plans.push(rounds.amend(&tasks));
        assert_eq!(rounds.round(), [""; 0]);
    }
    assert_eq!(plans[0].len(), 9);
    assert!(plans.iter().all(|plan| *plan == plans[0]), "{plans:#?}");
}

#[test]
fn where_a_service_fails_everywhere_the_node_with_the_fewest_failures_gets_its_task() {
    let failed = |node: &str, count: usize| -> String {
        (0..count).map(|n| format!("task web.1.{node}{n} on {node} failed wants shutdown;")).collect()
    };
    let text = format!("node a; node b; service web; {}{}task web.1 pending", failed("a", 7), failed("b", 6));
    check(&text, &["web.1 goes to b"]);
}

#[test]
fn what_a_plan_has_no_room_for_is_decided_in_the_next_one() {
    let tasks: String = (1..=30).map(|slot| format!("task web.{slot} pending; task full.{slot} pending;")).collect();
    let text = format!("node a; node b; service web; service full memory=1GiB; {tasks}");
    let whole = told(&learned(&testing::world(&text)).1);
    let mut rounds = Rounds::start(&text);
    let mut parts = Vec::new();
    rounds.absorb();
    while !rounds.world.due.is_empty() {
        let due = std::mem::take(&mut rounds.world.due);
        let plan = rounds.world.plan_up_to(7, &due, env().now());
        assert!(plan.decisions.len() <= 7, "{} decisions", plan.decisions.len());
        parts.extend(told(&plan));
        write(&rounds.store, |tx| plan.decisions.iter().try_for_each(|decision| decision.write(tx).map(drop)));
        rounds.world.note(plan.blocked);
        rounds.world.due.put_back(plan.rest);
        rounds.absorb();
    }
    assert_eq!(parts.len(), 60);
    assert_eq!(parts, whole);
}

//! What becomes of the room that is made.

use swarmkit_api::Node;

use super::*;
use crate::preemption::yields;

#[test]
fn room_that_is_being_made_anyway_is_waited_for_and_kept() {
    let text = "node a memory=2GiB; service low memory=1GiB; task low.1 on a; task low.2 on a wants shutdown
        service vip memory=1GiB priority=10; task vip.1 pending";
    let mut rounds = Rounds::start(text);
    assert_eq!(rounds.settle(), ["vip.1 waits for 1 task to leave node a: [] go"]);
    let kept = "low.3 waits: no suitable node (insufficient resources on 1 node)";
    assert_eq!(rounds.amend("task low.3 pending"), [kept]);
    let all = rounds.end("low.2");
    assert_eq!(all.first().map(String::as_str), Some("vip.1 goes to a"));
    assert_eq!(rounds.task("low.3").node_id, None);
}

#[test]
fn what_becomes_free_is_kept_from_equals_and_lower_ones_but_not_from_higher_ones() {
    let text = "node a memory=4GiB; service low memory=2GiB; task low.1 on a; task low.2 on a
        service vip memory=3GiB priority=10; task vip.1 pending";
    for (service, gets_it) in [("priority=0", false), ("priority=10", false), ("priority=11", true)] {
        let mut rounds = Rounds::start(text);
        rounds.settle();
        // One of two has gone, and what is free is not enough yet.
        assert_eq!(rounds.end("low.2"), NONE);
        let all = rounds.amend(&format!("service other memory=2GiB {service}; task other.1 pending"));
        if gets_it {
            assert_eq!(all.first().map(String::as_str), Some("other.1 goes to a"));
            assert!(rounds.task("vip.1").node_id.is_none());
        } else {
            assert_eq!(all, ["other.1 waits: no suitable node (room is kept for other tasks on 1 node)"]);
            assert_eq!(rounds.end("low.1")[0], "vip.1 goes to a");
        }
    }
}

#[test]
fn who_loses_the_room_to_one_that_is_more_important_is_told_at_once() {
    let text = "node a memory=4GiB; node b memory=3GiB; service low memory=2GiB; task low.1 on a wants shutdown
        service mid memory=3GiB priority=1; task mid.1 on b; task mid.2 pending";
    let mut rounds = Rounds::start(text);
    assert_eq!(rounds.settle(), ["mid.2 waits for 1 task to leave node a: [] go"]);
    let all = rounds.amend("service vip memory=2GiB priority=2; task vip.1 pending");
    let refused = "mid.2 waits otherwise: no suitable node (insufficient resources on 2 nodes)";
    assert_eq!(all, ["vip.1 goes to a", refused]);
    assert_eq!(rounds.task("mid.2").preemption, None);
}

#[test]
fn several_that_wait_make_room_for_each_and_take_what_was_kept_for_them() {
    let text = "node a memory=2GiB; node b memory=2GiB; service low memory=1GiB
        task low.1 on a; task low.2 on a; task low.3 on b; task low.4 on b
        service vip memory=1GiB priority=10; task vip.1 pending; task vip.2 pending; task vip.3 pending";
    let mut rounds = Rounds::start(text);
    let all = rounds.settle();
    assert_eq!(all.len(), 3);
    let view = rounds.store.view();
    let gone: Vec<_> = view.all::<Task>().filter(|task| yields(task)).map(|task| task.id.clone()).collect();
    assert_eq!(gone.len(), 3, "one for each: {all:?}");
    for id in gone {
        let told = rounds.end(id.as_str());
        assert_eq!(told.len(), 1, "{told:?}");
        let Some((vip, node)) = told[0].split_once(" goes to ") else { panic!("{told:?}") };
        assert_eq!(rounds.task(id.as_str()).node_id, Some(node.into()));
        assert!(vip.starts_with("vip."));
    }
}

#[test]
fn a_claim_ends_when_its_task_fits_elsewhere_or_is_wanted_no_more() {
    let start = || {
        let mut rounds = Rounds::start(&format!("{FULL}; service vip memory=1GiB priority=10; task vip.1 pending"));
        rounds.settle();
        rounds.amend("task low.3 pending");
        rounds
    };
    let mut rounds = start();
    assert_eq!(rounds.amend("node b memory=1GiB")[0], "vip.1 goes to b");
    assert_eq!(rounds.task("vip.1").preemption, None);
    assert_eq!(rounds.end("low.2"), ["low.3 goes to a"], "what was kept is free for all");

    let mut rounds = start();
    assert_eq!(rounds.edit("vip.1", |task| task.desired_state = TaskState::Remove), NONE);
    assert_eq!(rounds.end("low.2"), ["low.3 goes to a"]);

    let mut rounds = start();
    assert_eq!(rounds.end("low.2"), ["vip.1 goes to a"]);
    assert_eq!(rounds.task("low.3").node_id, None);
}

#[test]
fn a_claim_is_decided_anew_when_the_node_is_fit_no_more_or_nobody_has_to_go_any_more() {
    let start = || {
        let mut rounds = Rounds::start(&format!("{FULL}; service vip memory=1GiB priority=10; task vip.1 pending"));
        rounds.settle();
        rounds
    };
    let drain = |rounds: &mut Rounds| {
        write(&rounds.store, |tx| {
            let drain = |node: &mut Node| {
                std::sync::Arc::make_mut(&mut node.spec).set_availability(wire::node_spec::Availability::Drain);
            };
            tx.edit(&"a".into(), drain).map(drop)
        });
        rounds.settle()
    };
    let mut rounds = start();
    let waits = "vip.1 waits otherwise: no suitable node (1 node not available for new tasks)";
    assert_eq!(drain(&mut rounds), [waits]);
    assert_eq!(rounds.task("vip.1").preemption, None);

    let mut rounds = start();
    testing::amend(&rounds.store, "node b memory=1GiB; task low.9 on b");
    let waits = "vip.1 waits for 1 task of lower priority to leave node b (priority 10 over 0): [low.9] go";
    rounds.settle();
    assert_eq!(drain(&mut rounds), [waits]);

    let mut rounds = start();
    let all = rounds.change("vip", |spec| spec.scheduling = None);
    assert_eq!(all, ["vip.1 waits otherwise: no suitable node (insufficient resources on 1 node)"]);
}

#[test]
fn those_that_made_room_may_have_others_make_room_and_it_ends() {
    let text = "node a memory=1GiB; node b memory=1GiB; node c memory=1GiB
        service low memory=1GiB; service mid memory=1GiB priority=5; service vip memory=1GiB priority=10
        task mid.1 on a; task mid.2 on b; task low.1 on c; task vip.1 pending; task vip.2 pending";
    let mut rounds = Rounds::start(text);
    let waits = |task: &str, node: &str, over: &str, gone: &str| {
        format!("{task} waits for 1 task of lower priority to leave node {node} (priority {over}): [{gone}] go")
    };
    assert_eq!(rounds.settle(), [waits("vip.1", "c", "10 over 0", "low.1"), waits("vip.2", "a", "10 over 5", "mid.1")]);
    let refused = "mid.1.new waits: no suitable node (insufficient resources on 3 nodes)";
    assert_eq!(rounds.amend("task mid.1.new pending"), [refused], "nobody less important is left");
    testing::amend(&rounds.store, "node d memory=1GiB; task low.2 on d");
    assert_eq!(rounds.settle(), [waits("mid.1.new", "d", "5 over 0", "low.2")]);
    assert_eq!(rounds.end("mid.1"), ["vip.2 goes to a"]);
    // The room is there sooner than that which it waits for, and leaves that to the one from which it takes this.
    let all = rounds.end("low.2");
    assert_eq!(all[0], "vip.1 goes to d");
    assert_eq!(all.last().unwrap(), "mid.1.new waits for 1 task to leave node c: [] go");
    assert_eq!(rounds.end("low.1"), ["mid.1.new goes to c"]);
}

#[test]
fn another_leader_goes_on_where_the_last_one_was() {
    let mut rounds = Rounds::start(&format!("{FULL}; service vip memory=1GiB priority=10; task vip.1 pending"));
    rounds.settle();
    rounds.amend("task low.3 pending");
    assert_eq!(rounds.next_leader(), NONE, "nobody else is made to go");
    assert_eq!(rounds.end("low.2"), ["vip.1 goes to a"]);
    assert_eq!(rounds.next_leader(), NONE);
}

#[test]
fn what_was_decided_on_what_is_so_no_more_is_not_written_but_decided_anew() {
    let text = format!("{FULL}; service vip memory=1GiB priority=10; task vip.1 pending");
    type Change = fn(&mut swarmkit_store::Transaction) -> Result<(), StoreError>;
    let changes: [(Change, &str); 4] = [
        (
            |tx| tx.edit(&"low.2".into(), |task: &mut Task| task.status.state = TaskState::Failed).map(drop),
            "vip.1 goes to a",
        ),
        (
            |tx| tx.edit(&"low.2".into(), |task: &mut Task| task.desired_state = TaskState::Shutdown).map(drop),
            "vip.1 waits for 1 task to leave node a: [] go",
        ),
        (|tx| priority_of(tx, "vip", None), "vip.1 waits: no suitable node (insufficient resources on 1 node)"),
        (|tx| priority_of(tx, "low", Some(10)), "vip.1 waits: no suitable node (insufficient resources on 1 node)"),
    ];
    for (change, then) in changes {
        let mut rounds = Rounds::start(&text);
        rounds.absorb();
        let due = std::mem::take(&mut rounds.world.due);
        let plan = rounds.world.plan(&due, env().now());
        assert_eq!(plan.decisions.len(), 1);
        write(&rounds.store, |tx| {
            change(tx)?;
            assert!(!plan.decisions[0].write(tx)?, "it no longer holds");
            Ok(())
        });
        rounds.world.retry(&plan.decisions[0]);
        assert_eq!(rounds.settle(), [then]);
    }
    // Another task of a service that can spare one is lost meanwhile.
    let limited = "node a memory=1GiB; node b; service low memory=1GiB replicas=2 max-disrupted=1
        task low.1 on a; task low.2 on b; service vip memory=1GiB priority=10 constraint=node.id==a; task vip.1 pending";
    let mut rounds = Rounds::start(limited);
    rounds.absorb();
    let plan = rounds.world.plan(&rounds.world.due.clone(), env().now());
    assert_eq!(plan.decisions.len(), 1);
    write(&rounds.store, |tx| {
        tx.edit(&"low.2".into(), |task: &mut Task| task.status.state = TaskState::Failed)?;
        assert!(!plan.decisions[0].write(tx)?, "it can be spared no more");
        Ok(())
    });
}

fn priority_of(tx: &mut swarmkit_store::Transaction, service: &str, priority: Option<i32>) -> Result<(), StoreError> {
    let edit = |service: &mut Service| {
        std::sync::Arc::make_mut(&mut service.spec).scheduling.get_or_insert_default().priority = priority;
    };
    tx.edit(&ServiceId::from(service), edit).map(drop)
}

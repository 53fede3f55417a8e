//! How much of it, and when.

use super::*;
use crate::preemption::{claim, yields};

#[test]
fn a_priority_that_is_given_later_counts_for_tasks_that_wait_already() {
    let mut rounds = Rounds::start(&format!("{FULL}; service vip memory=1GiB; task vip.1 pending"));
    assert_eq!(rounds.settle(), ["vip.1 waits: no suitable node (insufficient resources on 1 node)"]);
    let all = rounds.change("vip", |spec| spec.scheduling.get_or_insert_default().priority = Some(1));
    assert_eq!(all, ["vip.1 waits for 1 task of lower priority to leave node a (priority 1 over 0): [low.2] go"]);

    let mut rounds = Rounds::start(
        &format!("{FULL}; service vip memory=1GiB priority=1; task vip.1 pending")
            .replace("service low", "service low priority=1"),
    );
    assert_eq!(rounds.settle(), ["vip.1 waits: no suitable node (insufficient resources on 1 node)"]);
    let all = rounds.change("low", |spec| spec.scheduling = None);
    assert_eq!(all, ["vip.1 waits for 1 task of lower priority to leave node a (priority 1 over 0): [low.2] go"]);
}

#[test]
fn a_service_spares_no_more_tasks_than_it_says_whatever_is_missing_for_other_reasons() {
    let refused =
        ["vip.1 waits: no suitable node (insufficient resources on 1 node; service low can spare no more tasks)"];
    let text = |limit: u64, third: &str| {
        format!(
            "node a memory=3GiB; service low memory=1GiB replicas=3 max-disrupted={limit}
             task low.1 on a; task low.2 on a; task low.3 on a {third}
             service vip memory=1GiB priority=10; task vip.1 pending"
        )
    };
    check(&text(0, "running"), &refused);
    check(
        &text(1, "running"),
        &["vip.1 waits for 1 task of lower priority to leave node a (priority 10 over 0): [low.3] go"],
    );
    // One is missing already; it may go itself, for then no more are missing.
    check(&text(0, "starting"), &refused);
    check(
        &text(1, "starting"),
        &["vip.1 waits for 1 task of lower priority to leave node a (priority 10 over 0): [low.3] go"],
    );
    let big = text(1, "starting").replace("vip memory=1GiB", "vip memory=2GiB");
    check(&big, &refused);
    let big = text(2, "starting").replace("vip memory=1GiB", "vip memory=2GiB");
    check(&big, &["vip.1 waits for 2 tasks of lower priority to leave node a (priority 10 over 0): [low.3 low.2] go"]);
}

#[test]
fn when_a_service_can_spare_a_task_again_the_next_one_goes() {
    let mut rounds = Rounds::start(
        "node a memory=2GiB; node b memory=2GiB; node c memory=1GiB; service low memory=1GiB replicas=4 max-disrupted=1
         task low.1 on a; task low.2 on a; task low.3 on b; task low.4 on b
         service mid memory=1GiB priority=10; task mid.1 on c
         service vip memory=1GiB priority=10; task vip.1 pending; task vip.2 pending",
    );
    let all = rounds.settle();
    let waits = |node: &str, gone: &str| {
        format!(" waits for 1 task of lower priority to leave node {node} (priority 10 over 0): [{gone}] go")
    };
    assert_eq!(all[0], format!("vip.1{}", waits("a", "low.2")));
    assert_eq!(
        all[1],
        "vip.2 waits: no suitable node (insufficient resources on 3 nodes; service low can spare no more tasks)"
    );
    assert_eq!(rounds.end("low.2"), ["vip.1 goes to a"]);
    // What replaces it waits, so that it is missing still.
    let all = rounds.amend("task low.2.new pending");
    assert_eq!(all, ["low.2.new waits: no suitable node (insufficient resources on 3 nodes)"]);
    assert_eq!(rounds.amend("node d memory=1GiB")[0], "vip.2 goes to d");
    let all = rounds.amend("task vip.3 pending");
    assert_eq!(
        all,
        ["vip.3 waits: no suitable node (insufficient resources on 4 nodes; service low can spare no more tasks)"]
    );
    // It runs, and another one can be spared.
    write(&rounds.store, |tx| {
        tx.create(testing::task("low.2.newer").of(tx.get::<Service>(&"low".into()).unwrap()).on("e").build()).map(drop)
    });
    let all = rounds.edit("low.2.newer", |task| task.status.state = TaskState::Running);
    assert_eq!(all, [format!("vip.3{}", waits("a", "low.1"))]);
}

#[test]
fn the_more_important_come_first() {
    let text = "node a memory=1GiB; service alpha memory=1GiB; service beta memory=1GiB priority=1; service gamma memory=1GiB priority=2
        service all global memory=1GiB; task alpha.1 pending; task beta.1 pending; task gamma.1 pending; task all.a pending";
    let told = decisions(&testing::world(text));
    assert_eq!(told[0], "gamma.1 goes to a");
    assert!(told[1..].iter().all(|line| line.contains(" waits: ")), "{told:?}");
}

#[test]
fn many_that_wait_are_served_in_several_passes() {
    let mut text = "service low memory=1GiB; service vip memory=1GiB priority=1".to_owned();
    for n in 0..250 {
        write!(text, "; node n{n:03} memory=1GiB; task low.{n} on n{n:03}; task vip.{n} pending").unwrap();
    }
    let mut rounds = Rounds::start(&text);
    rounds.settle();
    let view = rounds.store.view();
    assert_eq!(view.all::<Task>().filter(|task| yields(task)).count(), 250);
    assert_eq!(view.all::<Task>().filter(|task| claim(task).is_some()).count(), 250);
}

#[test]
fn a_task_that_its_service_is_about_to_replace_makes_nobody_go() {
    let text = format!("{FULL}; service vip memory=1GiB priority=10 version=2; task vip.1 pending version=1");
    let store = testing::store(&text);
    write(&store, |tx| {
        tx.edit::<Task>(&"vip.1".into(), |task| {
            let spec = std::sync::Arc::make_mut(&mut task.spec);
            spec.log_driver = Some(wire::Driver { name: "none".into(), ..Default::default() });
        })
        .map(drop)
    });
    assert_eq!(decisions(&store.view()), NONE);
    // One that says nothing new about its tasks replaces none.
    check(&text, &["vip.1 waits for 1 task of lower priority to leave node a (priority 10 over 0): [low.2] go"]);
}

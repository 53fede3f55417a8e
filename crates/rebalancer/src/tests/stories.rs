//! What is decided in a world.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmkit_api::{Origin, Service, Task, wire};
use swarmkit_store::{Update, View};
use swarmkit_testing::{self as testing, env};

use crate::{SETTLING, world::World};

/// What is decided in a world, in its words (see [`testing::store`]), once all nodes have settled.
#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(decision(&testing::world(text), SETTLING), expected);
}

/// As [`check`], when something was changed for which there is no word.
#[track_caller]
fn check_with(text: &str, change: impl FnOnce(&mut Service), expected: &str) {
    let store = testing::store(text);
    let written = store.update(|tx| tx.edit(&"web".into(), change));
    futures_util::FutureExt::now_or_never(tokio::task::unconstrained(written)).unwrap().unwrap();
    assert_eq!(decision(&store.view(), SETTLING), expected);
}

/// What is decided some time after everything that there is was learned.
fn decision(view: &View, passed: Duration) -> String {
    let now = env().now();
    let mut world = World::default();
    world.absorb(&Update::Snapshot(view.clone()), now);
    tell(&world, now + passed)
}

fn tell(world: &World, now: SystemTime) -> String {
    let plan = world.plan(now);
    match (&plan.wish, plan.alarms.first()) {
        (Some(wish), _) => format!("{}: {}", wish.task.id, wish.message),
        (None, Some((at, _))) => format!("in {:?}", at.duration_since(now).unwrap()),
        (None, None) => "rest".to_owned(),
    }
}

/// `on a a b`: tasks 1, 2 and 3 of `web` run there.
fn web(words: &str, nodes: &str) -> String {
    let tasks = nodes.split_whitespace().enumerate();
    let tasks: String = tasks.map(|(slot, node)| format!("; task web.{} on {node}", slot + 1)).collect();
    let replicas = nodes.split_whitespace().count();
    format!("service web rebalance replicas={replicas} {words}{tasks}")
}

fn moved(task: &mut Task, replaces: &str) {
    task.origin = Some(Arc::new(Origin { replaces: replaces.to_owned(), message: String::new() }));
}

#[test]
fn a_task_moves_from_the_node_that_has_most_to_one_that_has_two_fewer() {
    check(
        &format!("node a; node b; {}", web("", "a a a")),
        "web.3: moved from node a, which has 3 tasks of this service, to even out 3 and 0",
    );
    check(
        &format!("node a; node b; node c; {}", web("", "a a b b b c")),
        "web.5: moved from node b, which has 3 tasks of this service, to even out 3 and 1",
    );
}

#[test]
fn what_is_even_is_left_alone() {
    for nodes in ["a", "a b", "a a b", "a b b a"] {
        check(&format!("node a; node b; {}", web("", nodes)), "rest");
    }
    check(&format!("node a; node b; node c; {}", web("", "a a b b c")), "rest");
    check(&format!("node a; node b; node c; node d; {}", web("", "a b c")), "rest");
}

#[test]
fn a_service_that_does_not_ask_for_it_is_left_alone() {
    check(&format!("node a; node b; {}", web("", "a a a").replace(" rebalance", "")), "rest");
    check("node a; node b; service web global rebalance; task web.a on a", "rest");
    check("node a; node b; service web job=2 rebalance; task web.0 on a; task web.1 on a", "rest");
}

#[test]
fn a_node_has_to_settle_first() {
    let view = testing::world(&format!("node a; node b; {}", web("", "a a")));
    assert_eq!(decision(&view, Duration::ZERO), "in 10s");
    assert_eq!(decision(&view, Duration::from_secs(9)), "in 1s");
    assert!(decision(&view, Duration::from_secs(10)).starts_with("web.2: moved"));
}

#[test]
fn nothing_moves_to_nodes_that_take_no_tasks() {
    for state in ["drain", "pause", "down", "unknown", "disconnected"] {
        check(&format!("node a; node b {state}; {}", web("", "a a")), "rest");
    }
}

#[test]
fn what_the_scheduler_would_not_place_elsewhere_stays() {
    check(&format!("node a label:z=1; node b; {}", web("constraint=node.labels.z==1", "a a")), "rest");
    check(&format!("node a; node b memory=1MiB; {}", web("memory=1GiB", "a a")), "rest");
    // The scheduler would not put it on the node with the fewest, but on one that is no better.
    check(&format!("node a; node b; node c memory=1MiB; {}", web("memory=1GiB", "a a b b")), "rest");
}

#[test]
fn a_node_without_room_is_looked_at_again_since_nobody_says_when_others_leave_it() {
    let db = "service db memory=1GiB; task db.1 on b";
    check(&format!("node a; node b memory=1GiB; {db}; {}", web("memory=64MiB", "a a")), "in 60s");
}

#[test]
fn nothing_moves_while_a_slot_is_not_as_wanted() {
    let with = |task: &str| format!("node a; node b; {}; {task}", web("", "a a a").replace("replicas=3", "replicas=4"));
    check(&with("task web.4 on a"), "web.4: moved from node a, which has 4 tasks of this service, to even out 4 and 0");
    check(&with("task web.4 on a starting"), "rest");
    check(&with("task web.4 on a failed"), "rest");
    check(&with("task web.4 pending"), "rest");
    check(&with("task web.4 on a ready wants ready"), "rest");
    check(&with("task web.4 on a wants shutdown"), "rest");
    check(&with("task web.4 on b; task web.4.other on a"), "rest");
}

#[test]
fn nothing_moves_while_a_task_is_not_what_the_service_asks_for() {
    let text = format!("node a; node b; {}", web("version=2 image=new", "a a a"));
    check(&text, "web.3: moved from node a, which has 3 tasks of this service, to even out 3 and 0");
    let old = "task web.3 on a".to_owned();
    let text = format!("service web image=old version=1; {old}");
    let outdated = testing::world(&text);
    let outdated = Task::clone(outdated.get::<Task>(&"web.3".into()).unwrap());
    let store = testing::store(&format!("node a; node b; {}", web("version=2 image=new", "a a a")));
    let written = store.update(|tx| {
        tx.edit(&"web.3".into(), |task: &mut Task| {
            task.spec = outdated.spec.clone();
            task.spec_version = outdated.spec_version;
        })
    });
    futures_util::FutureExt::now_or_never(tokio::task::unconstrained(written)).unwrap().unwrap();
    assert_eq!(decision(&store.view(), SETTLING), "rest");
}

#[test]
fn nothing_moves_while_a_rollout_is_under_way_or_paused_or_the_service_waits() {
    let text = format!("node a; node b; {}", web("", "a a a"));
    use wire::update_status::UpdateState;
    for state in [UpdateState::Updating, UpdateState::Paused, UpdateState::RollbackStarted, UpdateState::RollbackPaused]
    {
        let status = wire::UpdateStatus { state: state.into(), ..Default::default() };
        check_with(&text, |service| service.update_status = Some(status), "rest");
    }
    check_with(&text, |service| service.waiting = Some(swarmkit_api::Waiting::default()), "rest");
    check_with(&text, |service| service.pending_delete = true, "rest");
}

#[test]
fn nothing_moves_while_a_node_with_tasks_of_the_service_is_not_heard_from() {
    check(&format!("node a; node b; node c unknown; {}", web("", "a a a c")), "rest");
    check(
        &format!("node a; node b; node c down; {}", web("", "a a a")),
        "web.3: moved from node a, which has 3 tasks of this service, to even out 3 and 0",
    );
}

#[test]
fn no_more_slots_move_at_a_time_than_the_update_policy_says() {
    let store = |words: &str| {
        let store = testing::store(&format!("node a; node b; {}", web(words, "a a a a b b")));
        let on_the_move = |task: &mut Task| {
            task.status.state = swarmkit_api::TaskState::Starting;
            moved(task, "gone");
        };
        let written = store.update(|tx| tx.edit(&"web.5".into(), on_the_move));
        futures_util::FutureExt::now_or_never(tokio::task::unconstrained(written)).unwrap().unwrap();
        store.view()
    };
    assert_eq!(decision(&store("parallelism=1"), SETTLING), "rest");
    assert!(decision(&store("parallelism=2"), SETTLING).starts_with("web.4: moved from node a, which has 4"));
    assert!(decision(&store("parallelism=0"), SETTLING).starts_with("web.4: moved"));
}

#[test]
fn a_slot_rests_for_the_delay_of_the_update_policy() {
    let store = testing::store(&format!("node a; node b; {}", web("", "a a a a b")));
    let at = env().now();
    let written = store.update(|tx| {
        tx.edit(&"web.5".into(), |task: &mut Task| {
            moved(task, "gone");
            task.status.timestamp = Some(at.into());
        })?;
        tx.edit(&"web".into(), |service: &mut Service| {
            let delay = Some(Duration::from_secs(30).try_into().unwrap());
            Arc::make_mut(&mut service.spec).update =
                Some(wire::UpdateConfig { parallelism: 1, delay, ..Default::default() });
        })
    });
    futures_util::FutureExt::now_or_never(tokio::task::unconstrained(written)).unwrap().unwrap();
    assert_eq!(decision(&store.view(), Duration::from_secs(12)), "in 18s");
    assert!(decision(&store.view(), Duration::from_secs(30)).starts_with("web.4: moved"));
}

#[test]
fn nothing_moves_to_a_node_where_a_task_of_the_service_has_just_failed() {
    let text = format!("node a; node b; {}; task web.2.old on b failed wants shutdown", web("", "a a"));
    check(&text, "in 290s");
    let other = format!("node a; node b; {}; task web.2.old on b failed wants shutdown version=9", web("", "a a"));
    check(&other, "web.2: moved from node a, which has 2 tasks of this service, to even out 2 and 0");
}

#[test]
fn the_newest_task_goes_since_it_has_the_least_to_lose() {
    let store = testing::store("node a; node b; service web rebalance replicas=2; task web.2 on a");
    testing::amend(&store, "task web.1 on a");
    assert!(decision(&store.view(), SETTLING).starts_with("web.1: moved"));
}

#[test]
fn services_have_their_turns() {
    let tasks = |name: &str| format!("service {name} rebalance replicas=2; task {name}.1 on a; task {name}.2 on a; ");
    let store = testing::store(&format!("node a; node b; {}{}{}", tasks("x"), tasks("y"), tasks("z")));
    let now = env().now();
    let mut world = World::default();
    world.absorb(&Update::Snapshot(store.view()), now);
    let mut next = || world.next_move(now + SETTLING).unwrap().service.id.to_string();
    assert_eq!([next(), next(), next(), next()], ["x", "y", "z", "x"]);
}

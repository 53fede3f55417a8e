//! When a node is asked to let go of a volume.

use swarmkit_api::wire::volume_publish_status::State;
use swarmkit_testing::amend;

use super::*;
use crate::tests::{check, env, learned, scheduled, settle, tell};

const TWO: &str = "node a; node b; volume v multi sharing=all published=a published=b; service web volume=v
    task web.1 on a given=v; task web.2 on a given=v; task web.3 on b given=v";

#[tokio::test(start_paused = true)]
async fn the_last_user_that_leaves_a_node_leaves_the_volume_to_be_taken_from_it() {
    scheduled(TWO, async |store: &Store| {
        assert_eq!(volumes(store), ["v published=a published=b"]);
        end(store, "web.1", TaskState::Shutdown);
        settle().await;
        assert_eq!(volumes(store), ["v published=a published=b"], "another one on the node has it");
        end(store, "web.2", TaskState::Failed);
        settle().await;
        assert_eq!(volumes(store), ["v unused=a published=b"]);
        write(store, |tx| tx.delete::<Task>(&"web.3".into()).map(drop));
        settle().await;
        assert_eq!(volumes(store), ["v unused=a unused=b"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_was_asked_to_stop_has_its_volume_until_it_has_stopped() {
    scheduled(TWO, async |store: &Store| {
        write(store, |tx| {
            tx.edit(&"web.3".into(), |task: &mut Task| task.desired_state = TaskState::Shutdown).map(drop)
        });
        settle().await;
        assert_eq!(volumes(store), ["v published=a published=b"]);
        end(store, "web.3", TaskState::Complete);
        settle().await;
        assert_eq!(volumes(store), ["v published=a unused=b"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_removed_lets_go_of_nothing_so_its_driver_is_asked() {
    let text =
        "node a; node b; volume v multi sharing=all published=a published=b; volume w unused=b; volume x pending=b
        volume y unpublished=b; service web volume=v; task web.1 on a given=v; task web.2 on b given=v";
    scheduled(text, async |store: &Store| {
        write(store, |tx| tx.delete::<swarmkit_api::Node>(&"b".into()).map(drop));
        settle().await;
        let left = ["w unpublished=b", "x unpublished=b", "y unpublished=b"];
        assert_eq!(volumes(store), [&["v published=a published=b"][..], &left].concat(), "a task there has it");
        end(store, "web.2", TaskState::Orphaned);
        settle().await;
        assert_eq!(volumes(store), [&["v published=a unpublished=b"][..], &left].concat());
    })
    .await;
}

#[test]
fn a_new_leader_finds_what_was_left_behind() {
    check(
        "node a; node b; volume v multi sharing=all published=a published=b; volume w unused=a pending=b; volume x published=a pending=c
         service web volume=v; task web.1 on a given=v; task web.2 on b failed given=v",
        &["v is let go of by b", "x is let go of by a", "x is let go of by c"],
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_yet_to_be_published_is_left_alone_until_it_is() {
    scheduled("node a; volume v; service web volume=v; task web.1 pending", async |store: &Store| {
        assert_eq!(volumes(store), ["v pending=a"]);
        end(store, "web.1", TaskState::Rejected);
        settle().await;
        assert_eq!(volumes(store), ["v pending=a"], "its driver may be at it");
        edit(store, "v", |volume| volume.publish_status[0].set_state(State::Published));
        settle().await;
        assert_eq!(volumes(store), ["v unused=a"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tasks_of_global_services_are_users_like_others() {
    let text = "node a; node b; volume v multi sharing=all; service all global volume=v; task all.a pending; task all.b pending";
    scheduled(text, async |store: &Store| {
        assert_eq!(volumes(store), ["v pending=a pending=b"]);
        edit(store, "v", |volume| volume.publish_status.iter_mut().for_each(|entry| entry.set_state(State::Published)));
        settle().await;
        assert_eq!(volumes(store), ["v published=a published=b"]);
        end(store, "all.b", TaskState::Running);
        amend(store, "service other; task other.1 pending");
        settle().await;
        assert_eq!(volumes(store), ["v published=a published=b"]);
        end(store, "all.b", TaskState::Shutdown);
        settle().await;
        assert_eq!(volumes(store), ["v published=a unused=b"]);
    })
    .await;
}

#[test]
fn what_another_task_is_given_in_the_same_breath_is_kept() {
    check(
        "node a; volume v published=a; service web volume=v; task web.1 on a failed given=v; task web.2 pending",
        &["web.2 goes to a with v"],
    );
}

#[test]
fn while_there_are_tasks_left_to_place_nothing_is_let_go_of() {
    let text = "node a; volume v published=a; volume w published=a; service aaa; service web volume=v
        task aaa.1 pending; task web.1 pending";
    let view = swarmkit_testing::world(text);
    let (world, _) = learned(&view);
    let plan = |due: &_, most| world.plan_up_to(most, due, env().now());
    let first = plan(&world.due, 1);
    assert_eq!(first.decisions.iter().map(tell).collect::<Vec<_>>(), ["aaa.1 goes to a"]);
    let rest = plan(&first.rest, 10);
    assert_eq!(rest.decisions.iter().map(tell).collect::<Vec<_>>(), ["web.1 goes to a with v", "w is let go of by a"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_leaves_costs_no_look_at_other_volumes() {
    let others: String = (0..50).map(|n| format!("volume v{n};")).collect();
    scheduled(&format!("{TWO}; {others}"), async |store: &Store| {
        let before = store.version().0;
        end(store, "web.3", TaskState::Shutdown);
        settle().await;
        assert_eq!(store.version().0 - before, 2, "the end of the task, and the one volume that it had");
    })
    .await;
}

//! What makes tasks go on that wait for a volume.

use swarmkit_api::wire::volume_publish_status::State;

use super::*;
use crate::tests::{scheduled, settle};

/// What is done, and how a task stands then.
type Step<'s> = (&'s dyn Fn(&Store), &'s str);

/// A task that waits, and goes on as things are done.
async fn follow(text: &str, task: &str, steps: &[Step<'_>]) {
    scheduled(text, async |store: &Store| {
        for (step, (act, expected)) in steps.iter().enumerate() {
            act(store);
            settle().await;
            assert_eq!(told(store, task), *expected, "after step {step}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_its_driver_makes_later_lets_the_task_go_on() {
    let made = |store: &Store| {
        edit(store, "v", |volume| volume.volume_info = swarmkit_testing::volume("v").volume_info);
    };
    follow(
        "node a; volume v unmade; service web volume=v; task web.1 pending",
        "web.1",
        &[(&|_| {}, "nowhere"), (&made, "a with v")],
    )
    .await;
    let created = |store: &Store| swarmkit_testing::amend(store, "volume v group=g");
    follow(
        "node a; service web volume=group:g; task web.1 pending",
        "web.1",
        &[(&|_| {}, "nowhere"), (&created, "a with v")],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_drained_is_given_to_nobody_until_it_is_active_again() {
    let drain = |store: &Store| {
        turn(store, "v", VolumeAvailability::Drain);
        swarmkit_testing::amend(store, "task web.1 pending");
    };
    let activate = |store: &Store| turn(store, "v", VolumeAvailability::Active);
    let steps: [Step<'_>; 2] = [(&drain, "nowhere"), (&activate, "a with v")];
    follow("node a; volume v; service web volume=v", "web.1", &steps).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_leaves_its_volume_to_the_next_on_any_node() {
    let text =
        "node a memory=1GiB; node b memory=1GiB; volume v; service web volume=v memory=1GiB; service fat memory=1GiB
        task web.1 on a given=v; task fat.1 on a wants shutdown; task web.2 pending";
    follow(text, "web.2", &[(&|_| {}, "nowhere"), (&|store| end(store, "web.1", TaskState::Shutdown), "b with v")])
        .await;
    let text = "node a; node b; volume v; service web volume=v; service all global volume=v; task web.1 on a given=v; task all.b pending";
    follow(text, "all.b", &[(&|_| {}, "b"), (&|store| end(store, "web.1", TaskState::Failed), "b with v")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_goes_back_to_a_node_only_when_it_has_been_taken_from_it() {
    let text = "node a; volume v unused=a; service web volume=v; task web.1 pending";
    let unpublished =
        |store: &Store| edit(store, "v", |volume| volume.publish_status[0].set_state(State::PendingUnpublish));
    let gone = |store: &Store| edit(store, "v", |volume| volume.publish_status.clear());
    follow(text, "web.1", &[(&|_| {}, "nowhere"), (&unpublished, "nowhere"), (&gone, "a with v")]).await;
}

#[tokio::test(start_paused = true)]
async fn that_a_volume_is_published_writes_nothing_for_those_who_wait() {
    let text = "node a; volume v pending=a; service web volume=v; task web.1 on a given=v; task web.2 pending";
    scheduled(text, async |store: &Store| {
        let before = store.version().0;
        edit(store, "v", |volume| volume.publish_status[0].set_state(State::Published));
        settle().await;
        assert_eq!(store.version().0 - before, 1);
    })
    .await;
}

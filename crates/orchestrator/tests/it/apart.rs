//! Services whose tasks have to be apart from each other, or together, and are updated: orchestrator, allocator and scheduler
//! on one store, and agents that are played.

use swarmkit_api::{ServiceId, Version};

use super::{priorities::Term, *};

/// A cluster in which the service `web` runs, and is then updated; how it was, and how it is when all is new.
async fn updated(nodes: &str, words: &str) -> [String; 2] {
    let store = Store::local(testing::env());
    testing::amend(&store, nodes);
    testing::amend(&store, &format!("service web version=1 {words}"));
    let term = Term::begin(&store);
    term.settle(true).await;
    let before = term.told();
    let update = |service: &mut Service| {
        let task = Arc::make_mut(&mut service.spec).task.get_or_insert_default();
        task.force_update += 1;
        service.spec_version = Some(Version(2));
    };
    write(&store, |tx| tx.edit(&ServiceId::from("web"), update).map(drop)).await;
    for _ in 0..20 {
        term.settle(true).await;
        // A rollout looks at what it has made for a while before it goes on.
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let view = store.view();
    let is_wanted = |task: &&Arc<Task>| task.desired_state == TaskState::Running;
    assert!(view.all::<Task>().filter(is_wanted).all(|task| task.spec_version == Some(Version(2))), "{}", term.told());
    let after = term.told();
    term.end().await;
    [before, after]
}

#[tokio::test(start_paused = true)]
async fn a_service_with_a_task_in_every_place_can_be_updated_in_both_orders() {
    for order in ["", "start-first"] {
        let words = format!("replicas=3 must-apart=web {order}");
        let [before, after] = updated("node a; node b; node c", &words).await;
        assert_eq!(
            (before.as_str(), after.as_str()),
            ("web.1 a, web.2 b, web.3 c", "web.1 a, web.2 b, web.3 c"),
            "{order}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_that_have_to_be_together_stay_together_through_an_update() {
    for order in ["", "start-first"] {
        let [before, after] = updated("node a; node b", &format!("replicas=3 must-near=web {order}")).await;
        assert_eq!(
            (before.as_str(), after.as_str()),
            ("web.1 a, web.2 a, web.3 a", "web.1 a, web.2 a, web.3 a"),
            "{order}"
        );
    }
}

//! Moves of tasks: what becomes of a slot whose work was given to another task.

use swarmkit_api::TaskId;

use super::{stage::*, *};
use crate::moving::{Move, MovePolicy};

/// The move of a task that somebody wishes.
fn wish(store: &Store, task: &str) -> Move {
    let view = store.view();
    let task = view.get::<Task>(&TaskId::from(task)).expect("the task is there").clone();
    let service = view.get::<Service>(task.service_id.as_ref().unwrap()).expect("it has its service").clone();
    Move { service, task, message: "moved for the story".to_owned() }
}

/// Writes a move. Gives whether it still applied.
fn write_move(stage: &Stage, wish: &Move) -> bool {
    let mut is_written = None;
    write(&stage.store, |tx| {
        is_written = Some(wish.write(tx, &stage.env)?);
        Ok(())
    });
    is_written.unwrap()
}

fn start_first(spec: &mut wire::ServiceSpec) {
    let update = spec.update.get_or_insert_default();
    update.parallelism = 1;
    update.set_order(wire::update_config::UpdateOrder::StartFirst);
}

const TWO: &str = "node a; node b; service web replicas=2; task web.1 on a running; task web.2 on a running";

/// The two, of a service that starts first.
async fn starting_first(casting: impl Fn(&Task) -> Option<TaskState> + 'static) -> Stage {
    let env = env();
    let store = Store::local(env.clone());
    testing::amend(&store, TWO);
    write(&store, |tx| {
        tx.edit(&ServiceId::from("web"), |service: &mut Service| start_first(Arc::make_mut(&mut service.spec)))
            .map(drop)
    });
    let mut stage = Stage::on(env, store).await;
    stage.cast(casting);
    // So that who was first can be told.
    stage.pass(Duration::from_secs(1)).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_move_stops_the_old_task_first_and_the_new_one_waits_for_it() {
    let mut stage = Stage::open(TWO).await;
    stage.pass(Duration::from_secs(1)).await;
    let wish = wish(&stage.store, "web.1");
    assert!(write_move(&stage, &wish));
    let new = stage.tasks().into_iter().find(|task| task.origin.is_some()).unwrap();
    assert_eq!((new.slot, new.desired_state), (1, TaskState::Ready));
    assert_eq!(new.status.message, "moved for the story");
    let origin = new.origin.as_deref().unwrap();
    assert_eq!((origin.replaces.as_str(), origin.message.as_str()), ("web.1", "moved for the story"));
    assert_eq!(stage.history()[0], "web.1 running wants shutdown");
    stage.settle().await;
    assert_eq!(stage.history(), ["web.1 shutdown wants shutdown", "web.1 running", "web.2 running"]);
    assert_eq!(stage.status("web"), None);
}

#[tokio::test(start_paused = true)]
async fn a_move_starts_the_new_task_first_if_the_service_is_updated_so() {
    let mut stage = starting_first(|_| Some(TaskState::Preparing)).await;
    assert!(write_move(&stage, &wish(&stage.store, "web.1")));
    stage.pass(Duration::from_secs(600)).await;
    assert_eq!(stage.told(), ["web.1 running", "web.1 ready", "web.2 running"], "the old one goes on meanwhile");
    assert_eq!(stage.status("web"), None, "it is no rollout");
    stage.cast(|_| None);
    stage.settle().await;
    assert_eq!(stage.history(), ["web.1 shutdown wants shutdown", "web.1 running", "web.2 running"]);
    assert_eq!(stage.status("web"), None);
}

#[tokio::test(start_paused = true)]
async fn a_move_whose_new_task_fails_leaves_the_old_one_running() {
    let mut stage = starting_first(|_| Some(TaskState::Failed)).await;
    assert!(write_move(&stage, &wish(&stage.store, "web.1")));
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.history(), ["web.1 running", "web.1 failed wants shutdown", "web.2 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_move_goes_on_when_the_old_task_ends_before_its_time() {
    let mut stage = starting_first(|_| Some(TaskState::Preparing)).await;
    assert!(write_move(&stage, &wish(&stage.store, "web.1")));
    stage.settle().await;
    stage.end(1, TaskState::Failed).await;
    stage.cast(|_| None);
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.history(), ["web.1 failed wants shutdown", "web.1 running", "web.2 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_move_under_way_goes_on_with_the_next_leader() {
    let mut stage = starting_first(|_| Some(TaskState::Preparing)).await;
    assert!(write_move(&stage, &wish(&stage.store, "web.1")));
    stage.settle().await;
    let (env, store) = stage.close().await;
    let mut stage = Stage::on(env, store).await;
    stage.settle().await;
    assert_eq!(stage.history(), ["web.1 shutdown wants shutdown", "web.1 running", "web.2 running"]);
    assert_eq!(stage.status("web"), None);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_changes_while_a_task_moves_is_rolled_out_everywhere() {
    let mut stage = starting_first(|_| Some(TaskState::Preparing)).await;
    assert!(write_move(&stage, &wish(&stage.store, "web.1")));
    stage.settle().await;
    stage.cast(|_| None);
    stage.update("web", set_image("new")).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.told(), ["web.1 new running", "web.2 new running"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_on_the_move_is_the_first_to_go_when_the_service_shrinks() {
    let mut stage = starting_first(|_| Some(TaskState::Preparing)).await;
    assert!(write_move(&stage, &wish(&stage.store, "web.1")));
    stage.settle().await;
    stage.update("web", set_replicas(1)).await;
    assert_eq!(stage.told(), ["web.2 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_move_is_refused_when_what_it_was_based_on_has_changed() {
    let mut stage = Stage::open(TWO).await;
    let [first, second] = ["web.1", "web.2"].map(|task| wish(&stage.store, task));
    stage.end(1, TaskState::Failed).await;
    let before = stage.store.version();
    assert!(!write_move(&stage, &first), "the task runs no more");
    stage.update("web", set_image("new")).await;
    let changed = stage.store.version();
    assert!(!write_move(&stage, &second), "the service is another");
    assert!(before < changed);
    assert_eq!(stage.store.version(), changed);
    assert!(stage.tasks().iter().all(|task| task.origin.is_none()));
}

#[test]
fn nothing_moves_while_a_rollout_is_under_way_or_paused_or_the_service_waits() {
    let with = |change: fn(&mut Service)| MovePolicy::of(&testing::service("web").with(change).build());
    let usual = MovePolicy { at_a_time: Some(1), delay: Duration::ZERO, starts_first: false };
    assert_eq!(with(|_| {}), Some(usual));
    for (state, may) in [
        (wire::update_status::UpdateState::Updating, false),
        (wire::update_status::UpdateState::Paused, false),
        (wire::update_status::UpdateState::RollbackStarted, false),
        (wire::update_status::UpdateState::RollbackPaused, false),
        (wire::update_status::UpdateState::Completed, true),
        (wire::update_status::UpdateState::RollbackCompleted, true),
    ] {
        let mut service = testing::service("web").build();
        service.update_status = Some(wire::UpdateStatus { state: state.into(), ..Default::default() });
        assert_eq!(MovePolicy::of(&service).is_some(), may, "{state:?}");
    }
    assert_eq!(with(|service| service.waiting = Some(swarmkit_api::Waiting::default())), None);
    assert_eq!(with(|service| service.pending_delete = true), None);
}

#[test]
fn as_many_slots_move_at_a_time_as_the_update_policy_says() {
    let policy = |parallelism, max_unavailable, order| {
        let service = testing::service("web").spec(|spec| {
            let mut update = wire::UpdateConfig { parallelism, max_unavailable, ..Default::default() };
            update.set_order(order);
            spec.update = Some(update);
        });
        MovePolicy::of(&service.build()).unwrap().at_a_time
    };
    use wire::update_config::UpdateOrder::{StartFirst, StopFirst};
    assert_eq!(policy(3, 0, StopFirst), Some(3));
    assert_eq!(policy(0, 0, StopFirst), None);
    assert_eq!(policy(3, 2, StopFirst), Some(2));
    assert_eq!(policy(0, 2, StopFirst), Some(2));
    assert_eq!(policy(3, 2, StartFirst), Some(3));
}

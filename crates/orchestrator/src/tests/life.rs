//! Whole lives of services.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wire::{node_spec::Availability, node_status::State};

use super::{stage::Stage, *};
use crate::slot::is_live;

fn slots(stage: &Stage) -> Vec<u64> {
    stage.tasks().iter().filter(|task| is_live(task)).map(|task| task.slot).collect()
}

#[tokio::test(start_paused = true)]
async fn a_service_grows_and_shrinks_and_the_higher_slots_go_first() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    assert_eq!(slots(&stage), [1, 2, 3]);
    stage.update("web", set_replicas(50)).await;
    assert_eq!(slots(&stage), (1..=50).collect::<Vec<_>>());
    stage.update("web", set_replicas(2)).await;
    assert_eq!(slots(&stage), [1, 2]);
    assert_eq!(stage.tasks().len(), 2, "the others are gone with their history");
    stage.update("web", set_replicas(0)).await;
    assert_eq!(stage.tasks().len(), 0);
    stage.update("web", set_replicas(2)).await;
    assert_eq!(slots(&stage), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_deleted_by_hand_is_made_again() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    let task = stage.tasks()[1].clone();
    write(&stage.store, |tx| tx.delete::<Task>(&task.id).map(drop));
    stage.settle().await;
    assert_eq!(stage.told(), ["web.1 running", "web.2 running"]);
}

#[tokio::test(start_paused = true)]
async fn five_hundred_tasks_are_made_in_a_few_transactions_and_without_time_passing() {
    let mut stage = Stage::open("service web replicas=1").await;
    let (before, start) = (stage.store.version().0, tokio::time::Instant::now());
    stage.update("web", set_replicas(500)).await;
    assert_eq!(stage.tasks().len(), 500);
    assert_eq!(stage.store.version().0 - before, 1 + 3, "the change, and three of at most 200");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(slots(&stage), (1..=500).collect::<Vec<_>>());
    let tasks = stage.tasks();
    assert!(tasks.iter().skip(1).all(|task| Arc::ptr_eq(&task.spec, &tasks[1].spec)), "they share what they run");
}

#[tokio::test(start_paused = true)]
async fn what_a_task_goes_through_is_no_work_for_the_orchestrator() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.pass(Duration::from_secs(60)).await;
    let before = stage.store.version();
    stage.amend("node b").await;
    stage.pass(Duration::from_secs(600)).await;
    assert_eq!(stage.store.version().0, before.0 + 1, "nothing is written on an idle cluster");
}

// === What holds whatever happens ===

#[derive(Clone, Debug)]
enum Event {
    Scale(u64),
    Image(u8),
    Order(bool, u64),
    Node(u8, State, Availability),
    End(u8, TaskState),
    Pass(u64),
    NewLeader,
}

fn event() -> impl Strategy<Value = Event> {
    let availability = prop::sample::select(vec![Availability::Active, Availability::Drain, Availability::Pause]);
    let state = prop::sample::select(vec![State::Ready, State::Ready, State::Down]);
    let end = prop::sample::select(vec![TaskState::Failed, TaskState::Complete, TaskState::Rejected]);
    prop_oneof![
        (0..6_u64).prop_map(Event::Scale),
        (0..3_u8).prop_map(Event::Image),
        (any::<bool>(), 0..3_u64).prop_map(|(start_first, parallelism)| Event::Order(start_first, parallelism)),
        (0..3_u8, state, availability).prop_map(|(node, state, availability)| Event::Node(node, state, availability)),
        (0..6_u8, end).prop_map(|(slot, state)| Event::End(slot, state)),
        (1..15_u64).prop_map(Event::Pass),
        Just(Event::NewLeader),
    ]
}

/// What must hold whenever everybody has acted, told from the objects alone.
fn check_world(view: &View, start_first: bool) {
    let most = if start_first { 2 } else { 1 };
    let (mut wanted, mut running) = (BTreeMap::<_, usize>::new(), BTreeMap::<_, usize>::new());
    for task in view.all::<Task>() {
        assert_ne!(task.status.state, TaskState::Remove, "REMOVE is never observed");
        assert!(task.status.state < TaskState::Assigned || task.node_id.is_some());
        let node = task.node_id.as_ref().and_then(|node| view.get::<Node>(node));
        let is_heard = node.is_some_and(|node| node.status.state() == State::Ready);
        let place = if task.service_id == Some("all".into()) { task.node_id.clone() } else { None };
        let slot = (task.service_id.clone(), task.slot, place);
        if task.desired_state == crate::slot::goal(task.job_iteration) && task.status.state < TaskState::Complete {
            *wanted.entry(slot.clone()).or_default() += 1;
        }
        if is_heard && task.status.state == TaskState::Running {
            *running.entry(slot).or_default() += 1;
        }
    }
    for slots in [&wanted, &running] {
        let too_many =
            slots.iter().find(|((service, ..), tasks)| **tasks > if *service == Some("web".into()) { most } else { 1 });
        assert_eq!(too_many, None, "more tasks of a slot than may be");
    }
    let job = wanted.keys().filter(|(service, ..)| *service == Some("job".into()));
    assert!(job.clone().count() <= 2, "more of a job at once than may be");
    assert!(job.clone().all(|(_, slot, _)| *slot < 3), "more of a job than was asked for");
    let view = view.all::<Task>().filter(|task| task.service_id == Some("job".into()));
    let complete = view.filter(|task| task.status.state == TaskState::Complete).map(|task| task.slot);
    let mut complete: Vec<_> = complete.collect();
    complete.sort_unstable();
    let all = complete.len();
    complete.dedup();
    assert_eq!(complete.len(), all, "a slot of a job is completed once");
}

async fn play(events: Vec<Event>) {
    let text = "node n0; node n1; node n2; service web replicas=2 restart=any delay=2s
                service all global restart=any delay=1s; service job job=3 concurrent=2 restart=any delay=1s";
    let mut stage = Stage::open(text).await;
    let mut replicas = 2;
    // Once started first, a slot may hold two tasks for as long as the new one does not run.
    let mut start_first = false;
    let mut desired = BTreeMap::new();
    for event in events {
        match event {
            Event::Scale(to) => {
                replicas = to;
                stage.update("web", set_replicas(to)).await;
            }
            Event::Image(number) => {
                let image = ["image", "new", "newer"][usize::from(number)];
                stage
                    .update("web", |spec| {
                        let restart = spec.task.take().and_then(|task| task.restart);
                        spec.task = Some(wire::TaskSpec { restart, ..testing::container(image) });
                    })
                    .await;
            }
            Event::Order(first, parallelism) => {
                start_first |= first;
                stage
                    .update("web", |spec| {
                        let order = i32::from(first);
                        let failure_action = wire::update_config::FailureAction::Continue.into();
                        spec.update =
                            Some(wire::UpdateConfig { parallelism, order, failure_action, ..Default::default() });
                    })
                    .await;
            }
            Event::Node(node, state, availability) => {
                stage
                    .edit_node(&format!("n{node}"), |node| {
                        set_state(node, state);
                        set_availability(node, availability);
                    })
                    .await;
            }
            Event::End(nth, state) => {
                let view = stage.store.view();
                let is_heard = |task: &Arc<Task>| {
                    let node = task.node_id.as_ref().and_then(|node| view.get::<Node>(node));
                    node.is_some_and(|node| node.status.state() == State::Ready)
                };
                let running = stage.tasks().into_iter().filter(|task| task.status.state == TaskState::Running);
                let running = running.filter(is_heard);
                if let Some(task) = running.clone().nth(usize::from(nth) % running.count().max(1)) {
                    edit_task(&stage.store, task.id.as_str(), |task| task.status.state = state);
                    stage.settle().await;
                }
            }
            Event::Pass(seconds) => stage.pass(Duration::from_secs(seconds)).await,
            Event::NewLeader => {
                let (env, store) = stage.close().await;
                stage = Stage::on(env, store).await;
            }
        }
        check_world(&stage.store.view(), start_first);
        for task in stage.tasks() {
            let before = desired.insert(task.id.clone(), task.desired_state);
            assert!(before.is_none_or(|before| before <= task.desired_state), "a desired state never goes back");
        }
    }
    // Once everything is well again, so is the service.
    for node in ["n0", "n1", "n2"] {
        stage
            .edit_node(node, |node| {
                set_state(node, State::Ready);
                set_availability(node, Availability::Active);
            })
            .await;
    }
    stage.update("web", |spec| spec.update = None).await;
    stage.pass(Duration::from_secs(180)).await;
    let view = stage.store.view();
    let service = view.get::<Service>(&"web".into()).unwrap();
    let live = |service: &str| {
        let tasks = stage.tasks().into_iter().filter(|task| task.service_id == Some(service.into()));
        tasks.filter(|task| is_live(task)).collect::<Vec<_>>()
    };
    let all: Vec<_> = live("all").iter().map(|task| (task.node_id.clone(), task.status.state)).collect();
    assert_eq!(all, ["n0", "n1", "n2"].map(|node| (Some(node.into()), TaskState::Running)), "{:?}", stage.told());
    let job = stage.tasks().into_iter().filter(|task| task.service_id == Some("job".into()));
    let complete = job.clone().filter(|task| task.status.state == TaskState::Complete).count();
    let running = job.filter(|task| is_live(task) && task.status.state == TaskState::Running).count();
    assert_eq!((complete, running), (complete, (3 - complete).min(2)), "{:?}", stage.told());
    let live = live("web");
    assert!(live.iter().all(|task| task.status.state == TaskState::Running), "{:?}", stage.told());
    assert!(live.iter().all(|task| Some(&*task.spec) == service.spec.task.as_ref()), "{:?}", stage.told());
    let mut numbers: Vec<_> = live.iter().map(|task| task.slot).collect();
    numbers.dedup();
    assert_eq!(numbers.len() as u64, replicas, "{:?}", stage.told());
    assert_eq!(live.len() as u64, replicas, "{:?}", stage.told());
    let before = stage.store.version();
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.store.version(), before, "and then there is nothing to do");
    stage.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn whatever_happens_slots_are_filled_once_and_all_ends_well(events in prop::collection::vec(event(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(events));
    }
}

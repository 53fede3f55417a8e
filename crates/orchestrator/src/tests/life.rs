//! Whole lives of services, and what tidies up after them.

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

#[tokio::test(start_paused = true)]
async fn of_each_slot_so_many_tasks_are_kept_as_the_cluster_says() {
    let limit = |limit: i64| {
        move |store: &Store| {
            write(store, |tx| {
                let id = tx.cluster().unwrap().id.clone();
                tx.edit(&id, |cluster: &mut swarmkit_api::Cluster| {
                    let spec = Arc::make_mut(&mut cluster.spec);
                    spec.orchestration.get_or_insert_default().task_history_retention_limit = limit;
                })
                .map(drop)
            });
        }
    };
    let mut stage = Stage::open("cluster; node a; service web replicas=1 restart=any delay=1s").await;
    limit(2)(&stage.store);
    for _ in 0..5 {
        stage.end(1, TaskState::Failed).await;
        stage.pass(Duration::from_secs(2)).await;
    }
    assert_eq!(stage.history(), ["web.1 failed wants shutdown", "web.1 running"]);
    limit(0)(&stage.store);
    stage.settle().await;
    assert_eq!(stage.history(), ["web.1 running"], "a new limit counts at once");
    limit(-1)(&stage.store);
    for _ in 0..10 {
        stage.end(1, TaskState::Failed).await;
        stage.pass(Duration::from_secs(2)).await;
    }
    assert_eq!(stage.tasks().len(), 11, "all are kept");
    limit(0)(&stage.store);
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_millis(500)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"], "the delay is not forgotten with the history");
    stage.pass(Duration::from_millis(600)).await;
    assert_eq!(stage.history(), ["web.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn what_ended_for_good_is_kept_whatever_the_limit_since_it_would_be_done_again() {
    let mut stage = Stage::open("cluster; node a; service web replicas=1 restart=none").await;
    write(&stage.store, |tx| {
        let id = tx.cluster().unwrap().id.clone();
        tx.edit(&id, |cluster: &mut swarmkit_api::Cluster| {
            Arc::make_mut(&mut cluster.spec).orchestration.get_or_insert_default().task_history_retention_limit = 0;
        })
        .map(drop)
    });
    stage.end(1, TaskState::Complete).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.history(), ["web.1 complete wants shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_attempts_keeps_as_many_tasks_as_are_needed_to_count_them() {
    let text = "cluster; node a; service web replicas=1 restart=any delay=1s attempts=8";
    let mut stage = Stage::open_with(text, |_| Some(TaskState::Failed)).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.tasks().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_deleted_service_stay_until_they_have_stopped() {
    let mut stage = Stage::open("node a; service web replicas=2; service other replicas=1").await;
    stage.stubborn = vec!["image"];
    write(&stage.store, |tx| tx.delete::<Service>(&"web".into()).map(drop));
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.history(), ["other.1 running", "web.1 running wants remove", "web.2 running wants remove"]);
    stage.stubborn = Vec::new();
    stage.settle().await;
    assert_eq!(stage.history(), ["other.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn at_its_start_the_reaper_deletes_what_is_over_and_leaves_what_still_runs() {
    let store = testing::store(
        "node a; service web replicas=1; task web.1 on a; task web.1.x on a failed wants shutdown
         task web.2 on a running wants remove; task web.3 on a failed wants remove; task web.4 pending wants remove",
    );
    write(&store, |tx| {
        let lost = testing::task("lost").on("a").state(TaskState::Orphaned).with(|task| task.service_id = None);
        tx.create(lost.build()).map(drop)
    });
    let mut stage = Stage::on(env(), store).await;
    stage.stubborn = vec!["image"];
    let ids: Vec<_> = stage.tasks().iter().map(|task| task.id.to_string()).collect();
    assert!(!ids.iter().any(|id| ["web.3", "web.4", "lost"].contains(&id.as_str())), "{ids:?}");
    assert!(ids.contains(&"web.1.x".to_owned()), "{ids:?}");
}

// === The enforcer ===

fn rejected(stage: &Stage) -> Vec<String> {
    let rejected = stage.tasks().into_iter().filter(|task| task.status.state == TaskState::Rejected);
    rejected
        .map(|task| {
            assert_eq!(task.status.message, "task rejected by constraint enforcer");
            assert_eq!(task.status.err, "assigned node no longer meets constraints");
            assert!(task.status.timestamp.is_some());
            task.id.to_string()
        })
        .collect()
}

/// A stage that nobody plays on, so that what is rejected stays where it is.
async fn enforced(text: &str, change: impl FnOnce(&mut Node)) -> Vec<String> {
    let mut stage = Stage::open(text).await;
    edit_node(&stage.store, "a", change);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    stage.stubborn = vec!["image"];
    let rejected = rejected(&stage);
    stage.close().await;
    rejected
}

fn relabel(node: &mut Node) {
    Arc::make_mut(&mut node.spec).annotations.get_or_insert_default().labels.insert("disk".into(), "tape".into());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_loses_its_label_loses_the_tasks_that_need_it() {
    let text = "node a label:disk=ssd; service web replicas=1 constraint=node.labels.disk==ssd restart=none; service any replicas=1 restart=none
                task web.1 on a; task any.1 on a";
    assert_eq!(enforced(text, relabel).await, ["web.1"]);
    let paused = |node: &mut Node| {
        relabel(node);
        set_availability(node, Availability::Pause);
    };
    assert_eq!(enforced(text, paused).await, [""; 0], "a paused node is left alone");
}

#[tokio::test(start_paused = true)]
async fn at_its_start_the_enforcer_looks_at_every_node() {
    let stage = Stage::open(
        "node a; node b label:disk=ssd; service web replicas=2 constraint=node.labels.disk==ssd restart=none
         task web.1 on a; task web.2 on b",
    )
    .await;
    assert_eq!(rejected(&stage), ["web.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_shrinks_keeps_the_tasks_that_were_there_first() {
    let shrink = |node: &mut Node| {
        let description = Arc::make_mut(node.description.as_mut().unwrap());
        description.resources.as_mut().unwrap().memory_bytes = 2 << 30;
    };
    let text = "node a memory=4GiB; service web replicas=3 memory=1GiB restart=none
                task web.1 on a; task web.2 on a; task web.3 on a";
    assert_eq!(enforced(text, shrink).await, ["web.3"]);
    let done = text.replace("web.1 on a;", "web.1 on a complete;");
    assert_eq!(enforced(&done, shrink).await, [""; 0], "what is over reserves nothing");
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_is_placed_elsewhere() {
    let mut stage = Stage::open("node a label:disk=ssd; service web replicas=1 constraint=node.labels.disk==ssd").await;
    assert_eq!(stage.told(), ["web.1 running"]);
    stage.edit_node("a", relabel).await;
    stage.amend("node b label:disk=ssd").await;
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.told(), ["web.1 running"]);
    assert_eq!(stage.tasks().last().unwrap().node_id, Some("b".into()));
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

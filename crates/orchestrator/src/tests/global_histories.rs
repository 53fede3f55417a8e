//! Global services through random histories: whatever happens to nodes, services and leaders, in the end each node that
//! may have a task has exactly one.

use proptest::prelude::*;
use swarmkit_api::constraint;
use wire::{node_spec::Availability, node_status::State, update_config::FailureAction};

use super::{stage::Stage, *};
use crate::slot::is_live;

#[derive(Clone, Debug)]
enum Event {
    Join(u8),
    Leave(u8),
    State(u8, State),
    Availability(u8, Availability),
    Label(u8, bool),
    Flap(u8, u8),
    Constrain(u8, bool),
    Image(u8, bool),
    End(u8, TaskState),
    Pass(u64),
    NewLeader,
}

const NODES: [&str; 3] = ["n0", "n1", "n2"];
const SERVICES: [&str; 3] = ["all", "more", "some"];

fn event() -> impl Strategy<Value = Event> {
    let (node, service) = (|| 0..3_u8, || 0..3_u8);
    let state = prop::sample::select(vec![State::Ready, State::Down, State::Unknown, State::Disconnected]);
    let availability = prop::sample::select(vec![Availability::Active, Availability::Drain, Availability::Pause]);
    let end = prop::sample::select(vec![TaskState::Failed, TaskState::Complete, TaskState::Rejected]);
    prop_oneof![
        1 => node().prop_map(Event::Join),
        1 => node().prop_map(Event::Leave),
        2 => (node(), state).prop_map(|(node, state)| Event::State(node, state)),
        2 => (node(), availability).prop_map(|(node, availability)| Event::Availability(node, availability)),
        1 => (node(), any::<bool>()).prop_map(|(node, set)| Event::Label(node, set)),
        1 => (node(), 1..12_u8).prop_map(|(node, times)| Event::Flap(node, times)),
        1 => (service(), any::<bool>()).prop_map(|(service, set)| Event::Constrain(service, set)),
        1 => (service(), any::<bool>()).prop_map(|(service, new)| Event::Image(service, new)),
        2 => (any::<u8>(), end).prop_map(|(nth, state)| Event::End(nth, state)),
        2 => (1..15_u64).prop_map(Event::Pass),
        1 => Just(Event::NewLeader),
    ]
}

fn is_there(stage: &Stage, node: u8) -> bool {
    stage.store.view().get::<Node>(&NODES[usize::from(node)].into()).is_some()
}

async fn change(stage: &mut Stage, node: u8, change: impl FnOnce(&mut Node)) {
    if is_there(stage, node) {
        stage.edit_node(NODES[usize::from(node)], change).await;
    }
}

async fn happen(mut stage: Stage, event: Event) -> Stage {
    match event {
        Event::Join(node) if !is_there(&stage, node) => stage.amend(&format!("node n{node}")).await,
        Event::Join(_) => {}
        Event::Leave(node) if is_there(&stage, node) => {
            remove_node(&stage.store, NODES[usize::from(node)]);
            stage.settle().await;
        }
        Event::Leave(_) => {}
        Event::State(node, state) => change(&mut stage, node, |node| set_state(node, state)).await,
        Event::Availability(node, to) => change(&mut stage, node, |node| set_availability(node, to)).await,
        Event::Label(node, set) => {
            let label = if set { "ssd" } else { "tape" };
            let relabel = |node: &mut Node| {
                let annotations = Arc::make_mut(&mut node.spec).annotations.get_or_insert_default();
                annotations.labels.insert("disk".into(), label.into());
            };
            change(&mut stage, node, relabel).await;
        }
        Event::Flap(node, times) => {
            for _ in 0..times {
                change(&mut stage, node, |node| set_state(node, State::Down)).await;
                change(&mut stage, node, |node| set_state(node, State::Ready)).await;
            }
        }
        Event::Constrain(service, set) => {
            stage
                .update(SERVICES[usize::from(service)], |spec| {
                    let placement = spec.task.get_or_insert_default().placement.get_or_insert_default();
                    placement.constraints = set.then(|| "node.labels.disk == ssd".to_owned()).into_iter().collect();
                })
                .await;
        }
        Event::Image(service, new) => {
            stage
                .update(SERVICES[usize::from(service)], |spec| {
                    let image = if new { "new" } else { "image" };
                    let task = spec.task.get_or_insert_default();
                    task.runtime = testing::container(image).runtime;
                    let failure_action = FailureAction::Continue.into();
                    spec.update = Some(wire::UpdateConfig { parallelism: 1, failure_action, ..Default::default() });
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
            let running: Vec<_> = running.filter(is_heard).collect();
            if let Some(task) = running.get(usize::from(nth) % running.len().max(1)) {
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
    stage
}

/// At any time: a node has at most one task of a service that is wanted, and little history.
fn check_always(stage: &Stage) {
    let view = stage.store.view();
    for (service, node) in SERVICES.iter().flat_map(|service| NODES.map(|node| (*service, node))) {
        let tasks = view.all::<Task>().filter(|task| task.service_id.as_ref().is_some_and(|id| id.as_str() == service));
        let tasks: Vec<_> = tasks.filter(|task| task.node_id.as_ref().is_some_and(|id| id.as_str() == node)).collect();
        let live = tasks.iter().filter(|task| is_live(task)).count();
        // Five are kept, two may be on their way out, and a rollout keeps what it judges by.
        assert!(live <= 1 && tasks.len() <= 10, "{service}.{node}: {live} of {}", tasks.len());
    }
}

fn check_in_the_end(stage: &Stage) {
    let view = stage.store.view();
    for (service, node) in SERVICES.iter().flat_map(|service| NODES.map(|node| (*service, node))) {
        let service = view.get::<Service>(&service.into()).expect("no service is deleted");
        let tasks = view.all::<Task>().filter(|task| task.service_id.as_ref() == Some(&service.id));
        let tasks: Vec<_> = tasks.filter(|task| task.node_id.as_ref().is_some_and(|id| id.as_str() == node)).collect();
        let Some(node) = view.get::<Node>(&node.into()) else {
            assert_eq!(tasks.len(), 0, "nothing is left of a node that is no more");
            continue;
        };
        let placement = service.spec.task.as_ref().and_then(|task| task.placement.clone()).unwrap_or_default();
        let constraints = constraint::parse_all(&placement.constraints).unwrap();
        let live: Vec<_> = tasks.iter().filter(|task| is_live(task)).collect();
        let states: Vec<_> = live.iter().map(|task| task.status.state).collect();
        let is_eligible = constraint::all_match(&constraints, node);
        let expected: &[TaskState] = if is_eligible { &[TaskState::Running] } else { &[] };
        assert_eq!(states, expected, "{} on {}: {:?}", service.id, node.id, stage.history());
        assert!(live.iter().all(|task| crate::is_up_to_date(task, service, Some(node))), "{:?}", stage.history());
    }
}

async fn play(events: Vec<Event>) {
    let text = "node n0; node n1 label:disk=ssd; service all global restart=any delay=1s
                service more global restart=any delay=2s
                service some global restart=any delay=1s constraint=node.labels.disk==ssd";
    let mut stage = Stage::open(text).await;
    for event in events {
        stage = happen(stage, event).await;
        check_always(&stage);
    }
    for node in 0..3 {
        change(&mut stage, node, |node| {
            set_state(node, State::Ready);
            set_availability(node, Availability::Active);
        })
        .await;
    }
    stage.pass(Duration::from_secs(120)).await;
    check_always(&stage);
    check_in_the_end(&stage);
    let before = stage.store.version();
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.store.version(), before, "and then there is nothing to do");
    stage.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..Default::default() })]

    #[test]
    fn whatever_happens_each_node_that_may_have_one_has_one_task_in_the_end(
        events in prop::collection::vec(event(), 1..25)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(events));
    }
}

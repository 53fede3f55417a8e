//! What is looked at after an event, and that it does not matter how the news came.

use std::collections::BTreeMap;

use super::*;
use crate::world::Due;

/// A store, and a world that knows what is in it and has nothing to look at.
fn known(text: &str) -> (Store, World) {
    let store = testing::store(text);
    let mut world = World::default();
    world.absorb(&Update::Snapshot(store.view()), env().now());
    world.due = BTreeMap::new();
    (store, world)
}

/// What has to be looked at after the one write that `change` makes, a word for each service and slot.
fn due_after(text: &str, change: impl FnOnce(&Store)) -> Vec<String> {
    let (store, mut world) = known(text);
    let mut updates = store.watch([Kind::Cluster, Kind::Node, Kind::Service, Kind::Task]);
    updates.try_next().unwrap();
    change(&store);
    while let Some(update) = updates.try_next().unwrap() {
        world.absorb(&update, env().now());
    }
    let words = world.due.iter().flat_map(|(service, due)| {
        let slots = due.slots.iter().map(move |slot| match slot {
            SlotKey::Number(number) | SlotKey::Run(_, Place::Number(number)) => format!("{service}.{number}"),
            SlotKey::Node(node) | SlotKey::Run(_, Place::Node(node)) => format!("{service}.{node}"),
        });
        due.whole.then(|| service.to_string()).into_iter().chain(slots)
    });
    words.collect()
}

const MANY: &str = "node a; node b; service all global; service nightly global-job; service job job=3
                    service web replicas=3; service other replicas=2
                    task web.1 on a; task web.2 on a; task web.3 on b; task other.1 on b; task other.2 on b";

#[test]
fn after_an_event_of_a_task_its_slot_is_looked_at_and_nothing_else() {
    let fail = |task: &mut Task| task.status.state = TaskState::Failed;
    assert_eq!(due_after(MANY, |store| edit_task(store, "web.2", fail)), ["web.2"]);
    assert_eq!(due_after(MANY, |store| write(store, |tx| tx.delete::<Task>(&"web.2".into()).map(drop))), ["web.2"]);
    let text = format!("{MANY}; task web.4 new");
    let goes_on = |task: &mut Task| task.status.state = TaskState::Assigned;
    assert_eq!(due_after(&text, |store| edit_task(store, "web.4", goes_on)), [""; 0], "what is expected is no news");
}

#[test]
fn after_an_event_of_a_node_its_tasks_are_looked_at_and_the_services_that_have_one_on_each() {
    let down = |node: &mut Node| set_state(node, wire::node_status::State::Down);
    assert_eq!(due_after(MANY, |store| edit_node(store, "a", down)), ["all.a", "nightly.a", "web.1", "web.2"]);
    assert_eq!(due_after(MANY, |store| testing::amend(store, "node c")), ["all.c", "nightly.c"]);
    let attached = |node: &mut Node| node.vxlan_udp_port = 5000;
    assert_eq!(due_after(MANY, |store| edit_node(store, "a", attached)), [""; 0], "what does not touch its tasks");
}

#[test]
fn a_service_that_has_a_slot_on_each_node_no_more_hears_of_no_node() {
    let gone = |store: &Store| {
        write(store, |tx| tx.delete::<Service>(&"all".into()).map(drop));
        edit_node(store, "b", |node| set_state(node, wire::node_status::State::Down));
    };
    assert_eq!(due_after("node b; service all global; service web replicas=1", gone), [""; 0]);
}

#[test]
fn after_an_event_of_a_service_it_alone_is_looked_at() {
    assert_eq!(due_after(MANY, |store| update(store, "web", set_replicas(4))), ["web"]);
    let waiting = |store: &Store| {
        write(store, |tx| tx.edit(&ServiceId::from("web"), |service: &mut Service| service.endpoint = None).map(drop));
    };
    assert_eq!(due_after(MANY, waiting), [""; 0], "what others write in its record is no news");
}

#[test]
fn how_far_a_rollout_has_come_is_no_news_of_any_slot() {
    let report = |state: wire::update_status::UpdateState| {
        let status = wire::UpdateStatus { state: state.into(), started_version: 1, ..Default::default() };
        move |store: &Store| {
            write(store, |tx| {
                tx.edit(&ServiceId::from("web"), |service: &mut Service| service.update_status = Some(status)).map(drop)
            });
        }
    };
    use wire::update_status::UpdateState::{RollbackStarted, Updating};
    assert_eq!(due_after(MANY, report(Updating)), [""; 0]);
    assert_eq!(due_after(MANY, report(RollbackStarted)), ["web"], "but that it goes back is");
}

#[test]
fn of_a_service_that_is_gone_only_those_tasks_are_looked_at_that_something_happened_to() {
    let (_, mut world) = known("node a; task web.1 on a; task web.2 on a; task all.x on a; task all.y on a");
    let slots = [SlotKey::Number(2)].into();
    world.due = BTreeMap::from([(ServiceId::from("web"), Due { whole: false, slots })]);
    assert_eq!(told(&world.plan(&world.due, env().now())), ["remove web.2"]);
}

#[test]
fn a_world_that_fell_behind_takes_over_what_it_missed_and_looks_at_nothing_else() {
    let (store, mut world) = known(MANY);
    edit_task(&store, "web.2", |task| task.status.state = TaskState::Failed);
    update(&store, "other", set_replicas(3));
    write(&store, |tx| tx.delete::<Node>(&"a".into()).map(drop));
    testing::amend(&store, "node c; service new replicas=1; task new.1.b new");
    world.absorb(&Update::Snapshot(store.view()), env().now());
    assert_eq!(world.due.keys().map(ServiceId::as_str).collect::<Vec<_>>(), ["all", "new", "nightly", "other", "web"]);
    let seen = told(&world.plan(&world.due, env().now()));
    assert_eq!(
        seen,
        [
            "make all.c",
            "make nightly.c",
            "make other.3",
            "stop web.1; make web.1 on hold",
            "stop web.2; make web.2 on hold"
        ],
        "neither the job nor the other nodes"
    );
}

#[test]
fn a_service_is_of_one_mode_or_of_none() {
    use crate::policy::Shape;
    let shapes = ["replicas=3", "global", "job=4 concurrent=2", "global-job"].map(|mode| {
        let view = testing::world(&format!("service web {mode}"));
        Shape::of(view.get::<Service>(&"web".into()).unwrap()).unwrap()
    });
    assert_eq!(
        shapes,
        [
            Shape::Replicated { replicas: 3 },
            Shape::Global,
            Shape::ReplicatedJob { concurrent: 2, completions: 4 },
            Shape::GlobalJob
        ]
    );
    assert_eq!(shapes.map(Shape::is_per_node), [false, true, false, true]);
    assert_eq!(shapes.map(Shape::is_job), [false, false, true, true]);
    assert_eq!(Shape::of(&Service::new("web".into(), wire::ServiceSpec::default())), None);
    assert_eq!(
        due_after("node a; task web.1 on a", |store| testing::amend(store, "node b")),
        [""; 0],
        "nor is what is gone"
    );
}

//! What is settled, what is not and why, and how often something was restarted.

use super::{super::plain::Plain, *};

fn service(name: &str, mode: Mode) -> wire::Service {
    wire::Service {
        id: name.to_owned(),
        spec: Some(wire::ServiceSpec {
            annotations: Some(wire::Annotations { name: name.to_owned(), ..Default::default() }),
            task: Some(wire::TaskSpec::default()),
            mode: Some(mode),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn replicated(replicas: u64) -> Mode {
    Mode::Replicated(wire::ReplicatedService { replicas })
}

fn job(total_completions: u64) -> Mode {
    Mode::ReplicatedJob(wire::ReplicatedJob { max_concurrent: total_completions, total_completions })
}

/// A task of the form `service.slot`, made at `second`.
fn task(id: &str, place: &str, state: TaskState, desired: TaskState, second: i64) -> wire::Task {
    let (service, slot) = place.split_once('.').unwrap_or((place, "0"));
    let err = if state == TaskState::Failed { "task: non-zero exit (1)".to_owned() } else { String::new() };
    let timestamp = Some(prost_types::Timestamp { seconds: second, nanos: 0 });
    wire::Task {
        id: id.to_owned(),
        meta: Some(wire::Meta {
            version: Some(wire::Version { index: second.unsigned_abs() }),
            created_at: timestamp,
            updated_at: timestamp,
            ..Default::default()
        }),
        spec: Some(wire::TaskSpec::default()),
        service_id: service.to_owned(),
        service_annotations: Some(wire::Annotations { name: service.to_owned(), ..Default::default() }),
        slot: slot.parse().unwrap(),
        node_id: "n1".to_owned(),
        desired_state: desired.into(),
        status: Some(wire::TaskStatus { state: state.into(), err, timestamp, ..Default::default() }),
        ..Default::default()
    }
}

fn running(id: &str, place: &str, second: i64) -> wire::Task {
    task(id, place, TaskState::Running, TaskState::Running, second)
}

fn node(id: &str) -> wire::Node {
    let status = wire::NodeStatus { state: wire::node_status::State::Ready.into(), ..Default::default() };
    wire::Node {
        id: id.to_owned(),
        spec: Some(wire::NodeSpec::default()),
        status: Some(status),
        description: Some(wire::NodeDescription { hostname: format!("host-{id}"), ..Default::default() }),
        ..Default::default()
    }
}

fn world(services: Vec<wire::Service>, tasks: Vec<wire::Task>) -> World {
    let mut world = World::default();
    world.absorb_lists(services, tasks, vec![node("n1")]);
    world
}

fn event(action: wire::WatchActionKind, object: wire::object::Object) -> wire::watch_message::Event {
    let object = Some(wire::Object { object: Some(object) });
    wire::watch_message::Event { action: action.into(), object, old_object: None }
}

fn updated(task: wire::Task) -> wire::watch_message::Event {
    event(wire::WatchActionKind::WatchActionUpdate, wire::object::Object::Task(task))
}

/// `web.1 RUNNING restarts=0`, one a line.
fn shown(world: &World) -> String {
    let line = |row: Row| {
        let note = if row.note.is_empty() { String::new() } else { format!(" ({})", row.note) };
        format!("{} {} on {} restarts={}{note}\n", row.task, row.state.as_str_name(), row.node, row.restarts)
    };
    world.rows().into_iter().map(line).collect()
}

fn unsettled(world: &World) -> String {
    let line = |service: Unsettled| format!("{}: {}; {}", service.service, service.what, service.why.join(", "));
    world.unsettled([]).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_service_is_settled_when_every_slot_has_a_running_task() {
    let mut world = world(
        vec![service("web", replicated(2))],
        vec![running("a", "web.1", 1), task("b", "web.2", TaskState::Starting, TaskState::Running, 1)],
    );
    assert_eq!(unsettled(&world), "web: 1 of 2 tasks run; web.2 is STARTING");
    world.absorb_event(updated(running("b", "web.2", 2)));
    assert_eq!(unsettled(&world), "");
}

#[test]
fn a_service_without_tasks_is_not_settled_unless_it_wants_none() {
    let world = world(vec![service("web", replicated(1)), service("none", replicated(0))], vec![]);
    assert_eq!(unsettled(&world), "web: 0 of 1 tasks run; ");
}

#[test]
fn a_service_that_is_expected_and_not_known_is_not_settled() {
    let world = world(vec![service("web", replicated(0))], vec![]);
    let unsettled: Vec<_> = world.unsettled(["web", "db"]).into_iter().map(|one| (one.service, one.what)).collect();
    assert_eq!(unsettled, [("db".to_owned(), "the service is not there".to_owned())]);
}

#[test]
fn a_job_is_settled_when_its_tasks_have_completed() {
    let mut world = world(vec![service("once", job(1))], vec![running("a", "once.0", 1)]);
    assert_eq!(unsettled(&world), "once: 0 of 1 tasks have completed; once is RUNNING");
    world.absorb_event(updated(task("a", "once.0", TaskState::Complete, TaskState::Complete, 2)));
    assert_eq!(unsettled(&world), "");
    assert_eq!(shown(&world), "once COMPLETE on host-n1 restarts=0\n");
}

#[test]
fn a_global_service_is_settled_when_it_runs_on_every_node_that_takes_tasks() {
    let mut world = world(vec![service("agent", Mode::Global(wire::GlobalService {}))], vec![]);
    assert_eq!(unsettled(&world), "agent: 0 of 1 tasks run; ");
    world.absorb_event(updated(running("a", "agent", 1)));
    assert_eq!(unsettled(&world), "");
    let added = wire::object::Object::Node(node("n2"));
    world.absorb_event(event(wire::WatchActionKind::WatchActionCreate, added));
    assert_eq!(unsettled(&world), "agent: 1 of 2 tasks run; ");
}

#[test]
fn tasks_of_an_older_specification_do_not_count() {
    let mut service = service("web", replicated(1));
    service.spec.as_mut().unwrap().task.as_mut().unwrap().force_update = 1;
    let world = world(vec![service], vec![running("a", "web.1", 1)]);
    assert_eq!(unsettled(&world), "web: 0 of 1 tasks run; ");
}

#[test]
fn a_task_that_ended_and_was_replaced_is_a_restart_even_after_it_is_gone() {
    let mut world = world(vec![service("web", replicated(1))], vec![running("a", "web.1", 1)]);
    world.absorb_event(updated(task("a", "web.1", TaskState::Failed, TaskState::Shutdown, 2)));
    world.absorb_event(updated(task("b", "web.1", TaskState::Ready, TaskState::Ready, 3)));
    assert_eq!(shown(&world), "web.1 READY on host-n1 restarts=1 (task: non-zero exit (1))\n");
    assert_eq!(unsettled(&world), "web: 0 of 1 tasks run; web.1 is READY: task: non-zero exit (1)");
    let gone = wire::object::Object::Task(running("a", "web.1", 4));
    world.absorb_event(event(wire::WatchActionKind::WatchActionRemove, gone));
    world.absorb_event(updated(running("b", "web.1", 5)));
    assert_eq!(shown(&world), "web.1 RUNNING on host-n1 restarts=1\n");
}

#[test]
fn a_task_that_was_told_to_stop_is_no_restart() {
    let tasks = vec![task("a", "web.1", TaskState::Shutdown, TaskState::Shutdown, 1), running("b", "web.1", 2)];
    assert_eq!(shown(&world(vec![service("web", replicated(1))], tasks)), "web.1 RUNNING on host-n1 restarts=0\n");
}

#[test]
fn changes_that_are_older_than_what_was_listed_are_left_out() {
    let mut world = world(vec![service("web", replicated(1))], vec![running("a", "web.1", 5)]);
    world.absorb_event(updated(task("a", "web.1", TaskState::Starting, TaskState::Running, 4)));
    assert_eq!(unsettled(&world), "");
}

#[test]
fn slots_are_shown_in_their_numerical_order_below_their_service() {
    let tasks = vec![running("a", "web.10", 1), running("b", "web.9", 1), running("c", "db.1", 1)];
    let world = world(vec![service("web", replicated(2)), service("db", replicated(1))], tasks);
    let order: Vec<_> = world.rows().into_iter().map(|row| row.task).collect();
    assert_eq!(order, ["db.1", "web.9", "web.10"]);
}

#[test]
fn only_the_first_reasons_are_told() {
    let waiting =
        |slot: u64| task(&slot.to_string(), &format!("web.{slot}"), TaskState::Pending, TaskState::Running, 1);
    let world = world(vec![service("web", replicated(5))], (1..=5).map(waiting).collect());
    let expected = "web: 0 of 5 tasks run; web.1 is PENDING, web.2 is PENDING, web.3 is PENDING, and 2 more";
    assert_eq!(unsettled(&world), expected);
}

#[test]
fn a_service_that_waits_for_others_says_for_what_until_it_starts() {
    let mut web = service("web", replicated(1));
    let waiting = Waiting { since: None, message: "waits for db to be healthy".to_owned() };
    web.waiting = Some(waiting);
    let mut world = world(
        vec![web, service("db", replicated(1)), service("zoo", replicated(1))],
        vec![task("a", "db.1", TaskState::Starting, TaskState::Running, 1), running("z", "zoo.1", 1)],
    );
    assert_eq!(
        shown(&world),
        "db.1 STARTING on host-n1 restarts=0\n- NEW on  restarts=0 (waits for db to be healthy)\n\
         zoo.1 RUNNING on host-n1 restarts=0\n"
    );
    assert_eq!(
        unsettled(&world),
        "db: 0 of 1 tasks run; db.1 is STARTING\nweb: 0 of 1 tasks run; waits for db to be healthy"
    );
    let told = |plain: &mut Plain, world: &World| {
        let mut out = Vec::new();
        plain.tell(world, std::time::Duration::ZERO, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let mut plain = Plain::default();
    assert_eq!(
        told(&mut plain, &world),
        "    0.0s  db.1 is STARTING on host-n1\n    0.0s  service web waits for db to be healthy\n    0.0s  zoo.1 is RUNNING on host-n1\n"
    );
    assert_eq!(told(&mut plain, &world), "", "once is enough");
    let starts = wire::object::Object::Service(service("web", replicated(1)));
    world.absorb_event(event(wire::WatchActionKind::WatchActionUpdate, starts));
    world.absorb_event(updated(running("b", "web.1", 5)));
    assert_eq!(told(&mut plain, &world), "    0.0s  web.1 is RUNNING on host-n1\n");
}

//! Which tasks services would have.

use std::collections::BTreeSet;

use swarmkit_api::TaskId;

use super::*;
use crate::outlook;

/// What would become of the tasks of `web`, a line for each kind of fate; new tasks by slot or node.
fn outlook_on(view: &View) -> Vec<String> {
    let found = outlook(view, &"web".into(), &env()).unwrap();
    let names = |ids: &BTreeSet<TaskId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let place = |id: &TaskId| {
        let task = found.view.get::<Task>(id).unwrap();
        task.node_id.as_ref().map_or_else(|| task.slot.to_string(), ToString::to_string)
    };
    let mut created: Vec<_> = found.created.iter().map(place).collect();
    created.sort();
    let fates = [
        ("waits", found.waits_for.unwrap_or_default()),
        ("new", created.join(" ")),
        ("kept", names(&found.kept)),
        ("replaced", names(&found.replaced)),
        ("given up", names(&found.given_up)),
    ];
    fates.into_iter().filter(|(_, ids)| !ids.is_empty()).map(|(fate, ids)| format!("{fate}: {ids}")).collect()
}

#[track_caller]
fn check_outlook(text: &str, expected: &[&str]) {
    assert_eq!(outlook_on(&testing::world(text)), expected);
}

#[test]
fn a_new_service_has_as_many_tasks_as_it_asks_for() {
    check_outlook("node a; service web replicas=3", &["new: 1 2 3"]);
    check_outlook("node a; service web replicas=0", &[]);
    check_outlook(
        "node a; node b down; node c drain; node d pause; node e label:z=1; service web global constraint=node.labels.z!=1",
        &["new: a"],
    );
}

#[test]
fn a_service_that_is_scaled_keeps_what_it_has() {
    let tasks = "task web.1 on a; task web.3 on b; task web.2 on a failed wants shutdown";
    check_outlook(&format!("node a; node b; service web replicas=4; {tasks}"), &["new: 2 4", "kept: web.1 web.3"]);
    check_outlook(&format!("node a; node b; service web replicas=1; {tasks}"), &["kept: web.1", "given up: web.3"]);
}

#[test]
fn a_service_that_is_changed_has_all_its_tasks_replaced_at_once() {
    let changed = |words: &str| {
        let store = testing::store(&format!(
            "node a; node b; service web replicas=2 parallelism=1 {words}; task web.1 on a; task web.2 on b"
        ));
        write(&store, |tx| {
            tx.edit::<Service>(&"web".into(), |service| {
                let spec = Arc::make_mut(&mut service.spec);
                spec.task.get_or_insert_default().force_update += 1;
                service.spec_version = Some(Version(9));
            })
            .map(drop)
        });
        store.view()
    };
    let view = changed("");
    assert_eq!(outlook_on(&view), ["new: 1 2", "replaced: web.1 web.2"]);
    let state = |view: &View| view.get::<Task>(&"web.1".into()).unwrap().status.state;
    let after = outlook(&view, &"web".into(), &env()).unwrap().view;
    assert_eq!((state(&view), state(&after)), (TaskState::Running, TaskState::Shutdown), "it makes room");
    let view = changed("start-first");
    assert_eq!(outlook_on(&view), ["new: 1 2", "replaced: web.1 web.2"]);
    let after = outlook(&view, &"web".into(), &env()).unwrap().view;
    assert_eq!(state(&after), TaskState::Running, "it goes on until the new one runs");
}

#[test]
fn a_service_that_has_to_wait_says_for_what_and_what_it_would_have_then() {
    check_outlook(
        "node a; service db; service web replicas=2 after=db:running",
        &["waits: waits for db to run", "new: 1 2"],
    );
    check_outlook("node a; service db; task db.1 on a; service web replicas=1 after=db:running", &["new: 1"]);
}

#[test]
fn of_a_job_those_tasks_are_told_that_are_worked_on_first() {
    check_outlook("node a; service web job=5 concurrent=2", &["new: 0 1"]);
    check_outlook("node a; node b; service web global-job", &["new: a b"]);
}

#[test]
fn of_a_job_with_a_schedule_a_run_is_told() {
    let store = testing::store("node a; service web job=3");
    write(&store, |tx| {
        tx.edit::<Service>(&"web".into(), |service| {
            let schedule =
                wire::swarmkit::orchestration::v1::Schedule { cron: "0 3 * * *".into(), ..Default::default() };
            Arc::make_mut(&mut service.spec).schedule = Some(schedule);
            service.decided_until = Some(env().now().into());
        })
        .map(drop)
    });
    assert_eq!(outlook_on(&store.view()), ["new: 0 1 2"]);
}

#[test]
fn nothing_is_changed_by_asking() {
    let store = testing::store("node a; service web replicas=3; task web.1 on a");
    let before = store.view();
    outlook_on(&before);
    assert_eq!(store.view().digest(), before.digest());
    assert!(outlook(&before, &"other".into(), &env()).is_err(), "there is no such service");
}

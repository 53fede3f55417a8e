//! The order in which services start.

use proptest::prelude::*;
use wire::{
    node_spec::Availability,
    swarmkit::orchestration::v1::{Dependency, Waiting, dependency::Condition},
    update_status::UpdateState,
};

use super::{stage::Stage, *};

/// What a service says that it waits for.
fn waiting(stage: &Stage, service: &str) -> Option<String> {
    let view = stage.store.view();
    view.get::<Service>(&service.into()).unwrap().waiting.as_ref().map(|waiting| waiting.message.clone())
}

fn depend_on(service: &str, condition: Condition) -> impl FnOnce(&mut wire::ServiceSpec) {
    let dependency = Dependency { service: service.to_owned(), condition: condition.into() };
    move |spec| spec.depends_on = vec![dependency]
}

#[test]
fn a_service_waits_until_what_it_depends_on_exists() {
    check("service web replicas=3 after=db", &["web: waits for db to be created"]);
    check("service web global after=db; node a", &["web: waits for db to be created"]);
    check("service web job=3 after=db", &["web: waits for db to be created"]);
    check("service web global-job after=db; node a", &["web: waits for db to be created"]);
}

#[test]
fn one_task_that_runs_is_enough_for_running() {
    check(
        "service db replicas=2; service web after=db; task db.1 assigned; task db.2 assigned",
        &["web: waits for db to run"],
    );
    check("node a; service db replicas=2; service web after=db; task db.1 on a; task db.2 assigned", &["make web.1"]);
    check("node a; service db global; service web after=db; task db.a on a", &["make web.1"]);
}

#[test]
fn a_task_that_is_told_to_stop_counts_for_nothing() {
    check(
        "node a; service db replicas=1; service web after=db; task db.1 on a assigned; task db.1.x on a wants shutdown",
        &["web: waits for db to run"],
    );
}

#[test]
fn all_tasks_have_to_run_for_healthy() {
    let world = |second: &str| {
        format!("node a; service db replicas=2; service web after=db:healthy; task db.1 on a; task db.2 on a {second}")
    };
    check(&world("starting"), &["web: waits for db to be healthy"]);
    check(&world("running"), &["make web.1"]);
    // None that runs is none that is healthy.
    check("service db replicas=0; service web after=db:healthy", &["web: waits for db to be healthy"]);
}

#[test]
fn a_global_service_is_healthy_when_it_runs_on_all_nodes_that_take_it() {
    let world = |b: &str| {
        format!(
            "node a; node b {b}; node c drain; node d label:skip=yes; node e pause
             service db global constraint=node.labels.skip!=yes; service web after=db:healthy; task db.a on a"
        )
    };
    check(&world(""), &["make db.b", "web: waits for db to be healthy"]);
    check(&world("down"), &["make web.1"]);
    check(&(world("") + "; task db.b on b"), &["make web.1"]);
    check("node a drain; service db global; service web after=db:healthy", &["web: waits for db to be healthy"]);
}

#[test]
fn a_service_that_is_being_changed_is_not_healthy() {
    let store = testing::store("node a; service db; service web after=db:healthy; task db.1 on a");
    update(&store, "db", set_image("new"));
    let first = ["report UPDATING: update in progress", "stop db.1; make db.1 on hold"];
    let waits = "web: waits for db to be healthy (an update of it is under way)";
    assert_eq!(decisions(&store.view()), [&first[..], &[waits]].concat());
    let set_update = |state: UpdateState| {
        write(&store, |tx| {
            tx.edit(&"db".into(), |db: &mut Service| db.update_status.get_or_insert_default().set_state(state))
                .map(drop)
        });
    };
    set_update(UpdateState::RollbackStarted);
    assert!(decisions(&store.view()).contains(&waits.to_owned()));
    // What stopped half-way does not go on: all that is to be had of it runs.
    set_update(UpdateState::Paused);
    assert_eq!(decisions(&store.view()), ["make web.1"]);
}

#[test]
fn a_job_has_to_complete_for_completed() {
    let world = |tasks: &str| {
        format!("node a; service init job=2 concurrent=2 restart=none; service web after=init:completed; {tasks}")
    };
    let of = |one: &str, two: &str| {
        let wanted = |state: &str| if state.contains("wants") { "" } else { "wants complete" };
        let (first, second) = (wanted(one), wanted(two));
        world(&format!("task init.0 on a {one} {first}; task init.1 on a {two} {second}"))
    };
    check(&of("running", "complete"), &["web: waits for init to complete"]);
    check(&of("complete", "complete"), &["make web.1"]);
    check(&of("complete", "failed wants shutdown"), &["web: waits for init to complete (its last run has failed)"]);
    check(
        "node a; node b; service init global-job; service web after=init:completed; task init.a complete wants complete
         task init.b running wants complete",
        &["web: waits for init to complete"],
    );
    check(
        "node a; node b drain; service init global-job; service web after=init:completed
         task init.a complete wants complete",
        &["make web.1"],
    );
}

#[test]
fn the_run_before_does_not_count_for_completed() {
    let store = testing::store("node a; service init job=1; service web after=init:completed");
    testing::amend(&store, "task init.0 on a complete wants complete");
    update(&store, "init", |_| ());
    assert_eq!(decisions(&store.view()), ["make init.0", "web: waits for init to complete"]);
}

#[test]
fn a_run_that_is_on_record_counts_when_its_tasks_are_gone() {
    use swarmkit_api::JobRun;
    use wire::swarmkit::orchestration::v1::{JobLimits, job_run::Outcome};
    let store = testing::store("service init job=1; service web after=init:completed");
    for (outcome, told) in [
        (Outcome::Succeeded, vec!["make web.1"]),
        (Outcome::Failed, vec!["web: waits for init to complete (its last run has failed)"]),
    ] {
        write(&store, |tx| {
            let run = JobRun { iteration: 0, outcome: outcome.into(), ..Default::default() };
            tx.edit(&"init".into(), |init: &mut Service| {
                Arc::make_mut(&mut init.spec).job_limits = Some(JobLimits::default());
                init.runs = vec![run];
            })
            .map(drop)
        });
        let decided: Vec<_> = decisions(&store.view()).into_iter().filter(|told| told.contains("web")).collect();
        assert_eq!(decided, told);
    }
}

#[test]
fn what_is_no_job_never_completes_and_that_is_said() {
    check(
        "node a; service db; service web after=db:completed; task db.1 on a",
        &["web: waits for db to complete (it is no job and never will)"],
    );
}

#[test]
fn a_job_that_runs_or_has_completed_satisfies_the_lesser_conditions() {
    for after in ["init", "init:healthy"] {
        let world = format!("node a; service init job=2 concurrent=1; service web after={after}; ");
        check(&(world.clone() + "task init.0 on a running wants complete"), &["make web.1"]);
        check(
            &(world.clone() + "task init.0 on a complete wants complete; task init.1 on a complete wants complete"),
            &["make web.1"],
        );
    }
}

#[test]
fn all_that_is_lacking_is_said_at_once() {
    check(
        "node a; service db; service init job=1; service web after=db:healthy after=init:completed after=cache
         task db.1 on a assigned; task init.0 on a wants complete",
        &["web: waits for db to be healthy, for init to complete, for cache to be created"],
    );
}

#[test]
fn a_service_that_has_started_is_held_no_more() {
    check("service web replicas=2 after=db; task web.1", &["make web.2"]);
    check(
        "node a; service web replicas=2 after=db; task web.1 on a failed wants shutdown",
        &["make web.1", "make web.2"],
    );
    check(
        "node a; service web global after=db; task web.b on b failed wants shutdown",
        &["make web.a", "forget web.b"],
    );
}

#[test]
fn tasks_that_are_to_be_removed_do_not_tell_of_a_start() {
    check("node a; service web after=db; task web.1 on a wants remove", &["web: waits for db to be created"]);
}

#[test]
fn each_run_of_a_job_waits_anew_and_the_tasks_of_the_one_before_go() {
    let store = testing::store("node a; service init job=1 after=db; task init.0 on a running wants complete");
    assert_eq!(decisions(&store.view()), [""; 0]);
    update(&store, "init", |_| ());
    assert_eq!(decisions(&store.view()), ["init: waits for db to be created", "remove init.0"]);
}

#[test]
fn a_run_that_has_begun_goes_on_while_the_next_one_waits() {
    use swarmkit_api::JobRun;
    let store = testing::store("node a; service job job=2 concurrent=1 iteration=7 after=db");
    write(&store, |tx| {
        tx.edit(&"job".into(), |job: &mut Service| {
            Arc::make_mut(&mut job.spec).schedule = Some(wire::swarmkit::orchestration::v1::Schedule {
                cron: "0 0 1 1 *".to_owned(),
                ..Default::default()
            });
            let run = |iteration| JobRun { iteration, ..Default::default() };
            job.runs = vec![run(6), run(7)];
            job.decided_until = Some(env().now().into());
        })
        .map(drop)
    });
    let running = testing::task("job.0").of(store.view().get::<Service>(&"job".into()).unwrap()).on("a");
    let mut done = running.build();
    done.job_iteration = Some(Version(6));
    (done.status.state, done.desired_state) = (TaskState::Complete, TaskState::Complete);
    write(&store, |tx| tx.create(done).map(drop));
    assert_eq!(decisions(&store.view()), ["job: waits for db to be created", "make job.1"]);
    testing::amend(&store, "service db; task db.1 on a");
    assert_eq!(decisions(&store.view()), ["make job.1", "make job.0"]);
}

#[test]
fn what_has_nothing_to_start_waits_for_nothing() {
    check("service web replicas=0 after=db", &[]);
    let store = testing::store("service nightly job=1 after=db");
    write(&store, |tx| {
        tx.edit(&"nightly".into(), |job: &mut Service| {
            Arc::make_mut(&mut job.spec).schedule = Some(Default::default());
        })
        .map(drop)
    });
    assert!(decisions(&store.view()).iter().all(|told| !told.contains("waits")));
}

#[test]
fn services_without_dependencies_start_as_ever() {
    check("service db replicas=2; service web", &["make db.1", "make db.2", "make web.1"]);
}

#[test]
fn what_is_written_already_is_not_written_again() {
    let store = testing::store("service web after=db");
    let set = |message: &str| {
        let waiting = Some(Waiting { since: None, message: message.to_owned() });
        write(&store, |tx| tx.edit(&"web".into(), |web: &mut Service| web.waiting = waiting).map(drop));
    };
    set("waits for db to be created");
    assert_eq!(decisions(&store.view()), [""; 0]);
    set("waits for db to run");
    assert_eq!(decisions(&store.view()), ["web: waits for db to be created"]);
    testing::amend(&store, "node a; service db; task db.1 on a");
    assert_eq!(decisions(&store.view()), ["web: waits no more", "make web.1"]);
}

#[test]
fn a_dependency_that_is_being_removed_is_as_good_as_gone() {
    check(
        "node a; service db leaving; service web after=db; task db.1 on a",
        &["remove db.1", "web: waits for db to be created"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_stack_starts_in_order_without_time_passing() {
    let text = "node a; service db replicas=3; service init job=1 after=db:healthy; service web after=init:completed
                service proxy global after=web";
    let mut stage = Stage::open_with(text, |task| task.job_iteration.map(|_| TaskState::Complete)).await;
    assert_eq!(
        stage.told(),
        ["db.1 running", "db.2 running", "db.3 running", "init.0 complete", "proxy.a running", "web.1 running"]
    );
    for service in ["db", "init", "web", "proxy"] {
        assert_eq!(waiting(&stage, service), None, "{service}");
    }
    let before = stage.store.version();
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.store.version(), before, "nothing is written when all is up");
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_gate_opens_with_the_last_task_and_stays_open() {
    let mut stage = Stage::open_with("node a; service db replicas=3; service web after=db:healthy", |task| {
        (task.service_annotations.name == "db" && task.slot == 3).then_some(TaskState::Preparing)
    })
    .await;
    assert_eq!(stage.told(), ["db.1 running", "db.2 running", "db.3 ready"]);
    assert_eq!(waiting(&stage, "web").as_deref(), Some("waits for db to be healthy"));
    stage.cast(|_| None);
    stage.settle().await;
    assert_eq!(stage.told(), ["db.1 running", "db.2 running", "db.3 running", "web.1 running"]);
    assert_eq!(waiting(&stage, "web"), None);

    stage.cast(|task| (task.service_annotations.name == "db").then_some(TaskState::Failed));
    stage.end(1, TaskState::Failed).await;
    stage.update("web", set_replicas(2)).await;
    stage.pass(Duration::from_secs(30)).await;
    assert!(stage.told().contains(&"web.2 running".to_owned()), "{:?}", stage.told());
    assert_eq!(waiting(&stage, "web"), None);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_scaled_to_nothing_starts_anew() {
    let mut stage = Stage::open("node a; service db; service web replicas=2 after=db").await;
    stage.update("web", set_replicas(0)).await;
    write(&stage.store, |tx| tx.delete::<Service>(&"db".into()).map(drop));
    stage.settle().await;
    stage.update("web", set_replicas(2)).await;
    assert_eq!(stage.told(), [""; 0]);
    assert_eq!(waiting(&stage, "web").as_deref(), Some("waits for db to be created"));
    stage.amend("service db").await;
    assert_eq!(stage.told(), ["db.1 running", "web.1 running", "web.2 running"]);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_written_when_its_kind_changes_and_not_with_every_task() {
    let mut stage = Stage::open_with("node a; service web after=db:healthy", |task| {
        (task.slot == 50).then_some(TaskState::Preparing)
    })
    .await;
    let version = |stage: &Stage| stage.store.view().get::<Service>(&"web".into()).unwrap().meta.version;
    let since = |stage: &Stage| {
        stage.store.view().get::<Service>(&"web".into()).unwrap().waiting.as_ref().and_then(|waiting| waiting.since)
    };
    let (first, began) = (version(&stage), since(&stage));
    assert!(began.is_some());
    assert_eq!(waiting(&stage, "web").as_deref(), Some("waits for db to be created"));
    stage.pass(Duration::from_secs(5)).await;
    stage.amend("service db replicas=50").await;
    let second = version(&stage);
    assert!(second > first);
    assert_eq!(waiting(&stage, "web").as_deref(), Some("waits for db to be healthy"));
    assert_eq!(since(&stage), began, "it waits since it began to");
    for slot in 1..20 {
        stage.end(slot, TaskState::Failed).await;
    }
    stage.pass(Duration::from_secs(20)).await;
    assert_eq!(version(&stage), second, "the tasks of the other are nothing to write about");
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn another_leader_neither_forgets_a_wait_nor_a_start() {
    let text =
        "node a; service db replicas=2; service web after=db:healthy; service old after=db:healthy; task old.1 on a";
    let hold = |task: &Task| (task.slot == 2).then_some(TaskState::Preparing);
    let mut stage = Stage::open_with(text, hold).await;
    assert_eq!(stage.told(), ["db.1 running", "db.2 ready", "old.1 running"]);
    let (env, store) = stage.close().await;
    let before = store.view().get::<Service>(&"web".into()).unwrap().clone();
    edit_node(&store, "a", |node| set_availability(node, Availability::Pause));
    stage = Stage::on(env, store).await;
    assert_eq!(stage.told(), ["db.1 running", "db.2 running", "old.1 running", "web.1 new"]);
    assert!(before.waiting.is_some());
    assert_eq!(waiting(&stage, "web"), None);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_may_be_what_was_waited_for() {
    let mut stage = Stage::open_with("node a; node b; service db global; service web after=db:healthy", |task| {
        (task.node_id.as_ref().is_some_and(|node| node.as_str() == "b")).then_some(TaskState::Preparing)
    })
    .await;
    assert_eq!(stage.told(), ["db.a running", "db.b ready"]);
    stage.edit_node("b", |node| set_availability(node, Availability::Drain)).await;
    assert_eq!(stage.told(), ["db.a running", "web.1 running"]);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_is_added_later_does_not_stop_what_runs() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    stage.update("web", depend_on("db", Condition::Running)).await;
    stage.update("web", set_replicas(3)).await;
    assert_eq!(stage.told(), ["web.1 running", "web.2 running", "web.3 running"]);
    assert_eq!(waiting(&stage, "web"), None);
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_is_taken_away_is_waited_for_no_more() {
    let mut stage = Stage::open("node a; service web after=db").await;
    assert_eq!(stage.told(), [""; 0]);
    stage.update("web", |spec| spec.depends_on.clear()).await;
    assert_eq!(stage.told(), ["web.1 running"]);
    assert_eq!(waiting(&stage, "web"), None);
    stage.close().await;
}

#[test]
fn an_event_of_a_service_looks_only_at_those_that_wait_for_it() {
    let mut text = "node a; service db; service other; service started after=db; task started.1 on a; ".to_owned();
    for number in 0..50 {
        text += &format!("service after-db-{number} after=db; service after-other-{number} after=other; ");
    }
    let store = testing::store(&text);
    let now = env().now();
    let mut world = World::default();
    world.absorb(&Update::Snapshot(store.view()), now);
    let _ = world.take_due();
    let mut watch = store.watch([swarmkit_api::Kind::Service, swarmkit_api::Kind::Task]);
    let next = |watch: &mut swarmkit_store::Watch| watch.next().now_or_never().unwrap().unwrap();
    assert!(matches!(next(&mut watch), Update::Snapshot(_)));
    testing::amend(&store, "task db.1 on a assigned");
    world.absorb(&next(&mut watch), now);
    let due = world.take_due();
    assert_eq!(due.len(), 51, "{:?}", due.keys());
    assert!(due.keys().all(|id| id.as_str() == "db" || id.as_str().starts_with("after-db-")));
    edit_task(&store, "db.1", |task| task.status.state = TaskState::Preparing);
    world.absorb(&next(&mut watch), now);
    assert_eq!(world.take_due().len(), 0, "what cannot change anything is nothing to look at");
}

/// A stack of up to eight services, each of which depends on some of those before it: mode, and a condition for each of
/// those (0 is none).
fn stacks() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    prop::collection::vec((0..4_u8, prop::collection::vec(0..4_u8, 8)), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_stack_starts_and_nothing_before_what_it_needs(stack in stacks(), leaders in prop::collection::vec(0..6_u8, 0..3)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(start(&stack, &leaders));
    }
}

/// Starts a stack, the last services first, with another leader after some of them, and checks who started after whom.
async fn start(stack: &[(u8, Vec<u8>)], leaders: &[u8]) {
    let name = |place: usize| format!("s{place}");
    let modes = ["replicas=2", "global", "job=2", "global-job"];
    let conditions = ["", "running", "healthy", "completed"];
    let condition = |place: usize, other: usize| match conditions[usize::from(stack[place].1[other])] {
        "completed" if stack[other].0 < 2 => "healthy",
        condition => condition,
    };
    let complete = |task: &Task| task.job_iteration.map(|_| TaskState::Complete);
    let mut stage = Stage::open_with("node a; node b", complete).await;
    for place in (0..stack.len()).rev() {
        let others = (0..place).filter(|other| !condition(place, *other).is_empty());
        let after: String = others.map(|other| format!(" after={}:{}", name(other), condition(place, other))).collect();
        stage.amend(&format!("service {} {}{after}", name(place), modes[usize::from(stack[place].0)])).await;
        if leaders.iter().any(|leader| usize::from(*leader) == place) {
            let (env, store) = stage.close().await;
            stage = Stage::on_with(env, store, complete).await;
        }
    }
    stage.settle().await;
    for place in 0..stack.len() {
        let first = |test: &dyn Fn(&Task) -> bool| {
            let tasks = stage.tasks();
            let versions: Vec<_> =
                tasks.iter().filter(|task| test(task)).map(|task| task.meta.created_version).collect();
            (
                versions.len(),
                versions.into_iter().min(),
                tasks.iter().filter(|task| test(task)).map(|task| task.meta.version).max(),
            )
        };
        let of = |place: usize| move |task: &Task| task.service_id == Some(ServiceId::from(name(place).as_str()));
        let (count, made, _) = first(&of(place));
        assert_eq!(count, 2, "{} has its tasks: {:?}", name(place), stage.history());
        assert_eq!(waiting(&stage, &name(place)), None);
        for other in
            (0..place).filter(|other| condition(place, *other) == "completed" || condition(place, *other) == "healthy")
        {
            let (_, _, last) = first(&of(other));
            // Nothing more happened to the tasks of the other: all of them ran, or had completed.
            assert!(
                stack[other].0 >= 2 && condition(place, other) == "healthy" || last <= made,
                "{} came before {}",
                name(place),
                name(other)
            );
        }
    }
    stage.close().await;
}

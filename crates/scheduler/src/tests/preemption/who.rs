//! Who makes room for whom, and where.

use super::*;
use crate::preemption::{claim, yields};

#[test]
fn where_nothing_is_left_the_less_important_make_room_and_the_youngest_goes() {
    let mut rounds = Rounds::start(FULL);
    testing::amend(&rounds.store, "service vip memory=1GiB priority=10; task low.3 on a shutdown wants shutdown");
    testing::amend(&rounds.store, "task vip.1 pending");
    let err = "waits for 1 task of lower priority to leave node a (priority 10 over 0)";
    assert_eq!(rounds.settle(), [format!("vip.1 {err}: [low.2] go")]);
    let (vip, low) = (rounds.task("vip.1"), rounds.task("low.2"));
    assert_eq!((vip.status.state, vip.status.err.as_str(), vip.node_id.clone()), (TaskState::Pending, err, None));
    let claimed = claim(&vip).expect("it claims the room");
    assert_eq!((claimed.node_id.as_str(), claimed.tasks.as_slice()), ("a", &["low.2".to_owned()][..]));
    assert!(yields(&low) && low.desired_state == TaskState::Shutdown && low.status.state == TaskState::Running);
    assert_eq!(rounds.task("low.1").desired_state, TaskState::Running);
    assert_eq!(rounds.end("low.2"), ["vip.1 goes to a"]);
    let vip = rounds.task("vip.1");
    assert_eq!((vip.preemption, vip.status.err.as_str(), vip.status.state), (None, "", TaskState::Assigned));
}

#[test]
fn a_task_that_makes_room_is_told_for_whom() {
    let mut rounds = Rounds::start(&format!("{FULL}; service vip memory=2GiB priority=10; task vip.1 pending"));
    let err = "waits for 2 tasks of lower priority to leave node a (priority 10 over 0)";
    assert_eq!(rounds.settle(), [format!("vip.1 {err}: [low.2 low.1] go")]);
    let Some(wire::swarmkit::scheduling::v1::preemption::Side::Yield(given)) =
        rounds.task("low.1").preemption.and_then(|preemption| preemption.side.clone())
    else {
        panic!("it says nothing")
    };
    assert_eq!((given.task_id.as_str(), given.service_id.as_str()), ("vip.1", "vip"));
    assert_eq!(given.message, "made room for vip.1 (priority 10 over 0)");
}

#[test]
fn nobody_makes_room_for_an_equal_or_for_one_that_asks_for_no_priority() {
    let refused = "no suitable node (insufficient resources on 1 node)";
    let text = |low: &str, vip: &str| {
        format!(
            "node a memory=1GiB; service low memory=1GiB {low}; service vip memory=1GiB {vip}; task low.1 on a; task vip.1 pending"
        )
    };
    for (low, vip) in [("", ""), ("priority=10", "priority=10"), ("priority=11", "priority=10"), ("priority=-1", "")] {
        check(&text(low, vip), &[&format!("vip.1 waits: {refused}")]);
    }
    for (low, vip, over) in
        [("", "1", "1 over 0"), ("priority=-5", "0", "0 over -5"), ("priority=-5", "-4", "-4 over -5")]
    {
        let waits = format!("vip.1 waits for 1 task of lower priority to leave node a (priority {over}): [low.1] go");
        check(&text(low, &format!("priority={vip}")), &[&waits]);
    }
}

#[test]
fn nothing_is_taken_from_anybody_where_there_is_room() {
    check(
        &format!("{FULL}; node b memory=1GiB; service vip memory=1GiB priority=10; task vip.1 pending"),
        &["vip.1 goes to b"],
    );
}

#[test]
fn a_node_that_would_not_do_anyway_is_left_alone() {
    let vip = |words: &str| format!("service vip memory=1GiB priority=10 {words}; task vip.1 pending");
    for (node, words, reason) in [
        ("node a memory=2GiB pause", "", "1 node not available for new tasks"),
        ("node a memory=2GiB down", "", "1 node not available for new tasks"),
        ("node a memory=2GiB", "constraint=node.labels.z==1", "insufficient resources on 1 node"),
    ] {
        let text = format!("{node}; service low memory=2GiB; task low.1 on a; {}", vip(words));
        check(&text, &[&format!("vip.1 waits: no suitable node ({reason})")]);
    }
    let text = "node a memory=1GiB; service low memory=512MiB; task low.1 on a; service vip memory=2GiB priority=1; task vip.1 pending";
    check(text, &["vip.1 waits: no suitable node (insufficient resources on 1 node)"]);
}

#[test]
fn the_node_is_chosen_where_the_least_harm_is_done() {
    let vip = "service vip memory=2GiB priority=10; task vip.1 pending";
    let goes = |text: &str| decisions(&testing::world(&format!("{text}; {vip}")));
    let nodes = "node a memory=2GiB; node b memory=2GiB";
    let waits = |tasks: &str, node: &str, over: i32, gone: &str| {
        vec![format!(
            "vip.1 waits for {tasks} of lower priority to leave node {node} (priority 10 over {over}): [{gone}] go"
        )]
    };
    // The lowest priority, rather than fewer tasks.
    let text = "service one memory=2GiB priority=5; service two memory=1GiB; task one.1 on a; task two.1 on b; task two.2 on b";
    assert_eq!(goes(&format!("{nodes}; {text}")), waits("2 tasks", "b", 0, "two.2 two.1"));
    // Of equals the fewest tasks.
    let text = "service one memory=2GiB; service two memory=1GiB; task two.1 on a; task two.2 on a; task one.1 on b";
    assert_eq!(goes(&format!("{nodes}; {text}")), waits("1 task", "b", 0, "one.1"));
    // Those whose services can spare any number come first.
    let text = "service one memory=2GiB max-disrupted=5 replicas=1; service two memory=1GiB; task one.1 on a; task two.1 on b; task two.2 on b";
    assert_eq!(goes(&format!("{nodes}; {text}")), waits("2 tasks", "b", 0, "two.2 two.1"));
    // Then the youngest, and then the name decides.
    let store = testing::store(&format!("{nodes}; service one memory=2GiB; task one.1 on a"));
    testing::amend(&store, "task one.2 on b");
    testing::amend(&store, vip);
    assert_eq!(decisions(&store.view()), waits("1 task", "b", 0, "one.2"));
}

#[test]
fn the_company_that_a_task_has_to_have_or_to_avoid_is_not_made_to_go_for_it() {
    let nodes = "node a memory=2GiB; node b memory=2GiB; service low memory=1GiB; service other memory=1GiB";
    let tasks = "task low.1 on a; task other.1 on a; task other.2 on b; task other.3 on b";
    let vip = |words: &str| format!("{nodes}; {tasks}; service vip memory=1GiB priority=1 {words}; task vip.1 pending");
    let waits = |node: &str, gone: &str| {
        format!("vip.1 waits for 1 task of lower priority to leave node {node} (priority 1 over 0): [{gone}] go")
    };
    check(&vip("must-near=low"), &[&waits("a", "other.1")]);
    check(&vip("must-apart=low"), &[&waits("b", "other.3")]);
    check(
        &vip("must-near=low").replace("other.1 on a", "low.2 on a"),
        &["vip.1 waits: no suitable node (insufficient resources on 2 nodes)"],
    );
}

#[test]
fn only_as_many_go_as_have_to() {
    let text = "node a memory=4GiB; service low memory=1GiB; task low.1 on a; task low.2 on a; task low.3 on a; task low.4 on a
        service vip memory=1536MiB priority=1; task vip.1 pending";
    let waits = "vip.1 waits for 2 tasks of lower priority to leave node a (priority 1 over 0): [low.4 low.3] go";
    check(text, &[waits]);
}

#[test]
fn ports_and_counted_resources_are_made_room_for_as_well() {
    let text = "node a generic:gpu=1; node b generic:gpu=1; service low; service vip priority=3";
    let gpu = |spec: &mut wire::ServiceSpec| {
        let unit = wire::DiscreteGenericResource { kind: "gpu".into(), value: 1 };
        let unit = wire::generic_resource::Resource::DiscreteResourceSpec(unit);
        let generic = vec![wire::GenericResource { resource: Some(unit) }];
        let wanted = wire::Resources { generic, ..Default::default() };
        let resources = spec.task.get_or_insert_default().resources.get_or_insert_default();
        resources.reservations = Some(wanted);
    };
    let store = with_service(text, "low", gpu, "");
    write(&store, |tx| {
        tx.edit::<Service>(&"vip".into(), |service| gpu(std::sync::Arc::make_mut(&mut service.spec))).map(drop)
    });
    testing::amend(&store, "task low.1 pending; task low.2 pending");
    let mut rounds = Rounds { updates: store.watch(swarmkit_store::Interest::all()), store, world: World::default() };
    assert_eq!(rounds.settle(), ["low.1 goes to a with 1 gpu", "low.2 goes to b with 1 gpu"]);
    let waits = "vip.1 waits for 1 task of lower priority to leave node a (priority 3 over 0): [low.1] go";
    assert_eq!(rounds.amend("task vip.1 pending"), [waits]);
    assert_eq!(rounds.end("low.1"), ["vip.1 goes to a with 1 gpu"]);

    let port = |task: &mut Task| {
        let port = wire::PortConfig { published_port: 80, publish_mode: 1, ..Default::default() };
        task.endpoint = Some(wire::Endpoint { ports: vec![port], ..Default::default() }.into());
    };
    let mut rounds = Rounds::start("node a; service low; service vip priority=3; task low.1 on a; task low.2 on a");
    write(&rounds.store, |tx| {
        tx.edit(&"low.1".into(), port)?;
        tx.create(testing::task("vip.1").state(TaskState::Pending).with(port).build()).map(drop)
    });
    let waits = "vip.1 waits for 1 task of lower priority to leave node a (priority 3 over 0): [low.1] go";
    assert_eq!(rounds.settle(), [waits]);
    assert_eq!(rounds.end("low.1"), ["vip.1 goes to a"]);
}

#[test]
fn a_task_for_one_node_makes_room_there_and_nowhere_else() {
    let text = "node a memory=1GiB; node b memory=1GiB; service low memory=1GiB; task low.1 on a; task low.2 on b
        service all global memory=1GiB priority=10; task all.a pending";
    let mut rounds = Rounds::start(text);
    let waits = "all.a waits for 1 task of lower priority to leave node a (priority 10 over 0): [low.1] go";
    assert_eq!(rounds.settle(), [waits]);
    let kept = "low.3 waits: no suitable node (insufficient resources on 2 nodes)";
    assert_eq!(rounds.amend("task low.3 pending"), [kept]);
    let all = rounds.end("low.1");
    assert_eq!(all[0], "all.a goes to a");
    assert_eq!(rounds.task("all.a").preemption, None);
    assert_eq!(rounds.task("low.3").node_id, None);
}

#[test]
fn tasks_of_global_services_and_of_jobs_make_room_too_and_theirs_waits_for_the_node() {
    let text = "node a memory=2GiB; service all global memory=1GiB; service job job=1 memory=1GiB
        task all.a running; task job.0 on a wants complete
        service vip memory=2GiB priority=1; task vip.1 pending";
    let mut rounds = Rounds::start(text);
    let waits = "vip.1 waits for 2 tasks of lower priority to leave node a (priority 1 over 0): [job.0 all.a] go";
    assert_eq!(rounds.settle(), [waits]);
    // What replaces it is made for the node, where the room is not its own.
    rounds.end("all.a");
    let kept = "all.a.new waits: room is kept for other tasks on 1 node";
    assert_eq!(rounds.amend("task all.a.new pending"), [kept]);
    assert_eq!(rounds.end("job.0")[0], "vip.1 goes to a");
}

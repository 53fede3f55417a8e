//! Room that tasks make for more important ones.

use swarmkit_api::{Node, Task, TaskState};

use super::*;
use crate::{
    decision::Decision,
    preemption::{claim, yields},
};

/// Commits plans and gives the deltas to the world, as the loop does.
pub(super) struct Rounds {
    pub(super) store: Store,
    updates: swarmkit_store::Watch,
    pub(super) world: World,
}

impl Rounds {
    pub(super) fn start(text: &str) -> Self {
        let store = testing::store(text);
        let updates = store.watch(swarmkit_store::Interest::all());
        Self { store, updates, world: World::default() }
    }

    pub(super) fn absorb(&mut self) {
        while let Some(update) = self.updates.try_next().unwrap() {
            self.world.absorb(&update, env().now());
        }
    }

    /// Decides once, and writes what still holds.
    pub(super) fn pass(&mut self) -> Vec<Decision> {
        let due = std::mem::take(&mut self.world.due);
        let plan = self.world.plan(&due, env().now());
        let mut refused = Vec::new();
        write(&self.store, |tx| {
            for decision in &plan.decisions {
                if !decision.write(tx)? {
                    refused.push(decision.clone());
                }
            }
            Ok(())
        });
        self.world.note(plan.blocked);
        self.world.note_limited(plan.limited);
        self.world.due.put_back(plan.rest);
        self.absorb();
        refused.iter().for_each(|decision| self.world.retry(decision));
        plan.decisions
    }

    /// Decides until nothing is due.
    fn settle(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..100 {
            self.absorb();
            if self.world.due.is_empty() {
                return all;
            }
            all.extend(self.pass().iter().map(tell));
        }
        panic!("it goes on deciding: {all:?}");
    }

    fn amend(&mut self, text: &str) -> Vec<String> {
        testing::amend(&self.store, text);
        self.settle()
    }

    fn edit(&mut self, id: &str, change: impl FnOnce(&mut Task)) -> Vec<String> {
        write(&self.store, |tx| tx.edit(&id.into(), change).map(drop));
        self.settle()
    }

    /// A task ends.
    fn end(&mut self, id: &str) -> Vec<String> {
        self.edit(id, |task| task.status.state = TaskState::Shutdown)
    }

    fn change(&mut self, service: &str, change: impl FnOnce(&mut wire::ServiceSpec)) -> Vec<String> {
        write(&self.store, |tx| {
            let edit = |service: &mut Service| change(std::sync::Arc::make_mut(&mut service.spec));
            tx.edit(&ServiceId::from(service), edit).map(drop)
        });
        self.settle()
    }

    fn task(&self, id: &str) -> Task {
        Task::clone(self.store.view().get::<Task>(&id.into()).expect("the task is there"))
    }

    /// The next leader, who knows nothing but what is stored.
    fn next_leader(&mut self) -> Vec<String> {
        self.updates = self.store.watch(swarmkit_store::Interest::all());
        self.world = World::default();
        self.settle()
    }
}

const NONE: [&str; 0] = [];

/// A node that is full of what has no priority.
const FULL: &str = "node a memory=2GiB; service low memory=1GiB; task low.1 on a; task low.2 on a";

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
fn room_that_is_being_made_anyway_is_waited_for_and_kept() {
    let text = "node a memory=2GiB; service low memory=1GiB; task low.1 on a; task low.2 on a wants shutdown
        service vip memory=1GiB priority=10; task vip.1 pending";
    let mut rounds = Rounds::start(text);
    assert_eq!(rounds.settle(), ["vip.1 waits for 1 task to leave node a: [] go"]);
    let kept = "low.3 waits: no suitable node (insufficient resources on 1 node)";
    assert_eq!(rounds.amend("task low.3 pending"), [kept]);
    let all = rounds.end("low.2");
    assert_eq!(all.first().map(String::as_str), Some("vip.1 goes to a"));
    assert_eq!(rounds.task("low.3").node_id, None);
}

#[test]
fn what_becomes_free_is_kept_from_equals_and_lower_ones_but_not_from_higher_ones() {
    let text = "node a memory=4GiB; service low memory=2GiB; task low.1 on a; task low.2 on a
        service vip memory=3GiB priority=10; task vip.1 pending";
    for (service, gets_it) in [("priority=0", false), ("priority=10", false), ("priority=11", true)] {
        let mut rounds = Rounds::start(text);
        rounds.settle();
        // One of two has gone, and what is free is not enough yet.
        assert_eq!(rounds.end("low.2"), NONE);
        let all = rounds.amend(&format!("service other memory=2GiB {service}; task other.1 pending"));
        if gets_it {
            assert_eq!(all.first().map(String::as_str), Some("other.1 goes to a"));
            assert!(rounds.task("vip.1").node_id.is_none());
        } else {
            assert_eq!(all, ["other.1 waits: no suitable node (room is kept for other tasks on 1 node)"]);
            assert_eq!(rounds.end("low.1")[0], "vip.1 goes to a");
        }
    }
}

#[test]
fn several_that_wait_make_room_for_each_and_take_what_was_kept_for_them() {
    let text = "node a memory=2GiB; node b memory=2GiB; service low memory=1GiB
        task low.1 on a; task low.2 on a; task low.3 on b; task low.4 on b
        service vip memory=1GiB priority=10; task vip.1 pending; task vip.2 pending; task vip.3 pending";
    let mut rounds = Rounds::start(text);
    let all = rounds.settle();
    assert_eq!(all.len(), 3);
    let view = rounds.store.view();
    let gone: Vec<_> = view.all::<Task>().filter(|task| yields(task)).map(|task| task.id.clone()).collect();
    assert_eq!(gone.len(), 3, "one for each: {all:?}");
    for id in gone {
        let told = rounds.end(id.as_str());
        assert_eq!(told.len(), 1, "{told:?}");
        let Some((vip, node)) = told[0].split_once(" goes to ") else { panic!("{told:?}") };
        assert_eq!(rounds.task(id.as_str()).node_id, Some(node.into()));
        assert!(vip.starts_with("vip."));
    }
}

#[test]
fn a_claim_ends_when_its_task_fits_elsewhere_or_is_wanted_no_more() {
    let start = || {
        let mut rounds = Rounds::start(&format!("{FULL}; service vip memory=1GiB priority=10; task vip.1 pending"));
        rounds.settle();
        rounds.amend("task low.3 pending");
        rounds
    };
    let mut rounds = start();
    assert_eq!(rounds.amend("node b memory=1GiB")[0], "vip.1 goes to b");
    assert_eq!(rounds.task("vip.1").preemption, None);
    assert_eq!(rounds.end("low.2"), ["low.3 goes to a"], "what was kept is free for all");

    let mut rounds = start();
    assert_eq!(rounds.edit("vip.1", |task| task.desired_state = TaskState::Remove), NONE);
    assert_eq!(rounds.end("low.2"), ["low.3 goes to a"]);

    let mut rounds = start();
    assert_eq!(rounds.end("low.2"), ["vip.1 goes to a"]);
    assert_eq!(rounds.task("low.3").node_id, None);
}

#[test]
fn a_claim_is_decided_anew_when_the_node_is_fit_no_more_or_nobody_has_to_go_any_more() {
    let start = || {
        let mut rounds = Rounds::start(&format!("{FULL}; service vip memory=1GiB priority=10; task vip.1 pending"));
        rounds.settle();
        rounds
    };
    let drain = |rounds: &mut Rounds| {
        write(&rounds.store, |tx| {
            let drain = |node: &mut Node| {
                std::sync::Arc::make_mut(&mut node.spec).set_availability(wire::node_spec::Availability::Drain);
            };
            tx.edit(&"a".into(), drain).map(drop)
        });
        rounds.settle()
    };
    let mut rounds = start();
    let waits = "vip.1 waits otherwise: no suitable node (1 node not available for new tasks)";
    assert_eq!(drain(&mut rounds), [waits]);
    assert_eq!(rounds.task("vip.1").preemption, None);

    let mut rounds = start();
    testing::amend(&rounds.store, "node b memory=1GiB; task low.9 on b");
    let waits = "vip.1 waits for 1 task of lower priority to leave node b (priority 10 over 0): [low.9] go";
    rounds.settle();
    assert_eq!(drain(&mut rounds), [waits]);

    let mut rounds = start();
    let all = rounds.change("vip", |spec| spec.scheduling = None);
    assert_eq!(all, ["vip.1 waits otherwise: no suitable node (insufficient resources on 1 node)"]);
}

#[test]
fn a_priority_that_is_given_later_counts_for_tasks_that_wait_already() {
    let mut rounds = Rounds::start(&format!("{FULL}; service vip memory=1GiB; task vip.1 pending"));
    assert_eq!(rounds.settle(), ["vip.1 waits: no suitable node (insufficient resources on 1 node)"]);
    let all = rounds.change("vip", |spec| spec.scheduling.get_or_insert_default().priority = Some(1));
    assert_eq!(all, ["vip.1 waits for 1 task of lower priority to leave node a (priority 1 over 0): [low.2] go"]);

    let mut rounds = Rounds::start(
        &format!("{FULL}; service vip memory=1GiB priority=1; task vip.1 pending")
            .replace("service low", "service low priority=1"),
    );
    assert_eq!(rounds.settle(), ["vip.1 waits: no suitable node (insufficient resources on 1 node)"]);
    let all = rounds.change("low", |spec| spec.scheduling = None);
    assert_eq!(all, ["vip.1 waits for 1 task of lower priority to leave node a (priority 1 over 0): [low.2] go"]);
}

#[test]
fn a_service_spares_no_more_tasks_than_it_says_whatever_is_missing_for_other_reasons() {
    let refused = ["vip.1 waits: no suitable node (insufficient resources on 1 node)"];
    let text = |limit: u64, third: &str| {
        format!(
            "node a memory=3GiB; service low memory=1GiB replicas=3 max-disrupted={limit}
             task low.1 on a; task low.2 on a; task low.3 on a {third}
             service vip memory=1GiB priority=10; task vip.1 pending"
        )
    };
    check(&text(0, "running"), &refused);
    check(
        &text(1, "running"),
        &["vip.1 waits for 1 task of lower priority to leave node a (priority 10 over 0): [low.3] go"],
    );
    // One is missing already; it may go itself, for then no more are missing.
    check(&text(0, "starting"), &refused);
    check(
        &text(1, "starting"),
        &["vip.1 waits for 1 task of lower priority to leave node a (priority 10 over 0): [low.3] go"],
    );
    let big = text(1, "starting").replace("vip memory=1GiB", "vip memory=2GiB");
    check(&big, &refused);
    let big = text(2, "starting").replace("vip memory=1GiB", "vip memory=2GiB");
    check(&big, &["vip.1 waits for 2 tasks of lower priority to leave node a (priority 10 over 0): [low.3 low.2] go"]);
}

#[test]
fn when_a_service_can_spare_a_task_again_the_next_one_goes() {
    let mut rounds = Rounds::start(
        "node a memory=2GiB; node b memory=2GiB; node c memory=1GiB; service low memory=1GiB replicas=4 max-disrupted=1
         task low.1 on a; task low.2 on a; task low.3 on b; task low.4 on b
         service mid memory=1GiB priority=10; task mid.1 on c
         service vip memory=1GiB priority=10; task vip.1 pending; task vip.2 pending",
    );
    let all = rounds.settle();
    let waits = |node: &str, gone: &str| {
        format!(" waits for 1 task of lower priority to leave node {node} (priority 10 over 0): [{gone}] go")
    };
    assert_eq!(all[0], format!("vip.1{}", waits("a", "low.2")));
    assert_eq!(all[1], "vip.2 waits: no suitable node (insufficient resources on 3 nodes)");
    assert_eq!(rounds.end("low.2"), ["vip.1 goes to a"]);
    // What replaces it waits, so that it is missing still.
    let all = rounds.amend("task low.2.new pending");
    assert_eq!(all, ["low.2.new waits: no suitable node (insufficient resources on 3 nodes)"]);
    assert_eq!(rounds.amend("node d memory=1GiB")[0], "vip.2 goes to d");
    let all = rounds.amend("task vip.3 pending");
    assert_eq!(all, ["vip.3 waits: no suitable node (insufficient resources on 4 nodes)"]);
    // It runs, and another one can be spared.
    write(&rounds.store, |tx| {
        tx.create(testing::task("low.2.newer").of(tx.get::<Service>(&"low".into()).unwrap()).on("e").build()).map(drop)
    });
    let all = rounds.edit("low.2.newer", |task| task.status.state = TaskState::Running);
    assert_eq!(all, [format!("vip.3{}", waits("a", "low.1"))]);
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

#[test]
fn the_more_important_come_first() {
    let text = "node a memory=1GiB; service alpha memory=1GiB; service beta memory=1GiB priority=1; service gamma memory=1GiB priority=2
        service all global memory=1GiB; task alpha.1 pending; task beta.1 pending; task gamma.1 pending; task all.a pending";
    let told = decisions(&testing::world(text));
    assert_eq!(told[0], "gamma.1 goes to a");
    assert!(told[1..].iter().all(|line| line.contains(" waits: ")), "{told:?}");
}

#[test]
fn those_that_made_room_may_have_others_make_room_and_it_ends() {
    let text = "node a memory=1GiB; node b memory=1GiB; node c memory=1GiB
        service low memory=1GiB; service mid memory=1GiB priority=5; service vip memory=1GiB priority=10
        task mid.1 on a; task mid.2 on b; task low.1 on c; task vip.1 pending; task vip.2 pending";
    let mut rounds = Rounds::start(text);
    let waits = |task: &str, node: &str, over: &str, gone: &str| {
        format!("{task} waits for 1 task of lower priority to leave node {node} (priority {over}): [{gone}] go")
    };
    assert_eq!(rounds.settle(), [waits("vip.1", "c", "10 over 0", "low.1"), waits("vip.2", "a", "10 over 5", "mid.1")]);
    let refused = "mid.1.new waits: no suitable node (insufficient resources on 3 nodes)";
    assert_eq!(rounds.amend("task mid.1.new pending"), [refused], "nobody less important is left");
    testing::amend(&rounds.store, "node d memory=1GiB; task low.2 on d");
    assert_eq!(rounds.settle(), [waits("mid.1.new", "d", "5 over 0", "low.2")]);
    assert_eq!(rounds.end("mid.1"), ["vip.2 goes to a"]);
    // The room is there sooner than that which it waits for, and leaves that to the one from which it takes this.
    let all = rounds.end("low.2");
    assert_eq!(all[0], "vip.1 goes to d");
    assert_eq!(all.last().unwrap(), "mid.1.new waits for 1 task to leave node c: [] go");
    assert_eq!(rounds.end("low.1"), ["mid.1.new goes to c"]);
}

#[test]
fn another_leader_goes_on_where_the_last_one_was() {
    let mut rounds = Rounds::start(&format!("{FULL}; service vip memory=1GiB priority=10; task vip.1 pending"));
    rounds.settle();
    rounds.amend("task low.3 pending");
    assert_eq!(rounds.next_leader(), NONE, "nobody else is made to go");
    assert_eq!(rounds.end("low.2"), ["vip.1 goes to a"]);
    assert_eq!(rounds.next_leader(), NONE);
}

#[test]
fn what_was_decided_on_what_is_so_no_more_is_not_written_but_decided_anew() {
    let text = format!("{FULL}; service vip memory=1GiB priority=10; task vip.1 pending");
    type Change = fn(&mut swarmkit_store::Transaction) -> Result<(), StoreError>;
    let changes: [(Change, &str); 4] = [
        (
            |tx| tx.edit(&"low.2".into(), |task: &mut Task| task.status.state = TaskState::Failed).map(drop),
            "vip.1 goes to a",
        ),
        (
            |tx| tx.edit(&"low.2".into(), |task: &mut Task| task.desired_state = TaskState::Shutdown).map(drop),
            "vip.1 waits for 1 task to leave node a: [] go",
        ),
        (|tx| priority_of(tx, "vip", None), "vip.1 waits: no suitable node (insufficient resources on 1 node)"),
        (|tx| priority_of(tx, "low", Some(10)), "vip.1 waits: no suitable node (insufficient resources on 1 node)"),
    ];
    for (change, then) in changes {
        let mut rounds = Rounds::start(&text);
        rounds.absorb();
        let due = std::mem::take(&mut rounds.world.due);
        let plan = rounds.world.plan(&due, env().now());
        assert_eq!(plan.decisions.len(), 1);
        write(&rounds.store, |tx| {
            change(tx)?;
            assert!(!plan.decisions[0].write(tx)?, "it no longer holds");
            Ok(())
        });
        rounds.world.retry(&plan.decisions[0]);
        assert_eq!(rounds.settle(), [then]);
    }
    // Another task of a service that can spare one is lost meanwhile.
    let limited = "node a memory=1GiB; node b; service low memory=1GiB replicas=2 max-disrupted=1
        task low.1 on a; task low.2 on b; service vip memory=1GiB priority=10 constraint=node.id==a; task vip.1 pending";
    let mut rounds = Rounds::start(limited);
    rounds.absorb();
    let plan = rounds.world.plan(&rounds.world.due.clone(), env().now());
    assert_eq!(plan.decisions.len(), 1);
    write(&rounds.store, |tx| {
        tx.edit(&"low.2".into(), |task: &mut Task| task.status.state = TaskState::Failed)?;
        assert!(!plan.decisions[0].write(tx)?, "it can be spared no more");
        Ok(())
    });
}

fn priority_of(tx: &mut swarmkit_store::Transaction, service: &str, priority: Option<i32>) -> Result<(), StoreError> {
    let edit = |service: &mut Service| {
        std::sync::Arc::make_mut(&mut service.spec).scheduling.get_or_insert_default().priority = priority;
    };
    tx.edit(&ServiceId::from(service), edit).map(drop)
}

#[test]
fn many_that_wait_are_served_in_several_passes() {
    let mut text = "service low memory=1GiB; service vip memory=1GiB priority=1".to_owned();
    for n in 0..250 {
        write!(text, "; node n{n:03} memory=1GiB; task low.{n} on n{n:03}; task vip.{n} pending").unwrap();
    }
    let mut rounds = Rounds::start(&text);
    rounds.settle();
    let view = rounds.store.view();
    assert_eq!(view.all::<Task>().filter(|task| yields(task)).count(), 250);
    assert_eq!(view.all::<Task>().filter(|task| claim(task).is_some()).count(), 250);
}

#[test]
fn a_task_that_its_service_is_about_to_replace_makes_nobody_go() {
    let text = format!("{FULL}; service vip memory=1GiB priority=10 version=2; task vip.1 pending version=1");
    let store = testing::store(&text);
    write(&store, |tx| {
        tx.edit::<Task>(&"vip.1".into(), |task| {
            let spec = std::sync::Arc::make_mut(&mut task.spec);
            spec.log_driver = Some(wire::Driver { name: "none".into(), ..Default::default() });
        })
        .map(drop)
    });
    assert_eq!(decisions(&store.view()), NONE);
    // One that says nothing new about its tasks replaces none.
    check(&text, &["vip.1 waits for 1 task of lower priority to leave node a (priority 10 over 0): [low.2] go"]);
}

//! What is told of nodes that refuse a task, beyond its status.

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;
use swarmkit_api::{Node, Task, TaskId};

use super::*;
use crate::{Lack, NEEDS_MAX, Standing, dry_run, explain};

/// What is told of a task in a world: its standing, how many nodes are open, and each refusal with its needs below.
fn explained(view: &View, task: &str) -> Vec<String> {
    let task = view.get::<Task>(&task.into()).expect("the task is there");
    let told = explain(view, task, env().now(), 0);
    let mut lines = vec![format!("{:?}, {} of {} open", told.standing, told.open, told.nodes)];
    if !told.message.is_empty() {
        lines.push(told.message);
    }
    for refusal in told.refusals {
        lines.push(format!("- {}", refusal.message));
        lines.extend(refusal.needs.iter().map(|need| format!("  {}: {} ({})", need.nodes, need.lack, need.node)));
    }
    lines
}

#[track_caller]
fn check_explained(text: &str, task: &str, expected: &[&str]) {
    assert_eq!(explained(&testing::world(text), task), expected);
}

#[test]
fn of_resources_it_is_told_what_is_asked_and_the_most_that_any_node_has_left() {
    check_explained(
        "node a memory=1GiB cpus=2; node b memory=2GiB cpus=500m; node c memory=4GiB cpus=4
         service web memory=1536MiB cpus=1; task web.1 on c; task web.2 on c; task web.3 pending",
        "web.3",
        &[
            "Waiting, 0 of 3 open",
            "no suitable node (insufficient resources on 3 nodes)",
            "- insufficient resources on 3 nodes",
            "  2: has 1 GiB of memory left of the 1.5 GiB of memory that a task reserves (a)",
            "  1: has 0.5 processors left of the 1 processors that a task reserves (b)",
        ],
    );
}

#[test]
fn what_is_over_committed_is_told_as_less_than_nothing() {
    check_explained(
        "node a memory=1GiB; service web memory=1536MiB; task web.1 on a; task web.2 pending",
        "web.2",
        &[
            "Waiting, 0 of 1 open",
            "no suitable node (insufficient resources on 1 node)",
            "- insufficient resources on 1 node",
            "  1: has -512 MiB of memory left of the 1.5 GiB of memory that a task reserves (a)",
        ],
    );
}

#[test]
fn of_constraints_it_is_told_which_of_them_refuses_how_many_nodes() {
    check_explained(
        "node a; node b label:disk=ssd; node c label:zone=x
         service web constraint=node.labels.disk==ssd constraint=node.labels.zone==x; task web.1 pending",
        "web.1",
        &[
            "Waiting, 0 of 3 open",
            "no suitable node (scheduling constraints not satisfied on 3 nodes)",
            "- scheduling constraints not satisfied on 3 nodes",
            "  2: does not satisfy node.labels.disk==ssd (a)",
            "  2: does not satisfy node.labels.zone==x (a)",
        ],
    );
}

#[test]
fn of_a_constraint_that_cannot_be_read_it_is_told_why() {
    check_explained(
        "node a; service web constraint=node.id==a constraint=node.id~a; task web.1 pending",
        "web.1",
        &[
            "Waiting, 0 of 1 open",
            "no suitable node (scheduling constraints not satisfied on 1 node)",
            "- scheduling constraints not satisfied on 1 node",
            "  1: cannot satisfy what cannot be read: node.id~a: constraint expected one operator from ==, != (a)",
        ],
    );
}

#[test]
fn of_nodes_that_take_nothing_new_it_is_told_what_they_are() {
    check_explained(
        "node a down; node b drain; node c down; node d pause; node e unknown; node f disconnected drain
         service web; task web.1 pending",
        "web.1",
        &[
            "Waiting, 0 of 6 open",
            "no suitable node (6 nodes not available for new tasks)",
            "- 6 nodes not available for new tasks",
            "  2: is down (a)",
            "  1: is drained (b)",
            "  1: is paused (d)",
            "  1: was not heard of yet (e)",
            "  1: is disconnected (f)",
        ],
    );
}

#[test]
fn of_a_host_port_it_is_told_who_has_it() {
    let store = testing::store("node a; service web; service other");
    let port = wire::PortConfig { published_port: 80, publish_mode: 1, ..Default::default() };
    let endpoint = Arc::new(wire::Endpoint { ports: vec![port], ..Default::default() });
    for text in ["task other.1 on a", "task web.1 pending"] {
        testing::amend(&store, text);
    }
    write(&store, |tx| {
        ["other.1", "web.1"]
            .into_iter()
            .try_for_each(|id| tx.edit(&id.into(), |task: &mut Task| task.endpoint = Some(endpoint.clone())).map(drop))
    });
    assert_eq!(
        explained(&store.view(), "web.1"),
        [
            "Waiting, 0 of 1 open",
            "no suitable node (host-mode port already in use on 1 node)",
            "- host-mode port already in use on 1 node",
            "  1: has port 80/tcp taken by task other.1 (a)",
        ]
    );
    let told = explain(&store.view(), store.view().get::<Task>(&"web.1".into()).unwrap(), env().now(), 0);
    let Lack::Port { held_by: Some((task, Some(service))), .. } = &told.refusals[0].needs[0].lack else {
        panic!("{told:?}");
    };
    assert_eq!((task.as_str(), service.as_str()), ("other.1", "other"));
}

#[test]
fn of_plugins_kinds_platforms_limits_and_volumes_it_is_told_which() {
    let lacks = |change: &dyn Fn(&mut wire::TaskSpec)| {
        let change = |spec: &mut wire::ServiceSpec| change(spec.task.get_or_insert_default());
        let store = with_service("node a os=linux; service web", "web", change, "task web.1 on a; task web.2 pending");
        let view = store.view();
        let told = explain(&view, view.get::<Task>(&"web.2".into()).unwrap(), env().now(), 1);
        assert_eq!((told.refused.len(), told.refusals.len()), (1, 1));
        assert_eq!(told.refused[0].reason, told.refusals[0].reason);
        let of_node: Vec<_> = told.refused[0].lacks.iter().map(ToString::to_string).collect();
        let needs: Vec<_> = told.refusals[0].needs.iter().map(|need| need.lack.to_string()).collect();
        assert_eq!(of_node, needs, "there is one node");
        needs
    };
    let driver = |name: &str| Some(wire::Driver { name: name.to_owned(), ..Default::default() });
    let mount = |class: wire::mount::Type, source: &str, name: &str| wire::Mount {
        r#type: class.into(),
        source: source.to_owned(),
        target: "/data".to_owned(),
        volume_options: Some(wire::mount::VolumeOptions { driver_config: driver(name), ..Default::default() }),
        ..Default::default()
    };
    let mounting = |mounts: &[wire::Mount]| {
        let mounts = mounts.to_vec();
        move |spec: &mut wire::TaskSpec| {
            let container = wire::ContainerSpec { image: "i".to_owned(), mounts: mounts.clone(), ..Default::default() };
            spec.runtime = Some(wire::task_spec::Runtime::Container(container));
        }
    };
    let volumes = [mount(wire::mount::Type::Volume, "", "nfs"), mount(wire::mount::Type::Volume, "", "ceph")];
    assert_eq!(lacks(&mounting(&volumes)), ["has no volume plugin nfs", "has no volume plugin ceph"]);
    assert_eq!(
        lacks(&mounting(&[mount(wire::mount::Type::Cluster, "group:fast", "")])),
        ["cannot mount group:fast at /data"]
    );
    assert_eq!(
        lacks(&|spec| {
            let generic = wire::GenericRuntimeSpec { kind: "wasm".into(), ..Default::default() };
            spec.runtime = Some(wire::task_spec::Runtime::Generic(generic));
        }),
        ["does not run wasm tasks"]
    );
    let placed = |change: fn(&mut wire::Placement)| {
        move |spec: &mut wire::TaskSpec| change(spec.placement.get_or_insert_default())
    };
    let platform = |architecture: &str| wire::Platform { os: String::new(), architecture: architecture.to_owned() };
    assert_eq!(
        lacks(&|spec| spec.placement.get_or_insert_default().platforms = vec![platform("arm64")]),
        ["is linux/x86_64"]
    );
    assert_eq!(lacks(&placed(|placement| placement.max_replicas = 1)), ["has a task of the service, and may have 1"]);
}

#[test]
fn of_a_task_that_was_made_for_a_node_only_that_node_counts() {
    let world = "node a memory=1GiB; node b memory=4GiB; service all global memory=2GiB; task all.a pending; task all.c pending";
    check_explained(
        world,
        "all.a",
        &[
            "Bound, 0 of 1 open",
            "insufficient resources on 1 node",
            "- insufficient resources on 1 node",
            "  1: has 1 GiB of memory left of the 2 GiB of memory that a task reserves (a)",
        ],
    );
    check_explained(world, "all.c", &["Bound, 0 of 0 open", "node c does not exist"]);
}

#[test]
fn what_is_about_to_be_placed_waits_for_nothing() {
    check_explained(
        "node a; node b drain; service web; task web.1 pending",
        "web.1",
        &["Waiting, 1 of 2 open", "- 1 node not available for new tasks", "  1: is drained (b)"],
    );
}

#[test]
fn tasks_that_wait_for_no_node_say_how_far_they_are() {
    let world = "node a; service web; task web.1 new; task web.2 on a; task web.3 failed on a; task web.4 pending wants shutdown";
    for (task, standing) in [
        ("web.1", Standing::Unallocated),
        ("web.2", Standing::Placed),
        ("web.3", Standing::Over),
        ("web.4", Standing::Stopped),
    ] {
        check_explained(world, task, &[&format!("{standing:?}, 0 of 0 open")]);
    }
    let store = testing::store("service web; task web.1 new");
    let view = store.view();
    let mut task = Task::clone(view.get::<Task>(&"web.1".into()).unwrap());
    task.status.err = "ingress network is missing".to_owned();
    assert_eq!(explain(&view, &task, env().now(), 0).message, "ingress network is missing");
}

#[test]
fn as_many_nodes_as_were_asked_for_are_told_one_by_one_and_as_many_needs_as_there_may_be() {
    let nodes: String = (0..30).map(|n| format!("node n{n:02} os=os{n};")).collect();
    let change = |spec: &mut wire::ServiceSpec| {
        let platform = wire::Platform { os: "linux".to_owned(), ..Default::default() };
        spec.task.get_or_insert_default().placement.get_or_insert_default().platforms = vec![platform];
    };
    let store = with_service(&format!("{nodes} service web"), "web", change, "task web.1 pending");
    let view = store.view();
    let told = explain(&view, view.get::<Task>(&"web.1".into()).unwrap(), env().now(), 3);
    let refused: Vec<_> = told.refused.iter().map(|refusal| refusal.node.as_str()).collect();
    assert_eq!(refused, ["n00", "n01", "n02"]);
    assert_eq!(told.refusals[0].nodes, 30);
    assert_eq!((told.refusals[0].needs.len(), told.refusals[0].needs_left_out), (NEEDS_MAX, 30 - NEEDS_MAX));
}

// === Dry runs ===

#[test]
fn a_dry_run_says_where_tasks_would_go_and_why_others_would_wait_and_changes_nothing() {
    let store = testing::store(
        "node a memory=2GiB; node b memory=1GiB; node c drain; service web memory=1GiB
         task web.1 pending; task web.2 pending; task web.3 pending; task web.4 pending; task other.1 on a",
    );
    let before = store.view();
    let tasks: BTreeSet<TaskId> = (1..=4).map(|slot| TaskId::from(format!("web.{slot}").as_str())).collect();
    let run = dry_run(&before, &tasks, env().now(), 10).unwrap();
    let placed: Vec<_> = run.placed.iter().map(|(task, node)| format!("{task} on {node}")).collect();
    assert_eq!(placed, ["web.1 on b", "web.2 on a", "web.3 on a"]);
    let [waiting] = run.waiting.as_slice() else { panic!("{:?}", run.waiting) };
    assert_eq!(waiting.tasks, ["web.4".into()]);
    assert_eq!(
        waiting.explanation.message,
        "no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)"
    );
    assert_eq!(waiting.explanation.refused.len(), 3);
    assert_eq!(store.view().digest(), before.digest());
    assert_ne!(run.view.digest(), before.digest());
}

/// Words of a node, of a service and of what is on the nodes, that meet in every way.
fn worlds() -> impl Strategy<Value = String> {
    let node = prop::sample::select(vec!["", "down", "drain", "pause", "label:z=1", "label:z=2", "os=windows"]);
    let nodes = prop::collection::vec((node, 0..4_u64), 0..6);
    let constraint =
        prop::sample::select(vec!["", "constraint=node.labels.z==1", "constraint=node.labels.z!=2", "constraint=z"]);
    let service = (constraint, 0..3_u64, any::<bool>());
    let tasks = prop::collection::vec((0..6_usize, any::<bool>()), 0..8);
    (nodes, service, tasks, 1..6_usize).prop_map(|(nodes, (constraint, memory, global), tasks, waiting)| {
        let mut text = String::new();
        for (n, (word, memory)) in nodes.iter().enumerate() {
            write!(text, "node n{n} {word} memory={memory}GiB;").unwrap();
        }
        let mode = if global { "global" } else { "" };
        write!(text, "service web {mode} {constraint} memory={memory}GiB; service other memory=1GiB;").unwrap();
        for (n, (node, own)) in tasks.iter().enumerate() {
            let service = if *own { "web" } else { "other" };
            write!(text, "task {service}.{} on n{node} running;", 10 + n).unwrap();
        }
        for n in 0..waiting {
            let id = if global { format!("web.n{n}") } else { format!("web.{n}") };
            write!(text, "task {id} pending;").unwrap();
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..Default::default() })]

    #[test]
    fn what_is_explained_is_what_the_status_says_and_every_node_that_refuses_lacks_something(text in worlds()) {
        let view = testing::world(&text);
        let waits: Vec<_> = view.all::<Task>().filter(|task| Standing::of(task) != Standing::Placed).collect();
        let run = dry_run(&view, &waits.iter().map(|task| task.id.clone()).collect(), env().now(), usize::MAX).unwrap();
        let (_, plan) = learned(&view);
        let goes: BTreeSet<_> = plan.decisions.iter().filter_map(|decision| match decision {
            Decision::Assign { task, node, .. } => Some((task.id.clone(), node.id.clone())),
            _ => None,
        }).collect();
        prop_assert_eq!(&run.placed.iter().cloned().collect::<BTreeSet<_>>(), &goes);
        prop_assert_eq!(run.placed.len() + run.waiting.iter().map(|one| one.tasks.len()).sum::<usize>(), waits.len());
        for waiting in &run.waiting {
            let task = run.view.get::<Task>(&waiting.tasks[0]).unwrap();
            prop_assert_eq!(&waiting.explanation.message, &task.status.err);
            prop_assert_eq!(waiting.explanation.open, 0);
            for refused in &waiting.explanation.refused {
                prop_assert!(!refused.lacks.is_empty(), "{:?} lacks nothing for {}", refused, task.id);
            }
            let refused = waiting.explanation.refusals.iter().map(|refusal| refusal.nodes).sum::<usize>();
            prop_assert_eq!(refused, waiting.explanation.nodes);
            prop_assert!(waiting.explanation.nodes == 1 || waiting.explanation.nodes == view.count::<Node>() || task.node_id.is_some());
        }
    }
}

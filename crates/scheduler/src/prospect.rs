//! Where a task would go that left its node: for whoever thinks about moving one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use swarmkit_api::{Node, NodeId, Service, ServiceId, Task, TaskState, Volume, VolumeId};
use swarmkit_store::{State, TaskBy};

use crate::{
    affinity::Affinities,
    books::{Books, NodeIx},
    draft::Draft,
    needs::Needs,
    preemption::{asked_priority, claim, priority},
    volumes::{Volumes, cluster_mounts},
    world::{World, failed_at, is_placed},
};

/// What the scheduler would do with a task that left its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prospect {
    /// The node that it would be given, which may be the one that it is on. `None` when it would have to wait.
    pub node: Option<NodeId>,
    /// The nodes that would do but have no room now, for what other tasks have there.
    pub without_room: Vec<NodeId>,
}

/// Where the scheduler would place a task now if it were nowhere, by the same filters and in the same order.
///
/// `task` says what is looked for: its service, specification and ports; its own record in `state`, if there is one,
/// counts for nothing. Looks at the nodes, at the tasks of the service, and at what else is on the nodes that could take
/// the task at all.
#[must_use]
pub fn prospect(state: &State, task: &Task, now: SystemTime) -> Prospect {
    let mut books = Books::default();
    for node in state.all::<Node>() {
        books.set_node(&node.id, Some(node.clone()));
    }
    if let Some(service) = &task.service_id {
        for own in state.find(TaskBy::Service(service)).filter(|own| own.id != task.id) {
            if is_placed(own) {
                books.add(own);
            }
            if let (Some(at), Some(node)) = (failed_at(own, now), &own.node_id) {
                books.record_failure((service.clone(), own.spec_version), node, at, now);
            }
        }
    }
    let affinities = affinities(state);
    let counted = related(&affinities, task);
    for other in &counted {
        for there in state.find(TaskBy::Service(other)).filter(|there| is_placed(there)) {
            books.add(there);
        }
    }
    books.volumes = volumes(state, task);
    books.sort();
    // What others have on a node can only make it refuse more.
    let needs = Needs::of(task);
    let open = |books: &Books, ix: NodeIx| books.refusal(&needs, task.service_id.as_ref(), ix).is_none();
    let would_do: Vec<NodeIx> = books.nodes().map(|(ix, _)| ix).filter(|ix| open(&books, *ix)).collect();
    let is_counted = |service: &ServiceId| task.service_id.as_ref() == Some(service) || counted.contains(service);
    let is_other = |other: &Task| other.id != task.id && !other.service_id.as_ref().is_some_and(is_counted);
    for ix in &would_do {
        let node = books.get(*ix).id.clone();
        let others = state.find(TaskBy::Node(Some(&node))).filter(|other| is_placed(other) && is_other(other));
        others.for_each(|other| books.add(other));
    }
    let service = task.service_id.as_ref().and_then(|service| state.get::<Service>(service));
    let promised = promised(state, task);
    let world = World::of_books(books, affinities, service, state.cluster());
    let takes = |ix: NodeIx| open(&world.books, ix) && !promised.contains(&world.books.get(ix).id);
    let company = world.company(task.service_id.as_ref());
    let mut draft = Draft::of(&world, now);
    let mut search = draft.search(&needs, task, company.as_ref());
    let mut chosen = None;
    while let Some(ix) = draft.next(&mut search, task.service_id.as_ref()) {
        if takes(ix) {
            chosen = Some(ix);
            break;
        }
        search.refuse(ix);
    }
    let id = |ix: NodeIx| world.books.get(ix).id.clone();
    let without_room = would_do.into_iter().filter(|ix| !takes(*ix)).map(id).collect();
    Prospect { node: chosen.map(id), without_room }
}

/// The nodes where room is kept for others that are not less important. What is beside it is not counted.
fn promised(state: &State, task: &Task) -> BTreeSet<NodeId> {
    let service = |task: &Task| state.get::<Service>(task.service_id.as_ref()?).map(AsRef::as_ref);
    if !state.all::<Service>().any(|service| asked_priority(Some(service)).is_some()) {
        return BTreeSet::new();
    }
    let matters = |other: &&Arc<Task>| other.id != task.id && priority(service(other)) >= priority(service(task));
    let waiting = state.find(TaskBy::State(TaskState::Pending)).filter(matters);
    waiting.filter_map(|other| Some(claim(other)?.node_id.as_str().into())).collect()
}

/// What services ask of each other, if any does. Which tasks replace others is not counted: the one that moves is nowhere.
fn affinities(state: &State) -> Affinities {
    let mut affinities = Affinities::default();
    let asks = |service: &Service| service.spec.scheduling.as_ref().is_some_and(|asked| !asked.affinities.is_empty());
    if state.all::<Service>().any(|service| asks(service)) {
        state.all::<Service>().for_each(|service| affinities.set(None, Some(service)));
    }
    affinities
}

/// The other services whose tasks count for where a task may go.
fn related(affinities: &Affinities, task: &Task) -> BTreeSet<ServiceId> {
    let ties = task.service_id.as_ref().map(|service| affinities.ties(service)).into_iter().flatten();
    ties.filter_map(|tie| tie.other).filter(|other| task.service_id.as_ref() != Some(other)).cloned().collect()
}

/// The volumes, and who has those that the task could be given.
fn volumes(state: &State, task: &Task) -> Volumes {
    let mut volumes = Volumes::default();
    let mounts: BTreeSet<_> = cluster_mounts(&task.spec).map(|mount| mount.source).collect();
    if mounts.is_empty() {
        return volumes;
    }
    for volume in state.all::<Volume>() {
        volumes.set(&volume.id, Some(volume));
    }
    let wanted = mounts.iter().flat_map(|source| volumes.named(source)).map(|volume| volume.id.clone());
    let wanted: BTreeSet<VolumeId> = wanted.collect();
    let users = wanted.iter().flat_map(|volume| state.find(TaskBy::Volume(volume)));
    let users = users.filter(|other| other.id != task.id && is_placed(other));
    let users: BTreeMap<_, _> = users.map(|other| (&other.id, other)).collect();
    users.values().for_each(|other| volumes.add(other));
    volumes
}

#[cfg(test)]
mod tests {
    use swarmkit_api::TaskState;
    use swarmkit_testing::{self as testing, env};

    use super::*;

    /// Where a task of that id would go in a world, in its words.
    fn check(text: &str, task: &str, node: Option<&str>, without_room: &[&str]) {
        let view = testing::world(text);
        let task = Task::clone(view.get::<Task>(&task.into()).expect("the task is there"));
        let found = prospect(&view, &task, env().now());
        let expected = (node.map(NodeId::from), without_room.iter().map(|id| NodeId::from(*id)).collect::<Vec<_>>());
        assert_eq!((found.node, found.without_room), expected);
    }

    #[test]
    fn a_task_would_go_where_there_are_fewest_of_its_service() {
        let tasks = "service web; task web.1 on a; task web.2 on a; task web.3 on b";
        check(&format!("node a; node b; node c; {tasks}"), "web.1", Some("c"), &[]);
        // Its own place does not count against it.
        check(&format!("node a; node b; {tasks}"), "web.3", Some("b"), &[]);
        check(&format!("node a; node b; node c drain; node d down; {tasks}"), "web.3", Some("b"), &[]);
        check("node a drain; service web; task web.1 on a", "web.1", None, &[]);
    }

    #[test]
    fn among_equals_the_node_with_fewer_tasks_of_others_would_take_it() {
        let text = "node a; node b; node c; service web; task web.1 on a; task web.2 on a; task db.1 on b";
        check(text, "web.1", Some("c"), &[]);
    }

    #[test]
    fn nodes_that_cannot_run_it_are_passed_over() {
        let tasks = "task web.1 on a; task web.2 on a";
        check(
            &format!("node a label:z=1; node b; service web constraint=node.labels.z==1; {tasks}"),
            "web.1",
            Some("a"),
            &[],
        );
        let full = "service db memory=1GiB; task db.1 on b; service web memory=64MiB";
        check(&format!("node a; node b memory=1GiB; {full}; {tasks}"), "web.1", Some("a"), &["b"]);
        check(&format!("node a; node b memory=1MiB; {full}; {tasks}"), "web.1", Some("a"), &[]);
    }

    #[test]
    fn its_own_volume_does_not_hold_it_and_those_of_others_do() {
        let nodes = "node a csi:disks=zone:1; node b csi:disks=zone:1; node c csi:disks=zone:2";
        let text =
            |volume: &str, tasks: &str| format!("{nodes}; volume v in=zone:1 {volume}; service web volume=v; {tasks}");
        let two = "task web.1 on a given=v; task web.2 on b";
        check(&text("", two), "web.1", Some("a"), &[]);
        check(&text("", "task web.1 on a given=v; task db.1 on a"), "web.1", Some("b"), &[]);
        let both = "task web.1 on a given=v; task web.2 on a given=v";
        check(&text("sharing=all", both), "web.1", Some("a"), &[]);
        check(&text("sharing=all multi", both), "web.1", Some("b"), &[]);
        check(&text("", both), "web.1", None, &[]);
        check(&text("drain", "task web.1 on a given=v"), "web.1", None, &[]);
    }

    #[test]
    fn a_node_where_the_service_keeps_failing_comes_last() {
        let failed = (1..=5).map(|n| format!("task web.2.{n} on b failed wants shutdown; ")).collect::<String>();
        let text = |failed: &str| format!("node a; node b; service web; {failed}task web.1 on a; task web.2 on a");
        check(&text(&failed), "web.1", Some("a"), &[]);
        check(&text(""), "web.1", Some("b"), &[]);
    }

    #[test]
    fn a_node_where_room_is_kept_for_others_has_none_for_those_who_are_not_more_important() {
        let text = |words: &str| {
            format!(
                "node a; node b memory=1GiB; service web {words}; task web.1 on a; task web.2 on a
                 service vip priority=2 memory=1GiB; task vip.1 pending claims=b:"
            )
        };
        check(&text(""), "web.1", Some("a"), &["b"]);
        check(&text("priority=2"), "web.1", Some("a"), &["b"]);
        check(&text("priority=3"), "web.1", Some("b"), &[]);
    }

    #[test]
    fn it_is_what_the_scheduler_then_does() {
        let text = "node a label:r=1; node b label:r=1; node c label:r=2; service web; task db.1 on c";
        let tasks: String = (1..=5).map(|n| format!("; task web.{n} on a")).collect();
        let view = testing::world(&format!("{text}{tasks}"));
        let task = Task::clone(view.get::<Task>(&"web.1".into()).expect("the task is there"));
        let found = prospect(&view, &task, env().now()).node;
        let waiting = testing::world(&format!("{text}{}; task web.1 pending", tasks.replace("; task web.1 on a", "")));
        let mut world = crate::world::World::default();
        world.absorb(&swarmkit_store::Update::Snapshot(waiting), env().now());
        let plan = world.plan(&world.due, env().now());
        let placed = plan.decisions.iter().find_map(|decision| match decision {
            crate::decision::Decision::Assign { node, .. } => Some(node.id.clone()),
            _ => None,
        });
        assert_eq!(found, placed);
        assert_eq!(found, Some("b".into()));
    }

    #[test]
    fn only_what_is_on_a_node_counts_there() {
        let text = "node a; node b; service web; task web.1 on a; task web.2 on a; task web.3 on b wants shutdown";
        check(text, "web.1", Some("b"), &[]);
        assert!(!is_placed(&testing::task("web.3").on("b").state(TaskState::Pending).build()));
    }
}

//! A watcher sees a snapshot and then everything of interest, in order and without a gap.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use swarmkit_api::{Kind, Network, Node, NodeId, Service, ServiceId, Task, TaskId, TaskState, Version};
use swarmkit_store::{
    Action, Change, Delta, HISTORY_CHANGES, HistoryError, Interest, Store, Update, WATCH_QUEUE, Watch, WatchEnded,
};
use swarmkit_testing::{amend, env, store, task};

use crate::support::{Sample, local, waiting, write};

/// Subscribes and takes the first snapshot.
fn watch(store: &Store, interest: impl Into<Interest>) -> Watch {
    let mut watch = store.watch(interest);
    assert!(matches!(waiting(&mut watch).as_slice(), [Update::Snapshot(_)]));
    watch
}

fn deltas(watch: &mut Watch) -> Vec<Delta> {
    let deltas = waiting(watch).into_iter().map(|update| match update {
        Update::Delta(delta) => delta,
        Update::Snapshot(view) => panic!("a snapshot of version {} instead of a delta", view.version()),
    });
    deltas.collect()
}

/// The changes that wait, such as `+task web.1` and `~node a`.
fn seen(watch: &mut Watch) -> String {
    let told =
        deltas(watch).iter().flat_map(|delta| delta.changes.iter().map(tell).collect::<Vec<_>>()).collect::<Vec<_>>();
    told.join(" ")
}

fn tell(change: &Change) -> String {
    let sign = match change.action() {
        Action::Create => '+',
        Action::Update => '~',
        Action::Remove => '-',
    };
    format!("{sign}{}:{}", change.kind(), change.id())
}

fn set(store: &Store, id: &str, change: impl FnOnce(&mut Task)) {
    write(store, |tx| tx.edit(&TaskId::from(id), change)).unwrap();
}

#[test]
fn the_first_update_is_a_snapshot_of_what_is_there() {
    let store = store("node a; node b");
    let mut watch = store.watch(Kind::Node);
    amend(&store, "node c");
    let updates = waiting(&mut watch);
    assert!(matches!(updates.as_slice(), [Update::Snapshot(view)] if view.count::<Node>() == 3), "{updates:?}");
}

#[test]
fn changes_come_in_order_with_their_versions_and_what_they_lead_to() {
    let store = local();
    let mut all = watch(&store, Interest::all());
    write(&store, |tx| {
        tx.create(Node::sample("1", "a"))?;
        tx.edit(&NodeId::from("1"), |node: &mut Node| node.vxlan_udp_port = 1)?;
        tx.create(Service::sample("2", "b"))
    })
    .unwrap();
    let first = store.version();
    write(&store, |tx| tx.delete::<Node>(&NodeId::from("1"))).unwrap();
    let deltas = deltas(&mut all);
    assert_eq!(deltas.iter().map(|delta| delta.version).collect::<Vec<_>>(), [first, first.next()]);
    let told: Vec<_> = deltas[0].changes.iter().map(tell).collect();
    assert_eq!(told, ["+node:1", "~node:1", "+service:2"], "an object that is written twice is told twice");
    assert_eq!(tell(&deltas[1].changes[0]), "-node:1");
    assert_eq!((deltas[0].view.count::<Node>(), deltas[1].view.count::<Node>()), (1, 0));
    assert_eq!(deltas[0].view.version(), deltas[0].version);
}

#[test]
fn a_watcher_hears_of_its_kinds_only() {
    let store = local();
    let mut tasks = watch(&store, Kind::Task);
    let mut both = watch(&store, [Kind::Task, Kind::Service]);
    let mut none = watch(&store, Interest::none());
    amend(&store, "node a; service web; task web.1");
    amend(&store, "node b");
    assert_eq!(seen(&mut tasks), "+task:web.1");
    assert_eq!(seen(&mut both), "+service:web +task:web.1");
    assert_eq!(seen(&mut none), "");
}

#[test]
fn a_node_hears_of_its_tasks_as_they_come_change_and_leave() {
    let store = local();
    let mut a = watch(&store, Interest::none().tasks_of_node(NodeId::from("a")));
    let mut b = watch(&store, Interest::none().tasks_of_node(NodeId::from("b")));
    amend(&store, "node a; node b; task web.1 on a; task web.2 on b; task web.3");
    set(&store, "web.1", |task| task.status.state = TaskState::Failed);
    set(&store, "web.3", |task| task.node_id = Some(NodeId::from("a")));
    set(&store, "web.3", |task| task.node_id = Some(NodeId::from("b")));
    write(&store, |tx| tx.delete::<Task>(&TaskId::from("web.2"))).unwrap();
    assert_eq!(seen(&mut a), "+task:web.1 ~task:web.1 ~task:web.3 ~task:web.3");
    assert_eq!(seen(&mut b), "+task:web.2 ~task:web.3 -task:web.2");
}

#[test]
fn interests_add_up_and_what_several_select_arrives_once() {
    let store = local();
    let interest = Interest::none()
        .tasks_of_node(NodeId::from("a"))
        .tasks_of_service(ServiceId::from("web"))
        .object::<Node>(&NodeId::from("a"))
        .object::<Task>(&TaskId::from("db.2"))
        .kinds([Kind::Network]);
    let mut watch = watch(&store, interest.clone());
    amend(&store, "node a; node b; task web.1 on a; task web.2 on b; task db.1 on a; task db.2; task db.3; network n");
    let told = seen(&mut watch);
    assert_eq!(told, "+node:a +task:web.1 +task:web.2 +task:db.1 +task:db.2 +network:n");
    let mut replay = store.watch_from(Version(2), interest.clone()).unwrap();
    assert_eq!(seen(&mut replay), told, "a replay selects as a live watch does");
    drop(watch);
    amend(&store, "node c");
}

#[test]
fn whoever_falls_too_far_behind_starts_over_and_misses_nothing() {
    let store = local();
    let mut slow = watch(&store, Kind::Node);
    let mut keen = watch(&store, Kind::Node);
    for number in 0..=WATCH_QUEUE {
        write(&store, |tx| tx.create(Node::sample(&number.to_string(), "a"))).unwrap();
        assert_eq!(deltas(&mut keen).len(), 1);
    }
    write(&store, |tx| tx.delete::<Node>(&NodeId::from("0"))).unwrap();
    let updates = waiting(&mut slow);
    assert!(
        matches!(updates.as_slice(), [Update::Snapshot(view)] if view.count::<Node>() == WATCH_QUEUE),
        "{updates:?}"
    );
    write(&store, |tx| tx.delete::<Node>(&NodeId::from("1"))).unwrap();
    assert_eq!(seen(&mut slow), "-node:1");
}

#[test]
fn a_mirror_kept_by_deltas_equals_the_store() {
    let store = store("node a; service web; task web.1 on a");
    let mut watch = store.watch(Interest::all());
    let mut mirror: BTreeMap<(Kind, String), swarmkit_api::AnyObject> = BTreeMap::new();
    let mut absorb = |updates: Vec<Update>| {
        for update in updates {
            match update {
                Update::Snapshot(view) => {
                    mirror.clear();
                    mirror.extend(objects(&view));
                }
                Update::Delta(delta) => {
                    for change in delta.changes.iter() {
                        let key = (change.kind(), change.id().to_owned());
                        match change.after() {
                            Some(object) => mirror.insert(key, object),
                            None => mirror.remove(&key),
                        };
                    }
                }
            }
        }
        mirror.clone()
    };
    absorb(waiting(&mut watch));
    amend(&store, "node b; network n; task web.2 on b");
    set(&store, "web.1", |task| task.status.state = TaskState::Complete);
    write(&store, |tx| tx.delete::<Node>(&NodeId::from("a"))).unwrap();
    write(&store, |tx| tx.delete::<Service>(&ServiceId::from("web"))).unwrap();
    assert_eq!(absorb(waiting(&mut watch)), objects(&store.view()).collect());
}

fn objects(state: &swarmkit_store::State) -> impl Iterator<Item = ((Kind, String), swarmkit_api::AnyObject)> {
    use swarmkit_api::Object;
    fn of<O: swarmkit_store::Stored>(state: &swarmkit_store::State) -> Vec<swarmkit_api::AnyObject> {
        state.all::<O>().cloned().map(Object::into_any).collect()
    }
    let all = [of::<Node>(state), of::<Service>(state), of::<Task>(state), of::<Network>(state)];
    all.into_iter().flatten().map(|object| ((object.kind(), object.id().to_owned()), object))
}

#[tokio::test]
async fn a_waiting_watcher_is_woken_and_giving_up_the_wait_loses_nothing() {
    let store = local();
    let mut watch = watch(&store, Kind::Node);
    assert!(watch.next().now_or_never().is_none());
    amend(&store, "node a");
    amend(&store, "node b");
    for id in ["a", "b"] {
        let Ok(Update::Delta(delta)) = watch.next().await else { panic!("a delta is there") };
        assert_eq!(delta.changes[0].id(), id);
    }
    let (ended, ()) = tokio::join!(watch.next(), async {
        tokio::task::yield_now().await;
        store.close();
    });
    assert_eq!(ended.unwrap_err(), WatchEnded);
    assert_eq!(watch.next().await.unwrap_err(), WatchEnded, "and so every time");
}

#[test]
fn a_dropped_watch_disturbs_nobody() {
    let store = local();
    let mut stays = watch(&store, Interest::none().tasks_of_node(NodeId::from("a")));
    let gone = watch(&store, Interest::none().tasks_of_node(NodeId::from("a")).kinds([Kind::Node]));
    let broad = watch(&store, Kind::Task);
    drop((gone, broad));
    amend(&store, "node a; task web.1 on a");
    assert_eq!(seen(&mut stays), "+task:web.1");
}

#[test]
fn a_watch_resumes_after_a_version_and_goes_on_live_without_gap_or_repeat() {
    let store = local();
    amend(&store, "node a");
    let seen_until = store.version();
    amend(&store, "node b");
    amend(&store, "service web");
    amend(&store, "node c");
    let mut nodes = store.watch_from(seen_until, Kind::Node).unwrap();
    let mut some = store.watch_from(seen_until.next(), Kind::Node).unwrap();
    let mut later = store.watch_from(store.version(), Kind::Node).unwrap();
    amend(&store, "node d");
    let resumed = deltas(&mut nodes);
    let told: Vec<_> = resumed.iter().map(|delta| (delta.version.0 - seen_until.0, tell(&delta.changes[0]))).collect();
    assert_eq!(told, [(1, "+node:b".into()), (3, "+node:c".into()), (4, "+node:d".into())]);
    assert_eq!(seen(&mut some), "+node:c +node:d");
    assert_eq!(seen(&mut later), "+node:d");
    amend(&store, "node e");
    assert_eq!([&mut nodes, &mut some, &mut later].map(seen), ["+node:e"; 3]);
}

#[test]
fn resuming_from_an_objects_own_version_tells_its_last_write_again() {
    let store = local();
    let node = write(&store, |tx| tx.create(Node::sample("1", "a"))).unwrap();
    let mut watch = store.watch_from(node.meta.version, Kind::Node).unwrap();
    assert_eq!(seen(&mut watch), "+node:1");
}

#[test]
fn a_version_of_the_future_and_one_of_long_ago_cannot_be_resumed_from() {
    let store = local();
    let future = store.watch_from(store.version().next(), Kind::Node).map(drop);
    assert_eq!(future, Err(HistoryError::OutOfBounds));
    let start = store.version();
    write(&store, |tx| (0..HISTORY_CHANGES).try_for_each(|n| tx.create(Node::sample(&n.to_string(), "a")).map(drop)))
        .unwrap();
    store.watch_from(start, Kind::Node).expect("exactly as many changes are kept");
    amend(&store, "service web");
    assert_eq!(store.watch_from(start, Kind::Node).map(drop), Err(HistoryError::Compacted));
    store.watch_from(start.next(), Kind::Node).expect("what came since is still kept");
}

#[test]
fn the_changes_between_two_versions_are_exactly_those_of_the_range() {
    let store = local();
    let start = store.version();
    for id in ["a", "b", "c", "d"] {
        amend(&store, &format!("node {id}"));
    }
    let at = |number| Version(start.0 + number);
    let between = |from: u64, to: u64| {
        let past = store.changes_between(at(from), at(to)).unwrap();
        let told =
            past.iter().map(|past| (past.version.0 - start.0, past.changes.iter().map(tell).collect::<String>()));
        told.collect::<Vec<_>>()
    };
    let sets = [(1, "+node:a"), (2, "+node:b"), (3, "+node:c"), (4, "+node:d")].map(|(at, set)| (at, set.to_owned()));
    assert_eq!(between(0, 4), sets, "all");
    assert_eq!(between(0, 1), sets[..1], "the first");
    assert_eq!(between(3, 4), sets[3..], "the last");
    assert_eq!(between(1, 3), sets[1..3], "some in the middle");
    assert_eq!(between(2, 2), [], "none");
    let updated = write(&store, |tx| tx.edit(&NodeId::from("a"), |node: &mut Node| node.vxlan_udp_port = 1)).unwrap();
    let past = store.changes_between(at(4), at(5)).unwrap();
    let (before, after) = past[0].changes[0].as_::<Node>().unwrap().updated().unwrap();
    assert_eq!((before.vxlan_udp_port, after), (0, &updated), "what it was is kept too");
}

#[test]
fn a_range_past_the_end_a_reversed_one_and_one_of_long_ago_are_refused() {
    let store = local();
    amend(&store, "node a");
    let (start, end) = (Version::EMPTY, store.version());
    let refused = |from, to| store.changes_between(from, to).unwrap_err().to_string();
    assert_eq!(refused(start, end.next()), "last version is out of bounds");
    assert_eq!(refused(end.next(), end.next()), "last version is out of bounds");
    assert_eq!(refused(end, start), "versions are out of order");
    assert_eq!(refused(end.next(), end), "versions are out of order");
    write(&store, |tx| (0..HISTORY_CHANGES).try_for_each(|n| tx.create(Node::sample(&n.to_string(), "a")).map(drop)))
        .unwrap();
    assert_eq!(refused(start, store.version()), "the requested version was compacted away");
    assert_eq!(store.changes_between(end, store.version()).unwrap()[0].changes.len(), HISTORY_CHANGES);
}

#[test]
fn a_replay_longer_than_the_queue_is_told_in_full() {
    let store = local();
    let start = store.version();
    for number in 0..WATCH_QUEUE + 10 {
        write(&store, |tx| tx.create(Node::sample(&number.to_string(), "a"))).unwrap();
    }
    let mut watch = store.watch_from(start, Kind::Node).unwrap();
    amend(&store, "node last");
    assert_eq!(deltas(&mut watch).len(), WATCH_QUEUE + 11);
}

#[test]
fn the_kinds_of_an_edit_are_told_apart() {
    let store = Store::local(env());
    let mut watch = watch(&store, Kind::Task);
    write(&store, |tx| tx.create(task("web.1").build())).unwrap();
    set(&store, "web.1", |task| task.slot = 2);
    write(&store, |tx| tx.delete::<Task>(&TaskId::from("web.1"))).unwrap();
    let deltas = deltas(&mut watch);
    let edits: Vec<_> = deltas.iter().map(|delta| delta.changes[0].as_::<Task>().unwrap()).collect();
    assert_eq!(edits[0].created().unwrap().slot, 1);
    assert_eq!(edits[1].updated().map(|(before, after)| (before.slot, after.slot)), Some((1, 2)));
    assert_eq!(edits[2].deleted().unwrap().slot, 2);
    assert!(edits[0].updated().is_none() && edits[1].created().is_none() && edits[2].created().is_none());
    assert!(edits[0].deleted().is_none() && edits[1].deleted().is_none() && edits[2].updated().is_none());
    assert_eq!(deltas[0].changes[0].as_::<Node>(), None);
}

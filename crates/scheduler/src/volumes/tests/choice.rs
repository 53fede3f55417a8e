//! Which volumes a task is given, and where that lets it go.

use swarmkit_api::{Task, Volume};
use swarmkit_store::Update;
use swarmkit_testing as testing;

use super::*;
use crate::{
    decision::Decision,
    tests::{check, env, learned},
    world::World,
};

const NONE: &str = "waits: no suitable node (cannot fulfill requested CSI volume mounts on 1 node)";

#[test]
fn a_volume_is_found_by_its_name_and_by_its_group() {
    check("node a; volume v; service web volume=v; task web.1 pending", &["web.1 goes to a with v"]);
    check("node a; volume v group=g; service web volume=group:g; task web.1 pending", &["web.1 goes to a with v"]);
    for source in ["w", "V", "group:v", "group:h", ""] {
        let text = format!("node a; volume v group=g; volume x; service web volume={source}; task web.1 pending");
        check(&text, &[&format!("web.1 {NONE}")]);
    }
    let of_no_group = "node a; volume v group=g; volume x; service web volume=group:; task web.1 pending";
    check(of_no_group, &["web.1 goes to a with x"]);
}

#[test]
fn only_what_its_driver_has_made_and_shall_keep_is_given() {
    for what in ["unmade", "leaving", "pause", "drain"] {
        let text = format!("node a; volume v {what}; service web volume=v; task web.1 pending");
        check(&text, &[&format!("web.1 {NONE}")]);
    }
}

#[test]
fn nodes_that_cannot_have_it_are_counted() {
    check(
        "node a csi:disks=zone:1; node b csi:disks=zone:2; node c down; volume v in=zone:3; service web volume=v; task web.1 pending",
        &[
            "web.1 waits: no suitable node (cannot fulfill requested CSI volume mounts on 2 nodes; 1 node not available for new tasks)",
        ],
    );
}

#[test]
fn a_task_goes_where_its_volume_can_be_reached() {
    let nodes = "node a csi:disks=zone:1; node b csi:disks=zone:2";
    check(
        &format!("{nodes}; volume v in=zone:2; service web volume=v; task web.1 pending"),
        &["web.1 goes to b with v"],
    );
    check(
        &format!(
            "{nodes}; volume v sharing=all; service web volume=v; task web.1 on b given=v; task web.2 pending; task web.3 pending"
        ),
        &["web.2 goes to b with v", "web.3 goes to b with v"],
    );
}

#[test]
fn what_one_task_is_given_the_next_one_sees() {
    check(
        "node a; node b; volume v; service web volume=v; task web.1 pending; task web.2 pending",
        &[
            "web.1 goes to a with v",
            "web.2 waits: no suitable node (cannot fulfill requested CSI volume mounts on 2 nodes)",
        ],
    );
    check(
        "node a; node b; volume v multi sharing=one-writer; service web volume=v; service log reads=v
         task web.1 pending; task web.2 pending; task log.1 pending; task log.2 pending",
        &[
            "log.1 goes to a with v",
            "log.2 goes to b with v",
            "web.1 goes to a with v",
            "web.2 waits: no suitable node (cannot fulfill requested CSI volume mounts on 2 nodes)",
        ],
    );
    check(
        "node a; node b; volume v group=g; volume w group=g; service web volume=group:g; task web.1 pending; task web.2 pending",
        &["web.1 goes to a with v", "web.2 goes to b with w"],
    );
}

#[test]
fn of_a_group_the_one_that_is_there_already_is_taken_then_the_one_with_fewest_users_then_the_first() {
    let text = |volumes: &str| {
        let web = "service web volume=group:g; task web.1 pending";
        format!("node a; service old volume=group:g; {volumes}; {web}")
    };
    check(&text("volume v group=g; volume w group=g"), &["web.1 goes to a with v"]);
    check(&text("volume v group=g; volume w group=g published=a"), &["web.1 goes to a with w"]);
    check(
        &text("volume v group=g sharing=all; volume w group=g; task old.1 on a given=v"),
        &["web.1 goes to a with w"],
    );
    check(
        &text("volume v group=g sharing=all published=a; volume w group=g; task old.1 on a given=v"),
        &["web.1 goes to a with v"],
    );
}

#[test]
fn every_mount_is_served_or_the_task_waits() {
    let text =
        |mounts: &str| format!("node a; volume v group=g; volume w group=g; service web {mounts}; task web.1 pending");
    check(&text("volume=group:g volume=group:g"), &["web.1 goes to a with v with w"]);
    check(&text("volume=group:g volume=v"), &["web.1 goes to a with w with v"]);
    check(&text("volume=v volume=missing"), &[&format!("web.1 {NONE}")]);
    check(&text("volume=missing volume=v"), &[&format!("web.1 {NONE}")]);
    check(&text("volume=group:g volume=group:g volume=group:g"), &[&format!("web.1 {NONE}")]);
    check(&text("volume=v volume=v"), &[&format!("web.1 {NONE}")]);
}

#[test]
fn a_mount_that_only_reads_leaves_what_can_be_written_to_whom_needs_it() {
    check(
        "node a; volume v group=g; volume w group=g sharing=read-only; service web reads=group:g volume=group:g; task web.1 pending",
        &["web.1 goes to a with w with v"],
    );
}

#[test]
fn the_first_mount_that_is_left_without_a_volume_is_named() {
    let view = testing::world("node a; volume v; service web volume=v volume=group:g reads=w; task web.1 pending");
    let mounts: Vec<_> = crate::volumes::cluster_mounts(&view.get::<Task>(&"web.1".into()).unwrap().spec).collect();
    let node = view.get::<swarmkit_api::Node>(&"a".into()).unwrap();
    let unserved = known(&view).choose(&mounts, node).unwrap_err();
    assert_eq!((unserved.source.to_string().as_str(), unserved.target.as_str()), ("group:g", "/volumes/1"));
}

#[test]
fn a_task_is_given_each_volume_for_its_mount_and_the_volumes_hear_of_the_node_once() {
    let store = testing::store(
        "node a; volume v group=g; volume w sharing=all; service web volume=group:g reads=w reads=w; service log reads=w
         task web.1 pending; task log.1 pending",
    );
    let (_, plan) = learned(&store.view());
    write(&store, |tx| {
        plan.decisions.iter().try_for_each(|decision| decision.write(tx).map(|applied| assert!(applied)))
    });
    let view = store.view();
    let task = view.get::<Task>(&"web.1".into()).unwrap();
    let given: Vec<_> = task.volumes.iter().map(|given| (&*given.id, &*given.source, &*given.target)).collect();
    assert_eq!(given, [("v", "group:g", "/volumes/0"), ("w", "w", "/volumes/1"), ("w", "w", "/volumes/2")]);
    assert_eq!(told(&store, "log.1"), "a with w");
    assert_eq!(volumes(&store), ["v pending=a", "w pending=a"]);

    testing::amend(
        &store,
        "node b; volume x multi sharing=all published=a; service db volume=x; task db.1 pending; task db.2 pending",
    );
    let (_, plan) = learned(&store.view());
    write(&store, |tx| {
        plan.decisions.iter().try_for_each(|decision| decision.write(tx).map(|applied| assert!(applied)))
    });
    assert_eq!([told(&store, "db.1"), told(&store, "db.2")], ["b with x", "a with x"]);
    assert_eq!(volumes(&store)[2], "x published=a pending=b");
}

#[test]
fn tasks_that_were_made_for_a_node_have_their_volumes_reserved() {
    check(
        "node a; volume v; service all global volume=v; service web volume=v; task all.a pending; task web.1 pending",
        &["all.a goes to a with v", &format!("web.1 {NONE}")],
    );
    check(
        "node a; volume v unmade; service all global volume=v; task all.a pending",
        &["all.a waits: cannot fulfill requested CSI volume mounts on 1 node"],
    );
}

#[test]
fn a_decision_about_a_volume_that_has_changed_since_is_refused_and_writes_nothing() {
    type Change = fn(&Store);
    let changes: [Change; 6] = [
        |store| turn(store, "v", VolumeAvailability::Pause),
        |store| edit(store, "v", |volume| volume.volume_info = None),
        |store| edit(store, "v", |volume| volume.pending_delete = true),
        |store| {
            edit(store, "v", |volume| volume.volume_info.as_mut().unwrap().accessible_topology.push(Default::default()))
        },
        |store| write(store, |tx| tx.delete::<Volume>(&"v".into()).map(drop)),
        |store| {
            let gone = swarmkit_api::wire::volume_publish_status::State::PendingNodeUnpublish;
            edit(store, "v", |volume| volume.publish_status[0].set_state(gone));
        },
    ];
    for change in changes {
        let store =
            testing::store("node a; volume v published=a; volume w; service web volume=w volume=v; task web.1 pending");
        let (_, plan) = learned(&store.view());
        assert!(matches!(&plan.decisions[..], [Decision::Assign { .. }]));
        change(&store);
        let before = volumes(&store);
        write(&store, |tx| plan.decisions[0].write(tx).map(|applied| assert!(!applied)));
        assert_eq!((told(&store, "web.1"), volumes(&store)), ("nowhere".to_owned(), before));
    }
}

#[test]
fn a_refused_decision_is_made_again_with_what_is_there_now() {
    let store = testing::store(
        "node a; volume v group=g published=a; volume w group=g; service web volume=group:g; task web.1 pending",
    );
    let mut updates = store.watch(swarmkit_store::Interest::all());
    let mut world = World::default();
    world.absorb(&Update::Snapshot(store.view()), env().now());
    let due = std::mem::take(&mut world.due);
    let plan = world.plan(&due, env().now());
    world.note(plan.blocked);
    turn(&store, "v", VolumeAvailability::Drain);
    while let Some(update) = updates.try_next().unwrap() {
        world.absorb(&update, env().now());
    }
    world.due = Default::default();
    world.retry(&plan.decisions[0]);
    let plan = world.plan(&world.due, env().now());
    let told: Vec<_> = plan.decisions.iter().map(crate::tests::tell).collect();
    assert_eq!(told, ["web.1 goes to a with w", "v is let go of by a"], "and what it would have had is not forgotten");
}

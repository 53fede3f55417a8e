//! What holds for all volumes, mounts and histories.

use proptest::prelude::*;
use swarmkit_api::{
    Node,
    wire::{volume_access_mode::Sharing, volume_publish_status::State},
};
use swarmkit_store::Interest;
use swarmkit_testing as testing;

use super::*;
use crate::{
    tests::{env, learned},
    volumes::{ClusterMount, Source, misfit},
    world::World,
};

/// One thing that happens to volumes and to those who use them.
#[derive(Clone, Debug)]
enum Event {
    /// It is made, or made anew, in that group.
    Volume {
        id: u8,
        group: u8,
        sharing: Sharing,
        multi: bool,
    },
    Availability(u8, VolumeAvailability),
    Published(u8),
    Unpublished(u8),
    VolumeGone(u8),
    Task {
        slot: u8,
        service: u8,
    },
    Ended(u8),
    TaskGone(u8),
}

fn sharing() -> impl Strategy<Value = Sharing> {
    prop::sample::select(vec![Sharing::None, Sharing::ReadOnly, Sharing::OneWriter, Sharing::All])
}

fn event() -> impl Strategy<Value = Event> {
    let availability = vec![VolumeAvailability::Active, VolumeAvailability::Pause, VolumeAvailability::Drain];
    prop_oneof![
        4 => (0..4_u8, 0..2_u8, sharing(), any::<bool>())
            .prop_map(|(id, group, sharing, multi)| Event::Volume { id, group, sharing, multi }),
        2 => (0..4_u8, prop::sample::select(availability)).prop_map(|(id, to)| Event::Availability(id, to)),
        2 => (0..4_u8).prop_map(Event::Published),
        2 => (0..4_u8).prop_map(Event::Unpublished),
        1 => (0..4_u8).prop_map(Event::VolumeGone),
        8 => (0..12_u8, 0..4_u8).prop_map(|(slot, service)| Event::Task { slot, service }),
        4 => (0..12_u8).prop_map(Event::Ended),
        1 => (0..12_u8).prop_map(Event::TaskGone),
    ]
}

const WORLD: &str = "node a; node b; node c drain; service s0 volume=v0; service s1 reads=group:g0
    service s2 volume=group:g1 volume=v1; service s3 global volume=group:g0 reads=group:g1";

fn happen(store: &Store, event: &Event) {
    let volume = |id: u8| swarmkit_api::VolumeId::from(format!("v{id}").as_str());
    let task = |slot: u8| swarmkit_api::TaskId::from(format!("t{slot:02}").as_str());
    let change = |store: &Store, id: u8, change: &dyn Fn(&mut Volume)| {
        if store.view().get::<Volume>(&volume(id)).is_some() {
            edit(store, volume(id).as_str(), |volume| change(volume));
        }
    };
    match *event {
        Event::Volume { id, group, sharing, multi } => {
            let mut made = testing::volume(volume(id).as_str());
            let spec = std::sync::Arc::make_mut(&mut made.spec);
            spec.group = format!("g{group}");
            let mode = spec.access_mode.get_or_insert_default();
            mode.set_sharing(sharing);
            mode.scope = multi.into();
            write(store, |tx| {
                drop(tx.delete::<Volume>(&made.id));
                tx.create(made).map(drop)
            });
        }
        Event::Availability(id, to) => change(store, id, &|volume| {
            std::sync::Arc::make_mut(&mut volume.spec).set_availability(to);
        }),
        Event::Published(id) => change(store, id, &|volume| {
            let pending = volume.publish_status.iter_mut().filter(|entry| entry.state() == State::PendingPublish);
            pending.for_each(|entry| entry.set_state(State::Published));
        }),
        Event::Unpublished(id) => change(store, id, &|volume| {
            volume.publish_status.retain(|entry| entry.state() != State::PendingNodeUnpublish);
        }),
        Event::VolumeGone(id) => delete::<Volume>(store, &volume(id)),
        Event::Task { slot, service } if store.view().get::<Task>(&task(slot)).is_none() => {
            let name = if service == 3 { "s3.b".to_owned() } else { format!("s{service}.{slot}") };
            let view = store.view();
            let of = view.service_by_name(&format!("s{service}")).expect("the world has it");
            let made = testing::task(&name).of(of).state(TaskState::Pending).with(|made| made.id = task(slot)).build();
            write(store, |tx| tx.create(made).map(drop));
        }
        Event::Task { .. } => {}
        Event::Ended(slot) => {
            if store.view().get::<Task>(&task(slot)).is_some_and(|task| is_placed(task)) {
                end(store, task(slot).as_str(), TaskState::Shutdown);
            }
        }
        Event::TaskGone(slot) => delete::<Task>(store, &task(slot)),
    }
}

fn delete<O: swarmkit_store::Stored>(store: &Store, id: &O::Id) {
    write(store, |tx| {
        if tx.get::<O>(id).is_some() {
            tx.delete::<O>(id)?;
        }
        Ok(())
    });
}

/// The mounts of one task, each one of the group or a volume by its name.
fn mounts() -> impl Strategy<Value = Vec<ClusterMount>> {
    let source = prop_oneof![
        3 => Just(Source::Group("g".to_owned())),
        1 => (0..4_u8).prop_map(|n| Source::Name(format!("v{n}"))),
    ];
    let mount = (source, any::<bool>());
    let mount = mount.prop_map(|(source, read_only)| ClusterMount { source, read_only, target: String::new() });
    prop::collection::vec(mount, 0..5)
}

/// Whether there is any way to serve all mounts, found by trying all.
fn can_serve(volumes: &Volumes, mounts: &[ClusterMount], node: &Node) -> bool {
    let Some((mount, rest)) = mounts.split_first() else { return true };
    volumes.named(&mount.source).any(|volume| {
        let mut with = volumes.clone();
        with.reserve(&volume.id, &node.id, mount.read_only);
        misfit(volume, volumes.users(&volume.id), mount.read_only, node).is_none() && can_serve(&with, rest, node)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..Default::default() })]

    #[test]
    fn if_there_is_a_choice_that_serves_all_mounts_one_is_found(
        shared in prop::collection::vec((sharing(), any::<bool>(), 0..3_u8), 1..5),
        mounts in mounts(),
    ) {
        let mut text = "node a; node b; service old volume=group:g; service log reads=group:g".to_owned();
        for (n, (sharing, multi, users)) in shared.iter().enumerate() {
            let sharing = sharing.as_str_name().to_ascii_lowercase().replace('_', "-");
            let multi = if *multi { " multi" } else { "" };
            text += &format!("; volume v{n} group=g sharing={sharing}{multi}");
            text += &match users {
                1 => format!("; task old.{n} on a given=v{n}"),
                2 => format!("; task log.{n} on b given=v{n}"),
                _ => String::new(),
            };
        }
        let view = testing::world(&text);
        let node = view.get::<Node>(&"a".into()).unwrap();
        let mut volumes = known(&view);
        prop_assert_eq!(volumes.serve(&mounts, node), can_serve(&volumes, &mounts, node));
        if let Ok(chosen) = volumes.choose(&mounts, node) {
            prop_assert_eq!(chosen.len(), mounts.len());
            // In some order each finds its volume free for it; those that read are the ones that may come last.
            let mut taken: Vec<_> = chosen.iter().zip(&mounts).collect();
            taken.sort_by_key(|(_, mount)| mount.read_only);
            for (chosen, mount) in taken {
                let id = &chosen.volume.id;
                prop_assert_eq!(misfit(&chosen.volume, volumes.users(id), mount.read_only, node), None);
                prop_assert!(volumes.named(&mount.source).any(|volume| volume.id == *id));
                volumes.reserve(id, &node.id, mount.read_only);
            }
        }
    }

    #[test]
    fn whatever_happens_the_table_is_the_one_of_what_is_and_nothing_stays_behind(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let store = testing::store(WORLD);
        let mut updates = store.watch(Interest::all());
        let mut world = World::default();
        for event in &events {
            happen(&store, event);
            // Passes until there is nothing left to do, which is soon.
            for pass in 0.. {
                while let Some(update) = updates.try_next().unwrap() {
                    world.absorb(&update, env().now());
                }
                let (anew, afresh) = learned(&store.view());
                prop_assert!(world.books == anew.books, "the books kept up differ from those built anew");
                prop_assert!(world.waiting == anew.waiting, "those who wait are not those who are known to wait");
                if world.due.is_empty() {
                    let moved = afresh.decisions.iter().find(|decision| !matches!(decision, crate::decision::Decision::Explain { .. }));
                    prop_assert!(moved.is_none(), "left undone: {}", moved.map(crate::tests::tell).unwrap_or_default());
                    break;
                }
                prop_assert!(pass < 5, "no end of it");
                let due = std::mem::take(&mut world.due);
                let plan = world.plan(&due, env().now());
                write(&store, |tx| plan.decisions.iter().try_for_each(|decision| {
                    assert!(decision.write(tx)?, "nothing happened since the decision");
                    Ok(())
                }));
                world.note(plan.blocked);
            }
        }
    }
}

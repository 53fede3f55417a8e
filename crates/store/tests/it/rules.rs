//! What may be created, changed and deleted, and which error comes first.

use std::sync::Arc;

use swarmkit_api::{
    Cluster, Config, Extension, ExtensionId, Kind, Network, Node, Resource, Secret, Service, Task, Volume,
};
use swarmkit_store::{NodeBy, Store, StoreError, TaskBy};
use swarmkit_testing::{named, task};

use crate::support::{Sample, ids, local, write};

fn for_each_kind(check: impl Fn(&Store, Kind)) {
    for kind in Kind::ALL {
        check(&local(), kind);
    }
}

macro_rules! with_kind {
    ($kind:expr, $check:ident($($argument:expr),*)) => {
        match $kind {
            Kind::Node => $check::<Node>($($argument),*),
            Kind::Service => $check::<Service>($($argument),*),
            Kind::Task => $check::<Task>($($argument),*),
            Kind::Network => $check::<Network>($($argument),*),
            Kind::Cluster => $check::<Cluster>($($argument),*),
            Kind::Secret => $check::<Secret>($($argument),*),
            Kind::Resource => $check::<Resource>($($argument),*),
            Kind::Extension => $check::<Extension>($($argument),*),
            Kind::Config => $check::<Config>($($argument),*),
            Kind::Volume => $check::<Volume>($($argument),*),
        }
    };
}

fn has_unique_names(kind: Kind) -> bool {
    !matches!(kind, Kind::Node | Kind::Task)
}

#[test]
fn an_empty_store_has_nothing_of_any_kind() {
    fn check<O: Sample>(store: &Store) {
        assert_eq!((store.view().all::<O>().count(), store.view().count::<O>()), (0, 0), "{}", O::KIND);
    }
    for kind in Kind::ALL {
        with_kind!(kind, check(&Store::local(swarmkit_testing::env())));
    }
}

#[test]
fn an_id_is_taken_once() {
    fn check<O: Sample>(store: &Store) {
        write(store, |tx| tx.create(O::sample("1", "one"))).unwrap();
        assert_eq!(write(store, |tx| tx.create(O::sample("1", "two"))), Err(StoreError::Exists), "{}", O::KIND);
    }
    for_each_kind(|store, kind| with_kind!(kind, check(store)));
}

#[test]
fn an_id_is_never_empty() {
    fn check<O: Sample>(store: &Store) {
        assert_eq!(write(store, |tx| tx.create(O::sample("", "one"))), Err(StoreError::NoId), "{}", O::KIND);
    }
    for_each_kind(|store, kind| with_kind!(kind, check(store)));
}

#[test]
fn a_name_is_taken_once_in_whatever_case() {
    fn check<O: Sample>(store: &Store) {
        write(store, |tx| tx.create(O::sample("1", "Name"))).unwrap();
        for taken in ["Name", "nAME"] {
            let refused = write(store, |tx| tx.create(O::sample("2", taken)));
            assert_eq!(refused, Err(StoreError::NameConflict), "{}", O::KIND);
        }
        // One that clashes in both is told of the name.
        assert_eq!(write(store, |tx| tx.create(O::sample("1", "name"))), Err(StoreError::NameConflict), "{}", O::KIND);
        write(store, |tx| tx.create(O::sample("2", "other"))).unwrap();
    }
    for_each_kind(|store, kind| {
        if has_unique_names(kind) {
            with_kind!(kind, check(store));
        }
    });
}

#[test]
fn an_empty_name_is_a_name() {
    let store = local();
    write(&store, |tx| tx.create(Secret::sample("1", ""))).unwrap();
    assert_eq!(write(&store, |tx| tx.create(Secret::sample("2", ""))), Err(StoreError::NameConflict));
}

#[test]
fn nodes_and_tasks_may_share_a_name() {
    let store = local();
    for id in ["1", "2"] {
        write(&store, |tx| tx.create(Node::sample(id, "host"))).unwrap();
        write(&store, |tx| tx.create(Task::sample(id, "job"))).unwrap();
    }
    assert_eq!(ids(store.view().find(NodeBy::Name("HOST"))), ["1", "2"]);
    assert_eq!(ids(store.view().find(TaskBy::Name("job"))), ["1", "2"]);
    assert_eq!(ids(store.view().find(TaskBy::NamePrefix("JO"))), ["1", "2"]);
}

#[test]
fn a_name_can_be_kept_and_its_case_changed_but_no_other_one_taken() {
    fn check<O: Sample>(store: &Store) {
        let one = write(store, |tx| tx.create(O::sample("1", "one"))).unwrap();
        write(store, |tx| tx.create(O::sample("2", "two"))).unwrap();
        let renamed = |name: &str| {
            let mut renamed = O::sample("1", name);
            *renamed.meta_mut() = *store.view().get::<O>(one.id()).unwrap().meta();
            renamed
        };
        let before = store.version();
        assert_eq!(write(store, |tx| tx.update(renamed("TWO"))), Err(StoreError::NameConflict), "{}", O::KIND);
        assert_eq!(store.version(), before);
        for kept in ["one", "ONE"] {
            write(store, |tx| tx.update(renamed(kept))).unwrap();
        }
        // Checked before existence.
        assert_eq!(write(store, |tx| tx.update(O::sample("3", "two"))), Err(StoreError::NameConflict), "{}", O::KIND);
    }
    for_each_kind(|store, kind| {
        if has_unique_names(kind) && kind != Kind::Extension {
            with_kind!(kind, check(store));
        }
    });
}

#[test]
fn what_does_not_exist_can_be_neither_updated_nor_deleted() {
    fn check<O: Sample>(store: &Store) {
        let update = if O::KIND == Kind::Extension { StoreError::ExtensionImmutable } else { StoreError::NotFound };
        assert_eq!(write(store, |tx| tx.update(O::sample("1", "one"))), Err(update), "{}", O::KIND);
        assert_eq!(write(store, |tx| tx.delete::<O>(&"1".into())), Err(StoreError::NotFound), "{}", O::KIND);
        let edited = write(store, |tx| tx.edit::<O>(&"1".into(), |_| panic!("there is nothing to edit")));
        assert_eq!(edited, Err(StoreError::NotFound), "{}", O::KIND);
    }
    for_each_kind(|store, kind| with_kind!(kind, check(store)));
}

#[test]
fn what_is_deleted_is_found_by_nothing_and_its_id_and_name_are_free() {
    fn check<O: Sample>(store: &Store) {
        let created = write(store, |tx| tx.create(O::sample("1", "one"))).unwrap();
        assert_eq!(write(store, |tx| tx.delete::<O>(&"1".into())).unwrap(), created);
        assert_eq!(store.view().get::<O>(&"1".into()), None);
        write(store, |tx| tx.create(O::sample("1", "one"))).unwrap();
    }
    for_each_kind(|store, kind| with_kind!(kind, check(store)));
}

#[test]
fn a_write_based_on_an_old_reading_is_refused_and_reading_again_helps() {
    let store = local();
    let old = write(&store, |tx| tx.create(Node::sample("1", "a"))).unwrap();
    write(&store, |tx| tx.edit::<Node>(&old.id, |node| node.vxlan_udp_port = 1)).unwrap();
    let error = write(&store, |tx| tx.update(Node::clone(&old))).unwrap_err();
    assert_eq!(error, StoreError::OutOfSequence);
    assert_eq!(error.to_string(), "update out of sequence");
    let fresh = store.view().get::<Node>(&old.id).unwrap().clone();
    write(&store, |tx| tx.update(Node::clone(&fresh))).unwrap();
}

#[test]
fn refusals_are_told_in_the_words_that_clients_match_on() {
    for (error, text) in [
        (StoreError::Exists, "object already exists"),
        (StoreError::NotFound, "object does not exist"),
        (StoreError::NameConflict, "name conflicts with an existing object"),
        (StoreError::OutOfSequence, "update out of sequence"),
        (StoreError::NoKind, "object kind is unregistered"),
        (StoreError::ExtensionImmutable, "extensions are immutable"),
        (StoreError::ExtensionInUse, "cannot delete extension because objects of this type exist in the data store"),
        (StoreError::NoId, "missing value for index 'id'"),
        (StoreError::NoDriver, "missing value for index 'driver'"),
    ] {
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(swarmkit_store::ApplyError::UnknownAction.to_string(), "unrecognized action type");
}

#[test]
fn no_extension_is_named_like_a_kind_and_none_is_updated() {
    let store = local();
    for kind in Kind::ALL {
        for name in [kind.to_string(), kind.as_str().to_uppercase()] {
            let refused = write(&store, |tx| tx.create(Extension::sample("1", &name)));
            assert_eq!(refused, Err(StoreError::NameConflict), "{name}");
        }
    }
    let extension = write(&store, |tx| tx.create(Extension::sample("1", "fine"))).unwrap();
    let refused = write(&store, |tx| tx.update(Extension::clone(&extension)));
    assert_eq!(refused.unwrap_err().to_string(), "extensions are immutable");
}

#[test]
fn an_extension_stays_while_it_has_resources_however_they_spell_it() {
    let store = local();
    let mut resource = Resource::sample("1", "one");
    resource.kind = "GADGET".into();
    write(&store, |tx| tx.create(resource)).unwrap();
    let gadget = ExtensionId::from("gadget");
    let refused = write(&store, |tx| tx.delete::<Extension>(&gadget)).unwrap_err();
    assert_eq!(refused, StoreError::ExtensionInUse);
    write(&store, |tx| tx.delete::<Resource>(&"1".into())).unwrap();
    write(&store, |tx| tx.delete::<Extension>(&gadget)).unwrap();
}

#[test]
fn a_resource_needs_a_registered_kind_when_created_and_when_updated() {
    let store = local();
    let mut stray = Resource::sample("1", "one");
    stray.kind = "unheard-of".into();
    assert_eq!(write(&store, |tx| tx.create(stray.clone())), Err(StoreError::NoKind));
    write(&store, |tx| tx.create(Resource::sample("1", "one"))).unwrap();
    let refused = write(&store, |tx| tx.edit::<Resource>(&"1".into(), |resource| resource.kind = "unheard-of".into()));
    assert_eq!(refused, Err(StoreError::NoKind));
    // The kind is looked at before the name.
    write(&store, |tx| tx.create(Resource::sample("2", "two"))).unwrap();
    stray.annotations = named("two");
    assert_eq!(write(&store, |tx| tx.update(stray)), Err(StoreError::NoKind));
}

#[test]
fn a_volume_needs_a_driver() {
    let store = local();
    let mut volume = Volume::sample("1", "one");
    Arc::make_mut(&mut volume.spec).driver = None;
    let refused = write(&store, |tx| tx.create(volume)).unwrap_err();
    assert_eq!(refused.to_string(), "missing value for index 'driver'");
}

#[test]
fn a_task_without_a_name_is_named_after_its_service_slot_and_id() {
    let store = local();
    write(&store, |tx| tx.create(task("web.1").build())).unwrap();
    write(&store, |tx| tx.create(task("every.a").build())).unwrap();
    assert_eq!(ids(store.view().find(TaskBy::Name("web.1.web.1"))), ["web.1"]);
    assert_eq!(ids(store.view().find(TaskBy::Name("every.a.every.a"))), ["every.a"]);
    assert_eq!(ids(store.view().find(TaskBy::NamePrefix("WEB.1."))), ["web.1"]);
}

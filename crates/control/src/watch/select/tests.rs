//! Every selector, for every kind of object, with what it passes and what it does not.

use std::sync::Arc;

use swarmkit_api::{
    Cluster, Config, Extension, Network, Node, Resource, Secret, Task, Volume,
    wire::{Annotations, IndexEntry, SelectBy, SelectByCustom, SelectBySlot, watch_request::WatchEntry},
};
use swarmkit_store::Edit;
use swarmkit_testing::{node, service, task};

use super::*;

const CREATE: i32 = 1;
const UPDATE: i32 = 2;
const REMOVE: i32 = 4;
const ANY: i32 = CREATE | UPDATE | REMOVE;

fn entry(kind: &str, action: i32, by: impl IntoIterator<Item = By>) -> Result<Entry, ControlError> {
    let filters = by.into_iter().map(|by| SelectBy { by: Some(by) }).collect();
    Entry::parse(WatchEntry { kind: kind.to_owned(), action, filters })
}

fn created<O>(object: O, change: fn(Edit<O>) -> Change) -> Change {
    change(Edit { before: None, after: Some(Arc::new(object)) })
}

/// Whether whoever selects so is told that the object was created.
fn selects(kind: &str, by: By, change: &Change) -> bool {
    entry(kind, ANY, [by]).unwrap_or_else(|error| panic!("{kind}: {error}")).selects(change)
}

fn annotations() -> Annotations {
    let index = |key: &str, val: &str| IndexEntry { key: key.into(), val: val.into() };
    let indices = vec![index("color", "red"), index("color", "green"), index("size", "large")];
    Annotations { name: "Name".into(), indices, ..Default::default() }
}

/// An object of every kind, all with one id and one name, and what a watcher calls the kind.
fn of_every_kind() -> Vec<(&'static str, Change)> {
    macro_rules! annotated {
        ($kind:ident) => {{
            let mut object = $kind::new("id-1".into());
            Arc::make_mut(&mut object.spec).annotations = Some(annotations());
            created(object, Change::$kind)
        }};
    }
    let named_node = node("id-1").spec(|spec| spec.annotations = Some(annotations()));
    let mut extension = Extension::new("id-1".into());
    extension.annotations = annotations();
    let mut resource = Resource::new("id-1".into());
    (resource.annotations, resource.kind) = (annotations(), "gadget".into());
    vec![
        ("node", created(named_node.description(|node| node.hostname = "Name".into()).build(), Change::Node)),
        ("service", {
            let service = service("id-1").spec(|spec| spec.annotations = Some(annotations()));
            created(service.build(), Change::Service)
        }),
        ("task", created(task("id-1.1").with(|task| *task = with_id(task)).build(), Change::Task)),
        ("network", annotated!(Network)),
        ("cluster", annotated!(Cluster)),
        ("secret", annotated!(Secret)),
        ("config", annotated!(Config)),
        ("volume", annotated!(Volume)),
        ("extension", created(extension, Change::Extension)),
        ("gadget", created(resource, Change::Resource)),
    ]
}

fn with_id(task: &Task) -> Task {
    Task { id: "id-1".into(), annotations: annotations(), ..task.clone() }
}

fn custom(index: &str, value: &str) -> SelectByCustom {
    SelectByCustom { kind: String::new(), index: index.into(), value: value.into() }
}

#[test]
fn ids_names_and_custom_indices_select_objects_of_every_kind_as_they_are_written() {
    let pass = [
        By::Id("id-1".into()),
        By::IdPrefix("id-".into()),
        By::IdPrefix(String::new()),
        By::Name("Name".into()),
        By::NamePrefix("Na".into()),
        By::Custom(custom("color", "red")),
        By::Custom(custom("color", "green")),
        By::CustomPrefix(custom("color", "gr")),
    ];
    let fail = [
        By::Id("id-".into()),
        By::Id("ID-1".into()),
        By::IdPrefix("ID".into()),
        By::Name("name".into()),
        By::Name("Nam".into()),
        By::NamePrefix("na".into()),
        By::Custom(custom("color", "gre")),
        By::Custom(custom("color", "large")),
        By::Custom(custom("Color", "red")),
        By::CustomPrefix(custom("color", "gra")),
        By::CustomPrefix(custom("col", "gr")),
    ];
    for (kind, change) in of_every_kind() {
        pass.iter().for_each(|by| assert!(selects(kind, by.clone(), &change), "{kind} {by:?}"));
        fail.iter().for_each(|by| assert!(!selects(kind, by.clone(), &change), "{kind} {by:?}"));
    }
}

#[test]
fn a_kind_selects_its_own_objects_only_and_a_resource_goes_by_its_own_kind() {
    let changes = of_every_kind();
    for (wanted, _) in &changes {
        for (kind, change) in &changes {
            assert_eq!(entry(wanted, ANY, []).unwrap().selects(change), wanted == kind, "{wanted} {kind}");
        }
    }
    let (_, gadget) = changes.last().unwrap();
    assert!(!entry("Gadget", ANY, []).unwrap().selects(gadget));
    assert!(selects("gadget", By::Kind("gadget".into()), gadget));
    assert!(!selects("gadget", By::Kind("gizmo".into()), gadget));
}

#[test]
fn a_node_is_selected_by_observed_role_membership_and_host_name() {
    let manager = created(node("a").manager().build(), Change::Node);
    let promoted = created(node("b").spec(|spec| spec.desired_role = NodeRole::Manager.into()).build(), Change::Node);
    let pending = created(node("c").spec(|spec| spec.membership = Membership::Pending.into()).build(), Change::Node);
    let role = |role: NodeRole, change| selects("node", By::Role(role.into()), change);
    assert!(role(NodeRole::Manager, &manager) && !role(NodeRole::Worker, &manager));
    assert!(!role(NodeRole::Manager, &promoted) && role(NodeRole::Worker, &promoted), "not by the desired one");
    let membership = |wanted: Membership, change| selects("node", By::Membership(wanted.into()), change);
    assert!(membership(Membership::Pending, &pending) && !membership(Membership::Accepted, &pending));
    assert!(membership(Membership::Accepted, &manager) && !membership(Membership::Pending, &manager));
    let nameless = created(Node::new("d".into()), Change::Node);
    assert!(!selects("node", By::Name(String::new()), &nameless));
    assert!(!selects("node", By::NamePrefix(String::new()), &nameless), "without a description there is no name");
}

#[test]
fn a_task_is_selected_by_service_node_slot_and_desired_state() {
    let web = service("web").build();
    let one = created(task("t").of(&web).slot(2).on("a").desired(TaskState::Running).build(), Change::Task);
    let selects = |by| selects("task", by, &one);
    assert!(selects(By::ServiceId("web".into())) && !selects(By::ServiceId("we".into())));
    assert!(selects(By::NodeId("a".into())) && !selects(By::NodeId("b".into())));
    let slot = |service_id: &str, slot| By::Slot(SelectBySlot { service_id: service_id.into(), slot });
    assert!(selects(slot("web", 2)));
    assert!(!selects(slot("web", 1)) && !selects(slot("db", 2)) && !selects(slot("a", 2)));
    assert!(selects(By::DesiredState(TaskState::Running.into())));
    assert!(!selects(By::DesiredState(TaskState::Shutdown.into())) && !selects(By::DesiredState(-1)));
    assert!(!selects(By::Name("web.2.t".into())), "a task has the name that it was given, not the one it is shown by");
}

#[test]
fn services_and_tasks_are_selected_by_what_they_refer_to() {
    let web = service("web").network("n").secret("s").config("c").build();
    let of_task = created(task("t").of(&web).build(), Change::Task);
    let of_service = created(web, Change::Service);
    let plain = created(service("plain").build(), Change::Service);
    let networks: fn(&str) -> By = |id| By::ReferencedNetworkId(id.into());
    let secrets: fn(&str) -> By = |id| By::ReferencedSecretId(id.into());
    let configs: fn(&str) -> By = |id| By::ReferencedConfigId(id.into());
    for (by, id) in [(networks, "n"), (secrets, "s"), (configs, "c")] {
        assert!(selects("service", by(id), &of_service) && selects("task", by(id), &of_task), "{id}");
        assert!(!selects("service", by("x"), &of_service) && !selects("task", by("x"), &of_task), "{id}");
        assert!(!selects("service", by(id), &plain), "{id}");
    }
}

#[test]
fn an_update_is_selected_by_what_the_object_has_become_and_a_removal_by_what_it_was() {
    let (a, b) = (Arc::new(task("t").on("a").build()), Arc::new(task("t").on("b").build()));
    let moved = Change::Task(Edit { before: Some(a.clone()), after: Some(b) });
    let removed = Change::Task(Edit { before: Some(a), after: None });
    let on = |node: &str, action, change| entry("task", action, [By::NodeId(node.into())]).unwrap().selects(change);
    assert!(on("b", ANY, &moved) && !on("a", ANY, &moved));
    assert!(on("a", ANY, &removed) && !on("b", ANY, &removed));
    assert!(on("b", UPDATE, &moved) && !on("b", CREATE | REMOVE, &moved));
    assert!(on("a", REMOVE, &removed) && !on("a", CREATE | UPDATE, &removed));
}

//! What objects are found by.

use std::sync::Arc;

use swarmkit_api::{
    Config, ConfigId, Network, NetworkId, Node, NodeId, NodeRole, Object as _, Resource, Secret, SecretId, Service,
    ServiceId, Task, TaskId, TaskState, Volume, VolumeId,
    wire::{self, node_spec::Membership, task_spec::Runtime},
};
use swarmkit_store::{
    ClusterBy, ConfigBy, ExtensionBy, NetworkBy, NodeBy, ResourceBy, SecretBy, ServiceBy, TaskBy, VolumeBy,
};
use swarmkit_testing::{node, service, task, world};

use crate::support::{Sample, ids, local, write};

#[test]
fn everything_of_a_kind_comes_in_ascending_order_of_ids() {
    let view = world("node c; node a; node B; node b");
    assert_eq!(ids(view.all::<Node>()), ["B", "a", "b", "c"]);
}

#[test]
fn names_are_found_in_whatever_case_and_only_whole() {
    let store = local();
    write(&store, |tx| {
        tx.create(Secret::sample("1", "Grüße"))?;
        tx.create(Secret::sample("2", "a"))?;
        tx.create(Secret::sample("3", "ab"))
    })
    .unwrap();
    let view = store.view();
    assert_eq!(ids(view.find(SecretBy::Name("GRÜßE"))), ["1"]);
    assert_eq!(ids(view.find(SecretBy::Name("a"))), ["2"]);
    assert_eq!(ids(view.find(SecretBy::NamePrefix("A"))), ["2", "3"]);
    assert_eq!(ids(view.find(SecretBy::NamePrefix(""))), ["2", "3", "1"]);
    assert_eq!(view.find(SecretBy::Name("missing")).count(), 0);
}

#[test]
fn the_beginning_of_an_id_is_case_sensitive() {
    let view = world("node abc; node abd; node Abe; node b");
    assert_eq!(ids(view.find(NodeBy::IdPrefix("ab"))), ["abc", "abd"]);
    assert_eq!(ids(view.find(NodeBy::IdPrefix(""))), ["Abe", "abc", "abd", "b"]);
    assert_eq!(view.find(NodeBy::IdPrefix("abcd")).count(), 0);
}

#[test]
fn every_kind_is_found_by_name_and_beginning_of_id() {
    let store = local();
    write(&store, |tx| {
        tx.create(swarmkit_api::Cluster::sample("k1", "default"))?;
        tx.create(Network::sample("k2", "net"))?;
        tx.create(Config::sample("k3", "conf"))?;
        tx.create(Resource::sample("k4", "res"))?;
        tx.create(Volume::sample("k5", "vol"))?;
        tx.create(Service::sample("k6", "svc"))
    })
    .unwrap();
    let view = store.view();
    assert_eq!(ids(view.find(ClusterBy::Name("Default"))), ["k1"]);
    assert_eq!(view.cluster().unwrap().id.as_str(), "k1");
    assert_eq!(ids(view.find(NetworkBy::NamePrefix("n"))), ["k2"]);
    assert_eq!(ids(view.find(ConfigBy::IdPrefix("k"))), ["k3"]);
    assert_eq!(ids(view.find(ResourceBy::Name("res"))), ["k4"]);
    assert_eq!(ids(view.find(VolumeBy::Name("vol"))), ["k5"]);
    assert_eq!(view.service_by_name("SVC").unwrap().id.as_str(), "k6");
    assert_eq!(ids(view.find(ExtensionBy::Name("Gadget"))), ["gadget"]);
}

#[test]
fn nodes_are_found_by_observed_role_and_by_membership() {
    let store = local();
    write(&store, |tx| {
        tx.create(node("a").manager().build())?;
        tx.create(node("b").spec(|spec| spec.desired_role = NodeRole::Manager.into()).build())?;
        tx.create(node("c").spec(|spec| spec.membership = Membership::Pending.into()).build())
    })
    .unwrap();
    let view = store.view();
    assert_eq!(ids(view.find(NodeBy::Role(NodeRole::Manager))), ["a"]);
    assert_eq!(ids(view.find(NodeBy::Role(NodeRole::Worker))), ["b", "c"]);
    assert_eq!(ids(view.find(NodeBy::Membership(Membership::Accepted))), ["a", "b"]);
    assert_eq!(ids(view.find(NodeBy::Membership(Membership::Pending))), ["c"]);
}

#[test]
fn a_node_without_description_has_no_name() {
    let store = local();
    write(&store, |tx| tx.create(Node::new(NodeId::from("1")))).unwrap();
    assert_eq!(store.view().find(NodeBy::NamePrefix("")).count(), 0);
    write(&store, |tx| {
        tx.edit(&NodeId::from("1"), |node: &mut Node| *node = Node { meta: node.meta, ..Node::sample("1", "") })
    })
    .unwrap();
    assert_eq!(ids(store.view().find(NodeBy::Name(""))), ["1"]);
}

#[test]
fn tasks_are_found_by_service_and_node_and_by_having_none() {
    let view = world("task web.1 on a; task web.2 on b; task db.1 on a; task db.2");
    let service = |id| ids(view.find(TaskBy::Service(&ServiceId::from(id)))).join(" ");
    let node = |id| ids(view.find(TaskBy::Node(Some(&NodeId::from(id))))).join(" ");
    assert_eq!(
        (service("web"), service("db"), service("unknown")),
        ("web.1 web.2".into(), "db.1 db.2".into(), String::new())
    );
    assert_eq!((node("a"), node("b"), node("unknown")), ("db.1 web.1".into(), "web.2".into(), String::new()));
    assert_eq!(ids(view.find(TaskBy::Node(None))), ["db.2"]);
    assert_eq!(view.find(TaskBy::NoService).count(), 0);
}

#[test]
fn a_task_without_service_is_found_as_such() {
    let store = local();
    write(&store, |tx| tx.create(Task::sample("t", "attachment"))).unwrap();
    assert_eq!(ids(store.view().find(TaskBy::NoService)), ["t"]);
}

#[test]
fn a_slot_belongs_to_its_service() {
    let view = world("task a.11; task a1.1; task a.1; task a.1.again");
    let slot = |service, slot| ids(view.find(TaskBy::Slot(&ServiceId::from(service), slot))).join(" ");
    assert_eq!((slot("a", 11), slot("a1", 1), slot("a", 1)), ("a.11".into(), "a1.1".into(), "a.1 a.1.again".into()));
    assert_eq!(slot("a", 2), "");
}

#[test]
fn a_status_moves_a_task_between_states() {
    let store = swarmkit_testing::store("task web.1 on a running; task web.2 on a running wants shutdown");
    let states = |state| ids(store.view().find(TaskBy::State(state))).join(" ");
    let desired = |state| ids(store.view().find(TaskBy::DesiredState(state))).join(" ");
    assert_eq!((states(TaskState::Running), states(TaskState::Failed)), ("web.1 web.2".into(), String::new()));
    assert_eq!((desired(TaskState::Running), desired(TaskState::Shutdown)), ("web.1".into(), "web.2".into()));
    assert_eq!(desired(TaskState::Remove), "");
    write(&store, |tx| tx.edit(&TaskId::from("web.1"), |task: &mut Task| task.status.state = TaskState::Failed))
        .unwrap();
    assert_eq!((states(TaskState::Running), states(TaskState::Failed)), ("web.2".into(), "web.1".into()));
}

#[test]
fn services_and_tasks_are_found_by_what_they_refer_to_until_they_no_longer_do() {
    let store = local();
    let web = service("web").network("n").secret("s").config("c").build();
    write(&store, |tx| {
        tx.create(task("web.1").of(&web).build())?;
        tx.create(web)
    })
    .unwrap();
    let (n, s, c) = (NetworkId::from("n"), SecretId::from("s"), ConfigId::from("c"));
    let found = || {
        let view = store.view();
        let services =
            [ServiceBy::Network(&n), ServiceBy::Secret(&s), ServiceBy::Config(&c)].map(|by| view.find(by).count());
        let tasks = [TaskBy::Network(&n), TaskBy::Secret(&s), TaskBy::Config(&c)].map(|by| view.find(by).count());
        (services, tasks)
    };
    assert_eq!(found(), ([1, 1, 1], [1, 1, 1]));
    write(&store, |tx| {
        tx.edit(&ServiceId::from("web"), |web: &mut Service| {
            Arc::make_mut(&mut web.spec).task = Some(swarmkit_testing::container("i"))
        })?;
        tx.edit(&TaskId::from("web.1"), |task: &mut Task| task.spec = Arc::new(swarmkit_testing::container("i")))
    })
    .unwrap();
    assert_eq!(found(), ([0, 0, 0], [0, 0, 0]));
}

#[test]
#[allow(deprecated, reason = "old clients still list networks there")]
fn the_networks_of_a_service_count_only_if_its_task_lists_none() {
    let network = |id: &str| wire::NetworkAttachmentConfig { target: id.into(), ..Default::default() };
    let store = local();
    write(&store, |tx| {
        tx.create(service("both").network("of-task").spec(|spec| spec.networks.push(network("of-service"))).build())?;
        tx.create(service("old").spec(|spec| spec.networks.push(network("of-service"))).build())
    })
    .unwrap();
    assert_eq!(ids(store.view().find(ServiceBy::Network(&NetworkId::from("of-service")))), ["old"]);
    assert_eq!(ids(store.view().find(ServiceBy::Network(&NetworkId::from("of-task")))), ["both"]);
}

#[test]
fn tasks_are_found_by_their_volumes() {
    let store = local();
    let volume = |id: &str| wire::VolumeAttachment { id: id.into(), ..Default::default() };
    write(&store, |tx| tx.create(task("web.1").with(|task| task.volumes = vec![volume("v1"), volume("v2")]).build()))
        .unwrap();
    assert_eq!(ids(store.view().find(TaskBy::Volume(&VolumeId::from("v2")))), ["web.1"]);
    write(&store, |tx| tx.edit(&TaskId::from("web.1"), |task: &mut Task| task.volumes = vec![volume("v1")])).unwrap();
    assert_eq!(store.view().find(TaskBy::Volume(&VolumeId::from("v2"))).count(), 0);
    assert_eq!(ids(store.view().find(TaskBy::Volume(&VolumeId::from("v1")))), ["web.1"]);
}

#[test]
fn volumes_are_found_by_group_and_driver() {
    let store = local();
    let mut grouped = Volume::sample("1", "one");
    Arc::make_mut(&mut grouped.spec).group = "fast".into();
    write(&store, |tx| {
        tx.create(grouped)?;
        tx.create(Volume::sample("2", "two"))
    })
    .unwrap();
    assert_eq!(ids(store.view().find(VolumeBy::Group("fast"))), ["1"]);
    assert_eq!(ids(store.view().find(VolumeBy::Group(""))), ["2"]);
    assert_eq!(ids(store.view().find(VolumeBy::Driver("csi"))), ["1", "2"]);
    assert_eq!(store.view().find(VolumeBy::Driver("CSI")).count(), 0);
}

#[test]
fn resources_are_found_by_kind_as_they_spell_it() {
    let store = local();
    let mut loud = Resource::sample("2", "two");
    loud.kind = "GADGET".into();
    write(&store, |tx| {
        tx.create(Resource::sample("1", "one"))?;
        tx.create(loud)
    })
    .unwrap();
    assert_eq!(ids(store.view().find(ResourceBy::Kind("gadget"))), ["1"]);
    assert_eq!(ids(store.view().find(ResourceBy::Kind("GADGET"))), ["2"]);
    assert_eq!(store.view().find(ResourceBy::Kind("Gadget")).count(), 0);
}

#[test]
fn services_and_tasks_are_found_by_runtime() {
    let generic = || Some(Runtime::Generic(wire::GenericRuntimeSpec { kind: "Process".into(), payload: None }));
    let attachment = || Some(Runtime::Attachment(wire::NetworkAttachmentSpec::default()));
    let store = local();
    write(&store, |tx| {
        tx.create(task("a.1").build())?;
        tx.create(task("b.1").spec(|spec| spec.runtime = generic()).build())?;
        tx.create(task("c.1").spec(|spec| spec.runtime = attachment()).build())?;
        tx.create(task("d.1").spec(|spec| spec.runtime = None).build())?;
        tx.create(service("b").task(|spec| spec.runtime = generic()).build())
    })
    .unwrap();
    let found = |runtime| ids(store.view().find(TaskBy::Runtime(runtime))).join(" ");
    assert_eq!((found("container"), found("process"), found("attachment")), ("a.1".into(), "b.1".into(), "c.1".into()));
    assert_eq!(found("Process"), "");
    assert_eq!(ids(store.view().find(ServiceBy::Runtime("process"))), ["b"]);
}

#[test]
fn a_rename_is_found_by_the_new_name_only() {
    let store = local();
    write(&store, |tx| tx.create(Network::sample("1", "old"))).unwrap();
    write(&store, |tx| {
        tx.edit(&NetworkId::from("1"), |network: &mut Network| {
            *network = Network { meta: network.meta, ..Network::sample("1", "new") };
        })
    })
    .unwrap();
    assert_eq!(ids(store.view().find(NetworkBy::Name("new"))), ["1"]);
    assert_eq!(store.view().find(NetworkBy::Name("old")).count(), 0);
}

#[test]
fn several_queries_find_each_object_once_in_their_order() {
    let view = world("node abc; node abd; node b; node c");
    let found = |queries: &[NodeBy<'_>]| ids(view.find_any(queries.iter().copied())).join(" ");
    assert_eq!(found(&[NodeBy::IdPrefix("ab")]), "abc abd");
    assert_eq!(found(&[NodeBy::Name("b"), NodeBy::IdPrefix("ab"), NodeBy::Name("abd")]), "b abc abd");
    assert_eq!(found(&[NodeBy::Name("missing"), NodeBy::IdPrefix("c")]), "c");
    assert_eq!(found(&[NodeBy::IdPrefix("c"), NodeBy::IdPrefix("b"), NodeBy::IdPrefix("abc")]), "c b abc");
    assert_eq!(found(&[]), "");
}

#[test]
fn custom_indices_are_found_by_any_of_their_values_or_its_beginning() {
    let indices = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, val)| wire::IndexEntry { key: (*key).into(), val: (*val).into() }).collect::<Vec<_>>()
    };
    let store = local();
    let mut one = Node::sample("1", "a");
    Arc::make_mut(&mut one.spec).annotations.get_or_insert_default().indices =
        indices(&[("color", "red"), ("color", "green"), ("size", "red")]);
    let mut two = Task::sample("2", "b");
    two.annotations.indices = indices(&[("color", "ready")]);
    write(&store, |tx| {
        tx.create(one)?;
        tx.create(two)
    })
    .unwrap();
    let view = store.view();
    let exact = |key, value| view.find(NodeBy::Custom { key, value }).count();
    assert_eq!(
        (exact("color", "red"), exact("color", "green"), exact("color", "re"), exact("Color", "red")),
        (1, 1, 0, 0)
    );
    let prefix = |key, prefix| view.find(NodeBy::CustomPrefix { key, prefix }).count();
    assert_eq!((prefix("color", "gr"), prefix("color", "x"), prefix("col", "gr")), (1, 0, 0));
    assert_eq!(ids(view.find(TaskBy::CustomPrefix { key: "color", prefix: "rea" })), ["2"]);
    write(&store, |tx| {
        tx.edit(&NodeId::from("1"), |node: &mut Node| {
            Arc::make_mut(&mut node.spec).annotations = None;
        })
    })
    .unwrap();
    assert_eq!(store.view().find(NodeBy::Custom { key: "color", value: "green" }).count(), 0);
    assert_eq!(view.get::<Node>(&NodeId::from("1")).unwrap().annotations().indices.len(), 3);
}

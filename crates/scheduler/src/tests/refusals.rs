//! The finer points of what nodes refuse, and of what wakes those that wait.

use std::sync::Arc;

use swarmkit_api::{
    Network, NetworkId, Object as _, Task, TaskState,
    wire::{
        self, mount,
        port_config::{Protocol, PublishMode},
    },
};

use super::{
    filters::{mounting, node_with, port, publishing, volume, with_plugins},
    waiting::Rounds,
    *,
};

#[test]
fn a_task_that_reserves_nothing_goes_where_nothing_is_left() {
    check(
        "node a memory=1GiB; service big memory=2GiB; service web; task big.1 on a; task web.1 pending",
        &["web.1 goes to a"],
    );
}

#[test]
fn each_node_without_a_plugin_is_counted_and_one_that_has_it_takes_the_task() {
    let nfs = volume("nfs", mount::Type::Volume);
    let bare = |id: &str| node_with(id, &[("Volume", "local")]);
    let waits = with_plugins(vec![bare("a"), bare("b"), bare("c")], mounting(std::slice::from_ref(&nfs)));
    assert_eq!(waits, ["web.1 waits: no suitable node (missing plugin on 3 nodes)"]);
    let has_it = node_with("d", &[("Volume", "nfs")]);
    assert_eq!(with_plugins(vec![bare("a"), bare("b"), has_it], mounting(&[nfs])), ["web.1 goes to d"]);
}

#[test]
fn the_driver_of_a_volume_and_that_of_a_network_must_both_be_there() {
    let task = || {
        let mut task = mounting(&[volume("nfs", mount::Type::Volume)]);
        let mut network = Network::new(NetworkId::from("front"));
        network.driver_state = Some(wire::Driver { name: "weave".into(), ..Default::default() });
        task.networks = vec![wire::NetworkAttachment { network: Some(network.to_wire()), ..Default::default() }];
        task
    };
    let (nfs, weave) = (("Volume", "nfs"), ("Network", "weave"));
    let nodes = || vec![node_with("a", &[nfs]), node_with("b", &[weave])];
    assert_eq!(with_plugins(nodes(), task()), ["web.1 waits: no suitable node (missing plugin on 2 nodes)"]);
    let mut more = nodes();
    more.push(node_with("c", &[weave, nfs]));
    assert_eq!(with_plugins(more, task()), ["web.1 goes to c"]);
}

#[test]
fn the_same_number_with_another_protocol_is_another_port() {
    let store = testing::store("node a; service web; service other");
    let publish = |id: &str, protocol, node: Option<&str>| {
        let ports = vec![port(53, protocol, PublishMode::Host)];
        let endpoint = Arc::new(wire::Endpoint { ports, ..Default::default() });
        let mut task = testing::task(id).state(TaskState::Pending);
        if let Some(node) = node {
            task = task.on(node).state(TaskState::Running);
        }
        write(&store, |tx| tx.create(task.with(|task| task.endpoint = Some(endpoint)).build()).map(drop));
    };
    publish("other.1", Protocol::Tcp, Some("a"));
    publish("web.1", Protocol::Udp, None);
    publish("web.2", Protocol::Tcp, None);
    assert_eq!(
        decisions(&store.view()),
        ["web.1 goes to a", "web.2 waits: no suitable node (host-mode port already in use on 1 node)"]
    );
}

#[test]
fn a_host_port_is_free_when_the_last_task_that_has_it_has_ended() {
    let tcp = port(80, Protocol::Tcp, PublishMode::Host);
    let waits = ["web.3 waits: no suitable node (host-mode port already in use on 1 node)"];
    assert_eq!(publishing(std::slice::from_ref(&tcp), "node a", &["web.1 on a", "web.2 on a", "web.3"]), waits);

    let endpoint = Some(Arc::new(wire::Endpoint { ports: vec![tcp], ..Default::default() }));
    let mut rounds = Rounds::start("node a; service web; task web.1 on a; task web.2 on a; task web.3 new");
    for id in ["web.1", "web.2", "web.3"] {
        rounds.edit_task(id, |task| task.endpoint.clone_from(&endpoint));
    }
    assert_eq!(rounds.edit_task("web.3", |task| task.status.state = TaskState::Pending), waits);
    let ended = |task: &mut Task| task.status.state = TaskState::Complete;
    assert_eq!(rounds.edit_task("web.1", ended), [""; 0], "another task still has the port");
    assert_eq!(rounds.edit_task("web.2", ended), ["web.3 goes to a"]);
}

#[test]
fn only_tasks_of_the_service_that_are_wanted_count_against_its_limit_on_a_node() {
    let limit = |spec: &mut wire::ServiceSpec| {
        spec.task.get_or_insert_default().placement.get_or_insert_default().max_replicas = 2;
    };
    let tasks = "task other.1 on a; task other.2 on a; task web.1 on a; task web.2 on a running wants shutdown;
         task web.3 on a complete wants shutdown; task web.4 pending; task web.5 pending";
    let store = with_service("node a; service web; service other", "web", limit, tasks);
    assert_eq!(
        decisions(&store.view()),
        ["web.4 goes to a", "web.5 waits: no suitable node (max replicas per node limit exceed)"]
    );
}

#[test]
fn a_task_of_no_service_that_does_not_fit_is_tried_again() {
    let mut rounds = Rounds::start("node a down");
    let alone = testing::task("alone.1").state(TaskState::Pending).with(|task| task.service_id = None).build();
    write(&rounds.store, |tx| tx.create(alone).map(drop));
    assert_eq!(rounds.round(), ["alone.1 waits: no suitable node (1 node not available for new tasks)"]);
    assert_eq!(rounds.amend("node b"), ["alone.1 goes to b"]);
}

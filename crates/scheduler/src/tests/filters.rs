//! Which nodes can run a task at all, and what is said when none can.

use std::sync::Arc;

use swarmkit_api::{
    Network, NetworkId, Task,
    wire::{self, PluginDescription, PortConfig, mount, port_config::PublishMode},
};
use swarmkit_testing::{node, service, store, task};

use super::*;

#[test]
fn only_nodes_that_are_ready_and_active_get_tasks() {
    check(
        "node a down; node b pause; node c drain; node d unknown; node e; service web; task web.1 pending",
        &["web.1 goes to e"],
    );
    check(
        "node a down; service web; task web.1 pending",
        &["web.1 waits: no suitable node (1 node not available for new tasks)"],
    );
    check(
        "node a down; node b disconnected; service web; task web.1 pending",
        &["web.1 waits: no suitable node (2 nodes not available for new tasks)"],
    );
}

#[test]
fn without_any_node_there_is_nothing_to_explain() {
    check("service web; task web.1 pending", &["web.1 waits: no suitable node"]);
}

#[test]
fn a_node_must_have_what_the_task_reserves_left() {
    check(
        "node a memory=1GiB; service big memory=2GiB; task big.1 pending",
        &["big.1 waits: no suitable node (insufficient resources on 1 node)"],
    );
    check("node a memory=1GiB; node b memory=2GiB; service big memory=2GiB; task big.1 pending", &["big.1 goes to b"]);
    check(
        "node a cpus=1000m; service web cpus=500m
         task web.1 on a running; task web.2 pending; task web.3 pending",
        &["web.2 goes to a", "web.3 waits: no suitable node (insufficient resources on 1 node)"],
    );
}

#[test]
fn a_task_that_is_over_reserves_nothing_and_one_that_stops_still_does() {
    check(
        "node a memory=1GiB; service web memory=1GiB; task web.1 on a complete wants shutdown; task web.2 pending",
        &["web.2 goes to a"],
    );
    check(
        "node a memory=1GiB; service web memory=1GiB; task web.1 on a running wants shutdown; task web.2 pending",
        &["web.2 waits: no suitable node (insufficient resources on 1 node)"],
    );
}

#[test]
fn the_most_frequent_reason_comes_first_and_each_node_counts_once() {
    check(
        "node a down; node b drain; node c memory=1GiB; service big memory=2GiB constraint=node.id==z; task big.1 pending",
        &["big.1 waits: no suitable node (2 nodes not available for new tasks; insufficient resources on 1 node)"],
    );
}

#[test]
fn constraints_hold_on_every_node_that_is_chosen() {
    check(
        "node a; node b label:disk=ssd; service web constraint=node.labels.disk==SSD; task web.1 pending",
        &["web.1 goes to b"],
    );
    check(
        "node a; node b; node c; service web constraint=node.labels.disk==ssd; task web.1 pending",
        &["web.1 waits: no suitable node (scheduling constraints not satisfied on 3 nodes)"],
    );
}

#[test]
fn a_constraint_that_cannot_be_read_places_the_task_nowhere() {
    check(
        "node a; service web constraint=node.id~a; task web.1 pending",
        &["web.1 waits: no suitable node (scheduling constraints not satisfied on 1 node)"],
    );
}

fn on_platforms(listed: &[(&str, &str)]) -> Vec<String> {
    let nodes = "node windows os=windows; node linux os=linux; node later";
    let platforms = listed
        .iter()
        .map(|(os, architecture)| wire::Platform { os: (*os).to_owned(), architecture: (*architecture).to_owned() });
    let change = |spec: &mut wire::ServiceSpec| {
        spec.task.get_or_insert_default().placement.get_or_insert_default().platforms = platforms.collect();
    };
    let store = with_service(&format!("{nodes}; service web"), "web", change, "task web.1 pending");
    write(&store, |tx| {
        tx.edit(&"later".into(), |node: &mut swarmkit_api::Node| {
            Arc::make_mut(node.description.as_mut().unwrap()).platform = None;
        })?;
        Ok(())
    });
    decisions(&store.view())
}

#[test]
fn a_platform_matches_by_what_it_lists_and_by_either_name_of_an_architecture() {
    for listed in [&[("linux", "amd64")][..], &[("linux", "x86_64")], &[("linux", "")], &[("plan9", ""), ("linux", "")]]
    {
        assert_eq!(on_platforms(listed), ["web.1 goes to linux"], "{listed:?}");
    }
    assert_eq!(on_platforms(&[("windows", "")]), ["web.1 goes to windows"]);
    assert_eq!(on_platforms(&[]), ["web.1 goes to later"], "any node, also one that did not tell its platform");
    assert_eq!(
        on_platforms(&[("linux", "aarch64")]),
        ["web.1 waits: no suitable node (unsupported platform on 3 nodes)"]
    );
}

pub(super) fn plugin(class: &str, name: &str) -> PluginDescription {
    PluginDescription { r#type: class.to_owned(), name: name.to_owned() }
}

pub(super) fn node_with(id: &str, plugins: &[(&str, &str)]) -> swarmkit_api::Node {
    let plugins = plugins.iter().map(|(class, name)| plugin(class, name)).collect();
    node(id).ready().description(|description| description.engine.get_or_insert_default().plugins = plugins).build()
}

pub(super) fn volume(driver: &str, class: mount::Type) -> wire::Mount {
    let driver = Some(wire::Driver { name: driver.to_owned(), ..Default::default() });
    wire::Mount {
        r#type: class.into(),
        volume_options: Some(mount::VolumeOptions { driver_config: driver, ..Default::default() }),
        ..Default::default()
    }
}

pub(super) fn with_plugins(nodes: Vec<swarmkit_api::Node>, task: swarmkit_api::Task) -> Vec<String> {
    let store = store("");
    write(&store, |tx| {
        nodes.into_iter().try_for_each(|node| tx.create(node).map(drop))?;
        tx.create(service("web").build())?;
        tx.create(task).map(drop)
    });
    decisions(&store.view())
}

pub(super) fn mounting(mounts: &[wire::Mount]) -> swarmkit_api::Task {
    let mut service = service("web").container(|container| container.mounts = mounts.to_vec()).build();
    service.spec_version = Some(swarmkit_api::Version(1));
    task("web.1").of(&service).state(swarmkit_api::TaskState::Pending).build()
}

#[test]
fn volume_drivers_must_all_be_there_and_a_tag_of_latest_does_not_matter() {
    let bare = || node_with("bare", &[("Volume", "local")]);
    let one = || node_with("one", &[("Volume", "nfs:latest")]);
    let other = || node_with("other", &[("Volume", "nfs:1.0"), ("Volume", "ceph")]);
    let both = || node_with("zboth", &[("Volume", "nfs"), ("Volume", "ceph")]);
    let nfs = volume("nfs", mount::Type::Volume);
    let ceph = volume("ceph", mount::Type::Volume);

    let waits = with_plugins(vec![bare()], mounting(std::slice::from_ref(&nfs)));
    assert_eq!(waits, ["web.1 waits: no suitable node (missing plugin on 1 node)"]);
    let waits = with_plugins(vec![bare(), other()], mounting(std::slice::from_ref(&nfs)));
    assert_eq!(waits, ["web.1 waits: no suitable node (missing plugin on 2 nodes)"]);
    assert_eq!(with_plugins(vec![bare(), one(), other()], mounting(std::slice::from_ref(&nfs))), ["web.1 goes to one"]);
    assert_eq!(with_plugins(vec![one(), other(), both()], mounting(&[nfs, ceph])), ["web.1 goes to zboth"]);
}

#[test]
fn bind_mounts_and_local_volumes_need_no_plugin() {
    let mounts =
        [volume("local", mount::Type::Volume), volume("", mount::Type::Volume), volume("nfs", mount::Type::Bind)];
    assert_eq!(with_plugins(vec![node_with("a", &[])], mounting(&mounts)), ["web.1 goes to a"]);
}

#[test]
fn a_node_that_told_nothing_of_its_engine_may_have_any_plugin() {
    let silent = node("a").ready().description(|description| description.engine = None).build();
    assert_eq!(with_plugins(vec![silent], mounting(&[volume("nfs", mount::Type::Volume)])), ["web.1 goes to a"]);
}

#[test]
fn the_drivers_of_networks_and_logs_must_be_there() {
    let mut attached = mounting(&[]);
    let mut network = Network::new(NetworkId::from("front"));
    network.driver_state = Some(wire::Driver { name: "weave".into(), ..Default::default() });
    attached.networks =
        vec![wire::NetworkAttachment { network: Some(swarmkit_api::Object::to_wire(&network)), ..Default::default() }];
    let nodes = || vec![node_with("a", &[("Network", "overlay")]), node_with("b", &[("Network", "weave")])];
    assert_eq!(with_plugins(nodes(), attached), ["web.1 goes to b"]);

    let logging = |driver: &str| -> Task {
        let driver = wire::Driver { name: driver.to_owned(), ..Default::default() };
        let mut task = mounting(&[]);
        Arc::make_mut(&mut task.spec).log_driver = Some(driver);
        task
    };
    let nodes = || vec![node_with("a", &[("Log", "syslog")]), node_with("b", &[("Log", "gelf")])];
    assert_eq!(with_plugins(nodes(), logging("gelf")), ["web.1 goes to b"]);
    assert_eq!(with_plugins(nodes(), logging("none")), ["web.1 goes to a"]);
    assert_eq!(
        with_plugins(vec![node_with("old", &[])], logging("gelf")),
        ["web.1 goes to old"],
        "lists no log plugins"
    );
}

#[test]
fn a_process_goes_to_a_node_that_runs_processes_and_an_image_to_one_that_runs_containers() {
    let process = || {
        let service = service("web").image("swarmkit.process/host").build();
        task("web.1").of(&service).state(swarmkit_api::TaskState::Pending).build()
    };
    let engine = || node_with("engine", &[]);
    let runs_processes = || node_with("runs", &[("Executor", "process")]);
    assert_eq!(with_plugins(vec![engine(), runs_processes()], process()), ["web.1 goes to runs"]);
    assert_eq!(with_plugins(vec![engine(), runs_processes()], mounting(&[])), ["web.1 goes to engine"]);
    assert_eq!(with_plugins(vec![engine()], process()), ["web.1 waits: no suitable node (no node runs process tasks)"]);
    assert_eq!(
        with_plugins(vec![runs_processes(), node("b").down().build()], mounting(&[])),
        ["web.1 waits: no suitable node (1 node not available for new tasks; 1 node does not run container tasks)"]
    );
}

#[test]
fn a_generic_runtime_goes_where_its_kind_is_advertised() {
    let generic = || {
        let runtime = wire::GenericRuntimeSpec { kind: "wasm".into(), ..Default::default() };
        let spec = |spec: &mut wire::TaskSpec| spec.runtime = Some(wire::task_spec::Runtime::Generic(runtime));
        task("web.1").spec(spec).state(swarmkit_api::TaskState::Pending).build()
    };
    let nodes = || vec![node_with("a", &[]), node_with("b", &[("Executor", "container")])];
    assert_eq!(with_plugins(nodes(), generic()), ["web.1 waits: no suitable node (no node runs wasm tasks)"]);
    let mut more = nodes();
    more.push(node_with("c", &[("Executor", "container"), ("Executor", "wasm")]));
    assert_eq!(with_plugins(more, generic()), ["web.1 goes to c"]);
}

pub(super) fn publishing(ports: &[PortConfig], nodes: &str, tasks: &[&str]) -> Vec<String> {
    let store = store(&format!("{nodes}; service web; service other"));
    let endpoint = Arc::new(wire::Endpoint { ports: ports.to_vec(), ..Default::default() });
    write(&store, |tx| {
        tasks.iter().try_for_each(|id| {
            let (id, node) = id.split_once(" on ").map_or((*id, None), |(id, node)| (id, Some(node)));
            let mut task = task(id).state(swarmkit_api::TaskState::Pending);
            if let Some(node) = node {
                task = task.on(node).state(swarmkit_api::TaskState::Running);
            }
            tx.create(task.with(|task| task.endpoint = Some(endpoint.clone())).build()).map(drop)
        })
    });
    decisions(&store.view())
}

pub(super) fn port(published: u32, protocol: wire::port_config::Protocol, mode: PublishMode) -> PortConfig {
    PortConfig {
        published_port: published,
        target_port: 80,
        protocol: protocol.into(),
        publish_mode: mode.into(),
        ..Default::default()
    }
}

#[test]
fn a_host_port_is_taken_once_per_node() {
    let tcp = port(80, wire::port_config::Protocol::Tcp, PublishMode::Host);
    assert_eq!(
        publishing(&[tcp], "node a; node b", &["web.1", "web.2", "web.3"]),
        [
            "web.1 goes to a",
            "web.2 goes to b",
            "web.3 waits: no suitable node (host-mode port already in use on 2 nodes)"
        ]
    );
}

#[test]
fn ports_without_a_number_and_ingress_ports_do_not_collide() {
    let free = port(0, wire::port_config::Protocol::Tcp, PublishMode::Host);
    let ingress = port(80, wire::port_config::Protocol::Tcp, PublishMode::Ingress);
    assert_eq!(publishing(&[free, ingress], "node a", &["web.1 on a", "web.2"]), ["web.2 goes to a"]);
}

#[test]
fn no_more_than_the_maximum_of_a_service_goes_to_a_node() {
    let limit = |spec: &mut wire::ServiceSpec| {
        spec.task.get_or_insert_default().placement.get_or_insert_default().max_replicas = 1;
    };
    let tasks = "task web.1 pending; task web.2 pending; task web.3 pending; task other.1 on a";
    let store = with_service("node a; node b; service web; service other", "web", limit, tasks);
    assert_eq!(
        decisions(&store.view()),
        ["web.1 goes to b", "web.2 goes to a", "web.3 waits: no suitable node (max replicas per node limit exceed)"]
    );
    testing::amend(&store, "node c");
    assert_eq!(decisions(&store.view()).last().unwrap(), "web.3 goes to a");
}

#[test]
fn cluster_volumes_cannot_be_mounted_anywhere_yet() {
    assert_eq!(
        with_plugins(vec![node_with("a", &[])], mounting(&[volume("", mount::Type::Cluster)])),
        ["web.1 waits: no suitable node (cannot fulfill requested CSI volume mounts on 1 node)"]
    );
}

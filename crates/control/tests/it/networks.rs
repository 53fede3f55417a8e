//! Networks.

use std::sync::Arc;

use swarmkit_api::{Network, TaskState, wire};
use swarmkit_overlay_networks::OverlayNetworks;
use swarmkit_testing::{network, service, task};
use tonic::Code;

use crate::world::{World, annotations, invalid, no_argument, not_found, spec_of};

fn spec(name: &str) -> wire::NetworkSpec {
    wire::NetworkSpec { annotations: annotations(name), ..Default::default() }
}

fn pool(subnet: &str, range: &str, gateway: &str) -> wire::NetworkSpec {
    let config =
        wire::IpamConfig { subnet: subnet.into(), range: range.into(), gateway: gateway.into(), ..Default::default() };
    wire::NetworkSpec { ipam: Some(wire::IpamOptions { configs: vec![config], ..Default::default() }), ..spec("net") }
}

async fn create(world: &World, spec: wire::NetworkSpec) -> wire::Network {
    let request = wire::CreateNetworkRequest { spec: Some(spec) };
    world.control().create_network(request).await.unwrap().into_inner().network.unwrap()
}

async fn refused(world: &World, spec: wire::NetworkSpec) -> (Code, String) {
    world.refused(world.control().create_network(wire::CreateNetworkRequest { spec: Some(spec) })).await
}

async fn remove(world: &World, id: &str) -> Result<(), (Code, String)> {
    let request = wire::RemoveNetworkRequest { network_id: id.into(), ..Default::default() };
    let told = |status: tonic::Status| (status.code(), status.message().to_owned());
    world.control().remove_network(request).await.map(drop).map_err(told)
}

#[tokio::test]
async fn a_network_that_is_made_can_be_had_and_removed() {
    let world = World::new();
    let made = create(&world, spec("back")).await;
    let get = |id: &str| wire::GetNetworkRequest { network_id: id.into(), ..Default::default() };
    let got = world.control().get_network(get(&made.id)).await.unwrap().into_inner().network.unwrap();
    assert_eq!(got, made);
    assert_eq!(world.refused(world.control().get_network(get(""))).await, no_argument());
    assert_eq!(world.refused(world.control().get_network(get("x"))).await, not_found("network x not found"));
    let taken = "name conflicts with an existing object: network back already exists";
    assert_eq!(refused(&world, spec("back")).await, (Code::AlreadyExists, taken.to_owned()));
    remove(&world, &made.id).await.unwrap();
    assert_eq!(remove(&world, &made.id).await.unwrap_err().0, Code::NotFound);
    assert_eq!(world.view().count::<Network>(), 0);
}

#[tokio::test]
async fn ranges_and_gateways_lie_in_their_subnet() {
    let world = World::new();
    for (subnet, range, gateway, text) in [
        ("", "", "", "ipam configuration: invalid subnet "),
        ("10.0.0.0", "", "", "ipam configuration: invalid subnet 10.0.0.0"),
        ("10.0.0.0/33", "", "", "ipam configuration: invalid subnet 10.0.0.0/33"),
        ("10.0.0.0/16", "10.0", "", "ipam configuration: invalid range 10.0"),
        ("10.0.0.0/16", "10.1.0.0/24", "", "ipam configuration: subnet 10.0.0.0/16 does not contain range 10.1.0.0/24"),
        ("10.0.0.0/16", "", "x", "ipam configuration: invalid gateway x"),
        ("10.0.0.0/16", "", "10.1.0.1", "ipam configuration: subnet 10.0.0.0/16 does not contain gateway 10.1.0.1"),
    ] {
        assert_eq!(refused(&world, pool(subnet, range, gateway)).await, invalid(text));
    }
    create(&world, pool("10.0.0.0/16", "10.0.2.0/24", "10.0.0.1")).await;
}

#[tokio::test]
async fn what_a_network_may_not_be_is_named() {
    let world = World::new();
    let nothing = world.refused(world.control().create_network(wire::CreateNetworkRequest { spec: None })).await;
    assert_eq!(nothing, no_argument());
    assert_eq!(refused(&world, spec("")).await, invalid("meta: name must be provided"));
    let both = wire::NetworkSpec { attachable: true, ingress: true, ..spec("net") };
    assert_eq!(refused(&world, both).await, invalid("ingress network cannot be attachable"));
    let mut reserved = spec("net");
    reserved.annotations.as_mut().unwrap().labels.insert("com.docker.swarm.predefined".into(), "true".into());
    assert_eq!(refused(&world, reserved).await.0, Code::PermissionDenied);
    for name in ["", "overlay"] {
        let driver = Some(wire::Driver { name: name.into(), ..Default::default() });
        let (code, text) = refused(&world, wire::NetworkSpec { driver_config: driver.clone(), ..spec("net") }).await;
        assert!(code == Code::InvalidArgument && text.contains(name), "{text}");
        let ipam = Some(wire::IpamOptions { driver, ..Default::default() });
        assert_eq!(refused(&world, wire::NetworkSpec { ipam, ..spec("net") }).await.0, Code::InvalidArgument);
    }
}

#[tokio::test]
async fn without_a_provider_of_networks_a_driver_is_refused_whatever_its_purpose() {
    let world = World::new();
    let text = "network driver overlay is not available: this cluster has no network provider";
    let driver = Some(wire::Driver { name: "overlay".into(), ..Default::default() });
    for ingress in [false, true] {
        let spec = wire::NetworkSpec { driver_config: driver.clone(), ingress, ..spec("net") };
        assert_eq!(refused(&world, spec).await, invalid(text));
    }
    let ipam = Some(wire::IpamOptions { driver, ..Default::default() });
    let text = "address management driver overlay is not available: this cluster has no network provider";
    assert_eq!(refused(&world, wire::NetworkSpec { ipam, ..spec("net") }).await, invalid(text));
    assert_eq!(world.view().count::<Network>(), 0);
}

#[tokio::test]
async fn the_provider_of_networks_says_what_can_be_asked_for() {
    let world = World::with_networks(Arc::new(OverlayNetworks));
    let of = |name: &str, ingress| {
        let driver_config = Some(wire::Driver { name: name.into(), ..Default::default() });
        wire::NetworkSpec { driver_config, ingress, ..spec(&format!("net{name}")) }
    };
    for name in ["overlay", "macvlan"] {
        create(&world, of(name, false)).await;
    }
    assert_eq!(refused(&world, of("weave", false)).await, invalid("network driver weave not found"));
    let text = "network driver macvlan cannot be that of the ingress network";
    assert_eq!(refused(&world, of("macvlan", true)).await, (Code::Unimplemented, text.to_owned()));
    let nameless = "driver name: if driver is specified name is required";
    assert_eq!(refused(&world, of("", false)).await, invalid(nameless));

    let mut both = pool("10.1.0.0/16", "", "");
    let ipam = both.ipam.as_mut().unwrap();
    ipam.driver = Some(wire::Driver { name: "dhcp".into(), ..Default::default() });
    assert_eq!(refused(&world, both.clone()).await, invalid("address management driver dhcp not found"));
    let ipam = both.ipam.as_mut().unwrap();
    ipam.driver = Some(wire::Driver { name: "default".into(), ..Default::default() });
    ipam.configs.push(wire::IpamConfig { subnet: "10.1.2.0/24".into(), ..Default::default() });
    let text = "network net cannot be made: its subnets 10.1.0.0/16 and 10.1.2.0/24 overlap";
    assert_eq!(refused(&world, both).await, invalid(text));
    assert_eq!(world.view().count::<Network>(), 2);
}

#[tokio::test]
async fn there_is_one_ingress_network() {
    let world = World::new();
    let first = create(&world, wire::NetworkSpec { ingress: true, ..spec("ingress") }).await;
    let text = format!("ingress network ({}) is already present", first.id);
    let second = wire::NetworkSpec { ingress: true, ..spec("other") };
    assert_eq!(refused(&world, second).await, (Code::AlreadyExists, text));

    let port = wire::PortConfig { target_port: 80, published_port: 80, ..Default::default() };
    let endpoint = Some(wire::EndpointSpec { ports: vec![port], ..Default::default() });
    let publishing = world.create(wire::ServiceSpec { endpoint, ..crate::world::web("web") }).await;
    let text = format!("ingress network cannot be removed because service {} depends on it", publishing.id);
    assert_eq!(remove(&world, &first.id).await.unwrap_err(), (Code::FailedPrecondition, text));
    let request = wire::RemoveServiceRequest { service_id: publishing.id, ..Default::default() };
    world.control().remove_service(request).await.unwrap();
    remove(&world, &first.id).await.unwrap();
}

#[tokio::test]
async fn a_network_in_use_stays() {
    let world = World::new();
    world.put(|tx| tx.create(network("a")).and_then(|_| tx.create(network("b"))).map(drop)).await;
    let user = world.create(spec_of(service("web").network("a"))).await;
    let text = format!("network a is in use by service {}", user.id);
    assert_eq!(remove(&world, "a").await.unwrap_err(), (Code::FailedPrecondition, text));

    let attached = |id: &str, state| {
        task(id).state(state).with(|task| {
            let attachment = wire::NetworkAttachmentConfig { target: "b".into(), ..Default::default() };
            Arc::make_mut(&mut task.spec).networks = vec![attachment];
        })
    };
    let (done, running) = (attached("done", TaskState::Failed), attached("running", TaskState::Running));
    world.put(|tx| tx.create(done.build()).and_then(|_| tx.create(running.build())).map(drop)).await;
    let text = "network b is in use by task running".to_owned();
    assert_eq!(remove(&world, "b").await.unwrap_err(), (Code::FailedPrecondition, text));
    world.put(|tx| tx.delete::<swarmkit_api::Task>(&"running".into()).map(drop)).await;
    remove(&world, "b").await.unwrap();
}

#[tokio::test]
async fn the_clusters_own_networks_stay() {
    let world = World::new();
    let mut own = network("bridge");
    let annotations = Arc::make_mut(&mut own.spec).annotations.as_mut().unwrap();
    annotations.labels.insert("com.docker.swarm.predefined".into(), "true".into());
    world.put(|tx| tx.create(own).map(drop)).await;
    let (code, text) = remove(&world, "bridge").await.unwrap_err();
    assert_eq!(code, Code::FailedPrecondition);
    assert!(text.contains("predefined network"), "{text}");
}

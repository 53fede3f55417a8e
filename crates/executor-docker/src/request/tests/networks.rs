//! Ports, networks and hosts.

use serde_json::json;
use swarmkit_api::wire::{
    Annotations, Driver, Endpoint, Network, NetworkAttachment, NetworkSpec, PortConfig,
    port_config::{Protocol, PublishMode},
};

use super::*;

fn port(protocol: Protocol, target_port: u32, published_port: u32, mode: PublishMode) -> PortConfig {
    PortConfig {
        protocol: protocol.into(),
        target_port,
        published_port,
        publish_mode: mode.into(),
        ..Default::default()
    }
}

/// What a task with those ports asks for, or why it is refused.
fn published(ports: Vec<PortConfig>) -> Result<Value, String> {
    let mut task = task(plain(), TaskSpec::default());
    task.endpoint = Some(Endpoint { ports, ..Default::default() }.into());
    beyond(&task, NEW)
}

/// What a task on those networks (name and driver) asks for, or why it is refused.
fn attached(networks: &[(&str, &str)]) -> Result<Value, String> {
    let mut task = task(plain(), TaskSpec::default());
    let attachment = |(name, driver): &(&str, &str)| {
        let annotations = Some(Annotations { name: (*name).into(), ..Default::default() });
        let network = Network {
            spec: Some(NetworkSpec { annotations, ..Default::default() }),
            driver_state: Some(Driver { name: (*driver).into(), ..Default::default() }),
            ..Default::default()
        };
        NetworkAttachment { network: Some(network), ..Default::default() }
    };
    task.networks = networks.iter().map(attachment).collect();
    beyond(&task, NEW)
}

#[test]
fn a_port_in_host_mode_is_bound_to_the_one_asked_for_or_to_any() {
    let asked = published(vec![
        port(Protocol::Tcp, 80, 8080, PublishMode::Host),
        port(Protocol::Tcp, 80, 8081, PublishMode::Host),
        port(Protocol::Udp, 53, 0, PublishMode::Host),
        port(Protocol::Sctp, 9, 9, PublishMode::Host),
    ]);
    let expected = json!({
        "ExposedPorts": ["53/udp", "80/tcp", "9/sctp"],
        "PortBindings": {
            "80/tcp": [{ "HostPort": "8080" }, { "HostPort": "8081" }],
            "53/udp": [{ "HostPort": "" }],
            "9/sctp": [{ "HostPort": "9" }],
        },
    });
    let mut asked = asked.unwrap();
    // A set, to the engine.
    if let Some(Value::Object(set)) = asked.get("ExposedPorts").cloned() {
        asked["ExposedPorts"] = set.keys().cloned().collect::<Vec<_>>().into();
    }
    assert_eq!(asked, expected);
}

#[test]
fn a_port_in_ingress_mode_is_refused() {
    let text = "the engine cannot do: ports in ingress mode (use host mode)";
    assert_eq!(published(vec![port(Protocol::Tcp, 80, 8080, PublishMode::Ingress)]).unwrap_err(), text);
}

#[test]
fn the_engines_own_networks_are_modes_and_others_are_refused_by_their_names() {
    assert_eq!(attached(&[("host", "host")]).unwrap(), json!({ "NetworkMode": "host" }));
    assert_eq!(attached(&[("bridge", "bridge")]).unwrap(), json!({ "NetworkMode": "bridge" }));
    let text = "the engine cannot do: attaching to the network backend";
    assert_eq!(attached(&[("backend", "overlay")]).unwrap_err(), text);
    assert_eq!(attached(&[("backend", "bridge")]).unwrap_err(), text);
    let text = "the engine cannot do: more than one of the engine's own networks";
    assert_eq!(attached(&[("host", "host"), ("bridge", "bridge")]).unwrap_err(), text);
}

#[test]
fn each_name_of_a_host_is_an_entry_of_its_own() {
    let asked_for = asked(|spec| spec.hosts = strings(&["10.0.0.9 db db.local", "::1 six", "host-gateway machine"]));
    let expected = ["db:10.0.0.9", "db.local:10.0.0.9", "six:::1", "machine:host-gateway"];
    assert_eq!(asked_for, json!({ "ExtraHosts": expected }));
    for line in ["10.0.0.9", "db 10.0.0.9", ""] {
        let text = format!("the engine cannot do: the host entry {line:?}");
        assert_eq!(refused(NEW, |spec| spec.hosts = strings(&[line])), text);
    }
}

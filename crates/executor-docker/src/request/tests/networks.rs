//! Ports, networks and hosts.

use serde_json::json;
use swarmkit_api::wire::{
    Annotations, Driver, Endpoint, IpamConfig, IpamOptions, Network, NetworkAttachment, NetworkAttachmentConfig,
    NetworkSpec, PortConfig,
    network_spec::ConfigFrom,
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

/// An attachment to a network of a name and a driver.
fn attachment(name: &str, driver: &str) -> NetworkAttachment {
    let annotations = Some(Annotations { name: name.into(), ..Default::default() });
    let network = Network {
        id: format!("id-of-{name}"),
        spec: Some(NetworkSpec { annotations, ..Default::default() }),
        driver_state: Some(Driver { name: driver.into(), ..Default::default() }),
        ..Default::default()
    };
    NetworkAttachment { network: Some(network), ..Default::default() }
}

/// A task with those attachments.
fn with(attachments: Vec<NetworkAttachment>) -> Task {
    let mut task = task(plain(), TaskSpec::default());
    task.networks = attachments;
    task
}

/// What a task on those networks (name and driver) asks for, or why it is refused.
fn attached(networks: &[(&str, &str)]) -> Result<Value, String> {
    beyond(&with(networks.iter().map(|(name, driver)| attachment(name, driver)).collect()), NEW)
}

/// What an engine is asked for that does not have the only network of a task.
fn made(attachment: NetworkAttachment) -> Result<Value, String> {
    let request = request(&with(vec![attachment]), NEW).map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(&request.networks[0].create).expect("it is sent as JSON"))
}

/// The same, for a specification and what the managers have decided.
fn made_of(change: impl FnOnce(&mut Network, &mut NetworkSpec)) -> Result<Value, String> {
    let mut attachment = attachment("back", "bridge");
    let network = attachment.network.as_mut().expect("it is to a network");
    let mut spec = network.spec.take().expect("it has a specification");
    change(network, &mut spec);
    network.spec = Some(spec);
    let mut made = made(attachment)?;
    for usual in ["Name", "Driver", "Labels"] {
        made.as_object_mut().expect("an object").remove(usual);
    }
    Ok(made)
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
fn the_engines_own_networks_are_modes_and_those_that_span_nodes_are_refused_by_their_names() {
    assert_eq!(attached(&[("host", "host")]).unwrap(), json!({ "NetworkMode": "host" }));
    assert_eq!(attached(&[("bridge", "bridge")]).unwrap(), json!({ "NetworkMode": "bridge" }));
    let text = "the engine cannot do: attaching to the network backend, which spans nodes";
    assert_eq!(attached(&[("backend", "overlay")]).unwrap_err(), text);
    assert_eq!(attached(&[("backend", "")]).unwrap_err(), text, "nobody has decided on it");
    let text = "the engine cannot do: more than one of the engine's own networks";
    assert_eq!(attached(&[("host", "host"), ("bridge", "bridge")]).unwrap_err(), text);
    let text = "the engine cannot do: other networks beside host or none";
    assert_eq!(attached(&[("host", "host"), ("back", "bridge")]).unwrap_err(), text);
    let alias = NetworkAttachment { aliases: strings(&["db"]), ..attachment("bridge", "bridge") };
    let text = "the engine cannot do: addresses, aliases and options on the network bridge";
    assert_eq!(beyond(&with(vec![alias]), NEW).unwrap_err(), text);
}

#[test]
fn a_container_is_made_in_the_first_of_its_networks_and_put_into_the_others() {
    let mut task = with(vec![attachment("back", "bridge"), attachment("lan", "macvlan")]);
    let asked = beyond(&task, OLD).unwrap();
    assert_eq!(asked["NetworkMode"], json!("back"));
    let names = json!(["web", "tasks.web"]);
    let expected = json!({ "EndpointsConfig": { "back": { "Aliases": names } } });
    assert_eq!(asked["NetworkingConfig"], expected, "an old engine takes one");
    let labels = asked["Labels"].as_object().unwrap();
    assert!(["id-of-back", "id-of-lan"].iter().all(|id| labels.contains_key(&format!("swarmkit.network.{id}"))));
    let networks = |task: &Task| -> Vec<_> {
        let networks = request(task, OLD).unwrap().networks;
        networks.into_iter().map(|network| network.create.name).collect()
    };
    assert_eq!(networks(&task), ["back", "lan"]);

    task.networks.insert(0, attachment("bridge", "bridge"));
    let asked = beyond(&task, OLD).unwrap();
    assert_eq!((&asked["NetworkMode"], asked.get("NetworkingConfig")), (&json!("bridge"), None));
    assert_eq!(networks(&task), ["back", "lan"]);
}

#[test]
fn a_place_in_a_network_has_the_addresses_the_names_and_the_options_that_were_asked_for() {
    let place = |attachment: NetworkAttachment, asked: &[&str]| {
        let config = NetworkAttachmentConfig { target: "back".into(), addresses: strings(asked), ..Default::default() };
        let mut task = task(plain(), TaskSpec { networks: vec![config], ..Default::default() });
        task.networks = vec![attachment];
        let request = request(&task, NEW).map_err(|error| error.to_string())?;
        Ok::<_, String>(serde_json::to_value(&request.networks[0].endpoint).unwrap())
    };
    let given = NetworkAttachment {
        addresses: strings(&["10.0.0.4/24", "fd00::4/64"]),
        aliases: strings(&["db"]),
        driver_attachment_opts: [("a".to_owned(), "b".to_owned())].into(),
        ..attachment("back", "bridge")
    };
    let expected = json!({
        "IPAMConfig": { "IPv4Address": "10.0.0.4", "IPv6Address": "fd00::4" },
        "Aliases": ["web", "tasks.web", "db"],
        "DriverOpts": { "a": "b" },
    });
    assert_eq!(place(given, &["10.0.0.9"]).unwrap(), expected, "what the managers gave out counts");
    let asked = place(attachment("back", "bridge"), &["10.0.0.9"]).unwrap();
    assert_eq!(asked["IPAMConfig"], json!({ "IPv4Address": "10.0.0.9" }));
    let text = "the engine cannot do: the address \"ten\" on the network back";
    assert_eq!(place(attachment("back", "bridge"), &["ten"]).unwrap_err(), text);
}

#[test]
fn a_network_is_made_as_it_was_asked_for_and_decided() {
    let labels = json!({ "swarmkit.executor": "o1", "swarmkit.network": "id-of-back" });
    let plain = json!({ "Name": "back", "Driver": "bridge", "Labels": labels });
    assert_eq!(made(attachment("back", "bridge")).unwrap(), plain);

    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let all = made_of(|network, spec| {
        let options = pairs(&[("parent", "eth0"), ("mode", "l2")]);
        spec.driver_config = Some(Driver { name: "ipvlan".into(), options });
        spec.internal = true;
        spec.ipv6_enabled = true;
        let pool = IpamConfig {
            subnet: "10.9.0.0/24".into(),
            range: "10.9.0.128/25".into(),
            gateway: "10.9.0.254".into(),
            reserved: pairs(&[("printer", "10.9.0.130")]),
            ..Default::default()
        };
        let driver = Some(Driver { name: "default".into(), options: pairs(&[("serial", "true")]) });
        spec.ipam = Some(IpamOptions { driver, configs: vec![pool] });
        network.driver_state = Some(Driver { name: "ipvlan".into(), options: pairs(&[("mode", "l3")]) });
        network.ipam = Some(IpamOptions { driver: Some(Driver::default()), configs: Vec::new() });
    });
    let pool = json!({
        "Subnet": "10.9.0.0/24", "IPRange": "10.9.0.128/25", "Gateway": "10.9.0.254",
        "AuxiliaryAddresses": { "printer": "10.9.0.130" },
    });
    let expected = json!({
        "Internal": true, "EnableIPv6": true, "Options": { "parent": "eth0", "mode": "l3" },
        "IPAM": { "Driver": "default", "Options": { "serial": "true" }, "Config": [pool] },
    });
    assert_eq!(all.unwrap(), expected);

    let from = made_of(|_, spec| {
        spec.config_from = Some(ConfigFrom::Network("lan-of-this-node".into()));
        spec.internal = true;
    });
    assert_eq!(from.unwrap(), json!({ "ConfigFrom": { "Network": "lan-of-this-node" } }));

    let by_size = made_of(|_, spec| {
        let pool = IpamConfig { subnet: "0.0.0.0/26".into(), ..Default::default() };
        spec.ipam = Some(IpamOptions { driver: None, configs: vec![pool] });
    });
    let text = "the engine cannot do: a subnet of the network back by its size alone (name one)";
    assert_eq!(by_size.unwrap_err(), text);
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

//! The ports by which a container is reached, and the names that it is told.

use std::collections::BTreeMap;

use bollard::models::{PortBinding, PortMap};
use swarmkit_api::{
    Task,
    wire::{
        ContainerSpec,
        port_config::{Protocol, PublishMode},
    },
};

use super::refusals::Refusals;

/// Published ports, as the engine wants them: twice.
#[derive(Debug, Default)]
pub(super) struct Ports {
    pub(super) exposed: Option<Vec<String>>,
    pub(super) bindings: Option<PortMap>,
}

/// The ports in host mode.
pub(super) fn ports(task: &Task, refused: &mut Refusals) -> Ports {
    let ports = task.endpoint.as_ref().map(|endpoint| endpoint.ports.as_slice()).unwrap_or_default();
    let mut bindings = BTreeMap::<String, Vec<PortBinding>>::new();
    for port in ports {
        match port.publish_mode() {
            PublishMode::Ingress => refused.unless(false, "ports in ingress mode (use host mode)"),
            PublishMode::Host => {
                let protocol = match port.protocol() {
                    Protocol::Tcp => "tcp",
                    Protocol::Udp => "udp",
                    Protocol::Sctp => "sctp",
                };
                // Any port of the machine, if none is named.
                let host_port =
                    Some(if port.published_port == 0 { String::new() } else { port.published_port.to_string() });
                let bound = bindings.entry(format!("{}/{protocol}", port.target_port)).or_default();
                bound.push(PortBinding { host_ip: None, host_port });
            }
        }
    }
    if bindings.is_empty() {
        return Ports::default();
    }
    Ports {
        exposed: Some(bindings.keys().cloned().collect()),
        bindings: Some(bindings.into_iter().map(|(port, bound)| (port, Some(bound))).collect()),
    }
}

/// The lines for the table of hosts: `address name [name…]`, each name an entry of its own to the engine.
pub(super) fn hosts(spec: &ContainerSpec, refused: &mut Refusals) -> Vec<String> {
    let mut hosts = Vec::new();
    for line in &spec.hosts {
        let mut words = line.split_whitespace();
        let address = words.next().unwrap_or_default();
        let names: Vec<_> = words.collect();
        let is_address = address.parse::<std::net::IpAddr>().is_ok() || address == HOST_GATEWAY;
        refused.unless(is_address && !names.is_empty(), format!("the host entry {line:?}"));
        hosts.extend(names.into_iter().map(|name| format!("{name}:{address}")));
    }
    hosts
}

/// The engine's word for the address of the machine.
const HOST_GATEWAY: &str = "host-gateway";

//! The networks that a container is in.

use std::{collections::BTreeMap, net::IpAddr};

use bollard::models::{
    ConfigReference, EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkCreateRequest, NetworkingConfig,
};
use swarmkit_api::{
    Task,
    wire::{self, Network, NetworkAttachment, NetworkSpec, network_spec::ConfigFrom},
};

use super::{flag, refusals::Refusals, some, text};
use crate::labels;

/// The networks that every engine has, by their names and by their drivers.
const PREDEFINED: [&str; 3] = ["host", "bridge", "none"];
/// The driver of networks that span nodes. An engine carries those of its own swarm only.
pub(crate) const OVERLAY: &str = "overlay";

/// A network that the engine has for itself, and the container's place in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LocalNetwork {
    /// The id of the cluster's network.
    pub(crate) id: String,
    /// What to ask of an engine that does not have it.
    pub(crate) create: NetworkCreateRequest,
    pub(crate) endpoint: EndpointSettings,
}

/// All networks of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attachments {
    /// The engine's own network that it is in, or the first of the others. `None` is the engine's default.
    pub(super) mode: Option<String>,
    pub(crate) local: Vec<LocalNetwork>,
}

/// Decides on the networks of a task.
pub(super) fn attachments(task: &Task, owner: &str, refused: &mut Refusals) -> Attachments {
    let mut modes = Vec::new();
    let mut local = Vec::new();
    for attachment in &task.networks {
        let Some(network) = attachment.network.as_ref() else {
            refused.unless(false, "an attachment to no network");
            continue;
        };
        let (name, driver) = (name(network), driver(network));
        match PREDEFINED.into_iter().find(|own| *own == driver && *own == name) {
            Some(own) => {
                let is_plain = attachment.addresses.is_empty()
                    && attachment.aliases.is_empty()
                    && attachment.driver_attachment_opts.is_empty()
                    && asked_for(task, network).is_none_or(|asked| asked.addresses.is_empty());
                refused.unless(is_plain, format!("addresses, aliases and options on the network {own}"));
                modes.push(own);
            }
            None if driver.is_empty() || driver == OVERLAY => {
                refused.unless(false, format!("attaching to the network {name}, which spans nodes"));
            }
            None => local.push(LocalNetwork {
                id: network.id.clone(),
                create: create(network, driver, owner, refused),
                endpoint: endpoint(task, attachment, network, refused),
            }),
        }
    }
    refused.unless(modes.len() <= 1, "more than one of the engine's own networks");
    refused
        .unless(local.is_empty() || modes.iter().all(|mode| *mode == "bridge"), "other networks beside host or none");
    let first = local.first().map(|network| network.create.name.clone());
    Attachments { mode: modes.first().map(|mode| (*mode).to_owned()).or(first), local }
}

impl Attachments {
    /// The network that the container is made in, where that is not said by its mode alone. Engines before API 1.44
    /// take one; the container is put into the others when it is there.
    pub(super) fn first(&self) -> Option<NetworkingConfig> {
        let first = self.local.first().filter(|first| self.mode.as_ref() == Some(&first.create.name))?;
        let endpoints = [(first.create.name.clone(), first.endpoint.clone())].into();
        Some(NetworkingConfig { endpoints_config: Some(endpoints) })
    }

    /// The labels by which it is known which networks are in use.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let label = |network: &LocalNetwork| (format!("{}{}", labels::IN_NETWORK, network.id), String::new());
        self.local.iter().map(label).collect()
    }
}

fn spec(network: &Network) -> Option<&NetworkSpec> {
    network.spec.as_ref()
}

fn name(network: &Network) -> &str {
    spec(network).and_then(|spec| spec.annotations.as_ref()).map(|of| of.name.as_str()).unwrap_or_default()
}

fn driver(network: &Network) -> &str {
    network.driver_state.as_ref().map(|driver| driver.name.as_str()).unwrap_or_default()
}

/// What the specification says of an attachment, by the id or the name of its network.
fn asked_for<'a>(task: &'a Task, network: &Network) -> Option<&'a wire::NetworkAttachmentConfig> {
    task.spec.networks.iter().find(|asked| asked.target == network.id || asked.target == name(network))
}

/// What an engine is asked for that does not have the network.
fn create(network: &Network, driver: &str, owner: &str, refused: &mut Refusals) -> NetworkCreateRequest {
    let spec = spec(network).cloned().unwrap_or_default();
    let name = name(network);
    let ours = [(labels::OWNER, owner), (labels::NETWORK, network.id.as_str())];
    let mut labels = spec.annotations.map(|annotations| annotations.labels).unwrap_or_default();
    labels.extend(ours.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: text(driver),
        labels: Some(labels.into_iter().collect()),
        ..Default::default()
    };
    // An engine that takes settings from another network takes no others.
    if let Some(ConfigFrom::Network(from)) = spec.config_from {
        return NetworkCreateRequest { config_from: Some(ConfigReference { network: Some(from) }), ..request };
    }
    // What was asked for, and what the managers have decided.
    let mut options = spec.driver_config.map(|driver| driver.options).unwrap_or_default();
    options.extend(network.driver_state.iter().flat_map(|driver| driver.options.clone()));
    let decided = network.ipam.clone().filter(|ipam| !ipam.configs.is_empty());
    NetworkCreateRequest {
        options: (!options.is_empty()).then(|| options.into_iter().collect()),
        internal: flag(spec.internal),
        enable_ipv6: flag(spec.ipv6_enabled),
        ipam: decided.or(spec.ipam).and_then(|ipam| addresses(name, &ipam, refused)),
        ..request
    }
}

/// How addresses are given out in a network. `None` leaves it to the engine.
fn addresses(network: &str, ipam: &wire::IpamOptions, refused: &mut Refusals) -> Option<Ipam> {
    let pools = ipam.configs.iter().map(|pool| {
        let unspecified = ["0.0.0.0/", "::/"].into_iter().any(|any| pool.subnet.starts_with(any));
        let named = format!("a subnet of the network {network} by its size alone (name one)");
        refused.unless(!unspecified, named);
        IpamConfig {
            subnet: text(&pool.subnet),
            ip_range: text(&pool.range),
            gateway: text(&pool.gateway),
            auxiliary_addresses: (!pool.reserved.is_empty()).then(|| pool.reserved.clone().into_iter().collect()),
        }
    });
    let pools: Vec<_> = pools.collect();
    let driver = ipam.driver.clone().unwrap_or_default();
    if pools.is_empty() && driver.name.is_empty() && driver.options.is_empty() {
        return None;
    }
    Some(Ipam {
        driver: text(&driver.name),
        config: some(pools),
        options: (!driver.options.is_empty()).then(|| driver.options.into_iter().collect()),
    })
}

/// The container's place in a network: its addresses, and the names by which others there find it.
fn endpoint(
    task: &Task,
    attachment: &NetworkAttachment,
    network: &Network,
    refused: &mut Refusals,
) -> EndpointSettings {
    // Nobody but the engine gives out addresses of such a network, so those that were asked for count.
    let asked = asked_for(task, network).map(|asked| asked.addresses.as_slice()).unwrap_or_default();
    let addresses = if attachment.addresses.is_empty() { asked } else { &attachment.addresses };
    let (mut v4, mut v6) = (None, None);
    for address in addresses {
        match address.split('/').next().unwrap_or_default().parse() {
            Ok(IpAddr::V4(address)) => v4 = Some(address.to_string()),
            Ok(IpAddr::V6(address)) => v6 = Some(address.to_string()),
            Err(_) => refused.unless(false, format!("the address {address:?} on the network {}", name(network))),
        }
    }
    let has_address = v4.is_some() || v6.is_some();
    let service = &task.service_annotations.name;
    let names = if service.is_empty() { Vec::new() } else { vec![service.clone(), format!("tasks.{service}")] };
    let options = &attachment.driver_attachment_opts;
    EndpointSettings {
        ipam_config: has_address.then_some(EndpointIpamConfig {
            ipv4_address: v4,
            ipv6_address: v6,
            link_local_ips: None,
        }),
        aliases: some(names.into_iter().chain(attachment.aliases.iter().cloned()).collect()),
        driver_opts: (!options.is_empty()).then(|| options.clone().into_iter().collect()),
        ..Default::default()
    }
}

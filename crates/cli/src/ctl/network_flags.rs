//! The flags that describe a network, and the specification that they make.

use std::{collections::BTreeMap, net::IpAddr};

use clap::Args;
use ipnet::IpNet;
use swarmkit_api::wire::{self, ipam_config::AddressFamily};

use super::{
    CtlError,
    service_flags::{Csv, labels, values},
};

/// What a new network shall be.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct NetworkFlags {
    /// Name of the new network
    #[arg(value_name = "NAME", required_unless_present = "named")]
    name: Option<String>,

    /// The same, as a flag
    #[arg(long = "name", id = "named", value_name = "NAME", conflicts_with = "name")]
    named: Option<String>,

    /// Who carries the packets [default: the cluster's choice]
    #[arg(short, long, value_name = "DRIVER")]
    driver: Option<String>,

    /// Option of the driver, as key=value (repeat, or separate with commas)
    #[arg(short, long, value_name = "KEY=VALUE", visible_alias = "opts", requires = "driver")]
    opt: Vec<Csv>,

    /// Who gives out addresses [default: the cluster's choice]
    #[arg(long, value_name = "DRIVER")]
    ipam_driver: Option<String>,

    /// Option for who gives out addresses, as key=value (repeat, or separate with commas)
    #[arg(long, value_name = "KEY=VALUE")]
    ipam_opt: Vec<Csv>,

    /// Subnet, as CIDR; 0.0.0.0/26 leaves all but its size to the cluster (repeat) [default: one of the cluster's pools]
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<Csv>,

    /// Gateway of the subnet that it lies in (repeat) [default: the first address]
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<Csv>,

    /// Part of the subnet that it lies in from which addresses are chosen (repeat) [default: all of it]
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<Csv>,

    /// Address that is not given out, as name=address (repeat)
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<Csv>,

    /// Give it addresses of IPv6 as well
    #[arg(long)]
    ipv6: bool,

    /// Leave no way out of the network
    #[arg(long)]
    internal: bool,

    /// Let containers that are no tasks be attached
    #[arg(long)]
    attachable: bool,

    /// Make it the network that published ports come in through
    #[arg(long)]
    ingress: bool,

    /// Label, as key=value (repeat, or separate with commas)
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Csv>,
}

impl NetworkFlags {
    /// The specification that they make.
    pub(super) fn spec(self) -> Result<wire::NetworkSpec, CtlError> {
        let pools = self.pools().map_err(CtlError::Usage)?;
        let driver = |name: Option<&String>, options: &[Csv]| -> Result<Option<wire::Driver>, CtlError> {
            let options = labels(options)?;
            let is_asked = name.is_some() || !options.is_empty();
            Ok(is_asked.then(|| wire::Driver { name: name.cloned().unwrap_or_default(), options }))
        };
        let mut ipam_driver = driver(self.ipam_driver.as_ref(), &self.ipam_opt)?;
        if let Some(driver) = &mut ipam_driver
            && driver.name.is_empty()
        {
            "default".clone_into(&mut driver.name);
        }
        let has_ipam = ipam_driver.is_some() || !pools.is_empty();
        let name = self.name.or(self.named).unwrap_or_default();
        Ok(wire::NetworkSpec {
            annotations: Some(wire::Annotations { name, labels: labels(&self.label)?, ..Default::default() }),
            driver_config: driver(self.driver.as_ref(), &self.opt)?,
            ipv6_enabled: self.ipv6,
            internal: self.internal,
            ipam: has_ipam.then_some(wire::IpamOptions { driver: ipam_driver, configs: pools }),
            attachable: self.attachable,
            ingress: self.ingress,
            config_from: None,
        })
    }

    /// Each subnet with the gateway, the range and the reserved addresses that lie in it.
    fn pools(&self) -> Result<Vec<wire::IpamConfig>, String> {
        let mut pools: Vec<(IpNet, wire::IpamConfig)> = Vec::new();
        for text in values(&self.subnet) {
            let net: IpNet = text.parse().map_err(|_| format!("malformed subnet {text:?}: expected 10.1.0.0/24"))?;
            let family = if net.addr().is_ipv4() { AddressFamily::Ipv4 } else { AddressFamily::Ipv6 };
            let config = wire::IpamConfig { family: family.into(), subnet: text.to_owned(), ..Default::default() };
            pools.push((net, config));
        }
        for text in values(&self.ip_range) {
            let range: IpNet = text.parse().map_err(|_| format!("malformed range {text:?}: expected 10.1.0.0/25"))?;
            let free = |(net, config): &&mut (IpNet, wire::IpamConfig)| config.range.is_empty() && net.contains(&range);
            let found = pools.iter_mut().find(free).ok_or_else(|| lies_nowhere("range", text))?;
            text.clone_into(&mut found.1.range);
        }
        for text in values(&self.gateway) {
            let address: IpAddr = text.parse().map_err(|_| format!("malformed gateway {text:?}: expected 10.1.0.1"))?;
            let free =
                |(net, config): &&mut (IpNet, wire::IpamConfig)| config.gateway.is_empty() && net.contains(&address);
            let found = pools.iter_mut().find(free).ok_or_else(|| lies_nowhere("gateway", text))?;
            text.clone_into(&mut found.1.gateway);
        }
        for text in values(&self.aux_address) {
            let malformed = || format!("malformed address {text:?}: expected name=10.1.0.5");
            let (name, address) = text.split_once('=').ok_or_else(malformed)?;
            let number: IpAddr = address.parse().map_err(|_| malformed())?;
            let found = pools.iter_mut().find(|(net, _)| net.contains(&number));
            let found = found.ok_or_else(|| lies_nowhere("address", address))?;
            found.1.reserved.insert(name.to_owned(), address.to_owned());
        }
        Ok(pools.into_iter().map(|(_, config)| config).collect())
    }
}

fn lies_nowhere(what: &str, text: &str) -> String {
    format!("no subnet has room for {what} {text}: name one with --subnet")
}

/// A network that a service is to be attached to, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attachment {
    /// Id or name.
    pub(super) network: String,
    pub(super) aliases: Vec<String>,
    pub(super) addresses: Vec<String>,
    pub(super) options: BTreeMap<String, String>,
}

/// `NAME[,alias=NAME][,ip=ADDRESS][,driver-opt=KEY=VALUE]`, where the first part may be `name=NAME` as well.
pub(super) fn parse_attachment(Csv(parts): &Csv) -> Result<Attachment, CtlError> {
    let fault = |what: &str| CtlError::Usage(format!("malformed network {:?}: {what}", parts.join(",")));
    let (network, rest) = match parts.split_first() {
        Some((first, rest)) if !first.contains('=') => (first.clone(), rest),
        _ => (String::new(), &parts[..]),
    };
    let mut attachment = Attachment { network, aliases: Vec::new(), addresses: Vec::new(), options: BTreeMap::new() };
    for part in rest {
        match part.split_once('=') {
            Some(("name", name)) if attachment.network.is_empty() => attachment.network = name.to_owned(),
            Some(("alias", alias)) => attachment.aliases.push(alias.to_owned()),
            Some(("ip" | "ip6", address)) => {
                address.parse::<IpAddr>().map_err(|_| fault("ip is an address"))?;
                attachment.addresses.push(address.to_owned());
            }
            Some(("driver-opt", option)) => {
                let (key, value) = option.split_once('=').ok_or_else(|| fault("driver-opt is KEY=VALUE"))?;
                attachment.options.insert(key.to_owned(), value.to_owned());
            }
            _ => return Err(fault("expected name, then alias=, ip= or driver-opt=")),
        }
    }
    if attachment.network.is_empty() { Err(fault("it has no name")) } else { Ok(attachment) }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;

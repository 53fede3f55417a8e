//! Networks.

use std::net::IpAddr;

use ipnet::IpNet;
use swarmkit_allocator::{DriverPurpose, NetworkError, NetworkProvider};
use swarmkit_api::wire;

use super::{Checked, dns_name};
use crate::{ControlError, request::name_of};

/// The label of networks that the cluster makes itself.
pub(crate) const PREDEFINED_LABEL: &str = "com.docker.swarm.predefined";

pub(crate) fn network(spec: &wire::NetworkSpec, provider: &dyn NetworkProvider) -> Checked {
    if spec.attachable && spec.ingress {
        return Err(ControlError::invalid("ingress network cannot be attachable"));
    }
    dns_name(name_of(&spec.annotations))?;
    if spec.annotations.as_ref().is_some_and(|annotations| annotations.labels.contains_key(PREDEFINED_LABEL)) {
        return Err(ControlError::Denied(format!(
            "label {PREDEFINED_LABEL} is for internally created predefined networks and cannot be applied by users"
        )));
    }
    if let Some(driver) = &spec.driver_config {
        if driver.name.is_empty() {
            return Err(ControlError::invalid("driver name: if driver is specified name is required"));
        }
        let purpose = if spec.ingress { DriverPurpose::Ingress } else { DriverPurpose::Network };
        provider.check_driver(purpose, Some(driver)).map_err(|error| refused("network driver", &driver.name, error))?;
    }
    if let Some(ipam) = &spec.ipam {
        if let Some(driver) = &ipam.driver {
            let checked = provider.check_driver(DriverPurpose::Ipam, Some(driver));
            checked.map_err(|error| refused("address management driver", &driver.name, error))?;
        }
        ipam.configs.iter().try_for_each(pool)?;
    }
    provider.check_network(spec).map_err(|error| ControlError::invalid(error.to_string()))
}

fn refused(what: &str, name: &str, error: NetworkError) -> ControlError {
    match error {
        NetworkError::Unavailable => {
            ControlError::invalid(format!("{what} {name} is not available: this cluster has no network provider"))
        }
        NetworkError::BadIngressDriver(_) => ControlError::Unsupported(error.to_string()),
        error => ControlError::invalid(error.to_string()),
    }
}

fn pool(config: &wire::IpamConfig) -> Checked {
    let subnet: IpNet = config
        .subnet
        .parse()
        .map_err(|_| ControlError::invalid(format!("ipam configuration: invalid subnet {}", config.subnet)))?;
    if !config.range.is_empty() {
        let range: IpNet = config
            .range
            .parse()
            .map_err(|_| ControlError::invalid(format!("ipam configuration: invalid range {}", config.range)))?;
        if !subnet.contains(&range.addr()) {
            return Err(ControlError::invalid(format!(
                "ipam configuration: subnet {subnet} does not contain range {range}"
            )));
        }
    }
    if !config.gateway.is_empty() {
        let gateway: IpAddr = config
            .gateway
            .parse()
            .map_err(|_| ControlError::invalid(format!("ipam configuration: invalid gateway {}", config.gateway)))?;
        if !subnet.contains(&gateway) {
            return Err(ControlError::invalid(format!(
                "ipam configuration: subnet {subnet} does not contain gateway {gateway}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use swarmkit_allocator::InertNetworks;

    use super::*;

    fn with_pool(subnet: &str, range: &str, gateway: &str) -> wire::NetworkSpec {
        wire::NetworkSpec {
            annotations: Some(wire::Annotations { name: "back".into(), ..Default::default() }),
            ipam: Some(wire::IpamOptions {
                configs: vec![wire::IpamConfig {
                    subnet: subnet.into(),
                    range: range.into(),
                    gateway: gateway.into(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn ranges_and_gateways_lie_inside_their_subnet() {
        assert!(network(&with_pool("10.1.0.0/16", "10.1.2.0/24", "10.1.0.1"), &InertNetworks).is_ok());
        assert!(network(&with_pool("10.1.0.0", "", ""), &InertNetworks).is_err());
        assert!(network(&with_pool("10.1.0.0/16", "10.2.0.0/24", ""), &InertNetworks).is_err());
        assert!(network(&with_pool("10.1.0.0/16", "", "10.2.0.1"), &InertNetworks).is_err());
    }

    #[test]
    fn the_label_of_predefined_networks_is_reserved() {
        let mut spec = with_pool("10.1.0.0/16", "", "");
        spec.annotations.as_mut().unwrap().labels.insert(PREDEFINED_LABEL.into(), "true".into());
        assert!(matches!(network(&spec, &InertNetworks), Err(ControlError::Denied(_))));
    }
}

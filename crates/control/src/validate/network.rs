//! Networks.

use std::net::IpAddr;

use ipnet::IpNet;
use swarmkit_api::wire;

use super::{Checked, dns_name};
use crate::{ControlError, request::name_of};

/// The label of networks that the cluster makes itself.
pub(crate) const PREDEFINED_LABEL: &str = "com.docker.swarm.predefined";

pub(crate) fn network(spec: &wire::NetworkSpec) -> Checked {
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
        return Err(ControlError::invalid(format!(
            "network driver {} is not available: this cluster has no network provider",
            driver.name
        )));
    }
    let Some(ipam) = &spec.ipam else { return Ok(()) };
    if let Some(driver) = &ipam.driver
        && driver.name != "default"
    {
        return Err(ControlError::invalid(format!("address management driver {:?} is not available", driver.name)));
    }
    ipam.configs.iter().try_for_each(pool)
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
        assert!(network(&with_pool("10.1.0.0/16", "10.1.2.0/24", "10.1.0.1")).is_ok());
        assert!(network(&with_pool("10.1.0.0", "", "")).is_err());
        assert!(network(&with_pool("10.1.0.0/16", "10.2.0.0/24", "")).is_err());
        assert!(network(&with_pool("10.1.0.0/16", "", "10.2.0.1")).is_err());
    }

    #[test]
    fn the_label_of_predefined_networks_is_reserved() {
        let mut spec = with_pool("10.1.0.0/16", "", "");
        spec.annotations.as_mut().unwrap().labels.insert(PREDEFINED_LABEL.into(), "true".into());
        assert!(matches!(network(&spec), Err(ControlError::Denied(_))));
    }
}

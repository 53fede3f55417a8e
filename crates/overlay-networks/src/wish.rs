//! What the specification of a network asks for, understood.

use std::{fmt::Display, net::IpAddr};

use ipnet::IpNet;
use swarmkit_allocator::NetworkError;
use swarmkit_api::wire::{IpamConfig, IpamOptions, NetworkSpec, ipam_config::AddressFamily};

use crate::{
    VXLAN_IDS,
    family::{Family, bounds},
    vxlan,
};

/// One subnet that a network shall have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wish {
    pub(crate) subnet: Which,
    /// What may be given out of it. All, if `None`.
    pub(crate) range: Option<IpNet>,
    /// The first free address, if `None`.
    pub(crate) gateway: Option<IpAddr>,
    /// What is not given out.
    pub(crate) reserved: Vec<IpAddr>,
    /// As it was written.
    pub(crate) config: IpamConfig,
}

/// Which subnet it shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// This one.
    Exact(IpNet),
    /// Any one of the cluster's pools, of that prefix length or of the usual one.
    Any(Family, Option<u8>),
}

/// A reason, told with the name of the network.
pub(crate) fn bad(network: &str, reason: impl Display) -> NetworkError {
    NetworkError::BadNetwork { network: network.to_owned(), reason: reason.to_string() }
}

/// The subnets that a network shall have, in the order of its specification. An overlay has one of IPv4 in any case, since
/// engines carry its packets by that, and one of IPv6 if it has that enabled.
pub(crate) fn subnets(name: &str, spec: &NetworkSpec, ipam: Option<&IpamOptions>) -> Result<Vec<Wish>, NetworkError> {
    let configs = ipam.map_or(&[][..], |ipam| &ipam.configs);
    let mut wishes = configs.iter().map(|config| wish(name, config)).collect::<Result<Vec<_>, _>>()?;
    let has = |wishes: &[Wish], family| wishes.iter().any(|wish| wish.subnet.family() == family);
    if !has(&wishes, Family::V4) {
        wishes.insert(0, Wish::any(Family::V4));
    }
    if spec.ipv6_enabled && !has(&wishes, Family::V6) {
        wishes.push(Wish::any(Family::V6));
    }
    let exact: Vec<_> = wishes.iter().filter_map(|wish| wish.subnet.exact()).collect();
    for (index, one) in exact.iter().enumerate() {
        let overlaps = |other: &&IpNet| {
            Family::of(**other) == Family::of(*one)
                && bounds(**other).0 <= bounds(*one).1
                && bounds(*one).0 <= bounds(**other).1
        };
        if let Some(other) = exact[..index].iter().find(overlaps) {
            return Err(bad(name, format_args!("its subnets {other} and {one} overlap")));
        }
    }
    Ok(wishes)
}

/// The VXLAN ids that a network asks for, one for each of its IPv4 subnets. 0, and what is missing, is chosen.
pub(crate) fn vxlan_ids(name: &str, spec: &NetworkSpec) -> Result<Vec<u32>, NetworkError> {
    let options = spec.driver_config.as_ref().map(|driver| &driver.options);
    let Some(list) = options.and_then(|options| options.get(VXLAN_IDS)).filter(|list| !list.trim().is_empty()) else {
        return Ok(Vec::new());
    };
    let mut ids: Vec<u32> = Vec::new();
    for text in list.split(',').map(str::trim) {
        let id = text.parse().ok().filter(|id| *id <= vxlan::LAST);
        let id =
            id.ok_or_else(|| bad(name, format_args!("{text:?} is no vxlan id: those are up to {}", vxlan::LAST)))?;
        if id != 0 && ids.contains(&id) {
            return Err(bad(name, format_args!("vxlan id {id} is asked for twice")));
        }
        ids.push(id);
    }
    Ok(ids)
}

impl Which {
    pub(crate) fn family(self) -> Family {
        match self {
            Self::Exact(net) => Family::of(net),
            Self::Any(family, _) => family,
        }
    }

    fn exact(self) -> Option<IpNet> {
        match self {
            Self::Exact(net) => Some(net),
            Self::Any(..) => None,
        }
    }
}

impl Wish {
    fn any(family: Family) -> Self {
        Self {
            subnet: Which::Any(family, None),
            range: None,
            gateway: None,
            reserved: Vec::new(),
            config: IpamConfig::default(),
        }
    }
}

fn wish(name: &str, config: &IpamConfig) -> Result<Wish, NetworkError> {
    let subnet = which(name, config)?;
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| bad(name, format_args!("{text:?} is no address")));
    let range = Some(&config.range).filter(|range| !range.is_empty());
    let range = range.map(|range| net(name, range)).transpose()?;
    let gateway = Some(&config.gateway).filter(|gateway| !gateway.is_empty());
    let gateway = gateway.map(|gateway| address(gateway)).transpose()?;
    let reserved = config.reserved.values().map(|reserved| address(reserved)).collect::<Result<_, _>>()?;
    match (subnet, range) {
        (Which::Any(..), Some(range)) => {
            Err(bad(name, format_args!("range {range} is given without the subnet that it is of")))
        }
        (Which::Exact(subnet), Some(range)) if !subnet.contains(&range) => {
            Err(bad(name, format_args!("range {range} is not within subnet {subnet}")))
        }
        _ => Ok(Wish { subnet, range, gateway, reserved, config: config.clone() }),
    }
}

/// No subnet, or one without an address, leaves the choice to the cluster.
fn which(name: &str, config: &IpamConfig) -> Result<Which, NetworkError> {
    if config.subnet.is_empty() {
        let family = if config.family() == AddressFamily::Ipv6 { Family::V6 } else { Family::V4 };
        return Ok(Which::Any(family, None));
    }
    let net = net(name, &config.subnet)?;
    Ok(match net.prefix_len() {
        0 => Which::Any(Family::of(net), None),
        length if net.addr().is_unspecified() => Which::Any(Family::of(net), Some(length)),
        _ => Which::Exact(net.trunc()),
    })
}

fn net(name: &str, text: &str) -> Result<IpNet, NetworkError> {
    text.parse::<IpNet>().map(|net| net.trunc()).map_err(|_| bad(name, format_args!("{text:?} is no subnet")))
}

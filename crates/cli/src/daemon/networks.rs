//! Who gives out networks and their addresses, as the flags choose it.

use std::sync::Arc;

use clap::ValueEnum;
use ipnet::IpNet;
use swarmkit_allocator::{InertNetworks, NetworkOptions, NetworkProvider};
use swarmkit_overlay_networks::OverlayNetworks;

/// What networks a cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworksKind {
    /// None: tasks use those of their nodes
    #[default]
    None,
    /// Overlays that span nodes, carried by workers that are Docker Engines
    Overlay,
}

/// The flags that say what networks the cluster has, and where they get their addresses from.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct NetworkFlags {
    /// Which networks this node gives out while it manages; the same for all managers of a cluster. Read docs/networks.md first
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    networks: NetworksKind,

    /// Where the networks of a cluster that this node begins get their subnets from, as CIDR (repeat) [default: 10.0.0.0/8]
    #[arg(long, value_name = "CIDR", value_parser = parse_pool)]
    default_addr_pool: Vec<IpNet>,

    /// Prefix length of a subnet of IPv4 that is cut from these [default: 24]
    #[arg(long, value_name = "LENGTH", value_parser = clap::value_parser!(u32).range(1..=29))]
    default_addr_pool_mask_length: Option<u32>,

    /// UDP port that carries the overlays of a cluster that this node begins [default: 4789]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u32).range(1024..=49151))]
    data_path_port: Option<u32>,
}

impl NetworkFlags {
    pub(crate) fn provider(&self) -> Arc<dyn NetworkProvider> {
        match self.networks {
            NetworksKind::None => Arc::new(InertNetworks),
            NetworksKind::Overlay => Arc::new(OverlayNetworks),
        }
    }

    /// Whether this node gives out networks that engines carry.
    pub(crate) fn are_overlays(&self) -> bool {
        self.networks == NetworksKind::Overlay
    }

    pub(crate) fn options(&self) -> NetworkOptions {
        NetworkOptions {
            default_address_pool: self.default_addr_pool.iter().map(IpNet::to_string).collect(),
            subnet_size: self.default_addr_pool_mask_length.unwrap_or_default(),
            vxlan_udp_port: self.data_path_port.unwrap_or_default(),
        }
    }
}

fn parse_pool(text: &str) -> Result<IpNet, String> {
    let pool: IpNet =
        text.parse().map_err(|_| "expected an address and a prefix length, as 10.20.0.0/16".to_owned())?;
    if pool.trunc() == pool { Ok(pool) } else { Err(format!("{pool} is not the beginning of {}", pool.trunc())) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        networks: NetworkFlags,
    }

    fn parse(flags: &[&str]) -> Result<NetworkFlags, String> {
        let args = std::iter::once("swarmd").chain(flags.iter().copied());
        Args::try_parse_from(args).map(|args| args.networks).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cluster_has_no_networks_of_its_own_unless_they_are_asked_for() {
        assert!(parse(&[]).unwrap().provider().predefined().is_empty());
        assert_eq!(parse(&[]).unwrap().options(), NetworkOptions::default());
        assert_eq!(parse(&["--networks", "overlay"]).unwrap().provider().predefined().len(), 2);
    }

    #[test]
    fn pools_length_and_port_are_those_that_can_be_used() {
        let pools = ["--default-addr-pool", "10.20.0.0/16", "--default-addr-pool", "fd12::/48"];
        let rest = ["--default-addr-pool-mask-length", "26", "--data-path-port", "4790"];
        let options = parse(&[&pools[..], &rest[..]].concat()).unwrap().options();
        assert_eq!(options.default_address_pool, ["10.20.0.0/16", "fd12::/48"]);
        assert_eq!((options.subnet_size, options.vxlan_udp_port), (26, 4790));
        for wrong in [
            ["--default-addr-pool", "10.20.0.0"],
            ["--default-addr-pool", "10.20.0.1/16"],
            ["--default-addr-pool-mask-length", "30"],
            ["--data-path-port", "1023"],
            ["--data-path-port", "49152"],
            ["--networks", "bridge"],
        ] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }
}

//! Where subnets come from: what the cluster says, or what everyone has.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};
use swarmkit_allocator::{NetworkError, NetworkOptions};
use swarmkit_api::NetworkId;

use crate::{family::Family, space::Space};

/// Where subnets of IPv4 are cut from unless the cluster says otherwise, as upstream.
const DEFAULT_POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8);
/// The prefix length of such a subnet, as upstream.
const DEFAULT_SIZE: u32 = 24;
/// The prefix length of a subnet of IPv6: below it hosts choose addresses (RFC 4291, section 2.5.1).
const SIZE_V6: u8 = 64;
/// The prefix length of a site of its own (RFC 4193, section 3.1).
const SITE: u8 = 48;
/// The UDP ports that may carry overlays: neither those of the system nor those that are lent to clients.
const VXLAN_PORTS: std::ops::RangeInclusive<u32> = 1024..=49151;

/// The subnets of both families.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    v4: Space,
    v6: Space,
}

impl Pools {
    /// # Errors
    ///
    /// What is wrong with the options.
    pub(crate) fn new(options: &NetworkOptions) -> Result<Self, NetworkError> {
        let wrong = |reason: String| NetworkError::BadOptions(reason);
        let port = options.vxlan_udp_port;
        if port != 0 && !VXLAN_PORTS.contains(&port) {
            let (first, last) = (VXLAN_PORTS.start(), VXLAN_PORTS.end());
            return Err(wrong(format!("the vxlan port {port} is not from {first} to {last}")));
        }
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for text in &options.default_address_pool {
            let pool: IpNet = text.parse().map_err(|_| wrong(format!("the address pool {text:?} is no subnet")))?;
            let pools = if Family::of(pool) == Family::V4 { &mut v4 } else { &mut v6 };
            // Clusters that upstream has led may have each pool many times over.
            if !pools.contains(&pool.trunc()) {
                pools.push(pool.trunc());
            }
        }
        if v4.is_empty() {
            v4.push(DEFAULT_POOL.into());
        }
        let size = if options.subnet_size == 0 { DEFAULT_SIZE } else { options.subnet_size };
        let size = u8::try_from(size).ok().filter(|size| *size <= Family::V4.bits());
        let size = size.ok_or_else(|| wrong(format!("subnets of size {} are none", options.subnet_size)))?;
        if options.subnet_size != 0
            && let Some(pool) = v4.iter().find(|pool| pool.prefix_len() > size)
        {
            return Err(wrong(format!("the address pool {pool} is smaller than a subnet of size {size}")));
        }
        Ok(Self { v4: Space::new(Family::V4, v4, size), v6: Space::new(Family::V6, v6, SIZE_V6) })
    }

    /// Takes a subnet into use.
    ///
    /// # Errors
    ///
    /// The subnet that it overlaps with, and the network that has that.
    pub(crate) fn claim(&mut self, net: IpNet, owner: &NetworkId) -> Result<(), (IpNet, NetworkId)> {
        self.space(Family::of(net)).claim(net, owner)
    }

    /// Takes a free subnet into use, of that prefix length or of the usual one.
    ///
    /// A cluster without pools of IPv6 has them all the same: each network has a site of unique local addresses, which
    /// follows from its id, so that two clusters that meet one day do not share one.
    pub(crate) fn cut(&mut self, family: Family, size: Option<u8>, owner: &NetworkId) -> Option<IpNet> {
        let space = self.space(family);
        if family == Family::V4 || space.has_pools() {
            return space.cut(size, owner);
        }
        space.cut_of(site_of(owner), size.unwrap_or(SIZE_V6), owner)
    }

    pub(crate) fn release(&mut self, net: IpNet, owner: &NetworkId) {
        self.space(Family::of(net)).release(net, owner);
    }

    fn space(&mut self, family: Family) -> &mut Space {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// `fd`, and forty bits that follow from an id (RFC 4193).
fn site_of(network: &NetworkId) -> IpNet {
    // FNV-1a. Nobody is to be kept from guessing it; ids are random as it is.
    let hash = network
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let forty = u128::from((hash ^ (hash >> 40)) & ((1 << 40) - 1));
    Ipv6Net::new_assert(Ipv6Addr::from_bits((0xfd << 120) | (forty << 80)), SITE).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(pools: &[&str], subnet_size: u32, vxlan_udp_port: u32) -> Result<Pools, String> {
        let default_address_pool = pools.iter().map(|pool| (*pool).to_owned()).collect();
        let options = NetworkOptions { default_address_pool, subnet_size, vxlan_udp_port };
        Pools::new(&options).map_err(|error| error.to_string())
    }

    fn cut(pools: &mut Pools, family: Family) -> String {
        pools.cut(family, None, &"n".into()).map(|net| net.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_cluster_that_says_nothing_has_the_usual_pool() {
        let mut pools = pools(&[], 0, 0).unwrap();
        assert_eq!(
            (cut(&mut pools, Family::V4), cut(&mut pools, Family::V4)),
            ("10.0.0.0/24".into(), "10.0.1.0/24".into())
        );
    }

    #[test]
    fn pools_and_size_are_those_of_the_cluster_and_a_pool_counts_once() {
        let mut pools = pools(&["10.20.0.0/25", "10.20.0.0/25", "fd12::/63", "10.30.0.0/26"], 26, 4790).unwrap();
        let cut: Vec<_> = (0..4).map(|_| cut(&mut pools, Family::V4)).collect();
        assert_eq!(cut, ["10.20.0.0/26", "10.20.0.64/26", "10.30.0.0/26", ""]);
        assert_eq!(super::tests::cut(&mut pools, Family::V6), "fd12::/64");
    }

    #[test]
    fn options_that_nothing_can_be_cut_from_are_refused() {
        let refusal = |list: &[&str], size, port| pools(list, size, port).unwrap_err();
        let text = "the cluster's address pools cannot be used: ";
        assert_eq!(refusal(&["10.0.0.0"], 24, 0), format!("{text}the address pool \"10.0.0.0\" is no subnet"));
        let smaller = "the address pool 10.0.0.0/25 is smaller than a subnet of size 24";
        assert_eq!(refusal(&["10.0.0.0/25"], 24, 0), format!("{text}{smaller}"));
        assert_eq!(refusal(&[], 33, 0), format!("{text}subnets of size 33 are none"));
        for port in [1, 1023, 49152] {
            assert_eq!(refusal(&[], 0, port), format!("{text}the vxlan port {port} is not from 1024 to 49151"));
        }
        assert!(pools(&[], 0, 1024).is_ok() && pools(&[], 0, 49151).is_ok());
    }

    #[test]
    fn without_pools_of_ipv6_each_network_has_a_site_of_its_own_that_follows_from_its_id() {
        let mut pools = pools(&[], 0, 0).unwrap();
        let one = pools.cut(Family::V6, None, &"net1".into()).unwrap();
        let other = pools.cut(Family::V6, None, &"net2".into()).unwrap();
        assert_eq!((one, other), ("fdba:a0d4:8482::/64".parse().unwrap(), "fdba:a0d4:8274::/64".parse().unwrap()));
        let more = pools.cut(Family::V6, None, &"net1".into()).unwrap();
        assert!(site_of(&"net1".into()).contains(&more) && more != one, "{more}");
    }
}

//! Addresses as they are counted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One IPv4 address, or the IPv6 network (/64) that one site has: within it anybody may take any address.
///
/// Connections without an address, which come from within this process, count as those of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block(Option<IpAddr>);

/// The bits of an IPv6 address that name the network.
const NETWORK: u128 = !0 << 64;

impl Block {
    pub(super) fn of(addr: Option<SocketAddr>) -> Self {
        Self(addr.map(|addr| match addr.ip().to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & NETWORK)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let of = |text: &str| Block::of(Some(text.parse().unwrap()));
        of(one) == of(other)
    }

    #[test]
    fn ports_and_the_lower_half_of_an_ipv6_address_do_not_count() {
        assert!(same("10.0.0.1:1", "10.0.0.1:2") && !same("10.0.0.1:1", "10.0.0.2:1"));
        assert!(same("[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff::9]:2"));
        assert!(!same("[2001:db8:1:2::1]:1", "[2001:db8:1:3::1]:1"));
    }

    #[test]
    fn an_ipv4_address_is_the_same_on_a_socket_for_both() {
        assert!(same("[::ffff:10.0.0.1]:1", "10.0.0.1:2") && !same("[::ffff:10.0.0.1]:1", "10.0.0.2:2"));
    }
}

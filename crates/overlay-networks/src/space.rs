//! Which subnets are in use, and which is the lowest that is not.

use std::collections::BTreeMap;

use ipnet::IpNet;
use swarmkit_api::NetworkId;

use crate::family::{Family, bounds};

/// The subnets of one family of addresses, over all networks of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    family: Family,
    /// Where subnets are cut from, in order of preference.
    pools: Vec<IpNet>,
    /// The prefix length of a subnet that nobody has asked another length for.
    size: u8,
    /// The subnets in use, by their first number. No two overlap.
    claims: BTreeMap<u128, Claim>,
    /// Below which number of a pool no subnet of a length is free, so that a search begins where it may find something.
    lowest: BTreeMap<(usize, u8), u128>,
}

#[derive(Clone, Debug)]
struct Claim {
    net: IpNet,
    owner: NetworkId,
}

impl Space {
    pub(crate) fn new(family: Family, pools: Vec<IpNet>, size: u8) -> Self {
        Self { family, pools, size, claims: BTreeMap::new(), lowest: BTreeMap::new() }
    }

    /// Whether it has pools of its own.
    pub(crate) fn has_pools(&self) -> bool {
        !self.pools.is_empty()
    }

    /// Takes a subnet into use.
    ///
    /// # Errors
    ///
    /// The subnet that it overlaps with, and the network that has that.
    pub(crate) fn claim(&mut self, net: IpNet, owner: &NetworkId) -> Result<(), (IpNet, NetworkId)> {
        let (first, last) = bounds(net);
        if let Some(claim) = self.overlapping(first, last) {
            return Err((claim.net, claim.owner.clone()));
        }
        self.claims.insert(first, Claim { net, owner: owner.clone() });
        Ok(())
    }

    /// Takes the lowest free subnet of the pools into use, of that prefix length or of the usual one.
    pub(crate) fn cut(&mut self, size: Option<u8>, owner: &NetworkId) -> Option<IpNet> {
        for index in 0..self.pools.len() {
            let pool = self.pools[index];
            // Of a pool that is smaller than that, all is taken.
            let size = size.unwrap_or(self.size.max(pool.prefix_len()));
            let from = self.lowest.get(&(index, size)).copied();
            let Some(net) = self.free_in(pool, size, from.unwrap_or_default()) else {
                if size >= pool.prefix_len() {
                    self.lowest.insert((index, size), u128::MAX);
                }
                continue;
            };
            self.lowest.insert((index, size), bounds(net).1.saturating_add(1));
            self.claims.insert(bounds(net).0, Claim { net, owner: owner.clone() });
            return Some(net);
        }
        None
    }

    /// The same, of another pool.
    pub(crate) fn cut_of(&mut self, pool: IpNet, size: u8, owner: &NetworkId) -> Option<IpNet> {
        let net = self.free_in(pool, size, 0)?;
        self.claims.insert(bounds(net).0, Claim { net, owner: owner.clone() });
        Some(net)
    }

    /// Takes back a subnet of a network.
    pub(crate) fn release(&mut self, net: IpNet, owner: &NetworkId) {
        let (first, last) = bounds(net);
        if !self.claims.get(&first).is_some_and(|claim| claim.net == net && claim.owner == *owner) {
            return;
        }
        self.claims.remove(&first);
        for ((pool, size), lowest) in &mut self.lowest {
            let (begin, end) = bounds(self.pools[*pool]);
            if begin <= last && first <= end {
                *lowest = (*lowest).min(aligned_down(first.max(begin), step(self.family, *size)));
            }
        }
    }

    /// The lowest free subnet of a pool that begins at `from` or later.
    fn free_in(&self, pool: IpNet, size: u8, from: u128) -> Option<IpNet> {
        if size < pool.prefix_len() || size == 0 || size > self.family.bits() {
            return None;
        }
        let step = step(self.family, size);
        let (first, last) = bounds(pool);
        let mut at = from.max(first);
        loop {
            let end = at.checked_add(step - 1).filter(|end| *end <= last)?;
            match self.overlapping(at, end) {
                None => return IpNet::new(self.family.address(at), size).ok(),
                Some(claim) => at = aligned_down(bounds(claim.net).1, step).checked_add(step)?,
            }
        }
    }

    /// The last subnet in use that has numbers of these.
    fn overlapping(&self, first: u128, last: u128) -> Option<&Claim> {
        let (_, claim) = self.claims.range(..=last).next_back()?;
        (bounds(claim.net).1 >= first).then_some(claim)
    }
}

/// How many numbers a subnet has. The prefix is not zero.
fn step(family: Family, size: u8) -> u128 {
    1 << (family.bits() - size)
}

fn aligned_down(number: u128, step: u128) -> u128 {
    number & !(step - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn space(pools: &[&str], size: u8) -> Space {
        let pools: Vec<_> = pools.iter().map(|pool| net(pool)).collect();
        Space::new(Family::of(pools[0]), pools, size)
    }

    fn cut(space: &mut Space, size: Option<u8>) -> String {
        space.cut(size, &"n".into()).map(|net| net.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_lowest_free_subnet_is_cut_first_and_pools_one_after_the_other() {
        let mut space = space(&["10.0.0.0/23", "10.9.0.0/24"], 24);
        assert_eq!(cut(&mut space, None), "10.0.0.0/24");
        assert_eq!(cut(&mut space, None), "10.0.1.0/24");
        assert_eq!(cut(&mut space, None), "10.9.0.0/24");
        assert_eq!(cut(&mut space, None), "");
        space.release(net("10.0.0.0/24"), &"n".into());
        assert_eq!(cut(&mut space, None), "10.0.0.0/24");
    }

    #[test]
    fn what_others_use_is_gone_round_whatever_its_size() {
        let mut space = space(&["10.0.0.0/8"], 24);
        for other in ["10.0.0.64/26", "10.0.2.0/23", "9.0.0.0/8"] {
            space.claim(net(other), &"o".into()).unwrap();
        }
        assert_eq!(cut(&mut space, None), "10.0.1.0/24");
        assert_eq!(cut(&mut space, None), "10.0.4.0/24");
        assert_eq!(cut(&mut space, Some(26)), "10.0.0.0/26");
        assert_eq!(cut(&mut space, Some(26)), "10.0.0.128/26");
        assert_eq!(cut(&mut space, Some(16)), "10.1.0.0/16");
        assert_eq!(cut(&mut space, Some(7)), "");
    }

    #[test]
    fn whoever_is_in_the_way_is_named() {
        let mut space = space(&["10.0.0.0/8"], 24);
        space.claim(net("10.1.2.0/24"), &"web".into()).unwrap();
        let other = (net("10.1.2.0/24"), NetworkId::from("web"));
        for wanted in ["10.1.2.0/24", "10.1.0.0/16", "10.1.2.128/25"] {
            assert_eq!(space.claim(net(wanted), &"b".into()), Err(other.clone()), "{wanted}");
        }
        assert_eq!(space.claim(net("10.1.3.0/24"), &"b".into()), Ok(()));
        space.release(net("10.1.2.0/24"), &"b".into());
        assert!(space.claim(net("10.1.2.0/24"), &"c".into()).is_err(), "it is not b's to give back");
    }

    #[test]
    fn ipv6_pools_are_cut_as_well_and_a_small_one_is_given_whole() {
        let mut space = space(&["fd00::/63", "fd01::/80"], 64);
        assert_eq!(cut(&mut space, None), "fd00::/64");
        assert_eq!(cut(&mut space, None), "fd00:0:0:1::/64");
        assert_eq!(cut(&mut space, None), "fd01::/80");
        assert_eq!(cut(&mut space, None), "");
        let other = space.cut_of(net("fd02::/48"), 64, &"n".into());
        assert_eq!(other, Some(net("fd02::/64")));
    }

    #[test]
    fn the_end_of_all_numbers_is_not_gone_past() {
        let mut space = space(&["ffff::/16"], 17);
        assert_eq!([cut(&mut space, None), cut(&mut space, None)], ["ffff::/17", "ffff:8000::/17"]);
        assert_eq!(cut(&mut space, None), "");
        space.release(net("ffff:8000::/17"), &"n".into());
        assert_eq!(cut(&mut space, None), "ffff:8000::/17");
    }

    proptest! {
        /// However subnets came and went, the one that is cut is the lowest that is free, as a search from the beginning
        /// finds it.
        #[test]
        fn the_search_that_remembers_finds_what_one_from_the_beginning_finds(
            steps in proptest::collection::vec((0_u8..3, 20_u8..=26, 0_usize..8), 1..60),
        ) {
            let mut space = space(&["10.0.0.0/20", "10.0.32.0/22"], 24);
            let mut held: Vec<IpNet> = Vec::new();
            for (step, size, pick) in steps {
                if step == 0 && !held.is_empty() {
                    let net = held.swap_remove(pick % held.len());
                    space.release(net, &"n".into());
                    continue;
                }
                let size = (step == 1).then_some(size);
                let fresh = space.pools.iter().find_map(|pool| space.free_in(*pool, size.unwrap_or(24), 0));
                let cut = space.cut(size, &"n".into());
                prop_assert_eq!(cut, fresh);
                if let Some(net) = cut {
                    let (first, last) = bounds(net);
                    let overlaps = held.iter().any(|other| bounds(*other).0 <= last && bounds(*other).1 >= first);
                    prop_assert!(!overlaps, "{} of {:?}", net, held);
                    held.push(net);
                }
            }
        }
    }
}

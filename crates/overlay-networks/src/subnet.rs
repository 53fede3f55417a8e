//! One subnet of a network: which of its addresses are given out, and which is next.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use crate::{
    family::{Family, bounds, number},
    runs::Runs,
};

/// The addresses of a subnet.
///
/// They are given out one after the other, from the beginning again after the end, so that one that was given back is
/// used again as late as can be: others may remember its last owner.
#[derive(Clone, Debug)]
pub(crate) struct Subnet {
    net: IpNet,
    /// The first and the last number that are given out to whoever asks for none.
    range: (u128, u128),
    used: Runs,
    /// Of these, those that are never given back: the ends of the subnet, its gateway, and what the user has reserved.
    kept: BTreeSet<u128>,
    /// Where the next search begins. `None`: always at the beginning.
    next: Option<u128>,
}

impl Subnet {
    /// A subnet of which nothing is given out. `range`, if any, lies inside.
    pub(crate) fn new(net: IpNet, range: Option<IpNet>, serial: bool) -> Self {
        let mut subnet = Self {
            net,
            range: bounds(range.unwrap_or(net)),
            used: Runs::default(),
            kept: BTreeSet::new(),
            next: serial.then_some(0),
        };
        // A link between two has no address to spare (RFC 3021, RFC 6164).
        if net.prefix_len() + 1 < net.max_prefix_len() {
            subnet.keep(net.network());
            if net.addr().is_ipv4() {
                subnet.keep(net.broadcast());
            }
        }
        subnet
    }

    pub(crate) fn family(&self) -> Family {
        Family::of(self.net)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.net.contains(&address)
    }

    /// Takes an address out of use for good. Gives whether it was free.
    pub(crate) fn keep(&mut self, address: IpAddr) -> bool {
        self.contains(address) && self.kept.insert(number(address)) && self.used.insert(number(address))
    }

    /// The first address that can be a gateway.
    pub(crate) fn first_free(&self) -> Option<IpAddr> {
        let (first, last) = bounds(self.net);
        self.used.next_free(first, last).map(|number| self.family().address(number))
    }

    /// Gives out the next address.
    pub(crate) fn take_next(&mut self) -> Option<IpAddr> {
        let (first, last) = self.range;
        let number = self.used.next_free_around(self.next.unwrap_or(first), first, last)?;
        self.note(number);
        Some(self.family().address(number))
    }

    /// Gives out this address. `false` if it is in use, or not of this subnet.
    pub(crate) fn take(&mut self, address: IpAddr) -> bool {
        self.contains(address) && self.used.insert(number(address))
    }

    /// Learns that an address was given out.
    pub(crate) fn restore(&mut self, address: IpAddr) {
        let number = number(address);
        if !self.contains(address) || self.used.contains(number) {
            return;
        }
        // As far as one can tell from what is in use, this is where the search had come to.
        let furthest = self.next.is_none_or(|next| number >= next) && (self.range.0..=self.range.1).contains(&number);
        if furthest {
            self.note(number);
        } else {
            self.used.insert(number);
        }
    }

    /// Takes an address back. One that is kept, and one that is free, stays as it is.
    pub(crate) fn give_back(&mut self, address: IpAddr) {
        if self.contains(address) && !self.kept.contains(&number(address)) {
            self.used.remove(number(address));
        }
    }

    /// An address in CIDR form, as it is recorded.
    pub(crate) fn in_cidr(&self, address: IpAddr) -> String {
        format!("{address}/{}", self.net.prefix_len())
    }

    fn note(&mut self, number: u128) {
        self.used.insert(number);
        if let Some(next) = &mut self.next {
            *next = number.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn all(subnet: &mut Subnet) -> Vec<String> {
        std::iter::from_fn(|| subnet.take_next()).take(20).map(|address| address.to_string()).collect()
    }

    #[test]
    fn the_first_and_the_last_address_are_not_given_out_where_there_are_others() {
        let all = |text| all(&mut Subnet::new(net(text), None, true));
        assert_eq!(all("10.0.0.0/29"), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert_eq!(all("10.0.0.0/30"), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(all("10.0.0.0/31"), ["10.0.0.0", "10.0.0.1"]);
        assert_eq!(all("10.0.0.7/32"), ["10.0.0.7"]);
        assert_eq!(all("fd00::/126"), ["fd00::1", "fd00::2", "fd00::3"]);
        assert_eq!(all("fd00::/127"), ["fd00::", "fd00::1"]);
        assert_eq!(all("fd00::/64").len(), 20);
    }

    #[test]
    fn addresses_go_round_so_that_one_that_was_freed_is_used_late() {
        let mut subnet = Subnet::new(net("10.0.0.0/29"), None, true);
        for last in 1..=3 {
            assert_eq!(subnet.take_next(), Some(ip(&format!("10.0.0.{last}"))));
        }
        subnet.give_back(ip("10.0.0.1"));
        for last in [4, 5, 6, 1] {
            assert_eq!(subnet.take_next(), Some(ip(&format!("10.0.0.{last}"))));
        }
        assert_eq!(subnet.take_next(), None);
        subnet.give_back(ip("10.0.0.5"));
        assert_eq!(subnet.take_next(), Some(ip("10.0.0.5")));
    }

    #[test]
    fn the_lowest_free_address_is_next_where_that_is_wanted() {
        let mut subnet = Subnet::new(net("10.0.0.0/29"), None, false);
        assert_eq!((subnet.take_next(), subnet.take_next()), (Some(ip("10.0.0.1")), Some(ip("10.0.0.2"))));
        subnet.give_back(ip("10.0.0.1"));
        assert_eq!(subnet.take_next(), Some(ip("10.0.0.1")));
    }

    #[test]
    fn a_range_bounds_what_is_chosen_and_not_what_is_asked_for() {
        let mut subnet = Subnet::new(net("10.1.0.0/16"), Some(net("10.1.2.0/30")), true);
        assert!(subnet.take(ip("10.1.9.9")) && !subnet.take(ip("10.1.9.9")) && !subnet.take(ip("10.2.0.1")));
        assert!(!subnet.take(ip("10.1.255.255")), "an end of the subnet");
        assert_eq!(all(&mut subnet), ["10.1.2.0", "10.1.2.1", "10.1.2.2", "10.1.2.3"]);
    }

    #[test]
    fn what_is_kept_is_neither_given_out_nor_given_back() {
        let mut subnet = Subnet::new(net("10.0.0.0/29"), None, true);
        assert_eq!(subnet.first_free(), Some(ip("10.0.0.1")));
        assert!(subnet.keep(ip("10.0.0.1")) && !subnet.keep(ip("10.0.0.1")) && !subnet.keep(ip("10.9.9.9")));
        for address in ["10.0.0.0", "10.0.0.1", "10.0.0.7"] {
            subnet.give_back(ip(address));
            assert!(!subnet.take(ip(address)), "{address}");
        }
        assert_eq!(all(&mut subnet).len(), 5);
    }

    #[test]
    fn what_was_given_out_before_is_not_given_out_again_and_the_next_is_the_one_after_it() {
        let mut subnet = Subnet::new(net("10.0.0.0/29"), None, true);
        for address in ["10.0.0.4", "10.0.0.2", "10.0.0.4", "10.9.9.9"] {
            subnet.restore(ip(address));
        }
        assert_eq!(all(&mut subnet), ["10.0.0.5", "10.0.0.6", "10.0.0.1", "10.0.0.3"]);
    }

    #[test]
    fn to_be_told_of_what_it_has_given_out_itself_changes_nothing() {
        let mut subnet = Subnet::new(net("10.0.0.0/29"), None, true);
        all(&mut subnet);
        subnet.give_back(ip("10.0.0.2"));
        subnet.give_back(ip("10.0.0.5"));
        assert_eq!(subnet.take_next(), Some(ip("10.0.0.2")));
        subnet.restore(ip("10.0.0.6"));
        assert_eq!(subnet.take_next(), Some(ip("10.0.0.5")));
    }
}

//! Addresses of tasks, services and nodes.

use swarmkit_allocator::Blocker;

use super::*;
use crate::SERIAL;

#[test]
fn ends_get_one_address_after_the_other_and_the_gateway_is_nobodys() {
    let mut world = World::new();
    world.make(network("a", |_| {}));
    assert_eq!(world.ask(NetworkEnd::Node, "a", &[]), Ok(Some(vec!["10.0.0.2/24".to_owned()])));
    assert_eq!(world.ask(NetworkEnd::Service, "a", &[]), Ok(Some(vec!["10.0.0.3/24".to_owned()])));
    assert_eq!(world.attach("a", &[]), "10.0.0.4/24");
    world.detach("a", "10.0.0.3/24");
    world.detach("a", "10.0.0.1/24");
    assert_eq!(world.attach("a", &[]), "10.0.0.5/24", "what is freed is used late");
}

#[test]
fn addresses_that_are_used_up_are_told_and_one_that_is_freed_is_given_out_again() {
    let mut world = World::new();
    world.make(network("small", pools(&["10.1.0.0/29"])));
    for last in 2..=6 {
        assert_eq!(world.attach("small", &[]), format!("10.1.0.{last}/29"));
    }
    let error = world.ask(NetworkEnd::Task, "small", &[]).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.blocker()),
        ("no address is available on network small", Blocker::AnyAddress)
    );
    world.detach("small", "10.1.0.4/29");
    // To free it twice, and to free what nobody has, is harmless.
    world.detach("small", "10.1.0.4/29 10.9.9.9/24 nonsense");
    world.detach("other", "10.1.0.5/29");
    assert_eq!(world.attach("small", &[]), "10.1.0.4/29");
    assert_eq!(world.attach("small", &[]), "no address is available on network small");
}

#[test]
fn several_subnets_are_used_in_the_order_in_which_they_were_asked_for() {
    let mut world = World::new();
    world.make(network("two", pools(&["10.9.0.0/30", "10.1.0.0/30"])));
    assert_eq!((world.attach("two", &[]), world.attach("two", &[])), ("10.9.0.2/30".into(), "10.1.0.2/30".into()));
    assert_eq!(world.attach("two", &[]), "no address is available on network two");
}

#[test]
fn an_address_that_is_asked_for_is_given_unless_it_is_in_use_or_elsewhere() {
    let mut world = World::new();
    world.make(network("a", pools(&["10.1.0.0/24,range=10.1.0.128/25,printer=10.1.0.130"])));
    assert_eq!(world.attach("a", &["10.1.0.9"]), "10.1.0.9/24", "outside of the range");
    let error = world.ask(NetworkEnd::Task, "a", &["10.1.0.9/24"]).unwrap_err();
    assert_eq!(error.to_string(), "address 10.1.0.9/24 on network a is already in use");
    assert_eq!(error.blocker(), Blocker::Address("10.1.0.9/24".to_owned()));
    for taken in ["10.1.0.1", "10.1.0.0", "10.1.0.255", "10.1.0.130"] {
        assert_eq!(world.attach("a", &[taken]), format!("address {taken} on network a is already in use"));
    }
    for bad in ["10.2.0.9", "fd00::1", "ten"] {
        assert_eq!(world.attach("a", &[bad]), format!("address {bad} does not belong to network a"));
    }
    assert_eq!(world.attach("a", &["10.1.0.129", "10.1.0.131"]), "10.1.0.129/24", "the first counts");
    assert_eq!((world.attach("a", &[]), world.attach("a", &[])), ("10.1.0.128/24".into(), "10.1.0.131/24".into()));
    world.detach("a", "10.1.0.9/24");
    assert_eq!(world.attach("a", &["10.1.0.9"]), "10.1.0.9/24");
}

#[test]
fn the_lowest_free_address_is_next_where_the_user_wants_that() {
    let mut world = World::new();
    let ipam = wire::IpamOptions { driver: Some(driver("default", &[(SERIAL, "false")])), ..Default::default() };
    world.make(network("a", |spec| spec.ipam = Some(ipam)));
    assert_eq!((world.attach("a", &[]), world.attach("a", &[])), ("10.0.0.2/24".into(), "10.0.0.3/24".into()));
    world.detach("a", "10.0.0.2/24");
    assert_eq!(world.attach("a", &[]), "10.0.0.2/24");
}

#[test]
fn a_network_with_ipv6_gives_both_and_ipv4_first() {
    let mut world = World::with(&["10.0.0.0/8", "fd12::/48"], 24);
    assert_eq!(
        world.make(network("both", |spec| spec.ipv6_enabled = true)),
        "10.0.0.0/24 via 10.0.0.1 + fd12::/64 via fd12::1 vxlan 4096"
    );
    assert_eq!(world.attach("both", &[]), "10.0.0.2/24 fd12::2/64");
    assert_eq!(world.attach("both", &["fd12::99"]), "10.0.0.3/24 fd12::99/64");
    assert_eq!(world.attach("both", &["fd12::99"]), "address fd12::99 on network both is already in use");
    assert_eq!(world.attach("both", &["fd12::aa", "10.0.0.9"]), "10.0.0.9/24 fd12::aa/64");
    // The address of IPv4 of the one that failed was not kept.
    assert_eq!(world.attach("both", &["10.0.0.4"]), "10.0.0.4/24 fd12::3/64");
    world.detach("both", "10.0.0.2/24 fd12::2/64");
    assert_eq!(world.attach("both", &["10.0.0.2", "fd12::2"]), "10.0.0.2/24 fd12::2/64");
}

#[test]
fn an_overlay_has_a_subnet_of_ipv4_whatever_is_asked_for_since_engines_carry_it_by_that() {
    let mut world = World::new();
    let only_v6 = |spec: &mut wire::NetworkSpec| {
        pools(&["fd00:1::/64"])(spec);
        spec.ipv6_enabled = true;
    };
    assert_eq!(world.make(network("six", only_v6)), "10.0.0.0/24 via 10.0.0.1 + fd00:1::/64 via fd00:1::1 vxlan 4096");
    assert_eq!(world.attach("six", &[]), "10.0.0.2/24 fd00:1::2/64");
}

#[test]
fn a_subnet_of_ipv6_is_reserved_but_gives_no_address_where_ipv6_is_not_enabled() {
    let mut world = World::new();
    world.make(network("four", pools(&["10.1.0.0/24", "fd00:1::/64"])));
    assert_eq!(world.attach("four", &[]), "10.1.0.2/24");
    assert_eq!(world.attach("four", &["fd00:1::5"]), "address fd00:1::5 does not belong to network four");
    let taken = "subnet fd00:1::/64 overlaps with network four (four)";
    assert_eq!(world.make(network("other", pools(&["fd00:1::/64"]))), taken);
}

#[test]
fn networks_that_each_node_has_for_itself_have_no_addresses() {
    let mut world = World::new();
    for name in ["bridge", "host", "macvlan", "ipvlan"] {
        let asked = [("parent", "eth0")];
        world.make(network(name, |spec| spec.driver_config = Some(driver(name, &asked))));
        let stored = &world.networks[name];
        assert_eq!(
            stored.driver_state,
            Some(driver(name, &[])),
            "options are for the node, which reads what was asked for"
        );
        assert_eq!(stored.ipam, Some(wire::IpamOptions { driver: Some(driver("", &[])), configs: Vec::new() }));
        assert_eq!(world.ask(NetworkEnd::Task, name, &[]), Ok(Some(Vec::new())));
        assert_eq!(world.ask(NetworkEnd::Service, name, &[]), Ok(Some(Vec::new())));
        assert_eq!(world.ask(NetworkEnd::Node, name, &[]), Ok(None));
        world.free(name);
    }
    assert_eq!(world.make(network("a", |_| {})), "10.0.0.0/24 via 10.0.0.1 vxlan 4096", "nothing was taken for them");
}

#[test]
fn addresses_of_a_network_that_is_not_there_cannot_be_had() {
    let mut world = World::new();
    world.make(network("a", |_| {}));
    let gone = world.networks["a"].clone();
    world.allocation.free_network(&gone);
    assert_eq!(world.attach("a", &[]), "network a is not allocated");
    world.detach("a", "10.0.0.2/24");
    assert_eq!(world.make(network("b", |_| {})), "10.0.0.0/24 via 10.0.0.1 vxlan 4097");
    assert_eq!(world.attach("b", &[]), "10.0.0.2/24");
}

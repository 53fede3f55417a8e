//! What is recorded, field by field, and what the next leader makes of it.

use super::*;
use crate::SERIAL;

#[test]
fn what_is_recorded_is_what_an_engine_that_manages_records() {
    let mut world = World::new();
    // As the cluster makes it when it is founded.
    let ingress = network("ingress", |spec| {
        spec.ingress = true;
        spec.driver_config = Some(wire::Driver::default());
        spec.ipam = Some(wire::IpamOptions { driver: Some(wire::Driver::default()), ..Default::default() });
    });
    world.make(ingress);
    let stored = &world.networks["ingress"];
    assert_eq!(stored.driver_state, Some(driver("overlay", &[(VXLAN_IDS, "4096")])));
    let ipam = stored.ipam.as_ref().unwrap();
    assert_eq!(ipam.driver, Some(driver("default", &[])));
    let pool = wire::IpamConfig {
        family: wire::ipam_config::AddressFamily::Ipv4.into(),
        subnet: "10.0.0.0/24".into(),
        range: String::new(),
        gateway: "10.0.0.1".into(),
        reserved: BTreeMap::new(),
    };
    assert_eq!(ipam.configs, [pool]);
}

#[test]
fn options_are_passed_on_as_they_were_given() {
    let mut world = World::new();
    let asked = network("a", |spec| {
        spec.driver_config = Some(driver("overlay", &[("encrypted", ""), (VXLAN_IDS, "99")]));
        pools(&["10.1.0.0/24,router=10.1.0.77"])(spec);
        spec.ipam.as_mut().unwrap().driver = Some(driver("default", &[(SERIAL, "true"), ("x", "y")]));
    });
    world.make(asked);
    let stored = &world.networks["a"];
    assert_eq!(stored.driver_state, Some(driver("overlay", &[("encrypted", ""), (VXLAN_IDS, "99")])));
    let ipam = stored.ipam.as_ref().unwrap();
    assert_eq!(ipam.driver, Some(driver("default", &[(SERIAL, "true"), ("x", "y")])));
    assert_eq!(ipam.configs[0].reserved["router"], "10.1.0.77");
}

#[test]
fn the_next_leader_gives_out_nothing_that_is_in_use() {
    let mut world = World::new();
    world.make(network("a", |spec| spec.ipv6_enabled = true));
    world.make(network("b", pools(&["10.0.5.0/24"])));
    let (task, service) = (world.attach("a", &[]), world.attach("a", &[]));
    world.next_term(&[("a", &task), ("a", &service)]);
    assert_eq!(world.make(network("c", |_| {})), "10.0.1.0/24 via 10.0.1.1 vxlan 4098");
    let taken = "subnet 10.0.5.0/25 overlaps with network b (b)";
    assert_eq!(world.make(network("d", pools(&["10.0.5.0/25"]))), taken);
    let next = world.attach("a", &[]);
    assert!(next.starts_with("10.0.0.4/24 fd") && next.ends_with("::4/64"), "{next}");
    let asked = task.split(' ').next().unwrap();
    assert_eq!(world.attach("a", &[asked]), format!("address {asked} on network a is already in use"));
    world.free("b");
    assert!(world.make(network("e", pools(&["10.0.5.0/24"]))).ends_with("vxlan 4099"));
}

#[test]
fn to_be_told_or_asked_twice_changes_nothing() {
    let mut world = World::new();
    let told = world.make(network("a", |_| {}));
    assert_eq!(world.make(network("a", |_| {})), told);
    let one = world.attach("a", &[]);
    let stored = world.networks["a"].clone();
    world.allocation.restore_network(&stored).unwrap();
    world.allocation.restore_addresses(&"a".into(), &[one]);
    assert_eq!(world.attach("a", &[]), "10.0.0.3/24");
    assert_eq!(world.make(network("b", |_| {})), "10.0.1.0/24 via 10.0.1.1 vxlan 4097");
}

#[test]
fn a_network_whose_subnet_another_one_has_is_not_taken_over_and_says_so() {
    let mut world = World::new();
    world.make(network("a", |_| {}));
    let mut double = world.networks["a"].clone();
    double.id = "b".into();
    let error = world.allocation.restore_network(&double).unwrap_err();
    assert_eq!(error.to_string(), "subnet 10.0.0.0/24 overlaps with network a (a)");
    world.networks.insert("b".to_owned(), double);
    assert_eq!(world.attach("b", &[]), "network a is not allocated", "by the name that its users know");
}

#[test]
fn pools_that_are_recorded_count_more_than_those_that_were_asked_for() {
    let mut world = World::new();
    world.make(network("a", |_| {}));
    let mut half = world.networks["a"].clone();
    world.free("a");
    world.make(network("b", |_| {}));
    world.free("b");
    half.driver_state = None;
    half.ipam.as_mut().unwrap().configs[0].subnet = "10.0.7.0/24".into();
    half.ipam.as_mut().unwrap().configs[0].gateway = "10.0.7.3".into();
    assert_eq!(world.make(half), "10.0.7.0/24 via 10.0.7.3 vxlan 4098");
}

#[test]
fn a_network_of_upstream_that_has_ipv6_enabled_but_no_such_subnet_is_taken_over_as_it_is() {
    let mut world = World::new();
    world.make(network("a", |_| {}));
    Arc::make_mut(&mut world.networks.get_mut("a").unwrap().spec).ipv6_enabled = true;
    world.next_term(&[]);
    assert_eq!(world.attach("a", &[]), "10.0.0.2/24");
}

//! Subnets, gateways and VXLAN ids.

use swarmkit_allocator::{Blocker, DriverPurpose, NetworkProvider as _};

use super::*;
use crate::OverlayNetworks;

#[test]
fn networks_get_the_lowest_free_subnet_and_the_next_vxlan_id() {
    let mut world = World::new();
    assert_eq!(world.make(network("a", |_| {})), "10.0.0.0/24 via 10.0.0.1 vxlan 4096");
    assert_eq!(world.make(network("b", |_| {})), "10.0.1.0/24 via 10.0.1.1 vxlan 4097");
    world.free("a");
    assert_eq!(world.make(network("c", |_| {})), "10.0.0.0/24 via 10.0.0.1 vxlan 4098");
    assert_eq!(world.make(network("d", |_| {})), "10.0.2.0/24 via 10.0.2.1 vxlan 4099");
}

#[test]
fn a_subnet_that_is_asked_for_is_given_with_its_gateway_or_with_its_first_address() {
    let mut world = World::new();
    let spec = pools(&["192.168.5.0/24,gateway=192.168.5.9,range=192.168.5.128/25"]);
    assert_eq!(world.make(network("a", spec)), "192.168.5.0/24 via 192.168.5.9 vxlan 4096");
    let stored = world.networks["a"].ipam.as_ref().unwrap();
    assert_eq!((stored.configs[0].range.as_str(), stored.configs[0].family), ("192.168.5.128/25", 4));
    assert_eq!(world.attach("a", &[]), "192.168.5.128/24");

    assert_eq!(world.make(network("b", pools(&["172.16.3.7/16"]))), "172.16.0.0/16 via 172.16.0.1 vxlan 4097");
    let two = pools(&["10.3.0.0/24", "10.1.0.0/24,gateway=10.1.0.254"]);
    let told = "10.3.0.0/24 via 10.3.0.1 + 10.1.0.0/24 via 10.1.0.254 vxlan 4098,4099";
    assert_eq!(world.make(network("c", two)), told);
}

#[test]
fn a_length_without_an_address_is_cut_from_the_pools_of_the_cluster() {
    let mut world = World::with(&["10.50.0.0/16"], 26);
    assert_eq!(world.make(network("a", |_| {})), "10.50.0.0/26 via 10.50.0.1 vxlan 4096");
    assert_eq!(world.make(network("b", pools(&["0.0.0.0/25"]))), "10.50.0.128/25 via 10.50.0.129 vxlan 4097");
    assert_eq!(world.make(network("c", pools(&["", "0.0.0.0/0"]))).matches("/26 via").count(), 2);
}

#[test]
fn a_network_that_overlaps_with_another_waits_for_that_one_by_name() {
    let mut world = World::new();
    world.make(network("a", pools(&["10.7.0.0/16"])));
    let wish = || network("b", pools(&["10.8.0.0/24", "10.7.9.0/24"]));
    let error = world.allocation.allocate_network(&wish()).unwrap_err();
    assert_eq!(error.to_string(), "subnet 10.7.9.0/24 overlaps with network a (a)");
    assert_eq!(error.blocker(), Blocker::Network("a".into()));
    // It has taken nothing meanwhile, not even its other subnet.
    assert_eq!(world.make(network("c", pools(&["10.8.0.0/16"]))), "10.8.0.0/16 via 10.8.0.1 vxlan 4097");
    world.free("c");
    world.free("a");
    assert!(world.make(wish()).starts_with("10.8.0.0/24 via 10.8.0.1 + 10.7.9.0/24"));
}

#[test]
fn pools_that_are_used_up_are_told_and_what_is_freed_can_be_used_again() {
    let mut world = World::with(&["10.0.0.0/29"], 30);
    world.make(network("a", |_| {}));
    world.make(network("b", |_| {}));
    let error = world.allocation.allocate_network(&network("c", |_| {})).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.blocker()),
        ("no subnet is available for network c", Blocker::AnyNetwork)
    );
    world.free("a");
    assert_eq!(world.make(network("c", |_| {})), "10.0.0.0/30 via 10.0.0.1 vxlan 4098");
    // To free it again is harmless.
    world.allocation.free_network(&network("a", |_| {}));
    assert!(world.make(network("d", |_| {})).starts_with("no subnet"));
}

#[test]
fn vxlan_ids_that_are_asked_for_are_given_unless_another_network_has_them() {
    let mut world = World::new();
    let wish =
        |name, ids: &str| network(name, |spec| spec.driver_config = Some(driver("overlay", &[(VXLAN_IDS, ids)])));
    assert!(world.make(wish("a", "42")).ends_with("vxlan 42"));
    assert!(world.make(wish("b", "0")).ends_with("vxlan 4096"), "0 leaves the choice");
    let error = world.allocation.allocate_network(&wish("c", "42")).unwrap_err();
    assert_eq!(error.to_string(), "vxlan id 42 is already in use by network a (a)");
    assert_eq!(error.blocker(), Blocker::Network("a".into()));
    // Its subnet was not kept.
    assert_eq!(world.make(network("d", |_| {})), "10.0.2.0/24 via 10.0.2.1 vxlan 4097");
    world.free("a");
    assert!(world.make(wish("c", "42")).ends_with("vxlan 42"));
    let mut both = wish("e", "7");
    pools(&["10.9.0.0/24", "10.9.1.0/24"])(Arc::make_mut(&mut both.spec));
    assert!(world.make(both).ends_with("vxlan 7,4098"), "what is missing is chosen");
}

#[test]
fn what_can_never_be_is_told_from_what_has_to_wait() {
    let refusal = |network: Network| {
        let error = World::new().allocation.allocate_network(&network).unwrap_err();
        assert_eq!(error.blocker(), Blocker::Specification, "{error}");
        if !matches!(error, NetworkError::BadNetwork { .. }) {
            return error.to_string();
        }
        error.to_string().strip_prefix("network a cannot be made: ").unwrap().to_owned()
    };
    let of_pools = |list: &[&str]| refusal(network("a", pools(list)));
    let gateway = "subnet 10.1.0.0/24: its gateway cannot be ";
    assert_eq!(of_pools(&["10.1.0.0/24,gateway=10.2.0.1"]), format!("{gateway}10.2.0.1"));
    assert_eq!(of_pools(&["10.1.0.0/24,gateway=10.1.0.255"]), format!("{gateway}10.1.0.255"));
    let overlap = "its subnets 10.1.0.0/16 and 10.1.2.0/24 overlap";
    assert_eq!(of_pools(&["10.1.0.0/16", "10.1.2.0/24"]), overlap);
    assert_eq!(of_pools(&["10.1.0.0/24,range=10.1.0.0/16"]), "range 10.1.0.0/16 is not within subnet 10.1.0.0/24");
    assert_eq!(
        of_pools(&["0.0.0.0/24,range=10.1.0.0/25"]),
        "range 10.1.0.0/25 is given without the subnet that it is of"
    );
    assert_eq!(
        of_pools(&["10.1.0.0/24,host=10.2.0.1"]),
        "subnet 10.1.0.0/24: the reserved address 10.2.0.1 is not within it"
    );
    assert_eq!(of_pools(&["10.1.0.0/32,host=10.1.0.0"]), "subnet 10.1.0.0/32: it has no room for a gateway");
    let of_ids = |ids| refusal(network("a", |spec| spec.driver_config = Some(driver("overlay", &[(VXLAN_IDS, ids)]))));
    assert_eq!(of_ids("16777216"), "\"16777216\" is no vxlan id: those are up to 16777215");
    assert_eq!(of_ids("5,5"), "vxlan id 5 is asked for twice");
    let of_driver = |name| refusal(network("a", |spec| spec.driver_config = Some(driver(name, &[]))));
    assert_eq!(of_driver("weave"), "network driver weave not found");
    let ipam = |name| wire::IpamOptions { driver: Some(driver(name, &[])), configs: Vec::new() };
    let of_ipam = refusal(network("a", |spec| spec.ipam = Some(ipam("dhcp"))));
    assert_eq!(of_ipam, "address management driver dhcp not found");
}

#[test]
fn a_specification_that_can_never_be_is_refused_before_it_is_stored() {
    let check = |network: Network| OverlayNetworks.check_network(&network.spec).map_err(|error| error.to_string());
    assert_eq!(check(network("a", pools(&["10.1.0.0/16", "10.2.0.0/16"]))), Ok(()));
    let overlap = "network a cannot be made: its subnets 10.1.0.0/16 and 10.1.2.0/24 overlap";
    assert_eq!(check(network("a", pools(&["10.1.0.0/16", "10.1.2.0/24"]))), Err(overlap.to_owned()));
    let ids = |name| driver(name, &[(VXLAN_IDS, "x")]);
    assert!(check(network("a", |spec| spec.driver_config = Some(ids("overlay")))).is_err());
    assert_eq!(check(network("a", |spec| spec.driver_config = Some(ids("macvlan")))), Ok(()), "it is for the node");
}

#[test]
fn drivers_are_those_that_engines_have_and_only_overlays_carry_published_ports() {
    let check = |purpose, name: &str| {
        OverlayNetworks.check_driver(purpose, Some(&driver(name, &[]))).map_err(|error| error.to_string())
    };
    for name in ["", "overlay", "bridge", "host", "macvlan", "ipvlan"] {
        assert_eq!(check(DriverPurpose::Network, name), Ok(()), "{name:?}");
    }
    assert_eq!(check(DriverPurpose::Network, "weave"), Err("network driver weave not found".to_owned()));
    assert_eq!(check(DriverPurpose::Ingress, "overlay"), Ok(()));
    let bridge = "network driver bridge cannot be that of the ingress network";
    assert_eq!(check(DriverPurpose::Ingress, "bridge"), Err(bridge.to_owned()));
    assert_eq!(check(DriverPurpose::Ipam, "default"), Ok(()));
    assert_eq!(check(DriverPurpose::Ipam, "dhcp"), Err("address management driver dhcp not found".to_owned()));
    for purpose in [DriverPurpose::Network, DriverPurpose::Ingress, DriverPurpose::Ipam] {
        assert_eq!(OverlayNetworks.check_driver(purpose, None), Ok(()));
    }
    let predefined: Vec<_> =
        OverlayNetworks.predefined().into_iter().map(|network| (network.name, network.driver)).collect();
    assert_eq!(predefined, [("bridge".into(), "bridge".into()), ("host".into(), "host".into())]);
}

//! From flags to what is asked of the cluster.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Create {
    #[command(flatten)]
    flags: NetworkFlags,
}

fn spec(flags: &[&str]) -> Result<wire::NetworkSpec, String> {
    let args = std::iter::once("create").chain(flags.iter().copied());
    let create = Create::try_parse_from(args).map_err(|error| error.to_string())?;
    create.flags.spec().map_err(|error| error.to_string())
}

#[test]
fn a_name_is_enough_for_a_network() {
    let annotations = Some(wire::Annotations { name: "back".into(), ..Default::default() });
    let plain = wire::NetworkSpec { annotations, ..Default::default() };
    assert_eq!(spec(&["back"]).unwrap(), plain);
    assert_eq!(spec(&["--name", "back"]).unwrap(), plain);
    assert!(spec(&[]).is_err() && spec(&["a", "--name", "b"]).is_err());
}

#[test]
fn a_network_is_as_its_flags_say() {
    let made = spec(&[
        "back",
        "-d",
        "overlay",
        "-o",
        "encrypted=,mtu=1400",
        "--ipv6",
        "--internal",
        "--attachable",
        "--ingress",
        "--label",
        "a=1",
        "--ipam-driver",
        "default",
        "--ipam-opt",
        "x=y",
    ]);
    let made = made.unwrap();
    let driver = made.driver_config.unwrap();
    assert_eq!((driver.name.as_str(), driver.options.len(), driver.options["mtu"].as_str()), ("overlay", 2, "1400"));
    assert!(made.ipv6_enabled && made.internal && made.attachable && made.ingress);
    assert_eq!(made.annotations.unwrap().labels["a"], "1");
    let ipam = made.ipam.unwrap();
    assert_eq!((ipam.driver.unwrap().options["x"].as_str(), ipam.configs.len()), ("y", 0));
    assert!(spec(&["back", "-o", "a=b"]).unwrap_err().contains("--driver"), "an option of nobody");
}

#[test]
fn each_subnet_gets_the_gateway_the_range_and_the_addresses_that_lie_in_it() {
    let made = spec(&[
        "back",
        "--subnet",
        "10.1.0.0/24",
        "--subnet",
        "10.2.0.0/24,fd00::/64",
        "--gateway",
        "fd00::9",
        "--gateway",
        "10.2.0.9",
        "--ip-range",
        "10.1.0.128/25",
        "--aux-address",
        "printer=10.2.0.7",
    ]);
    let configs = made.unwrap().ipam.unwrap().configs;
    let told: Vec<_> = configs
        .iter()
        .map(|pool| format!("{:?} {} {} {} {:?}", pool.family(), pool.subnet, pool.range, pool.gateway, pool.reserved))
        .collect();
    assert_eq!(
        told,
        [
            "Ipv4 10.1.0.0/24 10.1.0.128/25  {}",
            "Ipv4 10.2.0.0/24  10.2.0.9 {\"printer\": \"10.2.0.7\"}",
            "Ipv6 fd00::/64  fd00::9 {}",
        ]
    );
}

#[test]
fn what_lies_in_no_subnet_is_refused() {
    let refusal = |flags: &[&str]| spec(&[&["back", "--subnet", "10.1.0.0/24"], flags].concat()).unwrap_err();
    let text = |what| format!("no subnet has room for {what}: name one with --subnet");
    assert_eq!(refusal(&["--gateway", "10.2.0.1"]), text("gateway 10.2.0.1"));
    assert_eq!(refusal(&["--gateway", "10.1.0.1,10.1.0.2"]), text("gateway 10.1.0.2"));
    assert_eq!(refusal(&["--ip-range", "10.0.0.0/8"]), text("range 10.0.0.0/8"));
    assert_eq!(refusal(&["--aux-address", "a=10.2.0.1"]), text("address 10.2.0.1"));
    assert_eq!(refusal(&["--gateway", "x"]), "malformed gateway \"x\": expected 10.1.0.1");
    assert_eq!(refusal(&["--subnet", "x"]), "malformed subnet \"x\": expected 10.1.0.0/24");
    assert_eq!(refusal(&["--aux-address", "10.1.0.1"]), "malformed address \"10.1.0.1\": expected name=10.1.0.5");
}

#[test]
fn a_service_says_how_it_is_attached() {
    let parse = |text: &str| parse_attachment(&text.parse().unwrap()).map_err(|error| error.to_string());
    let back = parse("back").unwrap();
    assert_eq!((back.network.as_str(), back.aliases.len()), ("back", 0));
    assert_eq!(parse("name=back").unwrap(), back);
    let full = parse("back,alias=db,alias=data,ip=10.0.1.9,driver-opt=a=b").unwrap();
    assert_eq!(
        (full.aliases.as_slice(), full.addresses.as_slice()),
        (&["db".to_owned(), "data".to_owned()][..], &["10.0.1.9".to_owned()][..])
    );
    assert_eq!(full.options["a"], "b");
    assert_eq!(parse("alias=db").unwrap_err(), "malformed network \"alias=db\": it has no name");
    assert_eq!(parse("back,ip=x").unwrap_err(), "malformed network \"back,ip=x\": ip is an address");
    assert!(parse("back,color=red").unwrap_err().ends_with("expected name, then alias=, ip= or driver-opt="));
}

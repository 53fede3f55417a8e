//! Ports, one at a time and at random.

use proptest::prelude::*;

use super::*;

fn port(target: u32, published: u32) -> PortConfig {
    PortConfig { target_port: target, published_port: published, ..Default::default() }
}

fn udp(target: u32, published: u32) -> PortConfig {
    PortConfig { protocol: Protocol::Udp.into(), ..port(target, published) }
}

fn host(target: u32, published: u32) -> PortConfig {
    PortConfig { publish_mode: PublishMode::Host.into(), ..port(target, published) }
}

fn service(id: &str, has: &[PortConfig]) -> Service {
    let mut service = swarmkit_testing::service(id).build();
    service.endpoint = Some(Endpoint { ports: has.to_vec(), ..Default::default() }.into());
    service
}

fn plan(ports: &Ports, service: &Service, asked: &[PortConfig]) -> Result<Vec<u32>, String> {
    let spec = EndpointSpec { ports: asked.to_vec(), ..Default::default() };
    let planned = ports.choose(service, &spec, |id| format!("named {id}"));
    planned.map(|ports| ports.iter().map(|port| port.published_port).collect()).map_err(|error| error.to_string())
}

fn claim(ports: &mut Ports, service: &Service) {
    ports.claim(&service.id, of_endpoint(service.endpoint.as_deref()));
}

fn release(ports: &mut Ports, service: &Service) -> Vec<PortKey> {
    ports.release(&service.id, of_endpoint(service.endpoint.as_deref()), &[])
}

#[test]
fn ports_without_a_wish_come_from_the_dynamic_range_each_protocol_by_itself() {
    let asked = [port(80, 0), port(81, 0), udp(80, 0), port(443, 443)];
    assert_eq!(plan(&Ports::default(), &service("web", &[]), &asked).unwrap(), [30_000, 30_001, 30_000, 443]);
}

#[test]
fn a_port_of_another_service_is_refused_and_an_own_one_is_not() {
    let mut ports = Ports::default();
    let web = service("web", &[port(80, 8080)]);
    claim(&mut ports, &web);
    let refused = plan(&ports, &service("api", &[]), &[port(80, 8080)]).unwrap_err();
    assert_eq!(refused, "port 8080/tcp is already in use by service named web (web)");
    assert_eq!(plan(&ports, &service("api", &[]), &[udp(80, 8080)]).unwrap(), [8080]);
    assert_eq!(plan(&ports, &web, &[port(80, 8080)]).unwrap(), [8080]);
    assert_eq!(release(&mut ports, &web), [(Protocol::Tcp, 8080)]);
    assert_eq!(release(&mut ports, &web), [], "what was freed once is not freed again");
    assert_eq!(plan(&ports, &service("api", &[]), &[port(80, 8080)]).unwrap(), [8080]);
    assert_eq!(ports, Ports::default());
}

#[test]
fn what_is_asked_for_twice_or_does_not_exist_is_refused() {
    let web = service("web", &[]);
    let refused = plan(&Ports::default(), &web, &[port(80, 8080), port(81, 8080)]).unwrap_err();
    assert_eq!(refused, "port 8080/tcp is published twice");
    assert_eq!(plan(&Ports::default(), &web, &[port(80, 65_536)]).unwrap_err(), "port 65536 is out of range");
    assert_eq!(plan(&Ports::default(), &web, &[host(80, 80), host(81, 80)]).unwrap(), [80, 80], "not ours to say");
}

#[test]
fn a_port_that_was_chosen_is_kept_as_long_as_it_is_the_same_port() {
    let web = service("web", &[port(80, 30_005), port(81, 30_006)]);
    let mut ports = Ports::default();
    claim(&mut ports, &web);
    assert_eq!(plan(&ports, &web, &[port(81, 0), port(80, 0)]).unwrap(), [30_006, 30_005]);
    assert_eq!(plan(&ports, &web, &[port(80, 0), port(82, 0)]).unwrap(), [30_005, 30_007]);
    assert_eq!(plan(&ports, &web, &[port(80, 0)]).unwrap(), [30_005]);
}

#[test]
fn host_ports_come_first_and_chosen_ones_last_when_a_list_keeps_its_length() {
    let web = service("web", &[port(1, 30_000), port(2, 2), host(3, 3)]);
    assert_eq!(plan(&Ports::default(), &web, &[port(1, 0), port(2, 2), host(3, 3)]).unwrap(), [3, 2, 30_000]);
    let fresh = service("web", &[]);
    assert_eq!(plan(&Ports::default(), &fresh, &[port(1, 0), port(2, 2), host(3, 3)]).unwrap(), [30_000, 2, 3]);
}

#[test]
fn a_number_that_was_let_go_is_not_reused_at_once() {
    let mut ports = Ports::default();
    let web = service("web", &[port(80, 30_000)]);
    claim(&mut ports, &web);
    release(&mut ports, &web);
    assert_eq!(plan(&ports, &service("api", &[]), &[port(80, 0)]).unwrap(), [30_001]);
    claim(&mut ports, &service("last", &[port(80, 32_767)]));
    assert_eq!(plan(&ports, &service("api", &[]), &[port(80, 0)]).unwrap(), [30_000], "it wraps");
}

#[test]
fn when_all_are_taken_the_service_waits() {
    let mut ports = Ports::default();
    let all: Vec<_> = DYNAMIC_PORTS.map(|number| port(number, number)).collect();
    claim(&mut ports, &service("greedy", &all));
    let refused = plan(&ports, &service("web", &[]), &[port(80, 0)]).unwrap_err();
    assert_eq!(refused, "no tcp port of the range 30000-32767 is free");
    assert_eq!(plan(&ports, &service("web", &[]), &[udp(80, 0), port(80, 80)]).unwrap(), [30_000, 80]);
}

proptest! {
    #[test]
    fn no_number_is_given_out_twice(asked in prop::collection::vec(
        prop::collection::vec((0..4_u32, prop::sample::select(vec![0, 80, 30_000, 30_001, 30_002]), any::<bool>()), 0..4), 1..12))
    {
        let mut ports = Ports::default();
        let mut given = BTreeSet::new();
        for (n, wanted) in asked.into_iter().enumerate() {
            let wanted: Vec<_> = wanted.into_iter()
                .map(|(target, number, is_udp)| if is_udp { udp(target, number) } else { port(target, number) })
                .collect();
            let id = format!("s{n}");
            let spec = EndpointSpec { ports: wanted.clone(), ..Default::default() };
            if let Ok(planned) = ports.choose(&service(&id, &[]), &spec, |_| String::new()) {
                for (wanted, planned) in wanted.iter().zip(&planned) {
                    prop_assert!(wanted.published_port == 0 || wanted.published_port == planned.published_port);
                    prop_assert!(given.insert((planned.protocol, planned.published_port)), "given out twice");
                }
                let has = service(&id, &planned);
                prop_assert_eq!(&ports.choose(&has, &spec, |_| String::new()).map_err(|_| ()).map(|again| again.len()), &Ok(planned.len()));
                claim(&mut ports, &has);
                let mut again = ports.choose(&has, &spec, |_| String::new()).unwrap();
                let mut planned = planned;
                again.sort_by_key(|port| (port.protocol, port.published_port));
                planned.sort_by_key(|port| (port.protocol, port.published_port));
                prop_assert_eq!(again, planned, "what is allocated stays as it is");
            }
        }
    }
}

#[test]
fn a_number_that_is_asked_for_is_not_chosen_for_another() {
    let mut ports = Ports::default();
    claim(&mut ports, &service("in", &[port(80, 30_000), port(81, 30_002)]));
    claim(&mut ports, &service("out", &[port(80, 29_999), port(81, 32_768)]));
    let asked = [port(1, 30_001), port(2, 0), port(3, 0)];
    assert_eq!(plan(&ports, &service("web", &[]), &asked).unwrap(), [30_001, 30_003, 30_004]);
    let mut fresh = Ports::default();
    claim(&mut fresh, &service("out", &[port(80, 29_999), port(81, 32_768)]));
    assert_eq!(plan(&fresh, &service("web", &[]), &[port(2, 0)]).unwrap(), [30_000]);
}

//! Whatever comes and goes, nothing is given twice, nothing leaks, and the next leader knows the same.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What happens in one step.
#[derive(Clone, Debug)]
enum Step {
    Make { name: u8, exact: Option<u8>, ipv6: bool },
    Free { name: u8 },
    Attach { name: u8, asked: Option<u8> },
    Detach { pick: usize },
    NextTerm,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u8..6, proptest::option::of(0_u8..6), any::<bool>())
            .prop_map(|(name, exact, ipv6)| Step::Make { name, exact, ipv6 }),
        1 => (0_u8..6).prop_map(|name| Step::Free { name }),
        6 => (0_u8..6, proptest::option::of(0_u8..16)).prop_map(|(name, asked)| Step::Attach { name, asked }),
        3 => any::<usize>().prop_map(|pick| Step::Detach { pick }),
        1 => Just(Step::NextTerm),
    ];
    proptest::collection::vec(step, 1..80)
}

/// As few addresses as make conflicts likely.
fn world() -> World {
    World::with(&["10.0.0.0/26"], 28)
}

fn take(world: &mut World, name: u8, exact: Option<u8>, ipv6: bool) {
    let name = format!("n{name}");
    if world.networks.contains_key(&name) {
        return;
    }
    let subnet = exact.map(|exact| format!("10.0.0.{}/28", exact * 16));
    let wish = network(&name, |spec| {
        spec.ipv6_enabled = ipv6;
        if let Some(subnet) = &subnet {
            pools(&[subnet])(spec);
        }
    });
    world.make(wish);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn nothing_is_given_twice_and_nothing_leaks(steps in steps()) {
        let mut world = world();
        // Who has which address, of what is stored.
        let mut held: Vec<(String, String)> = Vec::new();
        for step in steps {
            match step {
                Step::Make { name, exact, ipv6 } => take(&mut world, name, exact, ipv6),
                Step::Free { name } => {
                    let name = format!("n{name}");
                    if world.networks.contains_key(&name) {
                        world.free(&name);
                        held.retain(|(network, _)| *network != name);
                    }
                }
                Step::Attach { name, asked } => {
                    let name = format!("n{name}");
                    let Some(network) = world.networks.get(&name) else { continue };
                    let first = network.ipam.as_ref().unwrap().configs[0].subnet.clone();
                    let base: u8 = first.split(['.', '/']).nth(3).unwrap().parse().unwrap();
                    let asked: Vec<_> = asked.iter().map(|asked| format!("10.0.0.{}", base + asked)).collect();
                    let asked: Vec<_> = asked.iter().map(String::as_str).collect();
                    if let Ok(given) = world.ask(NetworkEnd::Task, &name, &asked) {
                        held.extend(given.unwrap().into_iter().map(|address| (name.clone(), address)));
                    }
                }
                Step::Detach { pick } if !held.is_empty() => {
                    let (network, address) = held.swap_remove(pick % held.len());
                    world.detach(&network, &address);
                }
                Step::Detach { .. } => {}
                Step::NextTerm => {
                    let told: Vec<_> = held.iter().map(|(network, address)| (network.as_str(), address.as_str())).collect();
                    world.next_term(&told);
                }
            }
            let addresses: BTreeSet<_> = held.iter().map(|(_, address)| address).collect();
            prop_assert_eq!(addresses.len(), held.len(), "one address twice: {:?}", held);
            let gateways = world.networks.values().flat_map(|network| &network.ipam.as_ref().unwrap().configs);
            let mut gateways = gateways.map(|config| format!("{}/28", config.gateway));
            prop_assert!(!gateways.any(|gateway| addresses.contains(&gateway)), "a gateway was given out");
        }
        // When all that is held is given back, as much can be had as at the beginning.
        for (network, address) in held {
            world.detach(&network, &address);
        }
        for name in world.networks.keys().cloned().collect::<Vec<_>>() {
            let mut count = 0;
            while world.ask(NetworkEnd::Task, &name, &[]).is_ok() {
                count += 1;
            }
            prop_assert_eq!(count, 13, "of 16, without both ends and the gateway");
            world.free(&name);
        }
        for index in 0..4 {
            let told = world.make(network(&format!("f{index}"), |_| {}));
            prop_assert!(told.contains("10.0.0."), "{}", told);
        }
    }
}

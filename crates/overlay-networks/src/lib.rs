//! Networks as Docker Engines make them: overlays that span nodes, with their subnets, addresses and VXLAN ids.
//!
//! [`OverlayNetworks`] is a [`NetworkProvider`](swarmkit_allocator::NetworkProvider) for clusters whose nodes are Docker
//! Engines, or work as these do. What it gives out is recorded in the form that such nodes expect, so an engine that joins
//! as a worker makes the networks and puts its containers on them.
//!
//! [`introduce`] lets such engines find each other.
//!
//! It carries no packets of networks and touches no device; it does not know who has an address, only that somebody has. It
//! reads no store: whoever owns it tells it what is in use.
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc};
//!
//! use swarmkit_allocator::{AddressRequest, NetworkEnd, NetworkOptions, NetworkProvider};
//! use swarmkit_api::{Network, wire};
//! use swarmkit_overlay_networks::OverlayNetworks;
//!
//! let mut allocator = OverlayNetworks.allocator(&NetworkOptions::default())?;
//! let mut back = Network::new("n1".into());
//! let annotations = Some(wire::Annotations { name: "back".into(), ..Default::default() });
//! back.spec = Arc::new(wire::NetworkSpec { annotations, ..Default::default() });
//!
//! let grant = allocator.allocate_network(&back)?.expect("an overlay has something to record");
//! let pool = &grant.ipam.configs[0];
//! assert_eq!((pool.subnet.as_str(), pool.gateway.as_str()), ("10.0.0.0/24", "10.0.0.1"));
//!
//! let request = AddressRequest { end: NetworkEnd::Task, addresses: &[], options: &BTreeMap::new() };
//! assert_eq!(allocator.allocate_addresses(&back, &request)?, Some(vec!["10.0.0.2/24".into()]));
//! # Ok::<(), swarmkit_allocator::NetworkError>(())
//! ```
//!
//! # Invariants
//!
//! - No two subnets of a cluster overlap, and no two of its networks have a VXLAN id in common.
//! - An address is given out once, until it is freed. Neither the ends of a subnet nor its gateway ever are.
//! - A network or an end of one that cannot have all that it asks for has taken nothing.
//! - What is given out costs the logarithm of what is in use, at most.

mod allocation;
mod family;
mod introduction;
mod overlay;
mod pools;
mod provider;
mod runs;
mod space;
mod subnet;
mod vxlan;
mod wish;

#[cfg(test)]
mod tests;

pub use introduction::{GOSSIP_PORT, introduce};
pub use provider::OverlayNetworks;

/// The option of the driver in which VXLAN ids are asked for and recorded, as engines read it.
pub const VXLAN_IDS: &str = "com.docker.network.driver.overlay.vxlanid_list";
/// The option of address management that says whether addresses go round; `false` makes the lowest free one the next.
pub const SERIAL: &str = "com.docker.network.ipam.serial";

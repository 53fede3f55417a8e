//! The seam to whoever knows how networks are made: a driver for overlays, an engine's network plugins, or nobody.

use std::collections::BTreeMap;

use swarmkit_api::{
    Network, NetworkId,
    wire::{Driver, IpamOptions, NetworkSpec},
};

use crate::NetworkError;

/// Knows networks: what drivers there are, and how addresses are given out.
///
/// One is shared by all leader terms of a manager; what is given out belongs to the [`NetworkAllocator`] of one term.
/// The control API asks it whether the drivers in a request exist.
pub trait NetworkProvider: Send + Sync + 'static {
    /// Whether a driver of that purpose exists. An absent driver means the default one.
    ///
    /// # Errors
    ///
    /// [`NetworkError::UnknownDriver`], [`NetworkError::BadIngressDriver`], [`NetworkError::UnknownIpam`] or
    /// [`NetworkError::Unavailable`].
    fn check_driver(&self, purpose: DriverPurpose, driver: Option<&Driver>) -> Result<(), NetworkError>;

    /// Whether a network could ever be as it is asked for, whatever else there is in the cluster. The control API refuses
    /// those that could not.
    ///
    /// # Errors
    ///
    /// [`NetworkError::BadNetwork`], with what has to change.
    fn check_network(&self, _: &NetworkSpec) -> Result<(), NetworkError> {
        Ok(())
    }

    /// The networks that every node has by itself, such as that of its host. The leader enters them, so that services can
    /// name them.
    fn predefined(&self) -> Vec<PredefinedNetwork> {
        Vec::new()
    }

    /// An allocator that has given nothing out yet.
    ///
    /// # Errors
    ///
    /// When it cannot work with those options; then this manager must not lead.
    fn allocator(&self, options: &NetworkOptions) -> Result<Box<dyn NetworkAllocator>, NetworkError>;
}

/// Gives out subnets and addresses during one leader term.
///
/// It knows which addresses are taken, not by whom: who has what is known above it, so it is told of an address once when
/// the first takes it, and once when the last lets go.
///
/// # Obligations
///
/// - *It keeps no record.* At the start of a term it is told everything that is stored: all networks, then all addresses.
///   Only then is it asked for something. Nothing is stored that it did not give out, so a term that is told the same
///   gives out the same.
/// - *Being told twice changes nothing*, since what it gave out is told to it again when a change that it missed made
///   its term start over. So does freeing what was never given, or belongs to a network that it does not know.
/// - *Nothing is given twice*, neither what it gave nor what it was told of, until it is freed.
/// - *All or nothing.* A request that fails has taken nothing.
/// - *No answer depends on anything but the calls before it*: no clock, no chance, no order of a hash.
/// - *A network that is freed takes its addresses with it*; they may be freed afterwards, or not.
/// - *What fails says what it waits for* with [`NetworkError::blocker`], and does not fail once that is there, unless
///   someone else was quicker.
pub trait NetworkAllocator: Send {
    /// Takes over a network that was given its driver state and pools by an earlier term.
    ///
    /// # Errors
    ///
    /// When it cannot work with what is stored, such as a subnet that another network has. The network is not known
    /// then, and whoever asks for an address on it is told the error of [`NetworkAllocator::allocate_addresses`].
    fn restore_network(&mut self, network: &Network) -> Result<(), NetworkError>;

    /// Gives a network what its driver needs. `None` when nothing has to be recorded: it counts as allocated.
    ///
    /// Networks that are local to each node get a driver state with the name of the driver, and pools that are empty.
    ///
    /// # Errors
    ///
    /// When it cannot be had for now, or as it is asked for.
    fn allocate_network(&mut self, network: &Network) -> Result<Option<NetworkGrant>, NetworkError>;

    /// Takes back a network.
    fn free_network(&mut self, network: &Network);

    /// Takes over addresses that are recorded at one end of a network, in the form in which they were given.
    fn restore_addresses(&mut self, network: &NetworkId, addresses: &[String]);

    /// Gives the addresses for one end of an allocated network, in CIDR form: one of each family that the network has,
    /// the one of IPv4 first.
    ///
    /// An empty list when the end is to be recorded without addresses, as on networks that are local to each node; `None`
    /// when nothing is to be recorded at all, as for load balancers on such networks.
    ///
    /// # Errors
    ///
    /// When no address is left, or one that is asked for cannot be had.
    fn allocate_addresses(
        &mut self,
        network: &Network,
        request: &AddressRequest<'_>,
    ) -> Result<Option<Vec<String>>, NetworkError>;

    /// Takes back addresses, given as they were recorded.
    fn free_addresses(&mut self, network: &NetworkId, addresses: &[String]);
}

/// One end of a network that wants addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRequest<'a> {
    /// What the end is.
    pub end: NetworkEnd,
    /// Addresses that are asked for, at most one of each family, with or without a prefix length. Of the other families
    /// one is chosen.
    pub addresses: &'a [String],
    /// Settings of this one end, for the driver.
    pub options: &'a BTreeMap<String, String>,
}

/// What can be at the end of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkEnd {
    /// A task.
    Task,
    /// A service: its virtual address, which the load balancers of nodes answer.
    Service,
    /// The load balancer of a node. It is wanted on each network that a task on the node is attached to, and on the one
    /// that carries published ports.
    Node,
}

/// A network that nobody has to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredefinedNetwork {
    /// What services call it.
    pub name: String,
    /// The driver that it belongs to.
    pub driver: String,
}

/// What a driver is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverPurpose {
    /// A network of tasks.
    Network,
    /// The network that carries published ports.
    Ingress,
    /// Giving out addresses.
    Ipam,
}

/// What the cluster says about addresses, for all of a term.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// The pools that subnets are cut from, as CIDR. Empty means the provider's default.
    pub default_address_pool: Vec<String>,
    /// The prefix length of a cut subnet. 0 means the provider's default.
    pub subnet_size: u32,
    /// The UDP port of the overlay data path. 0 means the provider's default.
    pub vxlan_udp_port: u32,
}

/// What a network was given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkGrant {
    /// The driver, with what it must know.
    pub driver_state: Driver,
    /// The pools of addresses.
    pub ipam: IpamOptions,
}

/// The provider of a cluster without networks of its own, such as one that runs processes.
///
/// Published ports are still given out, and the ingress network counts as allocated, since nobody looks into it.
#[derive(Clone, Copy, Debug, Default)]
pub struct InertNetworks;

impl NetworkProvider for InertNetworks {
    fn check_driver(&self, _: DriverPurpose, driver: Option<&Driver>) -> Result<(), NetworkError> {
        driver.map_or(Ok(()), |_| Err(NetworkError::Unavailable))
    }

    fn allocator(&self, _: &NetworkOptions) -> Result<Box<dyn NetworkAllocator>, NetworkError> {
        Ok(Box::new(Self))
    }
}

impl NetworkAllocator for InertNetworks {
    fn restore_network(&mut self, _: &Network) -> Result<(), NetworkError> {
        Ok(())
    }

    fn allocate_network(&mut self, network: &Network) -> Result<Option<NetworkGrant>, NetworkError> {
        if is_ingress_network(network) { Ok(None) } else { Err(NetworkError::Unavailable) }
    }

    fn free_network(&mut self, _: &Network) {}

    fn restore_addresses(&mut self, _: &NetworkId, _: &[String]) {}

    fn allocate_addresses(
        &mut self,
        network: &Network,
        _: &AddressRequest<'_>,
    ) -> Result<Option<Vec<String>>, NetworkError> {
        if is_ingress_network(network) { Ok(None) } else { Err(NetworkError::Unavailable) }
    }

    fn free_addresses(&mut self, _: &NetworkId, _: &[String]) {}
}

/// Whether a network carries the published ports: by its flag, or, in old clusters, by a label and its name.
#[must_use]
pub fn is_ingress_network(network: &Network) -> bool {
    let annotations = network.spec.annotations.as_ref();
    network.spec.ingress
        || annotations.is_some_and(|annotations| {
            annotations.name == "ingress" && annotations.labels.contains_key("com.docker.swarm.internal")
        })
}

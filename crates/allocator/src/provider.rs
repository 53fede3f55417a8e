//! The seam to whoever knows how networks are made: a driver for overlays, an engine's network plugins, or nobody.

use swarmkit_api::{
    Network,
    wire::{Driver, IpamOptions, NetworkAttachment, NetworkAttachmentConfig},
};

/// Knows networks: what drivers there are, and how addresses are given out.
///
/// One is shared by all leader terms of a manager; what is given out belongs to the [`NetworkAllocator`] of one term.
/// The control API asks it whether the drivers in a request exist.
pub trait NetworkProvider: Send + Sync + 'static {
    /// Whether a driver of that purpose exists. An absent driver means the default one.
    ///
    /// # Errors
    ///
    /// [`NetworkError::UnknownDriver`] or [`NetworkError::Unavailable`].
    fn check_driver(&self, purpose: DriverPurpose, driver: Option<&Driver>) -> Result<(), NetworkError>;

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
/// It keeps no record of its own: at the start of a term it is told everything that is stored, and nothing is stored
/// that it did not give out. Being told the same thing twice must change nothing, since what it has given out is told
/// to it again when it comes back from the store; so must freeing what was never given out.
pub trait NetworkAllocator: Send {
    /// Takes over a network that has its driver state and pools already.
    fn restore_network(&mut self, network: &Network);

    /// Takes over the addresses of an attachment.
    fn restore_attachment(&mut self, attachment: &NetworkAttachment);

    /// Gives a network what its driver needs. `None` when it needs nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be had. It is tried again when something was freed.
    fn allocate_network(&mut self, network: &Network) -> Result<Option<NetworkGrant>, NetworkError>;

    /// Attaches a task to an allocated network. `None` when nothing has to be recorded on the task.
    ///
    /// # Errors
    ///
    /// When no address is left, or the asked one is taken. It is tried again when something was freed.
    fn attach(
        &mut self,
        network: &Network,
        asked: &NetworkAttachmentConfig,
    ) -> Result<Option<NetworkAttachment>, NetworkError>;

    /// Takes back the addresses of an attachment.
    fn detach(&mut self, attachment: &NetworkAttachment);

    /// Takes back a network.
    fn free_network(&mut self, network: &Network);
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

/// Why there is no network, or no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// This cluster has no networks of its own. Clients match on the text.
    #[error("network support is unavailable")]
    Unavailable,
    /// There is no such driver.
    #[error("network driver {0} not found")]
    UnknownDriver(String),
    /// All addresses are given out, or the one that was asked for is.
    #[error("no address is available on network {0}")]
    NoAddress(String),
    /// All subnets are given out, or the one that was asked for is.
    #[error("no subnet is available for network {0}")]
    NoSubnet(String),
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
    fn restore_network(&mut self, _: &Network) {}

    fn restore_attachment(&mut self, _: &NetworkAttachment) {}

    fn allocate_network(&mut self, network: &Network) -> Result<Option<NetworkGrant>, NetworkError> {
        if is_ingress_network(network) { Ok(None) } else { Err(NetworkError::Unavailable) }
    }

    fn attach(
        &mut self,
        network: &Network,
        _: &NetworkAttachmentConfig,
    ) -> Result<Option<NetworkAttachment>, NetworkError> {
        if is_ingress_network(network) { Ok(None) } else { Err(NetworkError::Unavailable) }
    }

    fn detach(&mut self, _: &NetworkAttachment) {}

    fn free_network(&mut self, _: &Network) {}
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

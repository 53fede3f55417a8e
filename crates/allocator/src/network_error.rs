//! Why a network, or an address on one, cannot be had, and what would change that.

use swarmkit_api::NetworkId;

/// Why there is no network, or no address. Networks are named in the texts as users name them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// This cluster has no networks of its own. Clients match on the text.
    #[error("network support is unavailable")]
    Unavailable,
    /// There is no such driver.
    #[error("network driver {0} not found")]
    UnknownDriver(String),
    /// That driver cannot carry published ports.
    #[error("network driver {0} cannot be that of the ingress network")]
    BadIngressDriver(String),
    /// There is nobody of that name who gives out addresses.
    #[error("address management driver {0} not found")]
    UnknownIpam(String),
    /// What the cluster says about addresses is wrong in itself.
    #[error("the cluster's address pools cannot be used: {0}")]
    BadOptions(String),
    /// All addresses of the network are given out.
    #[error("no address is available on network {0}")]
    NoAddress(String),
    /// The address that was asked for is given out.
    #[error("address {address} on network {network} is already in use")]
    AddressInUse {
        /// The address, as it was asked for.
        address: String,
        /// The name of the network.
        network: String,
    },
    /// The address that was asked for can never be had there. The specification has to change.
    #[error("address {address} does not belong to network {network}")]
    BadAddress {
        /// The address, as it was asked for.
        address: String,
        /// The name of the network.
        network: String,
    },
    /// All subnets are given out.
    #[error("no subnet is available for network {0}")]
    NoSubnet(String),
    /// The subnet that was asked for overlaps with that of another network.
    #[error("subnet {subnet} overlaps with network {name} ({network})")]
    SubnetInUse {
        /// The subnet, as it was asked for.
        subnet: String,
        /// The name of the network that has it.
        name: String,
        /// The id of that network.
        network: NetworkId,
    },
    /// The specification of the network is wrong in itself, and has to change.
    #[error("network {network} cannot be made: {reason}")]
    BadNetwork {
        /// The name of the network.
        network: String,
        /// What is wrong with it, for people.
        reason: String,
    },
    /// The VXLAN id that was asked for belongs to another network.
    #[error("vxlan id {id} is already in use by network {name} ({network})")]
    VxlanInUse {
        /// The id.
        id: u32,
        /// The name of the network that has it.
        name: String,
        /// The id of that network.
        network: NetworkId,
    },
    /// All VXLAN ids are given out.
    #[error("no vxlan id is available for network {0}")]
    NoVxlan(String),
    /// The provider does not know that network: it was not allocated, or could not be taken over.
    #[error("network {0} is not allocated")]
    NotAllocated(String),
}

/// What has to happen before it makes sense to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// Nothing does. The specification has to change, or the cluster.
    Specification,
    /// Any address of the network has to be freed.
    AnyAddress,
    /// This address has to be freed, named as it was asked for.
    Address(String),
    /// Any network has to be freed.
    AnyNetwork,
    /// This network has to be freed.
    Network(NetworkId),
}

impl NetworkError {
    /// What has to happen before it makes sense to ask again.
    #[must_use]
    pub fn blocker(&self) -> Blocker {
        match self {
            Self::NoAddress(_) => Blocker::AnyAddress,
            Self::AddressInUse { address, .. } => Blocker::Address(address.clone()),
            Self::NoSubnet(_) | Self::NoVxlan(_) => Blocker::AnyNetwork,
            Self::SubnetInUse { network, .. } | Self::VxlanInUse { network, .. } => Blocker::Network(network.clone()),
            Self::Unavailable
            | Self::UnknownDriver(_)
            | Self::BadIngressDriver(_)
            | Self::UnknownIpam(_)
            | Self::BadOptions(_)
            | Self::BadAddress { .. }
            | Self::BadNetwork { .. }
            | Self::NotAllocated(_) => Blocker::Specification,
        }
    }
}

//! Who waits, for what, and who is woken by what.
//!
//! Whoever waits is found by what it waits for, so that something that comes free costs as much as those who can have it,
//! not as much as all who wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Bound,
};

use swarmkit_api::{NetworkId, NodeId, ServiceId, TaskId, wire::port_config::Protocol};

use crate::{Blocker, NetworkError, PortError, addresses::parse};

/// A task, named with its service, under which it is found.
pub(crate) type TaskKey = (Option<ServiceId>, TaskId);

/// What can wait, in the order in which things are given out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiter {
    Network(NetworkId),
    Node(NodeId),
    Service(ServiceId),
    Task(TaskKey),
}

/// What has to happen before it makes sense to look again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// Its own specification changes.
    Specification,
    /// The service is there, and has all it asks for.
    Service(ServiceId),
    /// The network is there, and allocated.
    Network(NetworkId),
    /// There is a network that carries published ports.
    Ingress,
    /// The network is gone.
    Gone(NetworkId),
    /// Some network is gone. Those that ask alike are told apart from those that have wishes.
    AnyNetwork(Wish),
    /// Some address of the network is free. Those that ask for any are told apart from those that have wishes.
    AnyAddress(NetworkId, Wish),
    /// The address is free.
    Address(NetworkId, IpAddr),
    /// The port is free.
    Port(Protocol, u32),
    /// A port without a wish can be had.
    AnyPort(Protocol),
}

/// Whether all who wait for the same ask for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    /// They do: if the first cannot have it, nobody can.
    None,
    /// The same, of both families of addresses.
    Dual,
    /// Each has its own, so each has to be asked.
    Own,
}

/// Why something waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wait {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("{error}")]
    Subnet { error: NetworkError, wish: Wish },
    #[error("{error}")]
    Address { network: NetworkId, error: NetworkError, wish: Wish },
    #[error("ingress network is missing")]
    NoIngress,
    #[error("network {name} ({id}) carries the published ports already")]
    SecondIngress { id: NetworkId, name: String },
    #[error("network {0} does not exist")]
    NoNetwork(NetworkId),
    #[error("{why}")]
    Unready { network: NetworkId, why: String },
    #[error("{why}")]
    Service { service: ServiceId, why: String },
}

/// Who waits for what, and why, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    causes: BTreeMap<Waiter, (Cause, String)>,
    waiters: BTreeSet<(Cause, Waiter)>,
}

// === impl Cause ===

impl Cause {
    /// Whether nobody who waits for it can have it if one of them cannot.
    pub(crate) fn is_alike(&self) -> bool {
        matches!(self, Self::AnyNetwork(Wish::None | Wish::Dual) | Self::AnyAddress(_, Wish::None | Wish::Dual))
    }
}

// === impl Wait ===

impl Wait {
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Port(PortError::InUse { port, protocol, .. }) => Cause::Port(*protocol, *port),
            Self::Port(PortError::Exhausted { protocol }) => Cause::AnyPort(*protocol),
            Self::Port(PortError::Twice { .. } | PortError::OutOfRange(_)) => Cause::Specification,
            Self::Subnet { error, wish } => blocked_by(error, None, *wish),
            Self::Address { network, error, wish } => blocked_by(error, Some(network), *wish),
            Self::NoIngress => Cause::Ingress,
            Self::SecondIngress { id, .. } => Cause::Gone(id.clone()),
            Self::NoNetwork(network) | Self::Unready { network, .. } => Cause::Network(network.clone()),
            Self::Service { service, .. } => Cause::Service(service.clone()),
        }
    }
}

fn blocked_by(error: &NetworkError, network: Option<&NetworkId>, wish: Wish) -> Cause {
    match (error.blocker(), network) {
        (Blocker::AnyAddress, Some(network)) => Cause::AnyAddress(network.clone(), wish),
        (Blocker::Address(address), Some(network)) => match parse(&address) {
            Some(address) => Cause::Address(network.clone(), address),
            None => Cause::Specification,
        },
        (Blocker::AnyNetwork, _) => Cause::AnyNetwork(wish),
        (Blocker::Network(network), _) => Cause::Gone(network),
        _ => Cause::Specification,
    }
}

// === impl Waits ===

impl Waits {
    /// Notes that something waits.
    pub(crate) fn note(&mut self, waiter: Waiter, cause: Cause, why: String) {
        self.clear(&waiter);
        self.waiters.insert((cause.clone(), waiter.clone()));
        self.causes.insert(waiter, (cause, why));
    }

    /// Notes that something waits no more. Gives whether it did.
    pub(crate) fn clear(&mut self, waiter: &Waiter) -> bool {
        match self.causes.remove(waiter) {
            Some((cause, _)) => self.waiters.remove(&(cause, waiter.clone())),
            None => false,
        }
    }

    /// Why something waits, if it does.
    pub(crate) fn why(&self, waiter: &Waiter) -> Option<&str> {
        self.causes.get(waiter).map(|(_, why)| why.as_str())
    }

    /// What something waits for, if it does.
    pub(crate) fn cause(&self, waiter: &Waiter) -> Option<&Cause> {
        self.causes.get(waiter).map(|(cause, _)| cause)
    }

    /// The next one in order that waits for it.
    pub(crate) fn next(&self, cause: &Cause, after: Bound<Waiter>) -> Option<Waiter> {
        let from = match after {
            Bound::Unbounded => Bound::Included((cause.clone(), Waiter::Network(NetworkId::from("")))),
            Bound::Included(waiter) => Bound::Included((cause.clone(), waiter)),
            Bound::Excluded(waiter) => Bound::Excluded((cause.clone(), waiter)),
        };
        let next = self.waiters.range((from, Bound::Unbounded)).next();
        next.filter(|(of, _)| of == cause).map(|(_, waiter)| waiter.clone())
    }
}

//! The ends of networks: who is given addresses on them, and how that is recorded.

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_api::{
    Network, NetworkId, Object as _,
    wire::{NetworkAttachment, NetworkAttachmentConfig},
};

use super::{Draft, networks::name};
use crate::{
    AddressRequest, NetworkEnd,
    addresses::Holder,
    waits::{Wait, Waiter, Wish},
};

/// Who wants to be attached to a network, and what it asks for.
pub(super) struct End<'a> {
    pub(super) holder: Holder,
    pub(super) kind: NetworkEnd,
    pub(super) asked: Option<&'a NetworkAttachmentConfig>,
}

impl Draft<'_> {
    /// The network, if it has all that it needs.
    pub(super) fn ready(&self, id: &NetworkId) -> Result<Arc<Network>, Wait> {
        if let Some(granted) = self.granted.get(id) {
            return Ok(granted.clone());
        }
        let network = self.world.networks.get(id).ok_or_else(|| Wait::NoNetwork(id.clone()))?;
        if self.world.is_allocated(network) {
            return Ok(network.clone());
        }
        let why = self.world.waits.why(&Waiter::Network(id.clone()));
        let why = why.map_or_else(|| format!("network {} is not allocated", name(network)), str::to_owned);
        Err(Wait::Unready { network: id.clone(), why })
    }

    /// Addresses for an end, booked. `None` if nothing is to be recorded.
    pub(super) fn addresses(&mut self, network: &Network, end: &End<'_>) -> Result<Option<Vec<String>>, Wait> {
        let options = BTreeMap::new();
        let request = AddressRequest {
            end: end.kind,
            addresses: end.asked.map_or(&[], |asked| &asked.addresses),
            options: end.asked.map_or(&options, |asked| &asked.driver_attachment_opts),
        };
        let wish = if request.addresses.is_empty() { Wish::None } else { Wish::Own };
        let given = self.provider.allocate_addresses(network, &request);
        let given = given.map_err(|error| Wait::Address { network: network.id.clone(), error, wish })?;
        if let Some(addresses) = &given {
            self.world.addresses.give(&end.holder, &network.id, addresses);
        }
        Ok(given)
    }
}

/// How an end is recorded.
pub(super) fn attachment(
    network: &Network,
    addresses: Vec<String>,
    asked: Option<&NetworkAttachmentConfig>,
) -> NetworkAttachment {
    let mut network = network.to_wire();
    // What a network waited for is no business of those who are attached to it.
    network.waiting = None;
    NetworkAttachment {
        network: Some(network),
        addresses,
        aliases: asked.map(|asked| asked.aliases.clone()).unwrap_or_default(),
        driver_attachment_opts: asked.map(|asked| asked.driver_attachment_opts.clone()).unwrap_or_default(),
    }
}

/// The network that an attachment belongs to.
pub(super) fn network_of(attachment: &NetworkAttachment) -> Option<NetworkId> {
    attachment.network.as_ref().map(|network| NetworkId::from(network.id.as_str()))
}

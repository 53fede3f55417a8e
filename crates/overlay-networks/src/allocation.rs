//! What is given out during one leader term.

use std::collections::BTreeMap;

use ipnet::IpNet;
use swarmkit_allocator::{AddressRequest, NetworkAllocator, NetworkEnd, NetworkError, NetworkGrant, NetworkOptions};
use swarmkit_api::{
    Network, NetworkId,
    wire::{Driver, IpamOptions},
};

use crate::{
    SERIAL, VXLAN_IDS,
    family::Family,
    overlay::{Options, Overlay, Taken},
    pools::Pools,
    provider::{IPAM, OVERLAY, is_local},
    vxlan::VxlanIds,
    wish::{self, Which, Wish, bad},
};

/// The networks of a cluster, with all that is given out.
#[derive(Clone, Debug)]
pub(crate) struct Allocation {
    pools: Pools,
    ids: VxlanIds,
    overlays: BTreeMap<NetworkId, Overlay>,
}

impl Allocation {
    /// # Errors
    ///
    /// What is wrong with the options.
    pub(crate) fn new(options: &NetworkOptions) -> Result<Self, NetworkError> {
        Ok(Self { pools: Pools::new(options)?, ids: VxlanIds::default(), overlays: BTreeMap::new() })
    }

    /// Makes an overlay with these subnets and VXLAN ids, any where 0 is asked for. It takes everything, or nothing.
    fn make(
        &mut self,
        network: &Network,
        ipam: &IpamOptions,
        wishes: &[Wish],
        ids: impl FnOnce(&[IpNet]) -> Vec<u32>,
    ) -> Result<&Overlay, NetworkError> {
        let ipam_options = ipam.driver.as_ref().map(|driver| driver.options.clone()).unwrap_or_default();
        let options = Options {
            driver: network.spec.driver_config.as_ref().map(|driver| driver.options.clone()).unwrap_or_default(),
            serial: ipam_options.get(SERIAL).is_none_or(|serial| serial != "false"),
            ipam: ipam_options,
            ipv6: network.spec.ipv6_enabled,
        };
        let mut taken = Taken::default();
        let made = self
            .take(network, wishes, ids, &mut taken)
            .and_then(|()| Overlay::new(name_of(network), taken.clone(), wishes, options));
        match made {
            Ok(overlay) => Ok(self.overlays.entry(network.id.clone()).or_insert(overlay)),
            Err(error) => {
                self.give_back(&network.id, &taken);
                Err(error)
            }
        }
    }

    fn take(
        &mut self,
        network: &Network,
        wishes: &[Wish],
        ids: impl FnOnce(&[IpNet]) -> Vec<u32>,
        taken: &mut Taken,
    ) -> Result<(), NetworkError> {
        for wish in wishes {
            taken.nets.push(self.take_net(network, wish.subnet)?);
        }
        for id in ids(&taken.nets) {
            taken.ids.push(self.take_id(network, id)?);
        }
        Ok(())
    }

    fn take_net(&mut self, network: &Network, which: Which) -> Result<IpNet, NetworkError> {
        let name = name_of(network);
        match which {
            Which::Any(family, size) => {
                let net = self.pools.cut(family, size, &network.id);
                net.ok_or_else(|| NetworkError::NoSubnet(name.to_owned()))
            }
            Which::Exact(net) => match self.pools.claim(net, &network.id) {
                Ok(()) => Ok(net),
                Err((other, owner)) if owner == network.id => {
                    Err(bad(name, format_args!("its subnets {other} and {net} overlap")))
                }
                Err((_, owner)) => {
                    let (subnet, name) = (net.to_string(), self.name_of(&owner));
                    Err(NetworkError::SubnetInUse { subnet, name, network: owner })
                }
            },
        }
    }

    fn take_id(&mut self, network: &Network, id: u32) -> Result<u32, NetworkError> {
        if id == 0 {
            let id = self.ids.take_next(&network.id);
            return id.ok_or_else(|| NetworkError::NoVxlan(name_of(network).to_owned()));
        }
        match self.ids.take(id, &network.id) {
            Ok(()) => Ok(id),
            Err(owner) => {
                let name = self.name_of(&owner);
                Err(NetworkError::VxlanInUse { id, name, network: owner })
            }
        }
    }

    fn give_back(&mut self, network: &NetworkId, taken: &Taken) {
        taken.nets.iter().for_each(|net| self.pools.release(*net, network));
        taken.ids.iter().for_each(|id| self.ids.release(*id, network));
    }

    fn name_of(&self, network: &NetworkId) -> String {
        self.overlays.get(network).map(|overlay| overlay.name.clone()).unwrap_or_default()
    }
}

impl NetworkAllocator for Allocation {
    fn restore_network(&mut self, network: &Network) -> Result<(), NetworkError> {
        if is_local(driver_of(network)) || self.overlays.contains_key(&network.id) {
            return Ok(());
        }
        let ipam = network.ipam.clone().unwrap_or_default();
        let mut wishes = wish::subnets(name_of(network), &network.spec, Some(&ipam))?;
        // What is stored counts as it is. Nothing is chosen before all that is in use is known.
        wishes.retain(|wish| matches!(wish.subnet, Which::Exact(_)));
        let state = network.driver_state.as_ref().and_then(|state| state.options.get(VXLAN_IDS));
        let ids = state.into_iter().flat_map(|list| list.split(',')).filter_map(|id| id.trim().parse().ok());
        let ids = ids.filter(|id| *id != 0).collect();
        self.make(network, &ipam, &wishes, |_| ids).map(drop)
    }

    fn allocate_network(&mut self, network: &Network) -> Result<Option<NetworkGrant>, NetworkError> {
        let driver = driver_of(network);
        if is_local(driver) {
            // Engines do not expect pools to be absent, nor their driver.
            let ipam = IpamOptions { driver: Some(Driver::default()), ..Default::default() };
            let driver_state = Driver { name: driver.to_owned(), ..Default::default() };
            return Ok(Some(NetworkGrant { driver_state, ipam }));
        }
        if driver != OVERLAY {
            return Err(NetworkError::UnknownDriver(driver.to_owned()));
        }
        if let Some(overlay) = self.overlays.get(&network.id) {
            return Ok(Some(overlay.grant.clone()));
        }
        // Pools that are recorded already count more than what was asked for.
        let recorded = network.ipam.as_ref().filter(|ipam| !ipam.configs.is_empty());
        let ipam = recorded.or(network.spec.ipam.as_ref()).cloned().unwrap_or_default();
        let by = ipam.driver.as_ref().map_or("", |driver| &driver.name);
        if !by.is_empty() && by != IPAM {
            return Err(NetworkError::UnknownIpam(by.to_owned()));
        }
        let wishes = wish::subnets(name_of(network), &network.spec, Some(&ipam))?;
        let mut ids = wish::vxlan_ids(name_of(network), &network.spec)?;
        let ids = |nets: &[IpNet]| {
            ids.resize(nets.iter().filter(|net| Family::of(**net) == Family::V4).count(), 0);
            ids
        };
        self.make(network, &ipam, &wishes, ids).map(|overlay| Some(overlay.grant.clone()))
    }

    fn free_network(&mut self, network: &Network) {
        if let Some(overlay) = self.overlays.remove(&network.id) {
            self.give_back(&network.id, &overlay.taken);
        }
    }

    fn restore_addresses(&mut self, network: &NetworkId, addresses: &[String]) {
        if let Some(overlay) = self.overlays.get_mut(network) {
            overlay.restore(addresses);
        }
    }

    fn allocate_addresses(
        &mut self,
        network: &Network,
        request: &AddressRequest<'_>,
    ) -> Result<Option<Vec<String>>, NetworkError> {
        if is_local(driver_of(network)) {
            return Ok((request.end != NetworkEnd::Node).then(Vec::new));
        }
        let overlay = self.overlays.get_mut(&network.id);
        let overlay = overlay.ok_or_else(|| NetworkError::NotAllocated(name_of(network).to_owned()))?;
        overlay.take(request.addresses).map(Some)
    }

    fn free_addresses(&mut self, network: &NetworkId, addresses: &[String]) {
        if let Some(overlay) = self.overlays.get_mut(network) {
            overlay.give_back(addresses);
        }
    }
}

/// What users call a network.
fn name_of(network: &Network) -> &str {
    let name = network.spec.annotations.as_ref().map_or("", |annotations| &annotations.name);
    if name.is_empty() { network.id.as_str() } else { name }
}

/// The driver that a network was given, or asks for.
fn driver_of(network: &Network) -> &str {
    let driver = network.driver_state.as_ref().or(network.spec.driver_config.as_ref());
    driver.map(|driver| driver.name.as_str()).filter(|name| !name.is_empty()).unwrap_or(OVERLAY)
}

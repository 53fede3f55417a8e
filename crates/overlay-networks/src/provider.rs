//! The provider: which drivers there are, and what the cluster says about addresses.

use swarmkit_allocator::{
    DriverPurpose, NetworkAllocator, NetworkError, NetworkOptions, NetworkProvider, PredefinedNetwork,
};
use swarmkit_api::wire::{Driver, NetworkSpec};

use crate::{allocation::Allocation, wish};

/// The driver of networks that span nodes, and of those that name none.
pub(crate) const OVERLAY: &str = "overlay";
/// Drivers of networks that each node makes for itself.
const LOCAL: [&str; 4] = ["bridge", "host", "macvlan", "ipvlan"];
/// The networks that every engine has by itself; each has the driver of its name.
const PREDEFINED: [&str; 2] = ["bridge", "host"];
/// Who gives out addresses: this crate, under the name by which engines know it.
pub(crate) const IPAM: &str = "default";

/// Networks as Docker Engines make them: overlays that span nodes, and those that each node has for itself.
///
/// All managers of a cluster must have the same provider: what one of them gives out, the next one takes over.
#[derive(Clone, Copy, Debug, Default)]
pub struct OverlayNetworks;

impl NetworkProvider for OverlayNetworks {
    fn check_driver(&self, purpose: DriverPurpose, driver: Option<&Driver>) -> Result<(), NetworkError> {
        let Some(driver) = driver.filter(|driver| !driver.name.is_empty()) else { return Ok(()) };
        let name = driver.name.as_str();
        match purpose {
            DriverPurpose::Ingress if name == OVERLAY => Ok(()),
            DriverPurpose::Ingress => Err(NetworkError::BadIngressDriver(name.to_owned())),
            DriverPurpose::Network if name == OVERLAY || is_local(name) => Ok(()),
            DriverPurpose::Network => Err(NetworkError::UnknownDriver(name.to_owned())),
            DriverPurpose::Ipam if name == IPAM => Ok(()),
            DriverPurpose::Ipam => Err(NetworkError::UnknownIpam(name.to_owned())),
        }
    }

    fn check_network(&self, spec: &NetworkSpec) -> Result<(), NetworkError> {
        let driver = spec.driver_config.as_ref().map_or("", |driver| &driver.name);
        if is_local(driver) {
            return Ok(());
        }
        let name = spec.annotations.as_ref().map_or("", |annotations| &annotations.name);
        wish::vxlan_ids(name, spec)?;
        wish::subnets(name, spec, spec.ipam.as_ref()).map(drop)
    }

    fn predefined(&self) -> Vec<PredefinedNetwork> {
        let network = |name: &str| PredefinedNetwork { name: name.to_owned(), driver: name.to_owned() };
        PREDEFINED.map(network).to_vec()
    }

    fn allocator(&self, options: &NetworkOptions) -> Result<Box<dyn NetworkAllocator>, NetworkError> {
        Ok(Box::new(Allocation::new(options)?))
    }
}

/// Whether networks of that driver are made by each node for itself, so that there is nothing to give out.
pub(crate) fn is_local(driver: &str) -> bool {
    LOCAL.contains(&driver)
}

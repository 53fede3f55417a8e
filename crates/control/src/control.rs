//! The Control service as a manager mounts it: a store, and what it has to know of the rest of the manager.

use std::sync::Arc;

use prost_types::Timestamp;
use swarmkit_allocator::{InertNetworks, NetworkProvider};
use swarmkit_api::Cluster;
use swarmkit_ca::{ExternalCa, NoExternalCa};
use swarmkit_runtime::Env;
use swarmkit_secret_drivers::{NoDrivers, SecretDrivers};
use swarmkit_store::Store;

use crate::Members;

/// Makes a join token for the root certificate of a cluster, or says why it cannot.
pub type NewJoinToken = dyn Fn(&Cluster) -> Result<String, String> + Send + Sync;

/// Reads when a certificate (PEM) expires.
pub type CertificateExpiry = dyn Fn(&[u8]) -> Option<Timestamp> + Send + Sync;

/// What the control service needs to know of the other parts of a manager.
#[derive(Clone)]
pub struct ControlConfig {
    /// The members of raft, for what is shown of managers and for who may be removed.
    pub members: Members,
    /// Makes join tokens.
    pub new_join_token: Arc<NewJoinToken>,
    /// Reads certificates of nodes that are removed.
    pub certificate_expiry: Arc<CertificateExpiry>,
    /// Asks the authorities outside of the cluster that the settings name.
    pub external_ca: Arc<dyn ExternalCa>,
    /// Knows which networks can be asked for.
    pub networks: Arc<dyn NetworkProvider>,
    /// Knows which drivers secrets can name.
    pub secret_drivers: Arc<dyn SecretDrivers>,
}

impl Default for ControlConfig {
    /// For a store that is no member of anything: no managers, no tokens to be had, no networks, and no drivers.
    fn default() -> Self {
        Self {
            members: Members::default(),
            new_join_token: Arc::new(|_| Err("this store has no certificate authority".to_owned())),
            certificate_expiry: Arc::new(|_| None),
            external_ca: Arc::new(NoExternalCa),
            networks: Arc::new(InertNetworks),
            secret_drivers: Arc::new(NoDrivers),
        }
    }
}

/// The Control service. Clones share the store.
#[derive(Clone)]
pub struct ControlApi {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) members: Members,
    pub(crate) new_join_token: Arc<NewJoinToken>,
    pub(crate) certificate_expiry: Arc<CertificateExpiry>,
    pub(crate) external_ca: Arc<dyn ExternalCa>,
    pub(crate) networks: Arc<dyn NetworkProvider>,
    pub(crate) secret_drivers: Arc<dyn SecretDrivers>,
}

impl ControlApi {
    /// Serves a store.
    #[must_use]
    pub fn new(env: Env, store: Store, config: ControlConfig) -> Self {
        let ControlConfig { members, new_join_token, certificate_expiry, external_ca, networks, secret_drivers } =
            config;
        Self { env, store, members, new_join_token, certificate_expiry, external_ca, networks, secret_drivers }
    }

    /// The time of day, as objects carry it.
    pub(crate) fn timestamp(&self) -> Timestamp {
        self.env.now().into()
    }
}

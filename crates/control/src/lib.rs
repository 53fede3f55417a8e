//! The services that an operator calls: Control, Watch and Health.
//!
//! [`ControlApi`] checks what it is asked for and writes it into the store; that is all. What follows from a service
//! that was created is for the loops of the leader to find out. [`WatchApi`] streams what changes, [`HealthApi`] says
//! what is up.
//!
//! This crate does not decide who may call it (the server asks the access table before a request gets here), does
//! not forward to the leader, and starts nothing.
//!
//! ```
//! use std::sync::Arc;
//!
//! use swarmkit_api::wire::{self, control_server::Control};
//! use swarmkit_control::{ControlApi, ControlConfig};
//! use swarmkit_runtime::Env;
//! use swarmkit_store::Store;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let env = Env::real();
//! let control = ControlApi::new(env.clone(), Store::local(env), ControlConfig::default());
//! let nothing = tonic::Request::new(wire::CreateServiceRequest { spec: None });
//! assert_eq!(control.create_service(nothing).await.unwrap_err().code(), tonic::Code::InvalidArgument);
//! # }
//! ```
//!
//! # Invariants
//!
//! - A request that is refused has changed nothing.
//! - Whatever depends on the state of the cluster is checked inside the transaction that acts on it.
//! - No key and no secret's data leaves through an answer. Watch messages carry whole objects, and are for managers only.

mod clusters;
mod configs;
mod defaults;
mod error;
mod extensions;
mod filter;
mod health;
mod members;
mod networks;
mod nodes;
mod secrets;
mod server;
mod services;
mod tasks;
mod validate;
mod volumes;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use error::ControlError;
pub use health::HealthApi;
pub use members::{MemberSet, Members};
pub use watch::WatchApi;

use prost_types::Timestamp;
use swarmkit_api::{Cluster, wire, wire::task_spec::Runtime};
use swarmkit_rpc::ErrorCode;
use swarmkit_runtime::Env;
use swarmkit_store::{ProposeError, State, StoreError};

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
}

impl Default for ControlConfig {
    /// For a store that is no member of anything: no managers, and no tokens to be had.
    fn default() -> Self {
        Self {
            members: Members::default(),
            new_join_token: Arc::new(|_| Err("this store has no certificate authority".to_owned())),
            certificate_expiry: Arc::new(|_| None),
        }
    }
}

/// The Control service. Clones share the store.
#[derive(Clone)]
pub struct ControlApi {
    env: Env,
    store: swarmkit_store::Store,
    members: Members,
    new_join_token: Arc<NewJoinToken>,
    certificate_expiry: Arc<CertificateExpiry>,
}

impl ControlApi {
    /// Serves a store.
    #[must_use]
    pub fn new(env: Env, store: swarmkit_store::Store, config: ControlConfig) -> Self {
        let ControlConfig { members, new_join_token, certificate_expiry } = config;
        Self { env, store, members, new_join_token, certificate_expiry }
    }

    /// The time of day, as objects carry it.
    fn timestamp(&self) -> Timestamp {
        self.env.now().into()
    }
}

/// The name in a specification, empty when it has none.
fn name_of(annotations: &Option<wire::Annotations>) -> &str {
    annotations.as_ref().map_or("", |annotations| &annotations.name)
}

/// An id that a request cannot do without.
fn required<I: From<String>>(id: String) -> Result<I, ControlError> {
    if id.is_empty() { Err(ControlError::missing_argument()) } else { Ok(I::from(id)) }
}

fn missing(kind: &'static str, id: &impl ToString) -> ControlError {
    ControlError::NotFound { kind, id: id.to_string() }
}

/// Says whose name is taken, where the store only knows that one is.
fn taken(error: StoreError, kind: &'static str, name: &str) -> ControlError {
    match error {
        StoreError::NameConflict => ControlError::NameTaken { kind, name: name.to_owned() },
        error => error.into(),
    }
}

/// Refuses to remove what services refer to.
fn refuse_in_use(kind: &str, name: &str, users: &[String]) -> Result<(), ControlError> {
    if users.is_empty() {
        return Ok(());
    }
    let services = if users.len() == 1 { "service" } else { "services" };
    Err(ControlError::invalid(format!("{kind} '{name}' is in use by the following {services}: {}", users.join(", "))))
}

/// The only cluster there is.
fn cluster_of(view: &State) -> Result<&Arc<Cluster>, ControlError> {
    view.cluster().ok_or_else(|| missing("cluster", &"default"))
}

/// What runs a task, as lists filter by it: `container`, `attachment`, or the lower-cased kind of a generic runtime.
fn runtime_name(task: Option<&wire::TaskSpec>) -> Option<String> {
    match task?.runtime.as_ref()? {
        Runtime::Container(_) => Some("container".to_owned()),
        Runtime::Attachment(_) => Some("attachment".to_owned()),
        Runtime::Generic(generic) => Some(generic.kind.to_lowercase()),
    }
}

/// How the store's refusals are classified on the wire.
fn store_code(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::Exists | StoreError::NameConflict => ErrorCode::AlreadyExists,
        StoreError::NotFound => ErrorCode::NotFound,
        StoreError::OutOfSequence => ErrorCode::Unknown,
        StoreError::Propose(ProposeError::TooLarge { .. }) => ErrorCode::InvalidArgument,
        StoreError::Propose(_) => ErrorCode::Unavailable,
        _ => ErrorCode::InvalidArgument,
    }
}

//! The services that an operator calls: Control, Watch, Health, Backup and Scheduling; and the one by which nodes attach
//! containers of their own to networks, ResourceAllocator.
//!
//! [`ControlApi`] checks what it is asked for and writes it into the store; that is all. What follows from a service
//! that was created is for the loops of the leader to find out. [`WatchApi`] streams what changes, [`HealthApi`] says
//! what is up, [`BackupApi`] gives away everything, [`SchedulingApi`] says why tasks wait and what would become of services.
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

mod affinities;
mod attachments;
mod backup;
mod ca_rotation;
mod clusters;
mod configs;
mod control;
mod defaults;
mod depends;
mod error;
mod extensions;
mod filter;
mod health;
mod jobs;
mod members;
mod networks;
mod nodes;
mod removal;
mod request;
mod scheduling;
mod secrets;
mod server;
mod services;
mod tasks;
mod unlock_keys;
mod validate;
mod volumes;
mod watch;

pub use attachments::AttachmentApi;
pub use backup::BackupApi;
pub use control::{CertificateExpiry, ControlApi, ControlConfig, NewJoinToken};
pub use error::ControlError;
pub use health::HealthApi;
pub use members::{MemberSet, Members};
pub use scheduling::SchedulingApi;
pub use watch::WatchApi;

//! Secrets whose values lie outside of the cluster, with a driver that is asked for them.
//!
//! A secret may name a driver instead of holding a value. When a node is about to run a task that uses it, the manager asks
//! the driver for that task's value with [`fetch`]. Drivers are found through [`SecretDrivers`], of which
//! [`PluginDrivers`] is the one with sockets: it speaks the plugin protocol of Docker Engines.
//!
//! It does not decide which task needs which secret, when, or what becomes of a value; the dispatcher does. It keeps none.
//!
//! ```
//! use std::sync::Arc;
//!
//! use swarmkit_api::{Secret, SecretId, Task, TaskId, wire};
//! use swarmkit_runtime::Env;
//! use swarmkit_secret_drivers::{NoDrivers, SecretError, fetch};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let mut secret = Secret::new(SecretId::from("s1"));
//! let driver = wire::Driver { name: "vault".to_owned(), ..Default::default() };
//! secret.spec = Arc::new(wire::SecretSpec { driver: Some(driver), ..Default::default() });
//! let task = Task::new(TaskId::from("t1"), wire::TaskSpec::default());
//!
//! let value = fetch(&NoDrivers, &secret, &task, &Env::real()).await;
//! assert_eq!(value.unwrap_err(), SecretError::NotInstalled("vault".to_owned()));
//! # }
//! ```
//!
//! # Invariants
//!
//! - A question ends, whatever the driver does: [`DRIVER_TIME`], [`ANSWER_BYTES_MAX`].
//! - A value has a size that a secret may have, or it is refused.
//! - Values are wiped from memory when they are dropped, and shown by nothing here.

pub mod conformance;
mod error;
mod plugin;
mod post;
mod request;
mod seam;

pub use error::SecretError;
pub use plugin::PluginDrivers;
pub use post::ANSWER_BYTES_MAX;
pub use request::{Endpoint, Port, SecretRequest};
pub use seam::{DRIVER_TIME, NoDrivers, ProvidedSecret, SECRET_BYTES_LIMIT, SecretDriver, SecretDrivers, fetch};

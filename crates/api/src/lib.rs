//! The wire of `docker.swarmkit.v1`, and the ten objects that a cluster is made of.
//!
//! Three things live here. [`wire`] is generated from `proto/`: every message and service that peers speak. The ten
//! kinds of [`objects`] are our own structs around those messages, with typed ids, real enums and shared
//! specifications. [`access`] is the table that says who may call what, generated from the same files.
//!
//! This crate does no I/O, reads no clock, and knows nothing of how objects are stored. Conversion between the objects
//! and the wire happens here and nowhere else.
//!
//! ```
//! use swarmkit_api::{Object, Service, ServiceId, wire};
//!
//! let spec = wire::ServiceSpec {
//!     annotations: Some(wire::Annotations { name: "web".into(), ..Default::default() }),
//!     ..Default::default()
//! };
//! let service = Service::new(ServiceId::from("6nkkxmkwpoxpolyy4gkrcgyqv"), spec);
//! assert_eq!(service.name(), "web");
//! assert_eq!(Service::from_wire(service.to_wire())?, service);
//! # Ok::<(), swarmkit_api::DecodeError>(())
//! ```
//!
//! # Invariants
//!
//! - An object that went to the wire and back equals itself.
//! - A number that this version does not know is an error, never a guess.
//! - Task states are ordered, and their order is that of their numbers on the wire.
//! - No key, token or secret appears in the `Debug` form of a message.

pub mod access;
pub mod constraint;
mod descriptor;
mod ids;
pub mod objects;
pub mod platform;
mod redact;
pub mod resources;
mod version;
pub mod wire;

pub use descriptor::Descriptor;
pub use ids::{ClusterId, ConfigId, ExtensionId, NetworkId, NodeId, ResourceId, SecretId, ServiceId, TaskId, VolumeId};
pub use objects::{
    AnyObject, Cluster, Config, DecodeError, Endpoint, Extension, JobRun, Kind, Meta, Network, Node, Object, Origin,
    Preemption, Resource, Secret, Service, Sharing, Task, TaskStatus, UpdateStatus, Volume, Waiting,
};
pub use version::Version;
pub use wire::{NodeRole, TaskState};

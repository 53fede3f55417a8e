//! The wire of `docker.swarmkit.v1`, generated from `proto/` by `cargo xtask generate` and checked in.
//!
//! Messages of that package lie here directly (`wire::Node`, `wire::ServiceSpec`), each service in a module for its
//! client and one for its server (`wire::control_client`, `wire::control_server`). What managers of this project say
//! to each other alone has packages, and so modules, below [`swarmkit`]. What they say to storage plugins is in [`csi`].
//!
//! Maps are `BTreeMap`, so encoding is deterministic; byte fields are [`bytes::Bytes`] and keep alive the buffer that
//! they were received in, so copy what is stored for long. Enums are `i32` fields with an accessor of the same name.
//! `Debug` of a message that may hold a secret shows the secret's length only (see `proto/swarmkit/secret.proto`).

#[allow(missing_docs, unreachable_pub, deprecated, clippy::all, rustdoc::all)]
mod generated {
    include!("generated/mod.rs");
}

pub use generated::csi;
pub use generated::docker::swarmkit::v1::*;
pub use generated::raftpb;
#[cfg(test)]
pub(crate) use generated::redact::PRINTERS;
pub use generated::swarmkit;

/// All of `proto/` as an encoded `FileDescriptorSet`, the options of this project included: for tools that show, convert or
/// redact messages of every type by reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");

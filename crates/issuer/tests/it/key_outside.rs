//! An authority outside of the cluster keeps the key of its root.

/// Whether somebody outside signs.
pub(crate) const OUTSIDE: bool = true;

#[path = "authority.rs"]
mod authority;
#[path = "joining.rs"]
mod joining;
#[path = "renewing.rs"]
mod renewing;
#[path = "returning.rs"]
mod returning;
#[path = "signing.rs"]
mod signing;
#[path = "waiting.rs"]
mod waiting;
#[path = "world.rs"]
mod world;

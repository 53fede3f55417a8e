//! The services as clients meet them, over the wire's encoding, against a store of one process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attachments;
mod backups;
mod clusters;
mod depends;
mod extensions;
mod jobs;
mod lists;
mod locking;
mod malformed;
mod networks;
mod nodes;
mod payloads;
mod placement;
mod removal;
mod roots;
mod scheduling;
mod services;
mod statuses;
mod tasks;
mod volumes;
mod watching;
mod world;

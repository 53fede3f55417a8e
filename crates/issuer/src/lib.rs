//! The certificate authority as a service of the leader.
//!
//! A node hands in a signing request, with a join token or under its present certificate; the request is kept in the
//! store, as part of the node's object; [`run`] signs what is pending; the node waits for the outcome. Keeping every
//! step in the store is what lets a new leader go on where the old one stopped.
//!
//! How certificates are made is the `ca` crate's business. This crate decides who gets one, for which role.
//!
//! ```
//! use swarmkit_issuer::{Decision, decide};
//! use swarmkit_api::{Node, NodeId, wire::{issuance_status::State, node_spec::Membership}};
//!
//! let mut node = Node::new(NodeId::from("6nkkxmkwpoxpolyy4gkrcgyqv"));
//! node.certificate.status = Some(swarmkit_api::wire::IssuanceStatus { state: State::Renew.into(), err: String::new() });
//! assert_eq!(decide(&node), Decision::Sign);
//! ```
//!
//! # Invariants
//!
//! - The role in a certificate comes from the store or from the token, never from what the caller says.
//! - A certificate is stored only beside the signing request that it was made for.
//! - A removed node gets no certificate under its old identity.

mod error;
mod service;
mod sign;

pub use error::Error;
pub use service::CaApi;
pub use sign::{Decision, decide, run};

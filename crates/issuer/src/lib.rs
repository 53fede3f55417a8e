//! The certificate authority as a service of the leader.
//!
//! A node hands in a signing request, with a join token or under its present certificate; the request is kept in the
//! store, as part of the node's object; [`run`] signs what is pending; the node waits for the outcome. Keeping every
//! step in the store is what lets a new leader go on where the old one stopped. [`rotate`] replaces the root of trust, if the
//! cluster is to have another one: node by node, and then for all of them at once.
//!
//! This crate decides who gets a certificate, and for which role. How one is made is the business of the `ca` crate. It
//! knows no sockets and no files, and never sees a node's private key.
//!
//! ```
//! use swarmkit_issuer::{Decision, decide};
//! use swarmkit_api::{Node, NodeId, wire::issuance_status::State};
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
//! - The number of nodes that wait for their first certificate is bounded.
//! - An expired certificate counts only with the token that a new node would need, and only while it is the newest.
//! - A request fails for good only by its own fault, or because an authority outside of the cluster has refused
//!   it. Anything else is tried again, by this leader or the next.

mod crowd;
mod error;
mod outside;
mod returning;
mod rotation;
mod run;
mod service;
mod sign;

pub use error::Error;
pub use rotation::{Laggard, Progress, rotate};
pub use run::run;
pub use service::CaApi;
pub use sign::{Decision, decide, leaf_validity, root_ca};

//! Asks certificate authorities outside of the cluster, over HTTPS.
//!
//! Where the key of a cluster's root is kept elsewhere, managers do not sign. [`CfsslClient`] carries what is to be signed to
//! the authorities that the cluster's settings name, in the words of CFSSL: JSON, posted over TLS, with this node's
//! certificate as the client's. It is one [`ExternalCa`](swarmkit_ca::ExternalCa); what comes back is checked by its
//! callers, with [`SigningOrder::accept`](swarmkit_ca::SigningOrder::accept).
//!
//! [`server`] is the other side: a small authority, for trying things out and for tests.
//!
//! ```
//! use swarmkit_api::{ClusterId, NodeId, NodeRole};
//! use swarmkit_ca::{Authorities, Credentials, ExternalCa as _, ExternalCaError, Identity, KeySource as _};
//! use swarmkit_ca::{LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SigningOrder, SystemKeys};
//! use swarmkit_external_ca::CfsslClient;
//! use swarmkit_runtime::Env;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let env = Env::real();
//! let root = RootCa::create(&SystemKeys, &env)?;
//! let own = Identity::new(NodeId::from("m"), NodeRole::Manager, ClusterId::from("c"));
//! let key = SystemKeys.generate()?;
//! let chain = root.issue(&key.request()?, &own, LEAF_VALIDITY_DEFAULT, &env)?;
//! let credentials = Credentials::new(root.without_signer(), NodeCertificate::new(&chain, key)?, &env)?;
//!
//! let client = CfsslClient::new(env, credentials);
//! let request = SystemKeys.generate()?.request()?;
//! let order = SigningOrder::new(&request, own, LEAF_VALIDITY_DEFAULT)?;
//! let nobody = Authorities::new(&[], &root, &root);
//! assert_eq!(client.sign(&nobody, &order).await, Err(ExternalCaError::NoUrls));
//! # Ok::<(), swarmkit_ca::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//!
//! - Nothing is asked for in clear: addresses are `https`, and a server must show a certificate of the cluster's own roots.
//! - A question ends, whatever the server does: [`QUESTION_TIME`] for each address, [`ANSWER_BYTES_MAX`] for each answer.
//! - No private key is sent anywhere, and no answer is believed here.

mod cfssl;
mod client;
mod https;
pub mod server;

pub use client::CfsslClient;
pub use https::{ANSWER_BYTES_MAX, QUESTION_TIME};

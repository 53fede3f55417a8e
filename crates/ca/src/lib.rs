//! Identity: certificates, the root CA, join tokens, key files and TLS settings of a cluster.
//!
//! A node is who its certificate says: its id is the common name, its role the organizational unit, its cluster the
//! organization. [`RootCa`] makes and checks such certificates, and signs another root so that who trusts the one trusts
//! what the other issues. [`KeyStore`] keeps a node's own on disk, and [`Credentials`] turns them into TLS settings that
//! follow a renewal or a new root without a restart.
//!
//! This is a library: it serves nothing, dials nothing, starts no tasks and does not know the store. Besides the key
//! files it touches neither disk nor network, and the time of day comes from [`Env`](swarmkit_runtime::Env) alone.
//!
//! ```
//! use swarmkit_api::{ClusterId, NodeId, NodeRole};
//! use swarmkit_ca::{Credentials, Identity, KeySource, NodeCertificate, RootCa, SystemKeys, LEAF_VALIDITY_DEFAULT};
//! use swarmkit_runtime::Env;
//!
//! let env = Env::real();
//! let root = RootCa::create(&SystemKeys, &env)?;
//! let key = SystemKeys.generate()?;
//! let identity = Identity::new(NodeId::new(env.new_id()), NodeRole::Manager, ClusterId::new(env.new_id()));
//! let chain = root.issue(&key.request()?, &identity, LEAF_VALIDITY_DEFAULT, &env)?;
//! let credentials = Credentials::new(root, NodeCertificate::new(&chain, key)?, &env)?;
//! assert_eq!(credentials.identity(), identity);
//! # Ok::<(), swarmkit_ca::Error>(())
//! ```
//!
//! # Invariants
//!
//! - Of a signing request only the public key is believed; who the certificate is for is said by the issuer.
//! - Private keys and tokens are wiped from the memory that this crate owns, and no `Debug` form shows them.
//! - What an unlock key encrypts is written by this crate in clear only where a lock is taken off, or for a worker.
//! - What an authority outside of the cluster has signed is passed on only if it is what was ordered ([`SigningOrder`]).
//! - A root CA object that exists has been checked: every root signs itself, is valid now, and the signer chains to it.
//! - One table says which keys and digests count in a signature, for handshakes, chains, roots and requests alike.
//! - What is repeated from another certificate (a name, a key, all of a cross certificate) is repeated byte for byte.
//! - The process-wide default of rustls is never used: one provider is named, in one place.

mod algorithm;
mod base36;
mod certificate;
mod chain;
mod compose;
mod credentials;
mod cross_sign;
mod data_keys;
mod der;
mod digest;
mod ecdsa;
mod error;
mod external;
mod fault;
mod identity;
mod issue;
mod key;
mod key_file;
mod key_store;
mod lock;
mod locked_key;
mod old_form;
mod p521_key;
mod pem_text;
mod record;
mod renewal;
mod returning;
mod root;
mod tls;
mod token;
mod unlock;

#[cfg(test)]
mod testing;

pub use certificate::{IssuerInfo, NodeCertificate, Validity};
pub use chain::{Expiry, verify_chain};
pub use credentials::{Credentials, Trust};
pub use cross_sign::{CrossSignName, CrossSignRequest};
pub use data_keys::{DataKey, DataKeys};
pub use digest::RootDigest;
pub use error::Error;
pub use external::{Authorities, ExternalCa, ExternalCaError, NoExternalCa, SigningOrder};
pub use fault::TlsFault;
pub use identity::{Identity, MANAGER, SWARM_CA, WORKER, role_name};
pub use issue::{LEAF_BACKDATE, LEAF_VALIDITY_DEFAULT, LEAF_VALIDITY_MIN, REQUEST_BYTES_MAX};
pub use key::{KeyPair, KeySource, SystemKeys};
pub use key_file::KeyHeaders;
pub use key_store::KeyStore;
pub use lock::{LockChange, ManagerLock};
pub use pem_text::normalize as normalize_pem;
pub use renewal::{renewal_delay, renewal_time};
pub use returning::Returning;
pub use root::{ROOT_VALIDITY, RootCa};
pub use tls::{ALPN_H2, https_server, joining_client, unverified_client};
pub use token::JoinToken;
pub use unlock::UnlockKey;

//! What can be wrong with certificates, keys and tokens, told by what a caller can do about it.

use std::{io, path::PathBuf, time::SystemTime};

use humantime::format_rfc3339_seconds as rfc3339;
use swarmkit_api::Version;

/// Why something about identity was refused. Texts that existing clients match on are kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bundle given as trust roots holds no certificate.
    #[error("no valid root CA certificates found")]
    NoRoots,
    /// Text that should hold PEM blocks does not, or its blocks are not what they claim.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// A certificate is signed in a way that is not accepted: only RSA or ECDSA with SHA-256, SHA-384 or SHA-512 is.
    #[error("unsupported signature algorithm in the certificate of {subject:?}")]
    UnsupportedSignature {
        /// The common name of the certificate.
        subject: String,
    },
    /// A key is too weak, or of a kind that does not sign here: RSA of at least 2048 bits and ECDSA on P-256, P-384 and
    /// P-521 do.
    #[error("{reason}")]
    UnsupportedKey {
        /// What stands against it.
        reason: &'static str,
    },
    /// A trust root is not signed by its own key.
    #[error("root CA certificate of {subject:?} is not signed by itself")]
    NotSelfSigned {
        /// The common name of the certificate.
        subject: String,
    },
    /// A certificate's time is over. Renew it, or correct the clock.
    #[error("certificate ({position} - {subject}) not valid after {}, and it is currently {}", rfc3339(*not_after), rfc3339(*now))]
    Expired {
        /// Place in its chain, counted from one.
        position: usize,
        /// The common name of the certificate.
        subject: String,
        /// When its validity ended.
        not_after: SystemTime,
        /// What this machine's clock says.
        now: SystemTime,
    },
    /// A certificate's time has not begun. Correct the clock.
    #[error("certificate ({position} - {subject}) not valid before {}, and it is currently {}", rfc3339(*not_before), rfc3339(*now))]
    NotYetValid {
        /// Place in its chain, counted from one.
        position: usize,
        /// The common name of the certificate.
        subject: String,
        /// When its validity begins.
        not_before: SystemTime,
        /// What this machine's clock says.
        now: SystemTime,
    },
    /// A certificate chains to another root than the trusted ones.
    #[error("certificate signed by unknown authority")]
    UnknownAuthority,
    /// The certificates of a chain do not sign one another in the order given.
    #[error("certificates do not form a chain")]
    BrokenChain,
    /// All certificates of a chain were valid once, but never at the same time.
    #[error("there is no time span for which all of the certificates, including a root, are valid")]
    NoCommonSpan,
    /// The intermediates given with a root cannot be appended to what it issues.
    #[error("invalid intermediate chain: {0}")]
    InvalidIntermediates(Box<Error>),
    /// A private key cannot be read, or is of a kind that cannot be used.
    #[error("malformed private key")]
    MalformedKey,
    /// A private key does not belong to its certificate.
    #[error("certificate key mismatch")]
    KeyMismatch,
    /// The root CA has no key here: someone else must sign.
    #[error("no valid signer found")]
    NoSigner,
    /// The signer's certificate cannot issue certificates that verify under its own root.
    #[error("the signing certificate cannot issue: {reason}")]
    UnusableSigner {
        /// What stands against it.
        reason: String,
    },
    /// A certificate that is no authority's cannot be cross-signed.
    #[error("the certificate of {subject:?} is no certificate authority's")]
    NotAnAuthority {
        /// The common name of the certificate.
        subject: String,
    },
    /// A signing request cannot be read, is not signed by its own key, or carries a kind of key that is not accepted.
    #[error("malformed certificate signing request: {reason}")]
    MalformedRequest {
        /// What stands against it.
        reason: String,
    },
    /// A certificate does not say who its node is.
    #[error("certificate names no {missing}")]
    IncompleteSubject {
        /// The part that is missing.
        missing: &'static str,
    },
    /// A certificate's role is none that this cluster knows.
    #[error("unknown role {role:?} in certificate")]
    UnknownRole {
        /// What it says.
        role: String,
    },
    /// Not a join token.
    #[error("invalid join token")]
    InvalidJoinToken,
    /// Not an unlock key.
    #[error("invalid key string")]
    InvalidUnlockKey,
    /// A remote root bundle is not the one that the join token pins.
    #[error("remote CA does not match fingerprint. Expected: {expected}")]
    FingerprintMismatch {
        /// The pinned digest, in hexadecimal.
        expected: String,
    },
    /// A signature is not by the key of the certificate that it came with, or over something else.
    #[error("the key of the certificate has not signed this request")]
    NoProof,
    /// A new root bundle under which the node's own certificate would not verify.
    #[error("new root CA does not match existing TLS credentials")]
    RootMismatch,
    /// There is no root certificate on disk: the node has never joined.
    #[error("local root CA certificate does not exist")]
    NoLocalRoot,
    /// There is no node certificate on disk: one must be asked for.
    #[error("no node certificate in {}", path.display())]
    NoLocalCertificate {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The node's key is encrypted, and cannot be read with the unlock key at hand.
    #[error("node is locked, and needs a valid unlock key")]
    Locked,
    /// The key of the node cannot be written in the form that it has already.
    #[error("the key is in its old form already")]
    OldForm,
    /// In the old form a key that is locked would be protected by nothing that notices a change.
    #[error("a locked key has no old form: the cluster must be unlocked before")]
    NoOldForm,
    /// Two unlock keys claim to be that of one version of the cluster: one of them is of another cluster's past.
    #[error("the cluster's version {version} has another unlock key than the one that this node has of that version")]
    LockConflict {
        /// Which version.
        version: Version,
    },
    /// A record in a key file cannot be opened, with whatever key.
    #[error("cannot decrypt: {reason}")]
    Record {
        /// What stands against it.
        reason: &'static str,
    },
    /// The keys of the log that a key file holds make no sense.
    #[error("the header {header} of the key file {reason}")]
    DataKeys {
        /// Where.
        header: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A key file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cryptographic library failed at something that cannot be the input's fault.
    #[error("cryptographic failure: {reason}")]
    Crypto {
        /// What it said.
        reason: String,
    },
}

impl Error {
    pub(crate) fn malformed(what: &'static str, reason: impl ToString) -> Self {
        Self::Malformed { what, reason: reason.to_string() }
    }

    pub(crate) fn crypto(reason: impl ToString) -> Self {
        Self::Crypto { reason: reason.to_string() }
    }
}

//! Encryption of what lies on the disk.

use std::{fmt, sync::Arc};

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

/// Length of a key, in bytes.
const KEY_BYTES: usize = 32;
/// XChaCha20's nonces are long enough to be drawn at random for every message of a key's life.
const NONCE_BYTES: usize = 24;

/// The key that encrypts one manager's log and snapshots (its "DEK"). Wiped when dropped, never shown by `Debug`.
#[derive(Clone)]
pub struct LogKey(Zeroizing<[u8; KEY_BYTES]>);

impl LogKey {
    /// Takes a key that was kept somewhere safe.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Makes one.
    #[must_use]
    pub fn generate(env: &Env) -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        env.fill_random(&mut *bytes);
        Self(bytes)
    }

    /// The key itself, for whoever keeps it safe.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// The keys of a member's log and snapshots, as they are kept: usually one.
#[derive(Clone, Debug)]
pub struct LogKeys {
    /// Seals what is written.
    pub current: LogKey,
    /// Takes the place of `current` once everything is sealed with it. Until then either may be needed to open a file.
    pub pending: Option<LogKey>,
}

impl From<LogKey> for LogKeys {
    fn from(current: LogKey) -> Self {
        Self { current, pending: None }
    }
}

impl LogKeys {
    /// What may open a file, the current key first.
    pub(crate) fn sealers(&self, env: &Env) -> Vec<Sealer> {
        [Some(&self.current), self.pending.as_ref()]
            .into_iter()
            .flatten()
            .map(|key| Sealer::new(key, env.clone()))
            .collect()
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogKey")
    }
}

/// What was to be opened is damaged, or was sealed with another key or for another place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsealable;

/// Seals and opens with one key. Clones are cheap.
#[derive(Clone)]
pub(crate) struct Sealer(Arc<Inner>);

struct Inner {
    key: LogKey,
    cipher: XChaCha20Poly1305,
    env: Env,
}

impl Sealer {
    pub(crate) fn new(key: &LogKey, env: Env) -> Self {
        let cipher = XChaCha20Poly1305::new_from_slice(key.as_bytes()).expect("invariant: a key has 32 bytes");
        Self(Arc::new(Inner { key: key.clone(), cipher, env }))
    }

    /// Whether the other one has the same key.
    pub(crate) fn same_key(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.key.as_bytes() == other.0.key.as_bytes()
    }

    /// Encrypts `text` and binds it to `place`, which must be given again to open it.
    pub(crate) fn seal(&self, place: &[u8], text: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        self.0.env.fill_random(&mut nonce);
        let sealed = self
            .0
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: text, aad: place })
            .expect("invariant: a text is far shorter than the cipher's limit of 256 GB");
        let mut out = Vec::with_capacity(NONCE_BYTES + sealed.len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Gives back what was sealed for the same `place`.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Unsealable)?;
        self.0.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: place }).map_err(|_| Unsealable)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_the_same_key_and_place_only() {
        let env = Env::real();
        let sealer = Sealer::new(&LogKey::generate(&env), env.clone());
        let sealed = sealer.seal(b"1.7", b"change set");
        assert_eq!(sealer.open(b"1.7", &sealed), Ok(b"change set".to_vec()));
        assert_eq!(sealer.open(b"1.8", &sealed), Err(Unsealable));
        assert_eq!(Sealer::new(&LogKey::generate(&env), env).open(b"1.7", &sealed), Err(Unsealable));
        assert_eq!(sealer.open(b"1.7", &sealed[..10]), Err(Unsealable));
        assert!(!sealed.windows(6).any(|part| part == b"change"));
    }

    #[test]
    fn a_key_does_not_show_in_debug() {
        assert_eq!(format!("{:?}", LogKey::new([7; 32])), "LogKey");
    }
}

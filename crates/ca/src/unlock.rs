//! Unlock keys: what opens the key files of a locked manager.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use subtle::ConstantTimeEq as _;
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

use crate::error::Error;

const PREFIX: &str = "SWMKEY-1-";
const KEY_BYTES: usize = 32;

/// A key that encrypts other keys at rest. Wiped when dropped, never shown by `Debug`.
///
/// People see it as `SWMKEY-1-` and base64 without padding.
#[derive(Clone)]
pub struct UnlockKey(Zeroizing<[u8; KEY_BYTES]>);

impl UnlockKey {
    /// Makes one.
    #[must_use]
    pub fn generate(env: &Env) -> Self {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        env.fill_random(&mut *key);
        Self(key)
    }

    /// Reads what a person typed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUnlockKey`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix(PREFIX).ok_or(Error::InvalidUnlockKey)?;
        let key = Zeroizing::new(STANDARD_NO_PAD.decode(digits).map_err(|_| Error::InvalidUnlockKey)?);
        Self::from_bytes(&key)
    }

    /// Takes the key as the wire carries it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUnlockKey`] when it has not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let key = bytes.try_into().map_err(|_| Error::InvalidUnlockKey)?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// The key itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// What to show to a person. A secret.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", *Zeroizing::new(STANDARD_NO_PAD.encode(*self.0))))
    }
}

impl PartialEq for UnlockKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for UnlockKey {}

impl fmt::Debug for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnlockKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_from_its_text() {
        let key = UnlockKey::generate(&Env::real());
        let text = key.to_text();
        assert!(text.starts_with("SWMKEY-1-"));
        assert_eq!(text.len(), "SWMKEY-1-".len() + 43);
        assert_eq!(UnlockKey::parse(&text).unwrap(), key);
    }

    #[test]
    fn other_texts_are_refused() {
        let text = UnlockKey::generate(&Env::real()).to_text();
        let (bad_base64, padded) = (text.replacen(&text[20..21], "!", 1), format!("{}=", *text));
        let (cut, other) = (&text[1..], text.replace("-1-", "-2-"));
        for wrong in ["", "SWMKEY-1-", "SWMKEY-1-abc", &text[..51], cut, &other, &bad_base64, &padded] {
            assert_eq!(UnlockKey::parse(wrong).expect_err(wrong).to_string(), "invalid key string");
        }
    }
}

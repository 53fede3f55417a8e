//! Private keys at rest under an unlock key: PKCS#8 with a password (PBES2), the form that other programs read too.
//!
//! What is written is AES-256-CBC under PBKDF2 with HMAC-SHA-256; what is read may have used HMAC-SHA-1, as upstream's does.
//! The rounds of PBKDF2 protect passwords that people choose. An unlock key is 32 random bytes, which no number of rounds
//! makes harder to guess, so there are as few as programs usually accept. CBC does not notice a wrong key by itself: what
//! comes out must be a private key, must belong to its certificate, and the records beside it are authenticated.

use pkcs8::{EncryptedPrivateKeyInfo, der::Decode as _, der::Encode as _, pkcs5::pbes2};
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

use crate::{error::Error, key::KeyPair, unlock::UnlockKey};

/// The tag of a private key that a password protects.
pub(crate) const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// As many as upstream and `openssl` use.
const ROUNDS: u32 = 2048;
const SALT_BYTES: usize = 16;
const IV_BYTES: usize = 16;

/// Encrypts a key, in DER form.
pub(crate) fn seal(key: &KeyPair, unlock: &UnlockKey, env: &Env) -> Result<Vec<u8>, Error> {
    let (mut salt, mut iv) = ([0; SALT_BYTES], [0; IV_BYTES]);
    env.fill_random(&mut salt);
    env.fill_random(&mut iv);
    let scheme = pbes2::Parameters::pbkdf2_sha256_aes256cbc(ROUNDS, &salt, &iv).map_err(Error::crypto)?;
    let encrypted_data = scheme.encrypt(unlock.as_bytes(), key.pkcs8()).map_err(Error::crypto)?;
    let info = EncryptedPrivateKeyInfo { encryption_algorithm: scheme.into(), encrypted_data: &encrypted_data };
    info.to_der().map_err(Error::crypto)
}

/// Decrypts a key in DER form. What does not come out as a key was encrypted with another unlock key.
pub(crate) fn open(sealed: &[u8], unlock: &UnlockKey) -> Result<KeyPair, Error> {
    let info = EncryptedPrivateKeyInfo::from_der(sealed).map_err(|_| Error::MalformedKey)?;
    let key = info.encryption_algorithm.decrypt(unlock.as_bytes(), info.encrypted_data).map_err(|_| Error::Locked)?;
    KeyPair::from_pkcs8(Zeroizing::new(key)).map_err(|_| Error::Locked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{KeySource as _, SystemKeys},
        testing::{env, fixture},
    };

    #[test]
    fn a_key_opens_with_its_unlock_key_only_and_looks_different_each_time() {
        let env = env();
        let (key, unlock) = (SystemKeys.generate().unwrap(), UnlockKey::generate(&env));
        let (first, second) = (seal(&key, &unlock, &env).unwrap(), seal(&key, &unlock, &env).unwrap());
        assert_ne!(first, second);
        assert_eq!(*open(&first, &unlock).unwrap().to_pem(), *key.to_pem());
        assert_eq!(*open(&second, &unlock).unwrap().to_pem(), *key.to_pem());
        for _ in 0..50 {
            assert!(matches!(open(&first, &UnlockKey::generate(&env)), Err(Error::Locked)));
        }
    }

    #[test]
    fn a_key_that_another_program_has_encrypted_opens() {
        let clear = KeyPair::from_pem(fixture!("p256-sec1.key")).unwrap();
        let unlock = UnlockKey::from_bytes(b"an-unlock-key-of-thirty-two-byte").unwrap();
        let block = pem::parse(fixture!("p256-locked.key")).unwrap();
        assert_eq!(open(block.contents(), &unlock).unwrap().public_key(), clear.public_key());
    }

    #[test]
    fn what_is_no_encrypted_key_is_malformed() {
        let unlock = UnlockKey::generate(&env());
        assert!(matches!(open(b"garbage", &unlock), Err(Error::MalformedKey)));
    }
}

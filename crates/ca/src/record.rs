//! Small secrets at rest: records that say how they are encrypted, as upstream keeps them in key files.

use bytes::Bytes;
use crypto_secretbox::{KeyInit as _, Nonce, XSalsa20Poly1305, aead::Aead as _};
use prost::Message as _;
use swarmkit_api::wire::{MaybeEncryptedRecord, maybe_encrypted_record::Algorithm};
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

use crate::{error::Error, unlock::UnlockKey};

/// XSalsa20's nonces are long enough to be drawn at random for every record of a key's life.
const NONCE_BYTES: usize = 24;

/// Writes a record: sealed with the key, or in clear where there is none.
pub(crate) fn seal(key: Option<&UnlockKey>, secret: &[u8], env: &Env) -> Zeroizing<Vec<u8>> {
    let record = match key {
        None => MaybeEncryptedRecord { algorithm: Algorithm::None.into(), data: wiped(secret), nonce: Bytes::new() },
        Some(key) => {
            let mut nonce = [0; NONCE_BYTES];
            env.fill_random(&mut nonce);
            let sealed = cipher(key)
                .encrypt(Nonce::from_slice(&nonce), secret)
                .expect("invariant: a key is far shorter than the cipher's limit");
            MaybeEncryptedRecord {
                algorithm: Algorithm::SecretboxSalsa20Poly1305.into(),
                data: sealed.into(),
                nonce: Bytes::copy_from_slice(&nonce),
            }
        }
    };
    Zeroizing::new(record.encode_to_vec())
}

/// Whether that is a record, and one that takes a key to open.
pub(crate) fn is_sealed(record: &[u8]) -> bool {
    MaybeEncryptedRecord::decode(wiped(record)).is_ok_and(|record| record.algorithm != i32::from(Algorithm::None))
}

/// Reads a record.
///
/// # Errors
///
/// [`Error::Locked`] where the key is missing or is not the right one; [`Error::Record`] where no key would help.
pub(crate) fn open(key: Option<&UnlockKey>, record: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let refused = |reason| Err(Error::Record { reason });
    let Ok(record) = MaybeEncryptedRecord::decode(wiped(record)) else {
        return refused("unable to unmarshal as MaybeEncryptedRecord");
    };
    match Algorithm::try_from(record.algorithm) {
        Ok(Algorithm::None) => Ok(Zeroizing::new(record.data.to_vec())),
        Ok(Algorithm::SecretboxSalsa20Poly1305) => {
            let nonce: [u8; NONCE_BYTES] = match record.nonce.as_ref().try_into() {
                Ok(nonce) => nonce,
                Err(_) => return refused("invalid nonce size: it takes 24 bytes"),
            };
            let key = key.ok_or(Error::Locked)?;
            let opened = cipher(key).decrypt(Nonce::from_slice(&nonce), record.data.as_ref());
            opened.map(Zeroizing::new).map_err(|_| Error::Locked)
        }
        Ok(Algorithm::FernetAes128Cbc) => refused("Fernet is used by clusters that demand FIPS, which this is not"),
        Err(_) => refused("unknown algorithm"),
    }
}

/// A copy that is wiped when nothing uses it any more, nor any part of it.
fn wiped(secret: &[u8]) -> Bytes {
    Bytes::from_owner(Zeroizing::new(secret.to_vec()))
}

fn cipher(key: &UnlockKey) -> XSalsa20Poly1305 {
    XSalsa20Poly1305::new(key.as_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::env;

    fn record(algorithm: i32, data: &[u8], nonce: &[u8]) -> Vec<u8> {
        let (data, nonce) = (Bytes::copy_from_slice(data), Bytes::copy_from_slice(nonce));
        MaybeEncryptedRecord { algorithm, data, nonce }.encode_to_vec()
    }

    #[test]
    fn what_is_sealed_differs_each_time_and_opens_with_its_key_only() {
        let env = env();
        let (key, other) = (UnlockKey::generate(&env), UnlockKey::generate(&env));
        let (first, second) = (seal(Some(&key), b"secret", &env), seal(Some(&key), b"secret", &env));
        assert_ne!(*first, *second);
        for sealed in [&first, &second] {
            assert!(is_sealed(sealed) && !sealed.windows(6).any(|part| part == b"secret"));
            assert_eq!(**open(Some(&key), sealed).unwrap(), *b"secret");
            assert!(matches!(open(Some(&other), sealed), Err(Error::Locked)));
            assert!(matches!(open(None, sealed), Err(Error::Locked)));
        }
    }

    #[test]
    fn what_is_in_clear_opens_with_any_key_and_with_none() {
        let env = env();
        let clear = seal(None, b"secret", &env);
        assert!(!is_sealed(&clear));
        assert_eq!(**open(None, &clear).unwrap(), *b"secret");
        assert_eq!(**open(Some(&UnlockKey::generate(&env)), &clear).unwrap(), *b"secret");
    }

    /// The first test vector that NaCl's own documentation gives for secretbox, with its padding left out.
    #[test]
    fn a_box_that_nacl_has_made_is_opened() {
        let hex = |text: &str| data_hex(text);
        let key =
            UnlockKey::from_bytes(&hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")).unwrap();
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let boxed = hex(concat!(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce8",
            "7b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0",
            "e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5",
        ));
        let text = hex(concat!(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561",
            "f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c6090",
            "2e52f0a089bc76897040e082f937763848645e0705",
        ));
        let record = record(Algorithm::SecretboxSalsa20Poly1305.into(), &boxed, &nonce);
        assert_eq!(**open(Some(&key), &record).unwrap(), *text);
    }

    fn data_hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn what_no_key_would_open_is_told() {
        let key = UnlockKey::generate(&env());
        let secretbox = Algorithm::SecretboxSalsa20Poly1305.into();
        for (bytes, told) in [
            (record(secretbox, b"0123456789abcdef", &[0; 12]), "invalid nonce size: it takes 24 bytes"),
            (record(Algorithm::FernetAes128Cbc.into(), b"", b""), "Fernet is used by clusters that demand FIPS"),
            (record(9, b"", b""), "unknown algorithm"),
            (b"\xff".to_vec(), "unable to unmarshal as MaybeEncryptedRecord"),
        ] {
            let error = open(Some(&key), &bytes).unwrap_err().to_string();
            assert!(error.starts_with("cannot decrypt: ") && error.contains(told), "{error}");
        }
    }
}

//! The contents of a key file: one private key in PEM form, with headers that others keep their data in.

use std::{collections::BTreeMap, sync::Arc};

use pem::Pem;
use swarmkit_api::Version;
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

use crate::{
    data_keys::DataKeys,
    error::Error,
    key::{KeyPair, PKCS8},
    lock::ManagerLock,
    locked_key::{self, ENCRYPTED},
    pem_text,
    unlock::UnlockKey,
};

/// The header that says of which version of the cluster the unlock key is that the file is encrypted with, or that it is
/// encrypted with none; `0` where no cluster has said anything yet. Always written.
const KEK_VERSION: &str = "kek-version";

/// The header, of ours, that says that the private key had been on the disk in clear before it was locked.
const NEEDS_RENEWAL: &str = "key-needs-renewal";
const YES: &str = "true";

/// The named values in a key file, beside the key: the keys of the raft log live here, as upstream.
pub type KeyHeaders = BTreeMap<String, String>;

/// A key file, read.
pub(crate) struct KeyFile {
    pub(crate) key: Arc<KeyPair>,
    pub(crate) headers: KeyHeaders,
    /// Whether an unlock key encrypts the private key.
    pub(crate) locked: bool,
}

impl KeyFile {
    /// Reads the text of a key file. One that another key encrypts than `unlock` is [`Error::Locked`].
    pub(crate) fn parse(text: &str, unlock: Option<&UnlockKey>) -> Result<Self, Error> {
        let block = pem::parse(text).map_err(|_| Error::MalformedKey)?;
        let locked = block.tag() == ENCRYPTED;
        let key = match unlock {
            Some(unlock) if locked => locked_key::open(block.contents(), unlock)?,
            _ => KeyPair::from_block(&block)?,
        };
        let headers = block.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        drop(Zeroizing::new(block.into_contents()));
        let file = Self { key: Arc::new(key), headers, locked };
        if locked && let Err(Error::Locked) = file.data_keys(unlock) {
            // What encrypts the private key is not authenticated, and these are.
            return Err(Error::Locked);
        }
        Ok(file)
    }

    pub(crate) fn data_keys(&self, unlock: Option<&UnlockKey>) -> Result<DataKeys, Error> {
        DataKeys::read(&self.headers, unlock)
    }

    /// The lock that the file was written under, given the key that has opened it.
    pub(crate) fn lock(&self, unlock: Option<&UnlockKey>) -> ManagerLock {
        let version = self.headers.get(KEK_VERSION).and_then(|text| text.parse().ok()).unwrap_or_default();
        ManagerLock { version: Version(version), key: unlock.filter(|_| self.locked).cloned() }
    }
}

/// Whether the private key is to be replaced.
pub(crate) fn needs_renewal(headers: &KeyHeaders) -> bool {
    headers.get(NEEDS_RENEWAL).is_some_and(|value| value == YES)
}

/// Notes in the headers whether the private key is to be replaced.
pub(crate) fn note_renewal(headers: &mut KeyHeaders, needed: bool) {
    headers.remove(NEEDS_RENEWAL);
    if needed {
        headers.insert(NEEDS_RENEWAL.to_owned(), YES.to_owned());
    }
}

/// Notes in the headers which version of the cluster the file follows.
pub(crate) fn note_version(headers: &mut KeyHeaders, version: Version) {
    headers.insert(KEK_VERSION.to_owned(), version.0.to_string());
}

/// Writes the text of a key file, wiped when dropped. With an unlock key the private key is encrypted; the headers are as
/// they are.
pub(crate) fn encode(
    key: &KeyPair,
    headers: &KeyHeaders,
    unlock: Option<&UnlockKey>,
    env: &Env,
) -> Result<Zeroizing<String>, Error> {
    let mut block = match unlock {
        Some(unlock) => Pem::new(ENCRYPTED, locked_key::seal(key, unlock, env)?),
        None => Pem::new(PKCS8, key.pkcs8()),
    };
    let mut headers = headers.clone();
    headers.entry(KEK_VERSION.to_owned()).or_insert_with(|| "0".to_owned());
    for (name, value) in &headers {
        block.headers_mut().add(name, value).map_err(|error| Error::malformed("key file header", error))?;
    }
    let text = Zeroizing::new(pem::encode_config(&block, pem_text::ENCODING));
    drop(Zeroizing::new(block.into_contents()));
    Ok(text)
}

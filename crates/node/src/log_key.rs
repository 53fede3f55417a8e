//! The key that encrypts the log, kept in a header of the node's key file.

use std::path::Path;

use data_encoding::BASE64;
use prost::Message as _;
use swarmkit_api::wire::{MaybeEncryptedRecord, maybe_encrypted_record::Algorithm};
use swarmkit_ca::KeyStore;
use swarmkit_raft::LogKey;
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

use crate::NodeError;

/// The header, as upstream names it.
const HEADER: &str = "raft-dek";
/// The key that is to follow, as upstream names its header.
const PENDING_HEADER: &str = "raft-dek-pending";
/// Where it is, for people.
const KEY_FILE: &str = "certificates/swarm-node.key";

/// The key that the log is encrypted with: the one that is kept, or a fresh one that is kept from now on.
///
/// With a log there must be a key: a fresh one would not open it. Blocks on the disk.
pub(crate) fn load(state_dir: &Path, keys: &KeyStore, has_log: bool, env: &Env) -> Result<LogKey, NodeError> {
    let headers = keys.headers()?;
    let damaged = |reason: String| NodeError::Damaged { path: state_dir.join(KEY_FILE), reason };
    if let Some(text) = headers.get(HEADER) {
        return decode(text).ok_or_else(|| damaged(format!("the header {HEADER} holds no key of the log")));
    }
    if has_log {
        return Err(damaged(format!("there is a log, but no header {HEADER} with the key that opens it")));
    }
    let key = LogKey::generate(env);
    let text = encode(&key);
    keys.update_headers(|headers| {
        headers.insert(HEADER.to_owned(), text);
    })?;
    Ok(key)
}

/// The keys that the log in a state directory may be encrypted with, for tools that read it: the one in use and, while
/// the key is being changed, the next one. Blocks on the disk, and works beside a node that runs.
///
/// # Errors
///
/// The key file cannot be read, or holds no key of a log.
pub fn log_keys(state_dir: &Path) -> Result<Vec<LogKey>, NodeError> {
    let headers = KeyStore::new(state_dir).headers()?;
    let damaged = |reason: String| NodeError::Damaged { path: state_dir.join(KEY_FILE), reason };
    let mut keys = Vec::new();
    for header in [HEADER, PENDING_HEADER] {
        if let Some(text) = headers.get(header) {
            let key = decode(text).ok_or_else(|| damaged(format!("the header {header} holds no key of the log")))?;
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Err(damaged(format!("there is no header {HEADER}: the node has no log, or was a worker last")));
    }
    Ok(keys)
}

/// Forgets the key, and whatever else is kept for the log. The version of the unlock key stays. Blocks on the disk.
pub(crate) fn forget(keys: &KeyStore) -> Result<(), NodeError> {
    let is_ours = |name: &str| name.starts_with(HEADER);
    if !keys.headers()?.keys().any(|name| is_ours(name)) {
        return Ok(());
    }
    Ok(keys.update_headers(|headers| headers.retain(|name, _| !is_ours(name)))?)
}

fn encode(key: &LogKey) -> String {
    let data = bytes::Bytes::copy_from_slice(key.as_bytes());
    let record = MaybeEncryptedRecord { algorithm: Algorithm::None.into(), data, ..Default::default() };
    BASE64.encode(&Zeroizing::new(record.encode_to_vec()))
}

fn decode(text: &str) -> Option<LogKey> {
    let bytes = Zeroizing::new(BASE64.decode(text.as_bytes()).ok()?);
    let record = MaybeEncryptedRecord::decode(bytes.as_slice()).ok()?;
    let plain = record.algorithm() == Algorithm::None;
    let key: [u8; 32] = record.data.as_ref().try_into().ok()?;
    plain.then(|| LogKey::new(key))
}

#[cfg(test)]
mod tests {
    use swarmkit_api::NodeRole;

    use super::*;
    use crate::testing::{Authority, identity};

    #[test]
    fn a_key_survives_its_header() {
        let key = LogKey::generate(&Env::real());
        assert_eq!(decode(&encode(&key)).unwrap().as_bytes(), key.as_bytes());
        assert!(decode("AAAA").is_none());
        assert!(decode("not base64").is_none());
    }

    #[tokio::test]
    async fn while_a_key_is_being_changed_there_are_two() {
        let (dir, env) = (tempfile::tempdir().unwrap(), Env::real());
        let keys = KeyStore::new(dir.path());
        assert!(log_keys(dir.path()).is_err(), "there is no key file");
        let authority = Authority::new().await;
        keys.save_node(&authority.certificate(&identity("m", NodeRole::Manager))).unwrap();
        let told = log_keys(dir.path()).unwrap_err().to_string();
        assert!(told.contains("there is no header raft-dek"), "{told}");

        let (current, next) = (LogKey::generate(&env), LogKey::generate(&env));
        for (header, key) in [(HEADER, &current), (PENDING_HEADER, &next)] {
            keys.update_headers(|headers| drop(headers.insert(header.to_owned(), encode(key)))).unwrap();
        }
        let read: Vec<_> = log_keys(dir.path()).unwrap().iter().map(|key| *key.as_bytes()).collect();
        assert_eq!(read, [*current.as_bytes(), *next.as_bytes()]);
    }
}

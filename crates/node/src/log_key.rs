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
/// Where it is, for people.
const KEY_FILE: &str = "certificates/swarm-node.key";

/// The key that the log is encrypted with: the one that is kept, or a fresh one that is kept from now on.
///
/// With a log there must be a key: a fresh one would not open it. Blocks on the disk.
pub(crate) fn load(state_dir: &Path, has_log: bool, env: &Env) -> Result<LogKey, NodeError> {
    let keys = KeyStore::new(state_dir);
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
    use super::*;

    #[test]
    fn a_key_survives_its_header() {
        let key = LogKey::generate(&Env::real());
        assert_eq!(decode(&encode(&key)).unwrap().as_bytes(), key.as_bytes());
        assert!(decode("AAAA").is_none());
        assert!(decode("not base64").is_none());
    }
}

//! The keys of a manager's log, which live in headers of its key file, and are sealed as the file is.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

use crate::{error::Error, key_file::KeyHeaders, record, unlock::UnlockKey};

/// The key in use, as upstream names its header.
const CURRENT: &str = "raft-dek";
/// The key that is to follow.
const PENDING: &str = "raft-dek-pending";
/// That a key is to follow which was not made yet.
const NEEDS_ROTATION: &str = "raft-dek-needs-rotation";
const YES: &str = "true";

/// One key of the log. Wiped when dropped; it must not be shown.
pub type DataKey = Zeroizing<[u8; 32]>;

/// The keys of a manager's log, as a key file holds them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DataKeys {
    /// The key in use. `None` where no manager has been yet.
    pub current: Option<DataKey>,
    /// The key that takes its place once everything is sealed with it.
    pub pending: Option<DataKey>,
    /// Another key is wanted: when `pending` is there, one more after that.
    pub needs_rotation: bool,
}

impl DataKeys {
    /// Reads what the headers hold.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when they are sealed, and `unlock` is missing or wrong; [`Error::DataKeys`] when a header holds
    /// no key, or a pending key without one in use.
    pub(crate) fn read(headers: &KeyHeaders, unlock: Option<&UnlockKey>) -> Result<Self, Error> {
        let read = |header| headers.get(header).map(|text| open(header, text, unlock)).transpose();
        let keys = Self {
            current: read(CURRENT)?,
            pending: read(PENDING)?,
            needs_rotation: headers.get(NEEDS_ROTATION).is_some_and(|value| value == YES),
        };
        if keys.pending.is_some() && keys.current.is_none() {
            return Err(Error::DataKeys { header: PENDING, reason: "holds the next key of a log that has none" });
        }
        Ok(keys)
    }

    /// Puts them into headers in place of what was there, sealed if there is an unlock key.
    pub(crate) fn write(&self, headers: &mut KeyHeaders, unlock: Option<&UnlockKey>, env: &Env) {
        Self::remove(headers);
        for (header, key) in [(CURRENT, &self.current), (PENDING, &self.pending)] {
            if let Some(key) = key {
                headers.insert(header.to_owned(), STANDARD.encode(record::seal(unlock, &**key, env)));
            }
        }
        if self.needs_rotation {
            headers.insert(NEEDS_ROTATION.to_owned(), YES.to_owned());
        }
    }

    /// Forgets them, opened or not. Gives whether there was anything.
    pub(crate) fn remove(headers: &mut KeyHeaders) -> bool {
        let before = headers.len();
        headers.retain(|name, _| ![CURRENT, PENDING, NEEDS_ROTATION].contains(&name.as_str()));
        headers.len() != before
    }

    /// Whether any of them takes an unlock key to read.
    pub(crate) fn are_sealed(headers: &KeyHeaders) -> bool {
        [CURRENT, PENDING].into_iter().filter_map(|header| headers.get(header)).any(|text| {
            let bytes = STANDARD.decode(text).map(Zeroizing::new);
            bytes.is_ok_and(|bytes| record::is_sealed(&bytes))
        })
    }
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKeys")
            .field("current", &self.current.is_some())
            .field("pending", &self.pending.is_some())
            .field("needs_rotation", &self.needs_rotation)
            .finish()
    }
}

fn open(header: &'static str, text: &str, unlock: Option<&UnlockKey>) -> Result<DataKey, Error> {
    let none = || Error::DataKeys { header, reason: "holds no key of the log" };
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| none())?);
    let opened = record::open(unlock, &bytes)?;
    let key: [u8; 32] = opened.as_slice().try_into().map_err(|_| none())?;
    Ok(Zeroizing::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::env;

    fn key(byte: u8) -> Option<DataKey> {
        Some(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn keys_read_back_from_their_headers_with_the_right_unlock_key_only() {
        let env = env();
        let (unlock, other) = (UnlockKey::generate(&env), UnlockKey::generate(&env));
        for keys in [
            DataKeys { current: key(1), ..DataKeys::default() },
            DataKeys { current: key(1), pending: key(2), needs_rotation: false },
            DataKeys { current: key(1), pending: key(2), needs_rotation: true },
            DataKeys { current: key(1), pending: None, needs_rotation: true },
        ] {
            let mut headers = KeyHeaders::from([("kek-version".to_owned(), "3".to_owned())]);
            keys.write(&mut headers, Some(&unlock), &env);
            assert!(DataKeys::are_sealed(&headers));
            assert_eq!(DataKeys::read(&headers, Some(&unlock)).unwrap(), keys);
            for wrong in [None, Some(&other)] {
                assert!(matches!(DataKeys::read(&headers, wrong), Err(Error::Locked)));
            }
            keys.write(&mut headers, None, &env);
            assert!(!DataKeys::are_sealed(&headers));
            for any in [None, Some(&other)] {
                assert_eq!(DataKeys::read(&headers, any).unwrap(), keys);
            }
            assert_eq!(headers.get(NEEDS_ROTATION).map(String::as_str), keys.needs_rotation.then_some("true"));
            assert!(DataKeys::remove(&mut headers));
            assert_eq!(headers.keys().collect::<Vec<_>>(), ["kek-version"]);
            assert_eq!(DataKeys::read(&headers, None).unwrap(), DataKeys::default());
        }
    }

    #[test]
    fn a_pending_key_without_one_in_use_is_refused() {
        let env = env();
        let mut headers = KeyHeaders::new();
        DataKeys { current: None, pending: key(2), needs_rotation: false }.write(&mut headers, None, &env);
        let error = DataKeys::read(&headers, None).unwrap_err().to_string();
        assert_eq!(error, "the header raft-dek-pending of the key file holds the next key of a log that has none");
    }

    #[test]
    fn a_header_that_holds_no_key_is_named() {
        let short = STANDARD.encode(record::seal(None, b"short", &env()));
        for text in ["not base64", "AAAA", &short] {
            let headers = KeyHeaders::from([(CURRENT.to_owned(), text.to_owned())]);
            let error = DataKeys::read(&headers, None).unwrap_err();
            assert!(matches!(error, Error::DataKeys { header: CURRENT, .. } | Error::Record { .. }), "{error}");
        }
    }

    #[test]
    fn keys_do_not_show() {
        let keys = DataKeys { current: key(7), pending: None, needs_rotation: true };
        assert_eq!(format!("{keys:?}"), "DataKeys { current: true, pending: false, needs_rotation: true }");
    }
}

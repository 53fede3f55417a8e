//! The key file as old programs read it.

use pem::Pem;
use zeroize::Zeroizing;

use super::{KeyStore, NODE_KEY, PRIVATE};
use crate::{
    error::Error,
    key::{PKCS1, SEC1},
    key_file::KeyFile,
    old_form, pem_text,
};

impl KeyStore {
    /// Writes the node's key in the form that programs read which do not know PKCS#8. The headers stay as they are. Whatever
    /// changes the file later writes PKCS#8 again.
    ///
    /// # Errors
    ///
    /// [`Error::OldForm`] when it has that form already, [`Error::NoOldForm`] for a locked key that the unlock key opens, and
    /// as [`KeyStore::load_node`].
    pub fn downgrade_key(&self) -> Result<(), Error> {
        let unlock = self.unlock.lock();
        let text = Zeroizing::new(self.read(NODE_KEY)?.ok_or_else(|| self.missing(NODE_KEY))?);
        let file = KeyFile::parse(&text, unlock.as_ref())?;
        let present = pem::parse(&*text).map_err(|_| Error::MalformedKey)?;
        if [SEC1, PKCS1].contains(&present.tag()) {
            return Err(Error::OldForm);
        }
        if file.locked {
            return Err(Error::NoOldForm);
        }
        let (tag, contents) = old_form::encode(&file.key)?;
        let mut block = Pem::new(tag, contents.as_slice());
        for (name, value) in &file.headers {
            block.headers_mut().add(name, value).map_err(|error| Error::malformed("key file header", error))?;
        }
        let text = Zeroizing::new(pem::encode_config(&block, pem_text::ENCODING));
        drop(Zeroizing::new(block.into_contents()));
        self.write(NODE_KEY, text.as_bytes(), PRIVATE)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        lock::ManagerLock,
        testing::{manager, member, root},
        unlock::UnlockKey,
    };

    #[test]
    fn a_downgraded_key_keeps_its_headers_is_read_by_the_node_and_is_not_downgraded_twice() {
        let (dir, env) = (tempfile::tempdir().unwrap(), crate::testing::env());
        let keys = KeyStore::new(dir.path(), &env);
        assert!(matches!(keys.downgrade_key(), Err(Error::NoLocalCertificate { .. })));
        let node = member(&root(), &manager());
        keys.save_node(&node).unwrap();
        keys.update_data_keys(|keys| keys.current = Some([7; 32].into())).unwrap();
        let (before, data_keys) = (keys.headers().unwrap(), keys.data_keys().unwrap());

        keys.downgrade_key().unwrap();
        let file = || fs::read_to_string(dir.path().join("certificates/swarm-node.key")).unwrap();
        let text = file();
        assert!(text.starts_with("-----BEGIN EC PRIVATE KEY-----"), "{text}");
        assert_eq!(keys.headers().unwrap(), before);
        assert_eq!(keys.data_keys().unwrap(), data_keys);
        assert_eq!(keys.load_node().unwrap().chain_pem(), node.chain_pem());
        assert!(matches!(keys.downgrade_key(), Err(Error::OldForm)));
        assert_eq!(file(), text);

        keys.update_data_keys(|keys| keys.current = Some([8; 32].into())).unwrap();
        assert!(file().starts_with("-----BEGIN PRIVATE KEY-----"), "the next write");
    }

    #[test]
    fn a_locked_key_is_left_alone() {
        let (dir, env) = (tempfile::tempdir().unwrap(), crate::testing::env());
        let (keys, unlock) = (KeyStore::new(dir.path(), &env), UnlockKey::generate(&env));
        let node = member(&root(), &manager());
        let lock = ManagerLock { key: Some(unlock), ..ManagerLock::default() };
        keys.save_manager(&node, &lock).unwrap();
        keys.update_data_keys(|keys| keys.current = Some([7; 32].into())).unwrap();
        assert!(matches!(keys.downgrade_key(), Err(Error::NoOldForm)));
        assert!(matches!(KeyStore::new(dir.path(), &env).downgrade_key(), Err(Error::Locked)));
        keys.load_node().unwrap();
    }
}

//! Writing the key file: encrypted or in clear, with the keys of the log in its headers.

use swarmkit_api::NodeRole;

use super::{KeyStore, NODE_CERTIFICATE, NODE_CERTIFICATE_NEXT, NODE_KEY, PRIVATE, PUBLIC};
use crate::{
    certificate::NodeCertificate,
    data_keys::DataKeys,
    error::Error,
    key_file::{self, KeyFile, KeyHeaders},
    lock::{LockChange, ManagerLock},
    unlock::UnlockKey,
};

impl KeyStore {
    /// Writes the node's certificate and key. Headers of the key file stay as they are, and what was locked stays locked,
    /// but for the key of a worker: that is never locked.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], or [`Error::Locked`] when the present key file cannot be opened: its headers could not be kept.
    pub fn save_node(&self, node: &NodeCertificate) -> Result<(), Error> {
        let unlock = self.unlock.lock();
        let (headers, locked) = match self.present(unlock.as_ref())? {
            Some(file) => (file.headers, file.locked),
            None => (KeyHeaders::new(), false),
        };
        let locks = locked && node.identity().role == NodeRole::Manager;
        self.replace_node(node, &headers, unlock.as_ref().filter(|_| locks))
    }

    /// Writes the certificate and key of a node that has just become a manager, under the lock that its cluster is under:
    /// neither the private key nor a key of the log comes to the disk in clear when there is one.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::save_node`].
    pub fn save_manager(&self, node: &NodeCertificate, lock: &ManagerLock) -> Result<(), Error> {
        let mut unlock = self.unlock.lock();
        let mut headers = match self.present(unlock.as_ref())? {
            Some(mut file) => {
                let data_keys = file.data_keys(unlock.as_ref())?;
                data_keys.write(&mut file.headers, lock.key.as_ref(), &self.env);
                file.headers
            }
            None => KeyHeaders::new(),
        };
        key_file::note_version(&mut headers, lock.version);
        self.replace_node(node, &headers, lock.key.as_ref())?;
        unlock.clone_from(&lock.key);
        Ok(())
    }

    /// Follows the cluster: encrypts the key file, encrypts it with another key, or writes it in clear, all at once, with
    /// the keys of the log in it. When the file has just become locked, they and the private key are marked to be replaced.
    /// The key of a worker is left alone.
    ///
    /// # Errors
    ///
    /// [`Error::LockConflict`], and as [`KeyStore::load_node`]. Then the file is as it was.
    pub fn set_lock(&self, lock: &ManagerLock) -> Result<LockChange, Error> {
        let mut unlock = self.unlock.lock();
        let mut file = self.key_file(unlock.as_ref())?;
        let change = file.lock(unlock.as_ref()).change_to(lock)?;
        let role = self.node_with(NODE_CERTIFICATE, &file.key)?.identity().role;
        if change == LockChange::None || role == NodeRole::Worker {
            return Ok(LockChange::None);
        }
        let mut data_keys = file.data_keys(unlock.as_ref())?;
        data_keys.needs_rotation |= change == LockChange::Lock && data_keys.current.is_some();
        data_keys.write(&mut file.headers, lock.key.as_ref(), &self.env);
        key_file::note_version(&mut file.headers, lock.version);
        let renews = lock.key.is_some() && (change == LockChange::Lock || key_file::needs_renewal(&file.headers));
        key_file::note_renewal(&mut file.headers, renews);
        let written = self.replace_key(&file, lock.key.as_ref());
        if written.is_ok() || self.key_file(lock.key.as_ref()).is_ok_and(|now| now.lock(None).version == lock.version) {
            // The second: it has replaced the old one, and only that it did so is not known to be on the disk yet.
            unlock.clone_from(&lock.key);
        }
        written.map(|()| change)
    }

    /// Whether the node is to get another private key: this one had been on the disk in clear before it was locked.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::load_node`].
    pub fn needs_renewal(&self) -> Result<bool, Error> {
        Ok(key_file::needs_renewal(&self.headers()?))
    }

    /// The keys of the log in the node's key file.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::load_node`], and [`Error::DataKeys`] or [`Error::Record`] when the headers hold something else.
    pub fn data_keys(&self) -> Result<DataKeys, Error> {
        let unlock = self.unlock.lock();
        self.key_file(unlock.as_ref())?.data_keys(unlock.as_ref())
    }

    /// Changes the keys of the log. The node's key stays; a failed write changes nothing.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::data_keys`].
    pub fn update_data_keys(&self, change: impl FnOnce(&mut DataKeys)) -> Result<(), Error> {
        let unlock = self.unlock.lock();
        let mut file = self.key_file(unlock.as_ref())?;
        let mut data_keys = file.data_keys(unlock.as_ref())?;
        change(&mut data_keys);
        // A node that has just become a worker has its own key in clear, and those of the log are sealed until they go.
        let sealed = file.locked || DataKeys::are_sealed(&file.headers);
        data_keys.write(&mut file.headers, unlock.as_ref().filter(|_| sealed), &self.env);
        self.replace_key(&file, unlock.as_ref().filter(|_| file.locked))
    }

    /// Forgets the keys of the log, which need not be opened for that. The version of the lock stays.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::load_node`].
    pub fn forget_data_keys(&self) -> Result<(), Error> {
        let mut unlock = self.unlock.lock();
        let mut file = self.key_file(unlock.as_ref())?;
        if DataKeys::remove(&mut file.headers) {
            self.replace_key(&file, unlock.as_ref().filter(|_| file.locked))?;
        }
        if !file.locked {
            *unlock = None;
        }
        Ok(())
    }

    /// The key file that a new one is to take the place of. One that is locked holds what only the unlock key can open.
    fn present(&self, unlock: Option<&UnlockKey>) -> Result<Option<KeyFile>, Error> {
        match self.key_file(unlock) {
            Ok(file) => Ok(Some(file)),
            // Nothing is lost with these.
            Err(Error::NoLocalCertificate { .. } | Error::MalformedKey) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace_node(
        &self,
        node: &NodeCertificate,
        headers: &KeyHeaders,
        unlock: Option<&UnlockKey>,
    ) -> Result<(), Error> {
        let mut headers = headers.clone();
        key_file::note_renewal(&mut headers, false);
        let key = key_file::encode(node.key(), &headers, unlock, &self.env)?;
        self.write(NODE_CERTIFICATE_NEXT, node.chain_pem().as_bytes(), PUBLIC)?;
        self.write(NODE_KEY, key.as_bytes(), PRIVATE)?;
        self.rename(NODE_CERTIFICATE_NEXT, NODE_CERTIFICATE)
    }

    fn replace_key(&self, file: &KeyFile, unlock: Option<&UnlockKey>) -> Result<(), Error> {
        let text = key_file::encode(&file.key, &file.headers, unlock, &self.env)?;
        self.write(NODE_KEY, text.as_bytes(), PRIVATE)
    }
}

#[cfg(test)]
mod tests;

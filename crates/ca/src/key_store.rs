//! Certificates and keys in a node's state directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

use crate::{
    certificate::NodeCertificate,
    error::Error,
    identity::Identity,
    key::KeyPair,
    key_file::{KeyFile, KeyHeaders},
    pem_text,
    root::RootCa,
    unlock::UnlockKey,
};

mod locking;
mod old_form;

const DIRECTORY: &str = "certificates";
const ROOT_CERTIFICATE: &str = "swarm-root-ca.crt";
const ROOT_KEY: &str = "swarm-root-ca.key";
const NODE_CERTIFICATE: &str = "swarm-node.crt";
const NODE_KEY: &str = "swarm-node.key";
/// Where a new certificate waits until its key is in place.
const NODE_CERTIFICATE_NEXT: &str = ".swarm-node.crt";
/// Where early versions of upstream wrote a new key before they renamed it, certificate first.
const NODE_KEY_EARLY: &str = ".swarm-node.key";

const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o755;

/// The `certificates` directory of one node. File names, modes and order of writing are upstream's.
///
/// A certificate and its key cannot be replaced in one step, so the new certificate is first written beside the old
/// one, then the key replaces the old key, then the certificate is renamed. A node that was cut off in between finds
/// the matching one of the two certificates when it reads.
///
/// The key file of a locked manager is encrypted. The store holds the unlock key that opens it: the one that it was
/// [given](KeyStore::with_unlock_key), or the one that it was last told to [lock](KeyStore::set_lock) the file with.
///
/// Clones share that key, and change the key file one after the other. All methods block on the disk for some
/// milliseconds. Call them from a thread that may.
#[derive(Clone, Debug)]
pub struct KeyStore {
    directory: PathBuf,
    env: Env,
    /// What opens the key file, if that takes a key. Held locked from reading the file to replacing it, since what is kept
    /// of it would be lost otherwise.
    unlock: Arc<Mutex<Option<UnlockKey>>>,
    /// Whether reading leaves everything as it is.
    looks_only: bool,
}

impl KeyStore {
    /// The key files below a state directory. Nothing is read or made yet.
    #[must_use]
    pub fn new(state_dir: &Path, env: &Env) -> Self {
        Self { directory: state_dir.join(DIRECTORY), env: env.clone(), unlock: Arc::default(), looks_only: false }
    }

    /// Opens a key file that is locked with this key. One that is not locked needs none, and does not get locked by it.
    #[must_use]
    pub fn with_unlock_key(self, key: Option<UnlockKey>) -> Self {
        Self { unlock: Arc::new(Mutex::new(key)), ..self }
    }

    /// For looking at the files of a node that may run: what a cut-off write has left behind is read as the node would read it,
    /// and neither put in its place nor removed; modes stay as they are.
    #[must_use]
    pub fn looking_only(self) -> Self {
        Self { looks_only: true, ..self }
    }

    /// Reads the trust roots, and their key where an old version left it on disk.
    ///
    /// # Errors
    ///
    /// [`Error::NoLocalRoot`] when there are none, otherwise what is wrong with them.
    pub fn load_root(&self) -> Result<RootCa, Error> {
        let bundle = self.read(ROOT_CERTIFICATE)?.ok_or(Error::NoLocalRoot)?;
        let root = RootCa::from_pem(&bundle, self.env.now())?;
        match self.read(ROOT_KEY)? {
            Some(key) => root.with_key(KeyPair::from_pem(&key)?, &self.env),
            None => Ok(root),
        }
    }

    /// Writes the trust roots. Their key is never written.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn save_root(&self, root: &RootCa) -> Result<(), Error> {
        self.write(ROOT_CERTIFICATE, root.bundle().as_bytes(), PUBLIC)
    }

    /// Reads the node's certificate and key, after repairing what a cut-off write left behind.
    ///
    /// Says nothing about trust or time: see [`NodeCertificate::verify`].
    ///
    /// # Errors
    ///
    /// [`Error::NoLocalCertificate`] when either file is missing, [`Error::Locked`] when the key is encrypted and the unlock
    /// key is missing or wrong, [`Error::KeyMismatch`] when the two do not belong together.
    pub fn load_node(&self) -> Result<NodeCertificate, Error> {
        if !self.looks_only {
            self.settle_early_layout()?;
        }
        let key = self.key_file(self.unlock.lock().as_ref())?.key;
        let found = self.node_with(NODE_CERTIFICATE, &key);
        let Err(problem) = found else { return found };
        match self.node_with(NODE_CERTIFICATE_NEXT, &key) {
            Ok(node) if self.looks_only => Ok(node),
            Err(_) if self.looks_only => Err(problem),
            Ok(node) => {
                self.rename(NODE_CERTIFICATE_NEXT, NODE_CERTIFICATE)?;
                Ok(node)
            }
            Err(_) => {
                self.remove(NODE_CERTIFICATE_NEXT)?;
                Err(problem)
            }
        }
    }

    /// An early version may have been cut off with its new certificate in place and the key for it beside. That key is
    /// put in its place; one that belongs to nothing is removed. One that is locked, and not with the unlock key at
    /// hand, may belong here: it is left alone.
    fn settle_early_layout(&self) -> Result<(), Error> {
        let unlock = self.unlock.lock();
        let Some(text) = self.read(NODE_KEY_EARLY)?.map(Zeroizing::new) else { return Ok(()) };
        match KeyFile::parse(&text, unlock.as_ref()) {
            Ok(file) if self.node_with(NODE_CERTIFICATE, &file.key).is_ok() => self.rename(NODE_KEY_EARLY, NODE_KEY),
            Err(Error::Locked) => Ok(()),
            Ok(_) | Err(_) => self.remove(NODE_KEY_EARLY),
        }
    }

    /// Whom the node's certificate names, which takes no key: it says nothing about whether the node can prove it.
    ///
    /// # Errors
    ///
    /// [`Error::NoLocalCertificate`], or what is wrong with the certificate.
    pub fn named(&self) -> Result<Identity, Error> {
        let chain =
            pem_text::certificates(&self.read(NODE_CERTIFICATE)?.ok_or_else(|| self.missing(NODE_CERTIFICATE))?)?;
        Identity::from_certificate(chain.first().ok_or_else(|| Error::malformed("certificate", "no certificate"))?)
    }

    /// Forgets the node's certificate and key, headers included.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn remove_node(&self) -> Result<(), Error> {
        [NODE_CERTIFICATE_NEXT, NODE_CERTIFICATE, NODE_KEY_EARLY, NODE_KEY]
            .into_iter()
            .try_for_each(|name| self.remove(name))
    }

    /// The headers of the node's key file.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::load_node`].
    pub fn headers(&self) -> Result<KeyHeaders, Error> {
        Ok(self.key_file(self.unlock.lock().as_ref())?.headers)
    }

    fn key_file(&self, unlock: Option<&UnlockKey>) -> Result<KeyFile, Error> {
        let text = Zeroizing::new(self.read(NODE_KEY)?.ok_or_else(|| self.missing(NODE_KEY))?);
        if !self.looks_only {
            self.close_to_others(NODE_KEY);
        }
        KeyFile::parse(&text, unlock)
    }

    fn node_with(&self, name: &str, key: &Arc<KeyPair>) -> Result<NodeCertificate, Error> {
        let chain = self.read(name)?.ok_or_else(|| self.missing(name))?;
        NodeCertificate::new(&chain, key.clone())
    }

    fn missing(&self, name: &str) -> Error {
        Error::NoLocalCertificate { path: self.path(name) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Takes away what group and others may do with a private file. Whoever gave it to them may have read it, so it is
    /// told, and does not stop the node.
    fn close_to_others(&self, name: &str) {
        let path = self.path(name);
        let open = fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0);
        if open {
            let closed = fs::set_permissions(&path, Permissions::from_mode(PRIVATE)).is_ok();
            tracing::warn!(path = %path.display(), closed, "private key was open to other users of this machine");
        }
    }

    fn read(&self, name: &str) -> Result<Option<String>, Error> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { action: "read", path, source }),
        }
    }

    /// Replaces a file at once and for good: after a crash it holds either all of the old or all of the new.
    fn write(&self, name: &str, contents: &[u8], mode: u32) -> Result<(), Error> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { action, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&self.directory)
            .map_err(failed("create", &self.directory))?;
        let temporary = self.path(&format!(".tmp-{name}"));
        let written = (|| {
            remove_if_there(&temporary)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
            // The mode above is reduced by the umask, this one is not.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(contents)?;
            file.sync_all()
        })();
        if let Err(source) = written {
            let _ = fs::remove_file(&temporary);
            return Err(failed("write", &temporary)(source));
        }
        self.rename(&format!(".tmp-{name}"), name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let path = self.path(to);
        fs::rename(self.path(from), &path)
            .and_then(|()| File::open(&self.directory)?.sync_all())
            .map_err(|source| Error::Io { action: "replace", path, source })
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        remove_if_there(&path).map_err(|source| Error::Io { action: "remove", path, source })
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

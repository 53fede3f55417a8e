//! Root file systems that this node has for tasks, by name.
//!
//! A name is a directory below one that the operator fills: a root file system as it is, or an image layout of the Open
//! Container Initiative, which is unpacked when it is first needed. Root file systems are never written to.

pub(crate) mod fill;
mod layout;
mod unpack;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use swarmkit_executor::{ExecError, PROCESS_IMAGES};

use crate::users::Users;
use layout::{Layout, LayoutError};

/// What a task with an image begins with.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its root file system.
    pub(crate) root: PathBuf,
    pub(crate) users: Users,
    pub(crate) config: ImageConfig,
}

/// What an image says of how it is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageConfig {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) user: String,
    pub(crate) dir: String,
    pub(crate) stop_signal: String,
}

/// The images of a node.
#[derive(Debug)]
pub(crate) struct Images {
    /// What the operator has put there.
    dir: PathBuf,
    /// What was unpacked, by digest. Held while one is, so that it is done once.
    unpacked: Mutex<PathBuf>,
}

impl Images {
    pub(crate) fn new(dir: PathBuf, unpacked: PathBuf) -> Self {
        Self { dir, unpacked: Mutex::new(unpacked) }
    }

    /// Finds the image that a task asks for; `None` if it asks for none. May take long, the first time.
    ///
    /// # Errors
    ///
    /// [`ExecError::Rejected`] for a name that this node does not have, and for an image that is not sound.
    pub(crate) fn find(&self, reference: &str) -> Result<Option<Image>, ExecError> {
        let Some(reference) = reference.strip_prefix(PROCESS_IMAGES) else { return Ok(None) };
        let name =
            Name::parse(reference).ok_or_else(|| ExecError::rejected(format!("{reference:?} names no image")))?;
        let dir = self.dir.join(&name.path);
        if !dir.is_dir() {
            let text = format!("this node has no image {:?} (no directory {})", name.path, dir.display());
            return Err(ExecError::rejected(text));
        }
        if dir.join("oci-layout").is_file() {
            return self.of_layout(&Layout::new(dir), &name).map(Some);
        }
        if let Some(wanted) = name.tag.as_ref().filter(|tag| *tag != "latest").or(name.digest.as_ref()) {
            let text = format!("image {:?} is a root file system, of which there is no {wanted:?}", name.path);
            return Err(ExecError::rejected(text));
        }
        let root = fs::canonicalize(dir).map_err(ExecError::temporary)?;
        let users = Users::read_in(&root).map_err(ExecError::temporary)?;
        Ok(Some(Image { root, users, config: ImageConfig::default() }))
    }

    fn of_layout(&self, layout: &Layout, name: &Name) -> Result<Image, ExecError> {
        let told = |error: LayoutError| match error {
            LayoutError::Unsound(reason) => ExecError::rejected(format!("image {:?}: {reason}", name.path)),
            LayoutError::Io(error) => ExecError::temporary(format!("image {:?}: {error}", name.path)),
        };
        let manifest = layout.manifest(name.tag.as_deref(), name.digest.as_deref()).map_err(told)?;
        let unpacked = self.unpacked.lock();
        let root = unpacked.join(manifest.digest.replace(':', "-"));
        if !root.is_dir() {
            let aside = unpacked.join("unfinished");
            tracing::info!(image = name.path, digest = manifest.digest, "unpacking an image");
            let done = remove(&aside).map_err(LayoutError::Io).and_then(|()| {
                unpack::unpack(layout, &manifest, &aside)?;
                Ok(fs::rename(&aside, &root)?)
            });
            done.map_err(told)?;
        }
        let users = Users::read_in(&root).map_err(ExecError::temporary)?;
        Ok(Image { root, users, config: layout.config(&manifest).map_err(told)? })
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The parts of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Name {
    /// Reads `team/web:1.2@sha256:…`. Nothing in it leads out of a directory.
    fn parse(text: &str) -> Option<Self> {
        let (text, digest) = match text.split_once('@') {
            Some((text, digest)) => (text, Some(digest.to_owned())),
            None => (text, None),
        };
        let (path, tag) = match text.split_once(':') {
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (text, None),
        };
        let plain = |part: &str| {
            part.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let fine = path.split('/').all(plain) && tag.as_deref().is_none_or(plain);
        fine.then(|| Self { path: path.to_owned(), tag, digest })
    }
}

#[cfg(test)]
mod tests;

//! Root file systems that this node has for tasks, by name.
//!
//! A name is a directory below one that the operator fills: a root file system as it is, or an image layout of the Open
//! Container Initiative. Root file systems are never written to.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use swarmkit_executor::{ExecError, PROCESS_IMAGES};

use crate::users::Users;

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
#[derive(Clone, Debug)]
pub(crate) struct Images {
    /// What the operator has put there.
    dir: PathBuf,
}

impl Images {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Finds the image that a task asks for; `None` if it asks for none.
    ///
    /// # Errors
    ///
    /// [`ExecError::Rejected`] for a name that this node does not have.
    pub(crate) fn find(&self, reference: &str) -> Result<Option<Image>, ExecError> {
        let Some(reference) = reference.strip_prefix(PROCESS_IMAGES) else { return Ok(None) };
        let name =
            Name::parse(reference).ok_or_else(|| ExecError::rejected(format!("{reference:?} names no image")))?;
        let dir = self.dir.join(&name.path);
        if !dir.is_dir() {
            return Err(ExecError::rejected(format!(
                "this node has no image {:?} (no directory {})",
                name.path,
                dir.display()
            )));
        }
        let image = self.root_directory(&dir).map_err(ExecError::temporary)?;
        Ok(Some(image))
    }

    /// A root file system as it is.
    fn root_directory(&self, dir: &Path) -> io::Result<Image> {
        let root = fs::canonicalize(dir)?;
        Ok(Image { users: Users::read_in(&root)?, root, config: ImageConfig::default() })
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
        (path.split('/').all(plain) && tag.as_deref().is_none_or(plain)).then(|| Self {
            path: path.to_owned(),
            tag,
            digest,
        })
    }
}

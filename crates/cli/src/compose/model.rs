//! What a Compose file asks for.
//!
//! Specifications are the wire's messages: that is the public model, and a second one would only drift. What cannot be
//! put into them before the cluster has answered (ids of configs and secrets) stands beside them.

use std::{collections::BTreeMap, path::PathBuf};

use bytes::Bytes;
use swarmkit_api::wire;

use super::tree::At;

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Project {
    /// The top-level `name`.
    pub name: Option<String>,
    /// The services, in the order of the file.
    pub services: Vec<Service>,
    /// The configs that the file defines or names.
    pub configs: Vec<Blob>,
    /// The secrets that the file defines or names.
    pub secrets: Vec<Blob>,
}

/// One service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its key in the file, which is its name.
    pub name: String,
    /// Where its key stands.
    pub at: At,
    /// Everything but the references to configs and secrets.
    pub spec: wire::ServiceSpec,
    /// The configs that its tasks get as files.
    pub configs: Vec<FileRef>,
    /// The secrets that its tasks get as files.
    pub secrets: Vec<FileRef>,
}

/// That a service uses a config or a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// Which one, by its key in the file.
    pub source: String,
    /// Where the reference stands.
    pub at: At,
    /// The file that it becomes.
    pub target: wire::FileTarget,
}

/// A config or a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its key in the file.
    pub key: String,
    /// Where its key stands.
    pub at: At,
    /// Its name in the cluster: its `name`, else its key.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where its content comes from.
    pub source: Source,
}

/// Where the content of a config or secret comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// It is in the cluster already.
    External,
    /// A file, relative to the Compose file's directory, not yet read.
    File(PathBuf),
    /// The bytes themselves.
    Content(Bytes),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::External => f.write_str("External"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            // May be a secret.
            Self::Content(content) => write!(f, "Content({} bytes)", content.len()),
        }
    }
}

impl Project {
    /// The config with this key.
    #[must_use]
    pub fn config(&self, key: &str) -> Option<&Blob> {
        self.configs.iter().find(|config| config.key == key)
    }

    /// The secret with this key.
    #[must_use]
    pub fn secret(&self, key: &str) -> Option<&Blob> {
        self.secrets.iter().find(|secret| secret.key == key)
    }
}

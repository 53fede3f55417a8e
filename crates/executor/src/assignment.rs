//! What a controller is made for: a task, and what the task may reach.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use swarmkit_api::Task;
use zeroize::Zeroizing;

use crate::ExecError;

/// One task as the managers assigned it, and its dependencies.
#[derive(Clone)]
pub struct Assignment {
    /// What to run. Placeholders in its specification are already expanded.
    pub task: Arc<Task>,
    /// The secrets, configs and volumes that this task lists, and no others.
    pub dependencies: Arc<dyn Dependencies>,
}

impl Assignment {
    /// A task that depends on nothing.
    #[must_use]
    pub fn new(task: Arc<Task>) -> Self {
        Self { task, dependencies: Arc::new(NoDependencies) }
    }

    /// The same task with what it depends on.
    #[must_use]
    pub fn with(self, dependencies: impl Dependencies) -> Self {
        Self { dependencies: Arc::new(dependencies), ..self }
    }
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assignment").field("task", &self.task.id).finish_non_exhaustive()
    }
}

/// The secrets, configs and volumes of one task.
///
/// # Obligations
///
/// - It answers for what the task's specification lists and refuses everything else.
/// - Payloads that are templates come expanded.
/// - It answers from memory, without waiting: what is not there yet is [`ExecError::Temporary`].
pub trait Dependencies: Send + Sync + 'static {
    /// The payload of a secret, by the id that the task's specification names.
    ///
    /// # Errors
    ///
    /// [`ExecError::Rejected`] when it is unknown, not this task's, or cannot be expanded.
    fn secret(&self, id: &str) -> Result<Payload, ExecError>;

    /// The payload of a config, by the id that the task's specification names.
    ///
    /// # Errors
    ///
    /// As [`Dependencies::secret`].
    fn config(&self, id: &str) -> Result<Payload, ExecError>;

    /// Where on this machine a cluster volume is published.
    ///
    /// # Errors
    ///
    /// As [`Dependencies::secret`], and [`ExecError::Temporary`] while it is not yet published.
    fn volume(&self, id: &str) -> Result<PathBuf, ExecError>;
}

/// What a secret or a config holds. Wiped from memory when dropped; `Debug` shows the length only.
#[derive(Clone)]
pub struct Payload {
    /// The bytes.
    pub data: Zeroizing<Vec<u8>>,
    /// It must not be written to a disk in clear: secrets, and configs that a secret was expanded into.
    pub sensitive: bool,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.data.len())
    }
}

/// The dependencies of a task that has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDependencies;

impl Dependencies for NoDependencies {
    fn secret(&self, id: &str) -> Result<Payload, ExecError> {
        Err(ExecError::rejected(format!("secret {id} not found")))
    }

    fn config(&self, id: &str) -> Result<Payload, ExecError> {
        Err(ExecError::rejected(format!("config {id} not found")))
    }

    fn volume(&self, id: &str) -> Result<PathBuf, ExecError> {
        Err(ExecError::rejected(format!("volume {id} not found")))
    }
}

/// Dependencies that are written down beforehand, for tests and for programs that assign tasks by themselves.
#[derive(Clone, Debug, Default)]
pub struct FixedDependencies {
    secrets: BTreeMap<String, Payload>,
    configs: BTreeMap<String, Payload>,
    volumes: BTreeMap<String, PathBuf>,
}

impl FixedDependencies {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a secret.
    #[must_use]
    pub fn with_secret(mut self, id: &str, data: &[u8]) -> Self {
        self.secrets.insert(id.into(), Payload { data: Zeroizing::new(data.to_vec()), sensitive: true });
        self
    }

    /// With a config.
    #[must_use]
    pub fn with_config(mut self, id: &str, data: &[u8]) -> Self {
        self.configs.insert(id.into(), Payload { data: Zeroizing::new(data.to_vec()), sensitive: false });
        self
    }

    /// With a volume that is published at `path`.
    #[must_use]
    pub fn with_volume(mut self, id: &str, path: impl Into<PathBuf>) -> Self {
        self.volumes.insert(id.into(), path.into());
        self
    }
}

impl Dependencies for FixedDependencies {
    fn secret(&self, id: &str) -> Result<Payload, ExecError> {
        self.secrets.get(id).cloned().map_or_else(|| NoDependencies.secret(id), Ok)
    }

    fn config(&self, id: &str) -> Result<Payload, ExecError> {
        self.configs.get(id).cloned().map_or_else(|| NoDependencies.config(id), Ok)
    }

    fn volume(&self, id: &str) -> Result<PathBuf, ExecError> {
        self.volumes.get(id).cloned().map_or_else(|| NoDependencies.volume(id), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_is_not_there_is_named() {
        let dependencies = FixedDependencies::new().with_secret("s1", b"hush");
        assert_eq!(dependencies.secret("s1").unwrap().data.as_slice(), b"hush");
        assert_eq!(dependencies.secret("s2").unwrap_err().to_string(), "secret s2 not found");
        assert_eq!(dependencies.config("s1").unwrap_err().to_string(), "config s1 not found");
    }

    #[test]
    fn a_payload_does_not_show_itself() {
        let dependencies = FixedDependencies::new().with_secret("s1", b"hush");
        assert_eq!(format!("{:?}", dependencies.secret("s1").unwrap()), "Payload(4 bytes)");
    }
}

//! The secrets and configs that this node was given, and what each task may see of them.
//!
//! They are in memory only, and wiped when they are dropped.

use std::{cell::Cell, collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use swarmkit_api::{Task, wire};
use swarmkit_executor::{Dependencies, ExecError, Payload, container_spec};
use swarmkit_template::{Context, TemplateError, expand_config, expand_secret};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{describe::NodeFacts, volumes::Volumes};

/// Everything that managers sent for the tasks of this node. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Payloads {
    held: Arc<Mutex<Held>>,
    /// What templates can say of the node.
    pub(crate) node: NodeFacts,
    /// What is here of the cluster's volumes.
    pub(crate) volumes: Volumes,
}

#[derive(Default)]
struct Held {
    secrets: BTreeMap<String, Arc<Item>>,
    configs: BTreeMap<String, Arc<Item>>,
    /// Managers have sent a complete set since the agent was started. Before, what is missing may still come.
    complete: bool,
}

/// One payload as it was sent.
struct Item {
    data: Zeroizing<Vec<u8>>,
    templating: Option<wire::Driver>,
}

/// A change of one payload.
pub(crate) enum PayloadChange {
    Secret(Box<wire::Secret>),
    NoSecret(String),
    Config(Box<wire::Config>),
    NoConfig(String),
}

// === impl Payloads ===

impl Payloads {
    /// Nothing yet, on a node with these volumes.
    pub(crate) fn with(volumes: Volumes) -> Self {
        Self { volumes, ..Self::default() }
    }

    /// Takes a set that replaces everything.
    pub(crate) fn replace(&self, changes: Vec<PayloadChange>) {
        let mut held = Held { complete: true, ..Held::default() };
        held.absorb(changes);
        *self.held.lock() = held;
    }

    /// Takes changes on top of what is there.
    pub(crate) fn amend(&self, changes: Vec<PayloadChange>) {
        self.held.lock().absorb(changes);
    }

    /// Secrets as a storage plugin wants them, by the names that it knows. Those that are not here, or are no text, are left
    /// out: the plugin says what it lacks.
    pub(crate) fn texts(&self, wanted: &[wire::VolumeSecret]) -> BTreeMap<String, Zeroizing<String>> {
        let held = self.held.lock();
        let text = |wanted: &wire::VolumeSecret| {
            let item = held.secrets.get(&wanted.secret)?;
            let text = str::from_utf8(&item.data).ok()?;
            Some((wanted.key.clone(), Zeroizing::new(text.to_owned())))
        };
        wanted.iter().filter_map(text).collect()
    }

    /// What `task` may see.
    pub(crate) fn of(&self, task: &Arc<Task>) -> TaskPayloads {
        TaskPayloads { payloads: self.clone(), task: Arc::clone(task) }
    }
}

impl Held {
    fn absorb(&mut self, changes: Vec<PayloadChange>) {
        for change in changes {
            match change {
                PayloadChange::Secret(secret) => {
                    let spec = secret.spec.unwrap_or_default();
                    self.secrets.insert(secret.id, Item::new(spec.data, spec.templating));
                }
                PayloadChange::NoSecret(id) => drop(self.secrets.remove(&id)),
                PayloadChange::Config(config) => {
                    let spec = config.spec.unwrap_or_default();
                    self.configs.insert(config.id, Item::new(spec.data, spec.templating));
                }
                PayloadChange::NoConfig(id) => drop(self.configs.remove(&id)),
            }
        }
    }
}

impl Held {
    /// What is not here may still come, until managers have sent everything once.
    fn missing(&self, what: &str, id: &str) -> ExecError {
        let text = format!("{what} {id} not found");
        if self.complete { ExecError::rejected(text) } else { ExecError::temporary(text) }
    }
}

impl Item {
    /// Takes its own copy, and wipes what it came in unless somebody else still holds that.
    fn new(data: bytes::Bytes, templating: Option<wire::Driver>) -> Arc<Self> {
        let copy = Zeroizing::new(data.to_vec());
        drop(wiped(data));
        Arc::new(Self { data: copy, templating })
    }
}

/// The same buffer with nothing in it, unless somebody else holds it too.
fn wiped(data: bytes::Bytes) -> Option<bytes::BytesMut> {
    let mut unshared = data.try_into_mut().ok()?;
    unshared.as_mut().zeroize();
    Some(unshared)
}

/// See [`Payloads::of`].
#[derive(Clone)]
pub(crate) struct TaskPayloads {
    payloads: Payloads,
    task: Arc<Task>,
}

impl TaskPayloads {
    fn spec(&self) -> Option<&wire::ContainerSpec> {
        container_spec(&self.task.spec)
    }

    /// A secret of this task as it was sent. One made for this task alone comes under the secret's id and the task's,
    /// and is preferred.
    fn raw_secret(&self, id: &str) -> Result<Arc<Item>, ExecError> {
        if !self.spec().is_some_and(|spec| spec.secrets.iter().any(|reference| reference.secret_id == id)) {
            return Err(ExecError::rejected(format!("task not authorized to access secret {id}")));
        }
        let held = self.payloads.held.lock();
        let own = held.secrets.get(&format!("{id}.{}", self.task.id));
        own.or_else(|| held.secrets.get(id)).cloned().ok_or_else(|| held.missing("secret", id))
    }

    fn raw_config(&self, id: &str) -> Result<Arc<Item>, ExecError> {
        if !self.spec().is_some_and(|spec| spec.configs.iter().any(|reference| reference.config_id == id)) {
            return Err(ExecError::rejected(format!("task not authorized to access config {id}")));
        }
        let held = self.payloads.held.lock();
        held.configs.get(id).cloned().ok_or_else(|| held.missing("config", id))
    }

    fn context(&self) -> Context {
        Context::new(&self.task, self.payloads.node.get().as_deref())
    }
}

/// The payloads of a task as they were sent, for others of the same task to insert. What is missing may come later, and
/// then the expansion is tried again: so the error is kept.
struct Raw<'a> {
    of: &'a TaskPayloads,
    missing: Cell<Option<ExecError>>,
}

impl Raw<'_> {
    fn give(&self, item: Result<Arc<Item>, ExecError>) -> Result<Zeroizing<Vec<u8>>, String> {
        match item {
            Ok(item) => Ok(item.data.clone()),
            Err(error) => {
                let text = error.to_string();
                self.missing.set(Some(error));
                Err(text)
            }
        }
    }
}

impl swarmkit_template::Payloads for Raw<'_> {
    fn secret(&self, id: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        self.give(self.of.raw_secret(id))
    }

    fn config(&self, id: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        self.give(self.of.raw_config(id))
    }
}

/// What a failed expansion means: try again if that is all it takes.
fn unexpanded(error: TemplateError, raw: &Raw<'_>) -> ExecError {
    match raw.missing.take() {
        Some(missing) if missing.is_temporary() => missing,
        _ => ExecError::rejected(error),
    }
}

impl fmt::Debug for TaskPayloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskPayloads").field(&self.task.id).finish()
    }
}

impl Dependencies for TaskPayloads {
    fn secret(&self, id: &str) -> Result<Payload, ExecError> {
        let item = self.raw_secret(id)?;
        let (Some(templating), Some(spec)) = (&item.templating, self.spec()) else {
            return Ok(Payload { data: item.data.clone(), sensitive: true });
        };
        let raw = Raw { of: self, missing: Cell::new(None) };
        let expanded = expand_secret(id, &item.data, Some(templating), &self.context(), spec, &raw);
        let expanded = expanded.map_err(|error| unexpanded(error, &raw))?;
        Ok(Payload { data: expanded.data, sensitive: true })
    }

    fn config(&self, id: &str) -> Result<Payload, ExecError> {
        let item = self.raw_config(id)?;
        let (Some(templating), Some(spec)) = (&item.templating, self.spec()) else {
            return Ok(Payload { data: item.data.clone(), sensitive: false });
        };
        let raw = Raw { of: self, missing: Cell::new(None) };
        let expanded = expand_config(id, &item.data, Some(templating), &self.context(), spec, &raw);
        let expanded = expanded.map_err(|error| unexpanded(error, &raw))?;
        Ok(Payload { data: expanded.data, sensitive: expanded.used_secret })
    }

    fn volume(&self, id: &str) -> Result<PathBuf, ExecError> {
        if !self.task.volumes.iter().any(|volume| volume.id == id) {
            return Err(ExecError::rejected(format!("task not authorized to access volume {id}")));
        }
        self.payloads.volumes.path(id)
    }
}

#[cfg(test)]
mod tests;

//! What a specification asks for that the engine cannot do.

use std::{borrow::Cow, collections::BTreeSet};

use swarmkit_executor::ExecError;

use crate::engine::Api;

/// The names of what is refused. Told all at once, so that a specification is put right in one go.
pub(super) struct Refusals {
    api: Api,
    names: BTreeSet<Cow<'static, str>>,
}

impl Refusals {
    pub(super) fn new(api: Api) -> Self {
        Self { api, names: BTreeSet::new() }
    }

    /// Refuses what is named, unless that holds.
    pub(super) fn unless(&mut self, holds: bool, name: impl Into<Cow<'static, str>>) {
        if !holds {
            self.names.insert(name.into());
        }
    }

    /// Refuses what is asked for if the engine is older than the first that knows it.
    pub(super) fn older_than(&mut self, first: Api, name: &str, asked: bool) {
        let api = self.api;
        self.unless(!asked || api >= first, format!("{name} (needs API {first}, the engine has {api})"));
    }

    pub(super) fn finish(self) -> Result<(), ExecError> {
        if self.names.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.names.into_iter().collect();
        Err(ExecError::rejected(format!("the engine cannot do: {}", names.join(", "))))
    }
}

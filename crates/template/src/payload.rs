//! Expanding secrets and configs.

use std::cell::Cell;

use swarmkit_api::wire::{ContainerSpec, Driver, config_reference, secret_reference};
use zeroize::Zeroizing;

use crate::{
    Context,
    error::{Fault, TemplateError},
    eval,
    functions::Ambient,
    parser,
    value::Value,
};

/// The only template language that there is.
const LANGUAGE: &str = "golang";

/// Where the payloads come from that a payload may insert. Asked for what the task's specification lists, and no more.
pub trait Payloads {
    /// The payload of a secret, as it is stored.
    ///
    /// # Errors
    ///
    /// Why the task cannot have it, for people.
    fn secret(&self, id: &str) -> Result<Zeroizing<Vec<u8>>, String>;

    /// The payload of a config, as it is stored.
    ///
    /// # Errors
    ///
    /// As [`Payloads::secret`].
    fn config(&self, id: &str) -> Result<Zeroizing<Vec<u8>>, String>;
}

/// A payload after its expansion.
#[derive(Clone, PartialEq, Eq)]
pub struct Expanded {
    /// What it holds.
    pub data: Zeroizing<Vec<u8>>,
    /// Whether a secret went into it: then it must not be written to a disk in clear.
    pub used_secret: bool,
}

impl std::fmt::Debug for Expanded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expanded({} bytes, used_secret: {})", self.data.len(), self.used_secret)
    }
}

/// Expands the payload of a secret for one task, if its specification says that it is a template.
///
/// Besides what every template has, it can use `secret "target"` and `config "target"`, the payloads of the task's own
/// references by the name of their target file, and `env "NAME"`, a variable of the task's specification. None of
/// these is expanded again.
///
/// # Errors
///
/// When it is no template or names what is not there. The text names the secret.
pub fn expand_secret(
    id: &str,
    data: &[u8],
    templating: Option<&Driver>,
    context: &Context,
    spec: &ContainerSpec,
    payloads: &dyn Payloads,
) -> Result<Expanded, TemplateError> {
    let expanded = expand(data, templating, context, spec, payloads);
    expanded.map_err(|error| error.within(format!("failed to expand templated secret {id}")))
}

/// Expands the payload of a config for one task; see [`expand_secret`].
///
/// # Errors
///
/// As [`expand_secret`].
pub fn expand_config(
    id: &str,
    data: &[u8],
    templating: Option<&Driver>,
    context: &Context,
    spec: &ContainerSpec,
    payloads: &dyn Payloads,
) -> Result<Expanded, TemplateError> {
    let expanded = expand(data, templating, context, spec, payloads);
    expanded.map_err(|error| error.within(format!("failed to expand templated config {id}")))
}

fn expand(
    data: &[u8],
    templating: Option<&Driver>,
    context: &Context,
    spec: &ContainerSpec,
    payloads: &dyn Payloads,
) -> Result<Expanded, TemplateError> {
    let Some(language) = templating else {
        return Ok(Expanded { data: Zeroizing::new(data.to_vec()), used_secret: false });
    };
    if language.name != LANGUAGE {
        return Err(TemplateError::UnknownLanguage);
    }
    let task = TaskPayloads { spec, payloads, used_secret: Cell::new(false) };
    let run = || {
        let template = parser::parse(data)?;
        eval::run(&template, context.value(), &task)
    };
    let data = run().map_err(|fault: Fault| fault.locate(data))?;
    Ok(Expanded { data, used_secret: task.used_secret.get() })
}

/// What one task may insert.
struct TaskPayloads<'a> {
    spec: &'a ContainerSpec,
    payloads: &'a dyn Payloads,
    used_secret: Cell<bool>,
}

impl TaskPayloads<'_> {
    fn secret(&self, target: &str) -> Result<Value, String> {
        let is_it = |reference: &secret_reference::Target| {
            let secret_reference::Target::File(file) = reference;
            file.name == target
        };
        let found = self.spec.secrets.iter().find(|secret| secret.target.as_ref().is_some_and(is_it));
        let found = found.ok_or_else(|| format!("secret target {target} not found"))?;
        self.used_secret.set(true);
        self.payloads.secret(&found.secret_id).map(value)
    }

    fn config(&self, target: &str) -> Result<Value, String> {
        let is_it = |reference: &config_reference::Target| match reference {
            config_reference::Target::File(file) => file.name == target,
            config_reference::Target::Runtime(_) => false,
        };
        let found = self.spec.configs.iter().find(|config| config.target.as_ref().is_some_and(is_it));
        let found = found.ok_or_else(|| format!("config target {target} not found"))?;
        self.payloads.config(&found.config_id).map(value)
    }

    /// The value of a variable, as the specification has it; empty if it has not.
    fn env(&self, name: &str) -> Value {
        let entries = self.spec.env.iter().rev().filter_map(|entry| entry.split_once('='));
        let found = entries.into_iter().find(|(known, _)| *known == name);
        Value::text(found.map_or("", |(_, value)| value))
    }
}

impl Ambient for TaskPayloads<'_> {
    fn call(&self, function: &str, argument: &str) -> Option<Result<Value, String>> {
        match function {
            "secret" => Some(self.secret(argument)),
            "config" => Some(self.config(argument)),
            "env" => Some(Ok(self.env(argument))),
            _ => None,
        }
    }
}

fn value(payload: Zeroizing<Vec<u8>>) -> Value {
    Value::Str(std::rc::Rc::new(payload))
}

#[cfg(test)]
mod tests;

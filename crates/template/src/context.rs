//! What a template can name.

use std::rc::Rc;

use swarmkit_api::{Task, wire};

use crate::{
    error::TemplateError,
    eval,
    functions::{self, Nothing},
    parser,
    value::Value,
};

/// What a template can name: the service, the node and the task that it is expanded for.
///
/// Labels of the task and of its container are not among it.
#[derive(Clone, Debug)]
pub struct Context {
    value: Value,
}

impl Context {
    /// The context of a task on a node. Without a description the node has an id only.
    #[must_use]
    pub fn new(task: &Task, node: Option<&wire::NodeDescription>) -> Self {
        let node_id = task.node_id.as_ref().map(AsRef::as_ref).unwrap_or_default();
        let platform = node.and_then(|node| node.platform.as_ref());
        let service = structure([
            ("ID", Value::text(task.service_id.as_ref().map(AsRef::<str>::as_ref).unwrap_or_default())),
            ("Name", Value::text(task.service_annotations.name.as_str())),
            ("Labels", functions::map(&task.service_annotations.labels)),
        ]);
        let platform = structure([
            ("Architecture", Value::text(platform.map_or("", |platform| &platform.architecture))),
            ("OS", Value::text(platform.map_or("", |platform| &platform.os))),
        ]);
        let node = structure([
            ("ID", Value::text(node_id)),
            ("Hostname", Value::text(node.map_or("", |node| &node.hostname))),
            ("Platform", platform),
        ]);
        let slot = if task.slot == 0 { node_id.to_owned() } else { task.slot.to_string() };
        let task = structure([
            ("ID", Value::text(task.id.as_str())),
            ("Name", Value::text(task.name())),
            ("Slot", Value::text(slot)),
        ]);
        Self { value: structure([("Service", service), ("Node", node), ("Task", task)]) }
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }
}

/// Expands one text.
///
/// # Errors
///
/// When the text is no template, or names what is not there.
pub fn expand(text: &str, context: &Context) -> Result<String, TemplateError> {
    // Most texts hold no action at all.
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let source = text.as_bytes();
    let template = parser::parse(source).map_err(|fault| fault.locate(source))?;
    let expanded = eval::run(&template, &context.value, &Nothing).map_err(|fault| fault.locate(source))?;
    Ok(String::from_utf8_lossy(&expanded).into_owned())
}

fn structure<const COUNT: usize>(fields: [(&'static str, Value); COUNT]) -> Value {
    Value::Struct(Rc::new(Vec::from(fields)))
}

#[cfg(test)]
mod tests;

//! Expanding what a specification holds.

use swarmkit_api::{
    Task,
    wire::{self, Mount, task_spec::Runtime},
};

use crate::{Context, TemplateError, expand};

/// Expands the placeholders in a task's container specification: the values of its environment, the sources, targets,
/// volume labels and volume driver options of its mounts, and its host name. Nothing else is looked at.
///
/// Gives the specification that the task's executor should work from. The task itself stays as the managers wrote it.
///
/// # Errors
///
/// When one of these is no template, or names what is not there.
pub fn expand_task(task: &Task, node: Option<&wire::NodeDescription>) -> Result<wire::TaskSpec, TemplateError> {
    let mut spec = task.spec.as_ref().clone();
    if let Some(Runtime::Container(container)) = &mut spec.runtime {
        let context = Context::new(task, node);
        for entry in &mut container.env {
            expand_env(entry, &context).map_err(|error| error.within("expanding env failed"))?;
        }
        for mount in &mut container.mounts {
            expand_mount(mount, &context).map_err(|error| error.within("expanding mounts failed"))?;
        }
        let hostname = expand(&container.hostname, &context);
        container.hostname = hostname.map_err(|error| error.within("expanding hostname failed"))?;
    }
    Ok(spec)
}

/// Names, and entries without a value, stay as they are.
fn expand_env(entry: &mut String, context: &Context) -> Result<(), TemplateError> {
    if let Some((name, value)) = entry.split_once('=') {
        *entry = format!("{name}={}", expand(value, context)?);
    }
    Ok(())
}

fn expand_mount(mount: &mut Mount, context: &Context) -> Result<(), TemplateError> {
    let volume = mount.volume_options.as_mut();
    let (labels, options) = volume.map_or((None, None), |volume| {
        (Some(&mut volume.labels), volume.driver_config.as_mut().map(|driver| &mut driver.options))
    });
    let values = [labels, options].into_iter().flatten().flat_map(|map| map.values_mut());
    for text in [&mut mount.source, &mut mount.target].into_iter().chain(values) {
        *text = expand(text, context)?;
    }
    Ok(())
}

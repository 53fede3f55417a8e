//! The parts of a task's specification that more than one layout shows.

use swarmkit_api::wire::{self, config_reference, secret_reference};

use super::Columns;
use crate::units::{format_memory, format_processors};

/// Image, command, arguments and environment.
pub(super) fn container_fields(columns: &mut Columns, indent: &str, container: &wire::ContainerSpec) {
    columns.field_if_any(&format!("{indent}Image"), &container.image);
    let quoted: Vec<_> = container.command.iter().map(|word| format!("{word:?}")).collect();
    columns.field_if_any(&format!("{indent}Command"), quoted.join(" "));
    columns.field_if_any(&format!("{indent}Args"), bracketed(&container.args));
    columns.field_if_any(&format!("{indent}Env"), bracketed(&container.env));
}

/// `[a, b]`; nothing when all of it is empty.
pub(super) fn bracketed(words: &[String]) -> String {
    if words.iter().all(String::is_empty) { String::new() } else { format!("[{}]", words.join(", ")) }
}

/// The files that secrets and configs become.
pub(super) fn file_refs(columns: &mut Columns, indent: &str, container: &wire::ContainerSpec, with_id: bool) {
    let show = |name: &str, id: &str, target: &str| {
        let id = if with_id { format!("@{id}") } else { String::new() };
        format!("{indent}  [FILE] {name}{id}:{target}")
    };
    if !container.secrets.is_empty() {
        columns.line(format!("{indent}Secrets:"));
    }
    for secret in &container.secrets {
        let target = secret.target.as_ref().map(|secret_reference::Target::File(file)| file.name.as_str());
        columns.line(show(&secret.secret_name, &secret.secret_id, target.unwrap_or_default()));
    }
    if !container.configs.is_empty() {
        columns.line(format!("{indent}Configs:"));
    }
    for config in &container.configs {
        let target = match &config.target {
            Some(config_reference::Target::File(file)) => file.name.as_str(),
            Some(config_reference::Target::Runtime(_)) | None => "",
        };
        columns.line(show(&config.config_name, &config.config_id, target));
    }
}

/// What is reserved and what is the limit.
pub(super) fn resources(columns: &mut Columns, requirements: &wire::ResourceRequirements) {
    columns.section("  Resources");
    for (title, resources) in [("Reservations:", &requirements.reservations), ("Limits:", &requirements.limits)] {
        let Some(resources) = resources else { continue };
        columns.section(&format!("    {title}"));
        if resources.nano_cpus != 0 {
            columns.field("      CPU", format_processors(resources.nano_cpus));
        }
        if resources.memory_bytes != 0 {
            columns.field("      Memory", format_memory(resources.memory_bytes));
        }
        columns.field_if_any("      Generic Resources", generic_terms(&resources.generic));
    }
}

/// Generic resources in one line: `gpu=UUID1, gpu=UUID2, licence=2`.
pub(super) fn generic_terms(resources: &[wire::GenericResource]) -> String {
    let terms: Vec<_> = generic(resources).iter().map(|(kind, value)| format!("{kind}={value}")).collect();
    terms.join(", ")
}

/// Kind and amount, or kind and name, of each generic resource.
pub(super) fn generic(resources: &[wire::GenericResource]) -> Vec<(String, String)> {
    use wire::generic_resource::Resource;

    let pair = |resource: &wire::GenericResource| match resource.resource.clone()? {
        Resource::NamedResourceSpec(named) => Some((named.kind, named.value)),
        Resource::DiscreteResourceSpec(discrete) => Some((discrete.kind, discrete.value.to_string())),
    };
    resources.iter().filter_map(pair).collect()
}

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
    surroundings(columns, indent, container);
}

/// What surrounds the program, as far as it is not the usual.
fn surroundings(columns: &mut Columns, indent: &str, container: &wire::ContainerSpec) {
    let number = |number: i64| if number == 0 { String::new() } else { number.to_string() };
    let yes = |is_so: bool| if is_so { "yes".to_owned() } else { String::new() };
    let mut sysctls: Vec<_> = container.sysctls.iter().map(|(name, value)| format!("{name}={value}")).collect();
    sysctls.sort();
    let limit = |limit: &wire::container_spec::Ulimit| format!("{}={}:{}", limit.name, limit.soft, limit.hard);
    let dns = container.dns_config.clone().unwrap_or_default();
    let fields = [
        ("Hostname", container.hostname.clone()),
        ("Groups", bracketed(&container.groups)),
        ("ReadOnly", yes(container.read_only)),
        ("Init", container.init.map(|init| if init { "yes" } else { "no" }).unwrap_or_default().to_owned()),
        ("CapAdd", bracketed(&container.capability_add)),
        ("CapDrop", bracketed(&container.capability_drop)),
        ("NoNewPrivileges", yes(container.privileges.as_ref().is_some_and(|privileges| privileges.no_new_privileges))),
        ("Sysctls", bracketed(&sysctls)),
        ("Ulimits", bracketed(&container.ulimits.iter().map(limit).collect::<Vec<_>>())),
        ("LimitPids", number(container.pids_limit)),
        ("OomScoreAdj", number(container.oom_score_adj)),
        ("StopSignal", container.stop_signal.clone()),
        ("Hosts", bracketed(&container.hosts)),
        ("DNS", bracketed(&dns.nameservers)),
        ("DNSSearch", bracketed(&dns.search)),
        ("DNSOptions", bracketed(&dns.options)),
    ];
    for (label, value) in fields {
        columns.field_if_any(&format!("{indent}{label}"), value);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_surrounds_a_program_is_shown_where_it_is_not_the_usual() {
        let shown = |container: &wire::ContainerSpec| {
            let mut columns = Columns::labelled();
            container_fields(&mut columns, "", container);
            columns.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let mut container = wire::ContainerSpec { image: "x".into(), ..Default::default() };
        assert_eq!(shown(&container), "Image : x");
        container.hostname = "h".into();
        container.read_only = true;
        container.init = Some(false);
        container.capability_drop = vec!["ALL".into()];
        container.privileges = Some(wire::Privileges { no_new_privileges: true, ..Default::default() });
        container.sysctls = [("kernel.msgmax".to_owned(), "1".to_owned())].into_iter().collect();
        container.ulimits = vec![wire::container_spec::Ulimit { name: "core".into(), soft: 0, hard: -1 }];
        container.oom_score_adj = -5;
        container.hosts = vec!["10.0.0.1 db".into()];
        let expected = "Image : x Hostname : h ReadOnly : yes Init : no CapDrop : [ALL] NoNewPrivileges : yes \
                        Sysctls : [kernel.msgmax=1] Ulimits : [core=0:-1] OomScoreAdj : -5 Hosts : [10.0.0.1 db]";
        assert_eq!(shown(&container), expected);
    }
}

//! One service of a Compose file.

use std::collections::BTreeMap;

use swarmkit_api::wire::{self, port_config::PublishMode};
use swarmkit_executor::PROCESS_IMAGE;

use super::{
    depends::{self, Link},
    deploy::{self, parse_count, take_duration},
    model::{FileRef, Service},
    ports,
    reader::{Fields, Reader},
    shell::split_words,
    tree::{At, Entry, Node, Value},
};
use crate::units::to_wire_duration;

/// Keys of a service that the format has and that are not carried out yet.
const UNSUPPORTED: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "driver_opts",
    "env_file",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "init",
    "ipc",
    "isolation",
    "label_file",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "post_start",
    "pre_stop",
    "privileged",
    "profiles",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "security_opt",
    "shm_size",
    "stdin_open",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
];

/// Permissions of a config's or secret's file, as upstream.
const FILE_MODE: u32 = 0o444;

/// A service, and what it depends on.
pub(super) fn read(reader: &mut Reader<'_>, entry: Entry) -> (Service, Vec<Link>) {
    let path = format!("services.{}", entry.key);
    if let Err(fault) = check_name(&entry.key) {
        reader.error(entry.at, format!("{:?} cannot be the name of a service: {fault}", entry.key));
    }
    let mut fields = reader.fields(entry.node, &path);
    let deploy = match fields.take("deploy") {
        Some((node, path)) => deploy::read(reader, node, &path),
        None => deploy::read(reader, Node { at: entry.at, value: Value::Null }, &path),
    };
    let hostname_at = fields.place_of("hostname");
    let mut container = read_container(reader, &mut fields);
    container.pids_limit = deploy.pids_limit;
    let is_process = container.image.is_empty();
    // A process listens on the machine's own ports, whatever the cluster does.
    let mode = if is_process { PublishMode::Host } else { PublishMode::Ingress };
    let ports = fields.take("ports").map(|(node, path)| ports::read(reader, node, &path, mode)).unwrap_or_default();
    let configs = fields.take("configs").map(|(node, path)| read_refs(reader, node, &path, "/"));
    let secrets = fields.take("secrets").map(|(node, path)| read_refs(reader, node, &path, ""));
    let links = fields.take("depends_on").map(|(node, path)| depends::read(reader, node, &path));
    reader.finish(fields, UNSUPPORTED);
    if is_process {
        if let Some(at) = hostname_at {
            reader.error(at, format!("{path}.hostname has no meaning for a process, and {path} has no image"));
        }
        if container.command.is_empty() && container.args.is_empty() {
            reader.error(entry.at, format!("{path} has neither an image nor a command"));
        }
        PROCESS_IMAGE.clone_into(&mut container.image);
    }

    let mode = deploy.endpoint_mode.unwrap_or_default();
    let endpoint =
        (deploy.endpoint_mode.is_some() || !ports.is_empty()).then(|| wire::EndpointSpec { mode: mode.into(), ports });
    let task = wire::TaskSpec {
        runtime: Some(wire::task_spec::Runtime::Container(container)),
        resources: deploy.resources,
        restart: deploy.restart,
        placement: deploy.placement,
        ..wire::TaskSpec::default()
    };
    let spec = wire::ServiceSpec {
        annotations: Some(wire::Annotations {
            name: entry.key.clone(),
            labels: deploy.labels,
            ..wire::Annotations::default()
        }),
        task: Some(task),
        mode: deploy.mode,
        update: deploy.update,
        rollback: deploy.rollback,
        endpoint,
        ..wire::ServiceSpec::default()
    };
    let service = Service {
        name: entry.key,
        at: entry.at,
        spec,
        configs: configs.unwrap_or_default(),
        secrets: secrets.unwrap_or_default(),
    };
    (service, links.unwrap_or_default())
}

fn read_container(reader: &mut Reader<'_>, fields: &mut Fields) -> wire::ContainerSpec {
    let command = fields.take("entrypoint").map(|(node, path)| read_command(reader, node, &path));
    let args = fields.take("command").map(|(node, path)| read_command(reader, node, &path));
    let environment = fields.take("environment").map(|(node, path)| read_environment(reader, node, &path));
    let labels = fields.take("labels").map(|(node, path)| string_map(reader, node, &path));
    let grace = take_duration(reader, fields, "stop_grace_period");
    let healthcheck = fields.take("healthcheck").and_then(|(node, path)| read_healthcheck(reader, node, &path));
    let mut text = |key| fields.take(key).and_then(|(node, path)| reader.text(&node, &path)).unwrap_or_default();
    wire::ContainerSpec {
        image: text("image"),
        hostname: text("hostname"),
        dir: text("working_dir"),
        user: text("user"),
        stop_signal: text("stop_signal"),
        command: command.unwrap_or_default(),
        args: args.unwrap_or_default(),
        env: environment.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        stop_grace_period: grace.map(to_wire_duration),
        healthcheck,
        ..wire::ContainerSpec::default()
    }
}

/// The rule that the control API applies.
fn check_name(name: &str) -> Result<(), String> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let bytes = name.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    if name.len() > 63 {
        return Err("it is longer than 63 characters".to_owned());
    }
    if !ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        || !name.bytes().all(inner)
    {
        return Err("use letters, digits, and - or _ between them".to_owned());
    }
    Ok(())
}

/// A list of words, or one string that is split into words.
fn read_command(reader: &mut Reader<'_>, node: Node, path: &str) -> Vec<String> {
    match node.value {
        Value::Scalar(_) => reader.value(&node, path, split_words).unwrap_or_default(),
        _ => read_strings(reader, node, path),
    }
}

fn read_strings(reader: &mut Reader<'_>, node: Node, path: &str) -> Vec<String> {
    let items = reader.list(node, path).into_iter().enumerate();
    items.filter_map(|(index, item)| reader.text(&item, &format!("{path}[{index}]"))).collect()
}

/// `NAME=value` of a mapping or a list; a name without a value is taken from the environment, or left out.
fn read_environment(reader: &mut Reader<'_>, node: Node, path: &str) -> Vec<String> {
    let mut variables = Vec::new();
    for (name, value, at) in pairs(reader, node, path) {
        if name.is_empty() {
            reader.error(at, format!("a variable in {path} has no name"));
        } else if let Some(value) = value.or_else(|| reader.variable(&name)) {
            variables.push(format!("{name}={value}"));
        }
    }
    variables
}

/// A mapping of strings, or a list of `key=value`.
pub(super) fn string_map(reader: &mut Reader<'_>, node: Node, path: &str) -> BTreeMap<String, String> {
    pairs(reader, node, path).into_iter().map(|(key, value, _)| (key, value.unwrap_or_default())).collect()
}

fn pairs(reader: &mut Reader<'_>, node: Node, path: &str) -> Vec<(String, Option<String>, At)> {
    match node.value {
        Value::List(items) => items
            .into_iter()
            .enumerate()
            .filter_map(|(index, item)| {
                let text = reader.text(&item, &format!("{path}[{index}]"))?;
                Some(match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned()), item.at),
                    None => (text, None, item.at),
                })
            })
            .collect(),
        Value::Map(entries) => entries
            .into_iter()
            .map(|entry| {
                let value = reader.text(&entry.node, &format!("{path}.{}", entry.key));
                (entry.key, value, entry.at)
            })
            .collect(),
        Value::Null => Vec::new(),
        value @ Value::Scalar(_) => {
            reader.wrong_kind(node.at, path, "a mapping or a list", &value);
            Vec::new()
        }
    }
}

fn read_healthcheck(reader: &mut Reader<'_>, node: Node, path: &str) -> Option<wire::HealthConfig> {
    let mut fields = reader.fields(node, path);
    let test = fields.take("test").map(|(node, path)| match node.value {
        Value::Scalar(_) => {
            reader.text(&node, &path).map(|text| vec!["CMD-SHELL".to_owned(), text]).unwrap_or_default()
        }
        _ => read_strings(reader, node, &path),
    });
    let disable =
        fields.take("disable").and_then(|(node, path)| reader.word(&node, &path, &[("true", true), ("false", false)]));
    let retries = fields.take("retries").and_then(|(node, path)| reader.value(&node, &path, parse_count));
    let mut duration = |key| take_duration(reader, &mut fields, key).map(to_wire_duration);
    let health = wire::HealthConfig {
        test: if disable == Some(true) { vec!["NONE".to_owned()] } else { test.unwrap_or_default() },
        interval: duration("interval"),
        timeout: duration("timeout"),
        start_period: duration("start_period"),
        start_interval: duration("start_interval"),
        retries: i32::try_from(retries.unwrap_or_default()).unwrap_or(i32::MAX),
    };
    reader.finish(fields, &[]);
    Some(health)
}

/// References to configs or secrets: their names, or mappings.
fn read_refs(reader: &mut Reader<'_>, node: Node, path: &str, target_prefix: &str) -> Vec<FileRef> {
    let mut refs = Vec::new();
    for (index, item) in reader.list(node, path).into_iter().enumerate() {
        let path = format!("{path}[{index}]");
        let at = item.at;
        let default_target = |source: &str| wire::FileTarget {
            name: format!("{target_prefix}{source}"),
            mode: FILE_MODE,
            ..wire::FileTarget::default()
        };
        if !matches!(item.value, Value::Map(_)) {
            let source = reader.text(&item, &path);
            refs.extend(source.map(|source| FileRef { target: default_target(&source), source, at }));
            continue;
        }
        let mut fields = reader.fields(item, &path);
        let mode = fields.take("mode").and_then(|(node, path)| reader.value(&node, &path, parse_mode));
        let mut text = |key| fields.take(key).and_then(|(node, path)| reader.text(&node, &path));
        let (source, target, uid, gid) = (text("source"), text("target"), text("uid"), text("gid"));
        reader.finish(fields, &[]);
        let Some(source) = source else {
            reader.error(at, format!("{path} must have a source"));
            continue;
        };
        let mut file = default_target(&source);
        file.name = target.unwrap_or(file.name);
        file.uid = uid.unwrap_or_default();
        file.gid = gid.unwrap_or_default();
        file.mode = mode.unwrap_or(file.mode);
        refs.push(FileRef { source, at, target: file });
    }
    refs
}

/// Permission bits: octal with a leading zero, as in C and YAML 1.1, or with `0o`; decimal otherwise.
fn parse_mode(text: &str) -> Result<u32, String> {
    let octal = text.strip_prefix("0o").or_else(|| text.strip_prefix('0')).filter(|digits| !digits.is_empty());
    let mode = match octal {
        Some(digits) => u32::from_str_radix(digits, 8),
        None => text.parse(),
    };
    mode.ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| "expected permissions such as 0440".to_owned())
}

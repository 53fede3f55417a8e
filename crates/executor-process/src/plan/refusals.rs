//! What a specification may ask for that a plain process cannot have. Each is refused by its name, none is dropped.

use swarmkit_api::{
    Task,
    wire::{self, container_spec::Isolation, port_config::PublishMode},
};
use swarmkit_executor::{ExecError, Workload};

/// Refuses a task that asks for what a process cannot have.
pub(super) fn check(task: &Task, spec: &wire::ContainerSpec) -> Result<(), ExecError> {
    if Workload::of(&task.spec) != Some(Workload::Process) {
        return Err(ExecError::rejected(format!("this node runs processes, not the image {:?}", spec.image)));
    }
    let asked = asked_in_vain(task, spec);
    if !asked.is_empty() {
        return Err(ExecError::rejected(format!("a process cannot have: {}", asked.join(", "))));
    }
    let texts = spec.command.iter().chain(&spec.args).chain(&spec.env).chain([&spec.dir]);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(ExecError::rejected("the command, environment or directory holds a zero byte"));
    }
    if spec.env.iter().any(|entry| entry.is_empty() || entry.starts_with('=')) {
        return Err(ExecError::rejected("an environment entry has no name"));
    }
    if !spec.dir.is_empty() && !spec.dir.starts_with('/') {
        return Err(ExecError::rejected(format!("the directory {:?} is not absolute", spec.dir)));
    }
    if !(-1000..=1000).contains(&spec.oom_score_adj) {
        return Err(ExecError::rejected("the OOM score adjustment is not between -1000 and 1000"));
    }
    Ok(())
}

/// The fields that are set and mean nothing for a process.
fn asked_in_vain(task: &Task, spec: &wire::ContainerSpec) -> Vec<&'static str> {
    let ports = task.endpoint.as_ref().map(|endpoint| endpoint.ports.as_slice()).unwrap_or_default();
    let moves = |port: &wire::PortConfig| {
        let published = port.published_port;
        port.publish_mode() == PublishMode::Host && published != 0 && published != port.target_port
    };
    let swap = task
        .spec
        .resources
        .as_ref()
        .is_some_and(|resources| resources.swap_bytes.is_some() || resources.memory_swappiness.is_some());
    let fields = [
        ("hostname", !spec.hostname.is_empty()),
        ("tty", spec.tty),
        ("open stdin", spec.open_stdin),
        ("read-only root", spec.read_only),
        ("mounts", !spec.mounts.is_empty()),
        ("hosts", !spec.hosts.is_empty()),
        (
            "DNS configuration",
            spec.dns_config.as_ref().is_some_and(|dns| *dns != wire::container_spec::DnsConfig::default()),
        ),
        ("sysctls", !spec.sysctls.is_empty()),
        ("capabilities", !spec.capability_add.is_empty() || !spec.capability_drop.is_empty()),
        ("privileges", spec.privileges.as_ref().is_some_and(|privileges| *privileges != wire::Privileges::default())),
        ("isolation", !matches!(spec.isolation(), Isolation::Default | Isolation::Process)),
        ("networks", !task.networks.is_empty()),
        ("ports in ingress mode (use host mode)", ports.iter().any(|port| port.publish_mode() == PublishMode::Ingress)),
        ("host ports other than the ports that it listens on", ports.iter().any(moves)),
        ("swap limits", swap),
        ("cluster volumes", !task.volumes.is_empty()),
    ];
    fields.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect()
}

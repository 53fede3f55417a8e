//! What a specification may ask for that a plain process cannot have. Each is refused by its name, none is dropped.

use swarmkit_api::{
    Task,
    wire::{self, container_spec::Isolation, port_config::PublishMode, privileges::seccomp_opts::SeccompMode},
};
use swarmkit_executor::{ExecError, Workload};

use super::Offer;
use crate::isolation::{self, IsolationMode};

/// Refuses a task that asks for what a process cannot have. Tells whether it has to be isolated.
pub(super) fn check(task: &Task, spec: &wire::ContainerSpec, offer: &Offer<'_>) -> Result<bool, ExecError> {
    if !matches!(Workload::of(&task.spec), Some(Workload::Process | Workload::ProcessImage)) {
        return Err(ExecError::rejected(format!("this node runs processes, not the image {:?}", spec.image)));
    }
    let asked = asked_in_vain(task, spec);
    if !asked.is_empty() {
        return Err(ExecError::rejected(format!("a process cannot have: {}", asked.join(", "))));
    }
    let mut needs = isolation::needs(task, spec);
    if offer.image.is_some() {
        needs.push("an image");
    }
    let is_isolated = offer.mode == IsolationMode::Always || !needs.is_empty();
    if is_isolated {
        let cannot = match (offer.mode, offer.isolation) {
            (IsolationMode::Never, _) => Some("isolation is switched off on this node"),
            (_, Err(reason)) => Some(reason.as_str()),
            (_, Ok(())) => None,
        };
        let what = if needs.is_empty() { "isolation, which this node demands".to_owned() } else { needs.join(", ") };
        if let Some(reason) = cannot {
            return Err(ExecError::rejected(format!("a process cannot have here: {what} ({reason})")));
        }
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
    Ok(is_isolated)
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
    let privileges = spec.privileges.clone().unwrap_or_default();
    let fields = [
        ("tty", spec.tty),
        ("open stdin", spec.open_stdin),
        ("a credential specification", privileges.credential_spec.is_some()),
        ("an SELinux label", privileges.selinux_context.is_some_and(|label| !label.disable)),
        ("a seccomp profile", privileges.seccomp.is_some_and(|filter| filter.mode() == SeccompMode::Custom)),
        ("isolation", !matches!(spec.isolation(), Isolation::Default | Isolation::Process)),
        ("networks", !task.networks.is_empty()),
        ("ports in ingress mode (use host mode)", ports.iter().any(|port| port.publish_mode() == PublishMode::Ingress)),
        ("host ports other than the ports that it listens on", ports.iter().any(moves)),
        ("swap limits", swap),
    ];
    fields.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect()
}

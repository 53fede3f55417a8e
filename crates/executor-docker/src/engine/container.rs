//! A container as the engine tells of it.

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status, HealthStatusEnum, NetworkSettings,
};
use swarmkit_api::wire::{
    PortConfig,
    port_config::{Protocol, PublishMode},
};

use crate::labels;

/// What is known of one container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Container {
    /// The engine's id of it.
    pub(crate) id: String,
    /// The task that it belongs to; empty if it is none of ours.
    pub(crate) task: String,
    pub(crate) stage: Stage,
    /// `None` where nothing says how to tell.
    pub(crate) wellness: Option<Wellness>,
    /// The ports of the machine that lead to it.
    pub(crate) ports: Vec<PortConfig>,
    /// The names of the networks that it is in.
    pub(crate) networks: Vec<String>,
}

/// How far a container has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was never started, or could not be.
    Created,
    Running {
        pid: i32,
    },
    Ended {
        code: i32,
        /// What the engine knows beyond the code.
        reason: Option<String>,
    },
}

/// What the health checks say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wellness {
    NotYet,
    Well,
    /// With what the last check wrote.
    Unwell(String),
}

/// How much of what a health check wrote is passed on, in characters.
const CHECK_OUTPUT: usize = 200;

impl Container {
    /// Reads the engine's answer.
    pub(crate) fn read(answer: ContainerInspectResponse) -> Self {
        let state = answer.state.unwrap_or_default();
        let mut labels = answer.config.and_then(|config| config.labels).unwrap_or_default();
        Self {
            id: answer.id.unwrap_or_default(),
            task: labels.remove(labels::TASK_ID).unwrap_or_default(),
            wellness: wellness(&state),
            stage: Stage::read(state),
            networks: networks(answer.network_settings.as_ref()),
            ports: answer.network_settings.map(ports).unwrap_or_default(),
        }
    }
}

impl Stage {
    fn read(state: ContainerState) -> Self {
        match state.status {
            Some(Status::CREATED) => Self::Created,
            Some(Status::EXITED | Status::DEAD | Status::REMOVING) => Self::ended(state),
            Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING) => Self::running(&state),
            // An engine that is not Docker's, or a newer one.
            _ if state.running == Some(true) => Self::running(&state),
            _ if state.pid.is_none() && state.finished_at.is_none() => Self::Created,
            _ => Self::ended(state),
        }
    }

    fn running(state: &ContainerState) -> Self {
        Self::Running { pid: state.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default() }
    }

    fn ended(state: ContainerState) -> Self {
        let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1);
        let said = state.error.filter(|error| !error.is_empty());
        let killed = (state.oom_killed == Some(true)).then(|| "out of memory".to_owned());
        Self::Ended { code, reason: said.or(killed) }
    }
}

fn wellness(state: &ContainerState) -> Option<Wellness> {
    let health = state.health.as_ref()?;
    match health.status? {
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
        HealthStatusEnum::STARTING => Some(Wellness::NotYet),
        HealthStatusEnum::HEALTHY => Some(Wellness::Well),
        HealthStatusEnum::UNHEALTHY => {
            let last = health.log.iter().flatten().next_back().and_then(|check| check.output.as_deref());
            Some(Wellness::Unwell(last.unwrap_or_default().trim().chars().take(CHECK_OUTPUT).collect()))
        }
    }
}

fn networks(settings: Option<&NetworkSettings>) -> Vec<String> {
    settings.and_then(|settings| settings.networks.as_ref()).into_iter().flat_map(|all| all.keys().cloned()).collect()
}

/// The ports of the machine. Those for IPv4 and IPv6 are one to us.
fn ports(network: NetworkSettings) -> Vec<PortConfig> {
    let mut ports = Vec::new();
    for (target, bindings) in network.ports.unwrap_or_default() {
        let Some((number, protocol)) = target.split_once('/') else { continue };
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => continue,
        };
        let Ok(target_port) = number.parse() else { continue };
        let published = bindings.into_iter().flatten().filter_map(|binding| binding.host_port?.parse().ok());
        ports.extend(published.map(|published_port| PortConfig {
            protocol: protocol.into(),
            target_port,
            published_port,
            publish_mode: PublishMode::Host.into(),
            ..Default::default()
        }));
    }
    ports.sort_by_key(|port| (port.target_port, port.protocol, port.published_port));
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reads an answer with that state.
    fn state(state: serde_json::Value) -> Container {
        Container::read(serde_json::from_value(json!({ "Id": "c1", "State": state })).unwrap())
    }

    #[test]
    fn a_container_is_what_its_status_says() {
        assert_eq!(state(json!({"Status": "created", "ExitCode": 127, "Error": "no such file"})).stage, Stage::Created);
        assert_eq!(state(json!({"Status": "running", "Pid": 42})).stage, Stage::Running { pid: 42 });
        assert_eq!(state(json!({"Status": "paused", "Pid": 42})).stage, Stage::Running { pid: 42 });
        let ended = |code, reason: Option<&str>| Stage::Ended { code, reason: reason.map(Into::into) };
        assert_eq!(state(json!({"Status": "exited", "ExitCode": 3, "Error": ""})).stage, ended(3, None));
        let killed = json!({"Status": "exited", "ExitCode": 137, "OOMKilled": true});
        assert_eq!(state(killed).stage, ended(137, Some("out of memory")));
        assert_eq!(state(json!({"Status": "dead", "ExitCode": 1, "Error": "x"})).stage, ended(1, Some("x")));
    }

    #[test]
    fn health_counts_only_where_it_is_checked() {
        let health = |health| state(json!({"Status": "running", "Pid": 1, "Health": health})).wellness;
        assert_eq!(state(json!({"Status": "running", "Pid": 1})).wellness, None);
        assert_eq!(health(json!({"Status": "none"})), None);
        assert_eq!(health(json!({"Status": "starting"})), Some(Wellness::NotYet));
        assert_eq!(health(json!({"Status": "healthy"})), Some(Wellness::Well));
        let log = json!([{"Output": "fine\n", "ExitCode": 0}, {"Output": "refused\n", "ExitCode": 1}]);
        let unwell = health(json!({"Status": "unhealthy", "Log": log}));
        assert_eq!(unwell, Some(Wellness::Unwell("refused".into())));
    }

    #[test]
    fn a_port_is_told_once_however_many_addresses_it_has() {
        let both = json!([{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]);
        let ports = json!({"80/tcp": both, "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "5353"}], "81/tcp": null});
        let answer = json!({ "Id": "c1", "NetworkSettings": { "Ports": ports } });
        let ports = Container::read(serde_json::from_value(answer).unwrap()).ports;
        let told: Vec<_> = ports.iter().map(|port| (port.target_port, port.published_port, port.protocol())).collect();
        assert_eq!(told, [(53, 5353, Protocol::Udp), (80, 8080, Protocol::Tcp)]);
    }

    #[test]
    fn a_container_of_somebody_else_has_no_task() {
        let of = |labels| Container::read(serde_json::from_value(json!({ "Config": { "Labels": labels } })).unwrap());
        assert_eq!(of(json!({})).task, "");
        assert_eq!(of(json!({ "com.docker.swarm.task.id": "t1" })).task, "t1");
    }
}

//! From a task to what the engine is asked to create. Pure: what cannot be expressed is refused by its name.

mod attachments;
mod limits;
mod mounts;
mod networks;
mod privileges;
mod refusals;

use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigIsolationEnum, HostConfigLogConfig,
    RestartPolicy, RestartPolicyNameEnum,
};
use swarmkit_api::{
    Task, resources,
    wire::{self, ContainerSpec, container_spec::Isolation},
};
use swarmkit_executor::{Dependencies, DeviceFile, ExecError, Workload, container_spec, stop_grace};

pub(crate) use self::attachments::{LocalNetwork, OVERLAY};
use self::{attachments::Attachments, refusals::Refusals};
use crate::{
    engine::{Api, OLDEST, Pull},
    files::TaskFile,
    labels::{container_name, labels},
    pull::with_tag,
};

/// What a request depends on beside the task.
#[derive(Clone, Copy)]
pub(crate) struct Offer<'a> {
    /// What the engine understands. An older one would ignore what it does not know, silently.
    pub(crate) api: Api,
    /// The name of this executor.
    pub(crate) owner: &'a str,
    /// The secrets and configs, which are files of the node by the time that the container starts.
    pub(crate) files: &'a [TaskFile],
    /// The files of the devices that the task was given.
    pub(crate) devices: &'a [DeviceFile],
    /// Where cluster volumes are, and what credential specifications say.
    pub(crate) dependencies: &'a dyn Dependencies,
}

/// What the engine is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// The name of the container.
    pub(crate) name: String,
    /// The image to see to first.
    pub(crate) pull: Pull,
    /// On the heap, since it is large and passes through many hands.
    pub(crate) body: Box<ContainerCreateBody>,
    /// The networks that have to be there, and that the container is put into.
    pub(crate) networks: Vec<LocalNetwork>,
}

impl Request {
    /// Decides what to ask for.
    ///
    /// # Errors
    ///
    /// [`ExecError::Rejected`] for what this engine cannot run; what [`Dependencies`] say of what is missing.
    pub(crate) fn new(task: &Task, offer: &Offer<'_>) -> Result<Self, ExecError> {
        let spec = container_of(task)?;
        let mut refused = Refusals::new(offer.api);
        let attachments = attachments::attachments(task, offer.owner, &mut refused);
        let body = Box::new(body(task, spec, &attachments, offer, &mut refused)?);
        refused.finish()?;
        let pull = Pull {
            image: with_tag(&spec.image),
            platform: platform(&task.spec),
            auth: spec.pull_options.as_ref().map(|pull| pull.registry_auth.clone()).unwrap_or_default(),
        };
        Ok(Self { name: container_name(task), pull, body, networks: attachments.local })
    }
}

/// The networks that the container of a task has to be put into.
pub(crate) fn networks_of(task: &Task, owner: &str) -> Vec<LocalNetwork> {
    // What is refused was refused when the container was made.
    attachments::attachments(task, owner, &mut Refusals::new(OLDEST)).local
}

/// The container specification of a task that is a container.
pub(crate) fn container_of(task: &Task) -> Result<&ContainerSpec, ExecError> {
    let spec = container_spec(&task.spec).ok_or_else(|| ExecError::rejected("unsupported runtime"))?;
    match Workload::of(&task.spec) {
        _ if spec.image.is_empty() => Err(ExecError::rejected("image required")),
        Some(Workload::Container) => Ok(spec),
        Some(Workload::Process | Workload::ProcessImage) | None => {
            Err(ExecError::rejected(format!("this node runs containers, not the process {:?}", spec.image)))
        }
    }
}

fn body(
    task: &Task,
    spec: &ContainerSpec,
    attachments: &Attachments,
    offer: &Offer<'_>,
    refused: &mut Refusals,
) -> Result<ContainerCreateBody, ExecError> {
    // With a command the image's own is replaced whole; without one the arguments replace its arguments.
    let (entrypoint, cmd) = (list(&spec.command), list(&spec.args));
    let ports = networks::ports(task, refused);
    Ok(ContainerCreateBody {
        image: Some(with_tag(&spec.image)),
        hostname: text(&spec.hostname),
        user: text(&spec.user),
        env: list(&env(task, spec)),
        entrypoint,
        cmd,
        working_dir: text(&spec.dir),
        tty: flag(spec.tty),
        open_stdin: flag(spec.open_stdin),
        stop_signal: text(&spec.stop_signal),
        // For whoever stops the container by hand.
        stop_timeout: i64::try_from(stop_grace(&task.spec).as_secs()).ok(),
        healthcheck: spec.healthcheck.as_ref().map(|check| health(check, refused)),
        labels: Some(labels(task, spec, offer.owner).into_iter().chain(attachments.labels()).collect()),
        networking_config: attachments.first(),
        exposed_ports: ports.exposed,
        host_config: Some(HostConfig {
            port_bindings: ports.bindings,
            network_mode: attachments.mode.clone(),
            ..host(task, spec, offer, refused)?
        }),
        ..Default::default()
    })
}

fn host(task: &Task, spec: &ContainerSpec, offer: &Offer<'_>, refused: &mut Refusals) -> Result<HostConfig, ExecError> {
    let mounts = mounts::mounts(task, spec, offer, refused)?;
    let security = privileges::options(spec, offer.dependencies, refused)?;
    let dns = spec.dns_config.clone().unwrap_or_default();
    let limited = limits::limits(task, spec, refused);
    Ok(HostConfig {
        mounts: some(mounts.list),
        tmpfs: (!mounts.tmpfs.is_empty()).then(|| mounts.tmpfs.into_iter().collect()),
        security_opt: some(security),
        readonly_rootfs: flag(spec.read_only),
        init: spec.init,
        isolation: isolation(spec.isolation()),
        devices: some(offer.devices.iter().map(device).collect()),
        group_add: list(&spec.groups),
        cap_add: list(&spec.capability_add),
        cap_drop: list(&spec.capability_drop),
        sysctls: (!spec.sysctls.is_empty()).then(|| spec.sysctls.clone().into_iter().collect()),
        dns: list(&dns.nameservers),
        dns_search: list(&dns.search),
        dns_options: list(&dns.options),
        extra_hosts: some(networks::hosts(spec, refused)),
        log_config: log_driver(task),
        // Starting anew is the swarm's business: a task is started once in its life.
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        ..limited
    })
}

/// The environment: what was given to the task, then what it asks for.
fn env(task: &Task, spec: &ContainerSpec) -> Vec<String> {
    let given = resources::environment(&task.assigned_generic_resources);
    let given = given.into_iter().map(|(name, values)| format!("{name}={values}"));
    given.chain(spec.env.iter().cloned()).collect()
}

/// A device file, at the same place for the task. The engine lets it do no more than this with it.
fn device(file: &DeviceFile) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(file.path.clone()),
        path_in_container: Some(file.path.clone()),
        cgroup_permissions: Some(file.permissions()),
    }
}

fn health(check: &wire::HealthConfig, refused: &mut Refusals) -> HealthConfig {
    let start_interval = nanoseconds(check.start_interval.as_ref(), "health check start interval", refused);
    refused.older_than(Api(1, 44), "health check start interval", start_interval.is_some());
    HealthConfig {
        test: list(&check.test),
        interval: nanoseconds(check.interval.as_ref(), "health check interval", refused),
        timeout: nanoseconds(check.timeout.as_ref(), "health check timeout", refused),
        retries: number(check.retries.into()),
        start_period: nanoseconds(check.start_period.as_ref(), "health check start period", refused),
        start_interval,
    }
}

/// A time for the engine. None is as the image has it.
fn nanoseconds(time: Option<&prost_types::Duration>, name: &'static str, refused: &mut Refusals) -> Option<i64> {
    let nanoseconds = Duration::try_from(*time?).ok().and_then(|time| i64::try_from(time.as_nanos()).ok());
    refused.unless(nanoseconds.is_some(), name);
    nanoseconds.and_then(number)
}

fn isolation(isolation: Isolation) -> Option<HostConfigIsolationEnum> {
    match isolation {
        Isolation::Default => None,
        Isolation::Process => Some(HostConfigIsolationEnum::PROCESS),
        Isolation::Hyperv => Some(HostConfigIsolationEnum::HYPERV),
    }
}

/// Where logs go: the driver that the managers chose for the task, which is the specification's or the cluster's.
fn log_driver(task: &Task) -> Option<HostConfigLogConfig> {
    let driver = task.log_driver.as_ref().or(task.spec.log_driver.as_ref())?;
    Some(HostConfigLogConfig {
        typ: text(&driver.name),
        config: (!driver.options.is_empty()).then(|| driver.options.clone().into_iter().collect()),
    })
}

/// The platform to run for, where the specification leaves no choice. Which of several it is, the node itself decides.
fn platform(spec: &wire::TaskSpec) -> String {
    match spec.placement.as_ref().map(|placement| placement.platforms.as_slice()) {
        Some([wire::Platform { os, architecture }]) if !os.is_empty() && !architecture.is_empty() => {
            format!("{os}/{architecture}")
        }
        _ => String::new(),
    }
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn list(list: &[String]) -> Option<Vec<String>> {
    some(list.to_vec())
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn flag(set: bool) -> Option<bool> {
    set.then_some(true)
}

fn number(number: i64) -> Option<i64> {
    (number != 0).then_some(number)
}

#[cfg(test)]
mod tests;

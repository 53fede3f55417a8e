//! The flags that describe a service, and what each does to its specification.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use swarmkit_api::wire::{
    self,
    port_config::{Protocol, PublishMode},
    restart_policy::RestartCondition,
    service_spec,
};
use swarmkit_executor::PROCESS_IMAGE;

use super::{
    CtlError, container_flags::ContainerFlags, depend_flags::DependFlags, endpoint_flags::EndpointFlags,
    generic_flags::GenericFlags, job_flags::JobFlags, mount_flags::MountFlags, placement_flags::PlacementFlags,
    priority_flags::PriorityFlags, rebalance_flags::ServiceRebalance, rollout_flags::RolloutFlags,
};
use crate::units::{parse_duration, parse_memory, parse_processors, split_csv, to_wire_duration};

/// The policy of a service that does not say otherwise, as upstream. Nothing at all would be read as never.
pub(super) const RESTART_DEFAULT: wire::RestartPolicy = wire::RestartPolicy {
    condition: RestartCondition::Any as i32,
    delay: None,
    max_attempts: 0,
    window: None,
    max_delay: None,
    stable_after: None,
};

/// One argument of a flag that takes several values: they are separated by commas, and quoted as in CSV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Csv(pub(super) Vec<String>);

impl FromStr for Csv {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        split_csv(text).map(Self)
    }
}

/// The flags that `create` and `update` share. What is not given is left as it is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ServiceFlags {
    /// Label of the service, as key=value; replaces all labels (repeat, or separate with commas)
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Csv>,

    /// How many tasks to run; of a replicated job, how many have to complete
    #[arg(long, value_name = "N")]
    replicas: Option<u64>,

    /// How many tasks one node may run at most; 0 is no limit
    #[arg(long, value_name = "N")]
    replicas_max_per_node: Option<u64>,

    /// Image to run; without one the command is run as a process of the node
    #[arg(long)]
    image: Option<String>,

    /// Host name that tasks see
    #[arg(long)]
    hostname: Option<String>,

    /// What to run in place of the image's entry point (repeat, or separate with commas)
    #[arg(long, value_name = "WORD")]
    command: Vec<Csv>,

    /// Arguments (repeat, or separate with commas)
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    args: Vec<Csv>,

    /// Environment variable, as NAME=value; replaces all (repeat, or separate with commas)
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<Csv>,

    /// Working directory
    #[arg(long, value_name = "PATH")]
    dir: Option<String>,

    /// User to run as, as name or uid, with :group or :gid
    #[arg(long)]
    user: Option<String>,

    /// How long a task may take to stop before it is killed [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    stop_grace_period: Option<Duration>,

    /// Port to publish on the node, as name:target[/protocol][:published[/protocol]]; replaces all
    #[arg(long, value_name = "PORT")]
    ports: Vec<Csv>,

    #[command(flatten)]
    endpoint: EndpointFlags,

    /// Processors to keep free for each task, such as 0.5
    #[arg(long, value_name = "N", value_parser = parse_processors)]
    cpu_reservation: Option<i64>,

    /// Processors that each task may use
    #[arg(long, value_name = "N", value_parser = parse_processors)]
    cpu_limit: Option<i64>,

    /// Memory to keep free for each task, such as 512m
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    memory_reservation: Option<i64>,

    /// Memory that each task may use
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    memory_limit: Option<i64>,

    #[command(flatten)]
    generic: GenericFlags,

    #[command(flatten)]
    rollout: RolloutFlags,

    /// Where tasks may run, such as node.labels.zone==a; replaces all (repeat, or separate with commas)
    #[arg(long, value_name = "EXPRESSION")]
    constraint: Vec<Csv>,

    #[command(flatten)]
    placement: PlacementFlags,

    #[command(flatten)]
    depends: DependFlags,

    #[command(flatten)]
    job: JobFlags,

    #[command(flatten)]
    rebalance: ServiceRebalance,

    #[command(flatten)]
    priority: PriorityFlags,

    #[command(flatten)]
    mount: MountFlags,

    #[command(flatten)]
    container: ContainerFlags,

    /// The whole command line, after --
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["command", "args"])]
    line: Vec<String>,
}

/// Which tasks a new service has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// A number of tasks that run on
    #[default]
    Replicated,
    /// One task on every node
    Global,
    /// A number of tasks that have to complete
    ReplicatedJob,
    /// One task on every node that has to complete
    GlobalJob,
}

impl Mode {
    /// The mode with one replica, where it has a number.
    pub(super) fn to_wire(self) -> service_spec::Mode {
        match self {
            Self::Replicated => service_spec::Mode::Replicated(wire::ReplicatedService { replicas: 1 }),
            Self::Global => service_spec::Mode::Global(wire::GlobalService {}),
            Self::ReplicatedJob => {
                let job = wire::ReplicatedJob { max_concurrent: 1, total_completions: 1 };
                service_spec::Mode::ReplicatedJob(job)
            }
            Self::GlobalJob => service_spec::Mode::GlobalJob(wire::GlobalJob {}),
        }
    }
}

impl ServiceFlags {
    /// Puts what was given into a specification that has a mode and a container.
    pub(super) fn apply(&self, spec: &mut wire::ServiceSpec) -> Result<(), CtlError> {
        if !self.label.is_empty() {
            spec.annotations.get_or_insert_default().labels = labels(&self.label)?;
        }
        if let Some(replicas) = self.replicas {
            set_replicas(spec, replicas).map_err(CtlError::Usage)?;
        }
        self.job.apply(spec)?;
        if !self.ports.is_empty() {
            let ports = values(&self.ports).map(parse_port).collect::<Result<_, _>>().map_err(CtlError::Usage)?;
            spec.endpoint.get_or_insert_with(wire::EndpointSpec::default).ports = ports;
        }
        self.placement.apply(spec)?;
        self.endpoint.apply(spec)?;
        self.depends.apply(spec)?;
        self.rollout.apply(spec);
        self.rebalance.apply(&mut spec.rebalance);
        self.priority.apply(&mut spec.scheduling);
        let task = spec.task.get_or_insert_default();
        self.apply_resources(task);
        self.generic.apply(task)?;
        self.apply_placement(task);
        self.apply_container(task)
    }

    fn apply_container(&self, task: &mut wire::TaskSpec) -> Result<(), CtlError> {
        let runtime = task.runtime.get_or_insert_with(|| wire::task_spec::Runtime::Container(Default::default()));
        let wire::task_spec::Runtime::Container(container) = runtime else {
            return Err(CtlError::State("only services that run containers or processes can be changed".to_owned()));
        };
        set(&mut container.image, self.image.as_ref());
        if container.image.is_empty() && !(self.command.is_empty() && self.args.is_empty() && self.line.is_empty()) {
            PROCESS_IMAGE.clone_into(&mut container.image);
        }
        set(&mut container.hostname, self.hostname.as_ref());
        set(&mut container.dir, self.dir.as_ref());
        set(&mut container.user, self.user.as_ref());
        if let Some(period) = self.stop_grace_period {
            container.stop_grace_period = Some(to_wire_duration(period));
        }
        set_list(&mut container.command, &self.command);
        set_list(&mut container.args, &self.args);
        set_list(&mut container.env, &self.env);
        self.mount.apply(&mut container.mounts);
        self.container.apply(container)?;
        let is_process = container.image == PROCESS_IMAGE;
        if !self.line.is_empty() {
            container.args.clone_from(&self.line);
            // An image keeps its entry point; a process has only its command line.
            if is_process {
                container.command.clear();
            }
        }
        Ok(())
    }

    fn apply_resources(&self, task: &mut wire::TaskSpec) {
        for (nano_cpus, memory_bytes, is_limit) in
            [(self.cpu_reservation, self.memory_reservation, false), (self.cpu_limit, self.memory_limit, true)]
        {
            if nano_cpus.is_none() && memory_bytes.is_none() {
                continue;
            }
            let requirements = task.resources.get_or_insert_default();
            let side = if is_limit { &mut requirements.limits } else { &mut requirements.reservations };
            let resources = side.get_or_insert_default();
            resources.nano_cpus = nano_cpus.unwrap_or(resources.nano_cpus);
            resources.memory_bytes = memory_bytes.unwrap_or(resources.memory_bytes);
        }
    }

    fn apply_placement(&self, task: &mut wire::TaskSpec) {
        if !self.constraint.is_empty() {
            set_list(&mut task.placement.get_or_insert_default().constraints, &self.constraint);
        }
        if let Some(most) = self.replicas_max_per_node {
            task.placement.get_or_insert_default().max_replicas = most;
        }
    }
}

/// Sets the number of tasks of a mode that has one.
pub(super) fn set_replicas(spec: &mut wire::ServiceSpec, replicas: u64) -> Result<(), String> {
    match &mut spec.mode {
        Some(service_spec::Mode::Replicated(replicated)) => replicated.replicas = replicas,
        Some(service_spec::Mode::ReplicatedJob(job)) => {
            *job = wire::ReplicatedJob { max_concurrent: replicas, total_completions: replicas };
        }
        Some(service_spec::Mode::Global(_) | service_spec::Mode::GlobalJob(_)) | None => {
            return Err("the number of tasks can be set for replicated services only".to_owned());
        }
    }
    Ok(())
}

/// `key=value` of every value.
pub(super) fn labels(flags: &[Csv]) -> Result<BTreeMap<String, String>, CtlError> {
    let pair = |text: &str| match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(CtlError::Usage(format!("malformed label {text:?}: expected key=value"))),
    };
    values(flags).map(pair).collect()
}

/// All values of a flag.
pub(super) fn values(flags: &[Csv]) -> impl Iterator<Item = &str> {
    flags.iter().flat_map(|Csv(values)| values.iter().map(String::as_str))
}

fn set(field: &mut String, value: Option<&String>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

pub(super) fn set_list(field: &mut Vec<String>, flags: &[Csv]) {
    if !flags.is_empty() {
        *field = values(flags).map(str::to_owned).collect();
    }
}

/// `name:target[/protocol][:published[/protocol]]`, published on the node that runs the task.
fn parse_port(text: &str) -> Result<wire::PortConfig, String> {
    let fault = |what: &str| format!("malformed port {text:?}: {what}");
    let mut parts = text.split(':');
    let (Some(name), Some(target)) = (parts.next(), parts.next()) else {
        return Err(fault("expected name:target"));
    };
    let published = parts.next();
    if name.is_empty() || parts.next().is_some() {
        return Err(fault("expected name:target:published"));
    }
    let half = |half: &str| -> Result<(u16, Protocol), String> {
        let (number, protocol) = half.split_once('/').unwrap_or((half, "tcp"));
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return Err(fault("the protocol must be tcp, udp or sctp")),
        };
        Ok((number.parse().map_err(|_| fault("a port is a number up to 65535"))?, protocol))
    };
    let (target_port, protocol) = half(target)?;
    let published_port = match published.map(half).transpose()? {
        Some((_, other)) if other != protocol => return Err(fault("both protocols must be the same")),
        Some((port, _)) => port,
        None => 0,
    };
    Ok(wire::PortConfig {
        name: name.to_owned(),
        protocol: protocol.into(),
        target_port: target_port.into(),
        published_port: published_port.into(),
        publish_mode: PublishMode::Host.into(),
    })
}

/// `name[:target]` of a secret or config; the target is the name unless given.
pub(super) fn parse_file_ref(text: &str) -> Result<(String, wire::FileTarget), CtlError> {
    let (name, target) = text.split_once(':').unwrap_or((text, text));
    if name.is_empty() || target.is_empty() {
        return Err(CtlError::Usage(format!("malformed reference {text:?}: expected name or name:target")));
    }
    Ok((name.to_owned(), wire::FileTarget { name: target.to_owned(), mode: 0o444, ..Default::default() }))
}

//! Services.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{
    Service, ServiceId, Version,
    wire::{
        self, ContainerSpec, PlacementPreference, ReplicatedService, ServiceSpec, SpreadOver, TaskSpec,
        placement_preference::Preference,
        restart_policy::RestartCondition,
        service_spec::Mode,
        swarmkit::orchestration::v1::{Dependency, Rebalance, dependency::Condition, rebalance},
        swarmkit::scheduling::v1::{Affinity, ServiceScheduling, Strategy, affinity::Direction},
        task_spec::Runtime,
    },
};

/// A service in the making.
#[derive(Clone, Debug)]
#[must_use]
pub struct ServiceBuilder(Service);

/// A replicated service of one container of the image `image`, at the first version of its specification.
pub fn service(name: &str) -> ServiceBuilder {
    let spec = ServiceSpec {
        annotations: Some(wire::Annotations { name: name.to_owned(), ..Default::default() }),
        task: Some(container("image")),
        mode: Some(Mode::Replicated(ReplicatedService { replicas: 1 })),
        ..Default::default()
    };
    let mut service = Service::new(ServiceId::from(name), spec);
    service.spec_version = Some(Version(1));
    ServiceBuilder(service)
}

/// The specification of a task that runs a container of that image.
#[must_use]
pub fn container(image: &str) -> TaskSpec {
    let container = ContainerSpec { image: image.to_owned(), ..Default::default() };
    TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }
}

impl ServiceBuilder {
    /// The service.
    #[must_use]
    pub fn build(self) -> Service {
        self.0
    }

    /// Changed in a way that there is no word for.
    pub fn with(mut self, change: impl FnOnce(&mut Service)) -> Self {
        change(&mut self.0);
        self
    }

    /// Changed in what it asks for.
    pub fn spec(self, change: impl FnOnce(&mut ServiceSpec)) -> Self {
        self.with(|service| change(Arc::make_mut(&mut service.spec)))
    }

    /// Changed in what it asks for its tasks.
    pub fn task(self, change: impl FnOnce(&mut TaskSpec)) -> Self {
        self.spec(|spec| change(spec.task.get_or_insert_default()))
    }

    /// Changed in what its containers are.
    ///
    /// # Panics
    ///
    /// When it runs something else.
    pub fn container(self, change: impl FnOnce(&mut ContainerSpec)) -> Self {
        self.task(|task| match &mut task.runtime {
            Some(Runtime::Container(container)) => change(container),
            other => panic!("the service runs no container but {other:?}"),
        })
    }

    /// With so many replicas.
    pub fn replicas(self, replicas: u64) -> Self {
        self.mode(Mode::Replicated(ReplicatedService { replicas }))
    }

    /// One task on each node.
    pub fn global(self) -> Self {
        self.mode(Mode::Global(wire::GlobalService {}))
    }

    /// A job of so many completions, so many at a time.
    pub fn job(self, completions: u64, concurrent: u64) -> Self {
        let job = wire::ReplicatedJob { max_concurrent: concurrent, total_completions: completions };
        self.mode(Mode::ReplicatedJob(job)).iteration(0)
    }

    /// A job with so many completions at a time.
    ///
    /// # Panics
    ///
    /// When it is no replicated job.
    pub fn concurrent(self, concurrent: u64) -> Self {
        self.spec(|spec| match &mut spec.mode {
            Some(Mode::ReplicatedJob(job)) => job.max_concurrent = concurrent,
            other => panic!("the service is no replicated job but {other:?}"),
        })
    }

    /// A job of one completion on each node.
    pub fn global_job(self) -> Self {
        self.mode(Mode::GlobalJob(wire::GlobalJob {})).iteration(0)
    }

    /// A job at that iteration.
    pub fn iteration(self, iteration: u64) -> Self {
        let iteration = Some(wire::Version { index: iteration });
        self.with(|service| {
            service.job_status = Some(wire::JobStatus { job_iteration: iteration, last_execution: None })
        })
    }

    /// Of that image.
    pub fn image(self, image: &str) -> Self {
        self.container(|container| container.image = image.to_owned())
    }

    /// At that version of its specification.
    pub fn spec_version(self, version: u64) -> Self {
        self.with(|service| service.spec_version = Some(Version(version)))
    }

    /// With that placement constraint, such as `node.labels.disk == ssd`.
    pub fn constraint(self, constraint: &str) -> Self {
        self.task(|task| task.placement.get_or_insert_default().constraints.push(constraint.to_owned()))
    }

    /// With so many billionths of a processor kept for each task.
    pub fn reserve_nano_cpus(self, nano_cpus: i64) -> Self {
        self.reservations(|resources| resources.nano_cpus = nano_cpus)
    }

    /// With so many bytes of memory kept for each task.
    pub fn reserve_memory(self, bytes: i64) -> Self {
        self.reservations(|resources| resources.memory_bytes = bytes)
    }

    /// With that restart condition.
    pub fn restart(self, condition: RestartCondition) -> Self {
        self.restart_policy(|policy| policy.condition = condition.into())
    }

    /// With that delay before a restart.
    pub fn restart_delay(self, delay: Duration) -> Self {
        self.restart_policy(|policy| policy.delay = Some(delay.try_into().expect("a delay fits the wire")))
    }

    /// With that longest delay before a restart.
    pub fn restart_max_delay(self, delay: Duration) -> Self {
        self.restart_policy(|policy| policy.max_delay = Some(delay.try_into().expect("a delay fits the wire")))
    }

    /// With that time after which a task is stable.
    pub fn restart_stable_after(self, time: Duration) -> Self {
        self.restart_policy(|policy| policy.stable_after = Some(time.try_into().expect("a time fits the wire")))
    }

    /// With so many restarts at most.
    pub fn restart_attempts(self, attempts: u64) -> Self {
        self.restart_policy(|policy| policy.max_attempts = attempts)
    }

    /// With so many tasks updated at a time.
    pub fn parallelism(self, parallelism: u64) -> Self {
        self.spec(|spec| spec.update.get_or_insert_default().parallelism = parallelism)
    }

    /// Started when that service has come that far.
    pub fn after(self, name: &str, condition: Condition) -> Self {
        let dependency = Dependency { service: name.to_owned(), condition: condition.into() };
        self.spec(|spec| spec.depends_on.push(dependency))
    }

    /// Updated by starting the new task before the old one stops.
    pub fn starts_first(self) -> Self {
        self.spec(|spec| spec.update.get_or_insert_default().set_order(wire::update_config::UpdateOrder::StartFirst))
    }

    /// With tasks that move to nodes that have fewer, so many in a minute; 0 is the default.
    ///
    /// # Panics
    ///
    /// When it is more than the wire has room for.
    pub fn rebalance(self, moves_per_minute: u64) -> Self {
        let moves_per_minute = u32::try_from(moves_per_minute).expect("so many are never moved");
        let mode = rebalance::Mode::On.into();
        self.spec(|spec| spec.rebalance = Some(Rebalance { mode, moves_per_minute }))
    }

    /// Of that priority.
    pub fn priority(self, priority: i32) -> Self {
        self.scheduling(|scheduling| scheduling.priority = Some(priority))
    }

    /// With so many tasks at most that may be missing when they make room for others.
    pub fn max_disrupted(self, tasks: u64) -> Self {
        self.scheduling(|scheduling| scheduling.max_disrupted = Some(tasks))
    }

    /// With a strategy of its own.
    pub fn strategy(self, strategy: Strategy) -> Self {
        self.scheduling(|scheduling| scheduling.strategy = strategy.into())
    }

    /// Whose tasks have to be where tasks of a service are, on the same node.
    pub fn must_be_near(self, service: &str) -> Self {
        self.affinity(service, Direction::Near, "", true)
    }

    /// With a wish to be near to a service or apart from it, or the need for it.
    pub fn affinity(self, service: &str, direction: Direction, scope: &str, required: bool) -> Self {
        let (service, scope) = (service.to_owned(), scope.to_owned());
        let affinity = Affinity { service, direction: direction.into(), scope, required };
        self.scheduling(|scheduling| scheduling.affinities.push(affinity))
    }

    /// With tasks spread over the values of a property of nodes; each that is added divides what the one before gives.
    pub fn spread_over(self, descriptor: &str) -> Self {
        let spread = SpreadOver { spread_descriptor: descriptor.to_owned() };
        let preference = PlacementPreference { preference: Some(Preference::Spread(spread)) };
        self.task(|task| task.placement.get_or_insert_default().preferences.push(preference))
    }

    /// Changed in what it says about where its tasks go.
    pub fn scheduling(self, change: impl FnOnce(&mut ServiceScheduling)) -> Self {
        self.spec(|spec| change(spec.scheduling.get_or_insert_default()))
    }

    /// Attached to that network.
    pub fn network(self, id: &str) -> Self {
        let network = wire::NetworkAttachmentConfig { target: id.to_owned(), ..Default::default() };
        self.task(|task| task.networks.push(network))
    }

    /// With a label.
    pub fn label(self, key: &str, value: &str) -> Self {
        self.spec(|spec| {
            spec.annotations.get_or_insert_default().labels.insert(key.to_owned(), value.to_owned());
        })
    }

    /// Using that secret.
    pub fn secret(self, id: &str) -> Self {
        let secret = wire::SecretReference { secret_id: id.to_owned(), secret_name: id.to_owned(), target: None };
        self.container(|container| container.secrets.push(secret))
    }

    /// Using that config.
    pub fn config(self, id: &str) -> Self {
        let config = wire::ConfigReference { config_id: id.to_owned(), config_name: id.to_owned(), target: None };
        self.container(|container| container.configs.push(config))
    }

    fn mode(self, mode: Mode) -> Self {
        self.spec(|spec| spec.mode = Some(mode))
    }

    fn reservations(self, change: impl FnOnce(&mut wire::Resources)) -> Self {
        self.task(|task| change(task.resources.get_or_insert_default().reservations.get_or_insert_default()))
    }

    /// An absent policy means "always", an empty one "never", so a new one starts as "always".
    fn restart_policy(self, change: impl FnOnce(&mut wire::RestartPolicy)) -> Self {
        let any = wire::RestartPolicy { condition: RestartCondition::Any.into(), ..Default::default() };
        self.task(|task| change(task.restart.get_or_insert(any)))
    }
}

impl From<ServiceBuilder> for Service {
    fn from(builder: ServiceBuilder) -> Self {
        builder.build()
    }
}

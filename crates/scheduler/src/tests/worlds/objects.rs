//! The objects that a random cluster is made of.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{
    Cluster, Network, NetworkId, Node, NodeId, Object as _, Service, ServiceId, Task, TaskId, TaskState, Version,
    wire::{
        self, DiscreteGenericResource, GenericResource, NamedGenericResource,
        generic_resource::Resource,
        placement_preference::Preference,
        swarmkit::scheduling::v1::{ClusterScheduling, ServiceScheduling, Strategy},
        task_spec::Runtime,
    },
};
use swarmkit_store::{StoreError, Transaction};
use swarmkit_testing as testing;

use super::{CURRENT, Needed, NodeShape, ServiceShape, TaskShape, Units};

impl NodeShape {
    pub(in crate::tests) fn build(&self, id: u8) -> Node {
        let mut node = testing::node(&format!("n{id}"));
        node = if self.ready { node.ready() } else { node.down() };
        node = node.spec(|spec| spec.availability = self.availability.into());
        node = if self.manager { node.manager() } else { node };
        for (label, value) in [("zone", self.zone), ("rack", self.rack)] {
            node = if value.is_empty() { node } else { node.label(label, value) };
        }
        let node = node.description(|description| {
            let platform = self.platform.map(|(os, arch)| wire::Platform { os: os.into(), architecture: arch.into() });
            description.platform = platform;
            description.resources = self.has.map(|(cpus, memory_bytes)| wire::Resources {
                nano_cpus: cpus * 1_000_000_000,
                memory_bytes,
                generic: units(self.gpus),
            });
            description.engine = self.plugins.as_ref().map(|plugins| wire::EngineDescription {
                plugins: plugins
                    .iter()
                    .map(|(class, name)| wire::PluginDescription { r#type: (*class).into(), name: (*name).into() })
                    .collect(),
                ..Default::default()
            });
        });
        if self.disk.is_empty() { node.build() } else { node.engine_label("disk", self.disk).build() }
    }
}

impl ServiceShape {
    pub(in crate::tests) fn build(&self, id: u8) -> Service {
        let service = testing::service(&format!("s{id}")).spec_version(CURRENT);
        let service = if self.global { service.global() } else { service };
        let mut service = service.build();
        let spec = Arc::make_mut(&mut service.spec);
        spec.task = Some(self.task_spec());
        spec.scheduling = Some(ServiceScheduling { strategy: self.strategy.into(), ..Default::default() });
        service
    }

    fn task_spec(&self) -> wire::TaskSpec {
        let spread = |descriptor: &&str| wire::PlacementPreference {
            preference: Some(Preference::Spread(wire::SpreadOver { spread_descriptor: (*descriptor).into() })),
        };
        let platform = |(os, arch): &(&str, &str)| wire::Platform { os: (*os).into(), architecture: (*arch).into() };
        let driver = |name: &str| Some(wire::Driver { name: name.into(), ..Default::default() });
        let mut container = wire::ContainerSpec { image: "nginx".into(), ..Default::default() };
        let mut log_driver = None;
        match self.needs {
            Needed::Nothing | Needed::Network(_) => {}
            Needed::Process => container.image = "swarmkit.process/host".into(),
            Needed::Log(name) => log_driver = driver(name),
            Needed::Volume(name) => container.mounts.push(wire::Mount {
                r#type: wire::mount::Type::Volume.into(),
                volume_options: Some(wire::mount::VolumeOptions { driver_config: driver(name), ..Default::default() }),
                ..Default::default()
            }),
            Needed::ClusterVolume => {
                container.mounts.push(wire::Mount { r#type: wire::mount::Type::Cluster.into(), ..Default::default() });
            }
        }
        let reservations = wire::Resources {
            nano_cpus: self.cpus * 1_000_000_000,
            memory_bytes: self.memory,
            generic: self.gpus.iter().flat_map(|count| units(Units::Counted(*count))).collect(),
        };
        wire::TaskSpec {
            runtime: Some(Runtime::Container(container)),
            resources: Some(wire::ResourceRequirements { reservations: Some(reservations), ..Default::default() }),
            placement: Some(wire::Placement {
                constraints: self.constraints.iter().map(|&text| text.to_owned()).collect(),
                preferences: self.preferences.iter().map(spread).collect(),
                platforms: self.platforms.iter().map(platform).collect(),
                max_replicas: self.max_replicas,
            }),
            log_driver,
            ..Default::default()
        }
    }

    fn networks(&self) -> Vec<wire::NetworkAttachment> {
        let Needed::Network(name) = self.needs else { return Vec::new() };
        let mut network = Network::new(NetworkId::from("net"));
        network.driver_state = Some(wire::Driver { name: name.into(), ..Default::default() });
        vec![wire::NetworkAttachment { network: Some(network.to_wire()), ..Default::default() }]
    }

    fn endpoint(&self) -> Option<Arc<wire::Endpoint>> {
        let (published_port, protocol, mode) = self.port?;
        let port = wire::PortConfig { published_port, protocol, publish_mode: mode.into(), ..Default::default() };
        Some(Arc::new(wire::Endpoint { ports: vec![port], ..Default::default() }))
    }
}

impl TaskShape {
    /// Whether it waits for any node.
    pub(in crate::tests) fn waits(&self) -> bool {
        self.node.is_none() && self.state == TaskState::Pending
    }

    pub(in crate::tests) fn build(&self, number: usize, services: &[ServiceShape]) -> Task {
        let service = &services[usize::from(self.service)];
        let mut task = Task::new(TaskId::from(format!("t{number:02}").as_str()), service.task_spec());
        task.service_id = Some(ServiceId::from(format!("s{}", self.service).as_str()));
        task.slot = number as u64 + 1;
        task.spec_version = self.version.map(Version);
        task.node_id = self.node.map(|node| NodeId::from(format!("n{node}").as_str()));
        (task.status.state, task.desired_state) = (self.state, self.desired);
        let at = testing::env().now() - Duration::from_secs(60 * self.minutes_ago);
        task.status.timestamp = Some(at.into());
        self.err.clone_into(&mut task.status.err);
        (task.networks, task.endpoint) = (service.networks(), service.endpoint());
        if self.node.is_some() && self.state > TaskState::Pending {
            task.assigned_generic_resources = units(self.given);
        }
        task
    }
}

/// A cluster that chooses nodes in that way.
pub(in crate::tests) fn cluster(strategy: Strategy) -> Cluster {
    let mut cluster = testing::cluster();
    Arc::make_mut(&mut cluster.spec).scheduling = Some(ClusterScheduling { strategy: strategy.into() });
    cluster
}

/// Puts a whole cluster into a store.
pub(in crate::tests) fn put(
    tx: &mut Transaction,
    nodes: &[NodeShape],
    services: &[ServiceShape],
    tasks: &[TaskShape],
) -> Result<(), StoreError> {
    for (id, node) in (0..).zip(nodes) {
        tx.create(node.build(id))?;
    }
    for (id, service) in (0..).zip(services).filter(|(_, service)| !service.gone) {
        tx.create(service.build(id))?;
    }
    for (number, task) in tasks.iter().enumerate() {
        tx.create(task.build(number, services))?;
    }
    Ok(())
}

/// Units of the one kind of resource that there is: a count, or so many of the names `a`, `b`, `c`.
fn units(units: Units) -> Vec<GenericResource> {
    let kind = || "gpu".to_owned();
    let unit = |resource| GenericResource { resource: Some(resource) };
    match units {
        Units::None => Vec::new(),
        Units::Counted(value) => {
            vec![unit(Resource::DiscreteResourceSpec(DiscreteGenericResource { kind: kind(), value }))]
        }
        Units::Named(count) => ["a", "b", "c"][..usize::from(count)]
            .iter()
            .map(|name| {
                unit(Resource::NamedResourceSpec(NamedGenericResource { kind: kind(), value: (*name).to_owned() }))
            })
            .collect(),
    }
}

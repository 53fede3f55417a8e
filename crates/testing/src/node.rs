//! Nodes.

use std::sync::Arc;

use swarmkit_api::{
    Node, NodeId, NodeRole,
    wire::{
        self, GenericResource,
        generic_resource::Resource,
        node_spec::{Availability, Membership},
        node_status::State,
    },
};

/// A node in the making.
#[derive(Clone, Debug)]
#[must_use]
pub struct NodeBuilder(Node);

/// An accepted, active worker on Linux with 4 processors and 8 GiB, that nobody heard from yet. Its host name is its id.
pub fn node(id: &str) -> NodeBuilder {
    let mut node = Node::new(NodeId::from(id));
    let spec = Arc::make_mut(&mut node.spec);
    spec.membership = Membership::Accepted.into();
    node.description = Some(Arc::new(wire::NodeDescription {
        hostname: id.to_owned(),
        platform: Some(wire::Platform { architecture: "x86_64".into(), os: "linux".into() }),
        resources: Some(wire::Resources { nano_cpus: 4_000_000_000, memory_bytes: 8 << 30, generic: Vec::new() }),
        engine: Some(wire::EngineDescription::default()),
        ..Default::default()
    }));
    NodeBuilder(node)
}

impl NodeBuilder {
    /// The node.
    #[must_use]
    pub fn build(self) -> Node {
        self.0
    }

    /// Changed in a way that there is no word for.
    pub fn with(mut self, change: impl FnOnce(&mut Node)) -> Self {
        change(&mut self.0);
        self
    }

    /// Changed in what it asks for.
    pub fn spec(self, change: impl FnOnce(&mut wire::NodeSpec)) -> Self {
        self.with(|node| change(Arc::make_mut(&mut node.spec)))
    }

    /// Changed in what it reported.
    pub fn description(self, change: impl FnOnce(&mut wire::NodeDescription)) -> Self {
        self.with(|node| change(Arc::make_mut(node.description.get_or_insert_default())))
    }

    /// In that state.
    pub fn state(self, state: State) -> Self {
        self.with(|node| node.status.state = state.into())
    }

    /// Heard from.
    pub fn ready(self) -> Self {
        self.state(State::Ready)
    }

    /// Lost.
    pub fn down(self) -> Self {
        self.state(State::Down)
    }

    /// Not to run anything.
    pub fn drain(self) -> Self {
        self.spec(|spec| spec.availability = Availability::Drain.into())
    }

    /// Not to get anything new.
    pub fn pause(self) -> Self {
        self.spec(|spec| spec.availability = Availability::Pause.into())
    }

    /// A manager, wanted as one too.
    pub fn manager(self) -> Self {
        self.spec(|spec| spec.desired_role = NodeRole::Manager.into()).with(|node| node.role = NodeRole::Manager)
    }

    /// A worker that is to become a manager.
    pub fn promoted(self) -> Self {
        self.spec(|spec| spec.desired_role = NodeRole::Manager.into())
    }

    /// A manager that is to become a worker.
    pub fn demoted(self) -> Self {
        self.spec(|spec| spec.desired_role = NodeRole::Worker.into()).with(|node| node.role = NodeRole::Manager)
    }

    /// With so many billionths of a processor.
    pub fn nano_cpus(self, nano_cpus: i64) -> Self {
        self.resources(|resources| resources.nano_cpus = nano_cpus)
    }

    /// With so many bytes of memory.
    pub fn memory(self, bytes: i64) -> Self {
        self.resources(|resources| resources.memory_bytes = bytes)
    }

    /// With so many interchangeable units of a resource of its own.
    pub fn generic(self, kind: &str, units: i64) -> Self {
        let generic = wire::DiscreteGenericResource { kind: kind.to_owned(), value: units };
        let generic = GenericResource { resource: Some(Resource::DiscreteResourceSpec(generic)) };
        self.resources(|resources| resources.generic.push(generic))
    }

    /// With a label that the operator gave.
    pub fn label(self, key: &str, value: &str) -> Self {
        self.spec(|spec| {
            spec.annotations.get_or_insert_default().labels.insert(key.to_owned(), value.to_owned());
        })
    }

    /// With a label that its engine reports.
    pub fn engine_label(self, key: &str, value: &str) -> Self {
        self.description(|description| {
            description.engine.get_or_insert_default().labels.insert(key.to_owned(), value.to_owned());
        })
    }

    /// On that system.
    pub fn platform(self, os: &str, architecture: &str) -> Self {
        let platform = wire::Platform { architecture: architecture.to_owned(), os: os.to_owned() };
        self.description(|description| description.platform = Some(platform))
    }

    fn resources(self, change: impl FnOnce(&mut wire::Resources)) -> Self {
        self.description(|description| change(description.resources.get_or_insert_default()))
    }
}

impl From<NodeBuilder> for Node {
    fn from(builder: NodeBuilder) -> Self {
        builder.build()
    }
}

//! What objects can be looked up by: one enum per kind, so that a query that a kind has no index for does not compile.

use std::{iter::FusedIterator, sync::Arc};

use swarmkit_api::{
    Cluster, Config, ConfigId, Extension, Network, NetworkId, Node, NodeId, NodeRole, Resource, Secret, SecretId,
    Service, ServiceId, Task, TaskState, Volume, VolumeId, wire::node_spec::Membership,
};

use crate::{
    Stored,
    groups::Facet,
    index::{Ids, compare_prefix, exactly, fold, starting_with},
    table::Table,
};

mod sealed {
    pub trait Sealed {}
}

/// Something to look objects of one kind up by. Implemented by the `…By` enums of this crate.
pub trait Query: sealed::Sealed {
    /// What it finds.
    type Object: Stored;

    #[doc(hidden)]
    fn run(self, table: &Table<Self::Object>) -> Found<'_, Self::Object>;
}

/// The objects that a query found: those of one key in ascending order of their ids.
pub struct Found<'a, O>(Box<dyn Iterator<Item = &'a Arc<O>> + Send + 'a>);

impl<'a, O> Iterator for Found<'a, O> {
    type Item = &'a Arc<O>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<O> FusedIterator for Found<'_, O> {}

impl<'a, O> Found<'a, O> {
    pub(crate) fn new(objects: impl Iterator<Item = &'a Arc<O>> + Send + 'a) -> Self {
        Self(Box::new(objects.fuse()))
    }

    pub(crate) fn nothing() -> Self
    where
        O: Send + Sync,
    {
        Self::new(std::iter::empty())
    }
}

impl<O: Stored> Table<O> {
    /// The objects with these ids.
    pub(crate) fn found<'a, K: Ord + Send + Sync>(&'a self, ids: Ids<'a, K, O::Id>) -> Found<'a, O> {
        Found::new(ids.filter_map(|id| self.get(id)))
    }

    /// The objects with these ids that pass a test.
    fn found_where<'a, K: Ord + Send + Sync>(
        &'a self,
        ids: Ids<'a, K, O::Id>,
        test: impl Fn(&O) -> bool + Send + 'a,
    ) -> Found<'a, O> {
        Found::new(ids.filter_map(|id| self.get(id)).filter(move |object| test(object)))
    }
}

macro_rules! queries {
    ($(
        $(#[$doc:meta])*
        $by:ident for $object:ident named |$named:ident, $name:ident| $name_found:expr => {
            $($(#[$variant_doc:meta])* $variant:ident $(($($arg:ident: $type:ty),+))? => |$table:ident| $found:expr;)*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $by<'q> {
            /// The name, in whatever case.
            Name(&'q str),
            /// The beginning of the id.
            IdPrefix(&'q str),
            /// A custom index: its key and its value.
            Custom {
                /// The key, exactly.
                key: &'q str,
                /// The value, exactly.
                value: &'q str,
            },
            /// A custom index: its key and the beginning of its value.
            CustomPrefix {
                /// The key, exactly.
                key: &'q str,
                /// The beginning of the value.
                prefix: &'q str,
            },
            $($(#[$variant_doc])* $variant $(($($type),+))?,)*
        }

        impl sealed::Sealed for $by<'_> {}

        impl Query for $by<'_> {
            type Object = $object;

            fn run(self, table: &Table<$object>) -> Found<'_, $object> {
                match self {
                    Self::Name($name) => { let $named = table; $name_found }
                    Self::IdPrefix(prefix) => Found::new(table.with_id_prefix(prefix)),
                    Self::Custom { key, value } => table.found(
                        table.custom.find(|(k, v)| k.as_ref().cmp(key).then_with(|| v.as_ref().cmp(value))),
                    ),
                    Self::CustomPrefix { key, prefix } => table.found(
                        table.custom.find(|(k, v)| k.as_ref().cmp(key).then_with(|| compare_prefix(v, prefix))),
                    ),
                    $(Self::$variant $(($($arg),+))? => { let $table = table; $found })*
                }
            }
        }
    )*};
}

queries! {
    /// What clusters are looked up by.
    ClusterBy for Cluster named |t, name| t.found(t.indexes.name.find(exactly(&fold(name)))) => {
        /// The beginning of the name, in whatever case.
        NamePrefix(prefix: &'q str) => |t| t.found(t.indexes.name.find(starting_with(&fold(prefix))));
    }

    /// What networks are looked up by.
    NetworkBy for Network named |t, name| t.found(t.indexes.name.find(exactly(&fold(name)))) => {
        /// The beginning of the name, in whatever case.
        NamePrefix(prefix: &'q str) => |t| t.found(t.indexes.name.find(starting_with(&fold(prefix))));
    }

    /// What secrets are looked up by.
    SecretBy for Secret named |t, name| t.found(t.indexes.name.find(exactly(&fold(name)))) => {
        /// The beginning of the name, in whatever case.
        NamePrefix(prefix: &'q str) => |t| t.found(t.indexes.name.find(starting_with(&fold(prefix))));
    }

    /// What configs are looked up by.
    ConfigBy for Config named |t, name| t.found(t.indexes.name.find(exactly(&fold(name)))) => {
        /// The beginning of the name, in whatever case.
        NamePrefix(prefix: &'q str) => |t| t.found(t.indexes.name.find(starting_with(&fold(prefix))));
    }

    /// What extensions are looked up by.
    ExtensionBy for Extension named |t, name| t.found(t.indexes.name.find(exactly(&fold(name)))) => {}

    /// What resources are looked up by.
    ResourceBy for Resource named |t, name| t.found(t.indexes.name.find(exactly(&fold(name)))) => {
        /// The beginning of the name, in whatever case.
        NamePrefix(prefix: &'q str) => |t| t.found(t.indexes.name.find(starting_with(&fold(prefix))));
        /// The kind, exactly as the resource gives it.
        Kind(kind: &'q str) => |t| {
            let kind = kind.to_owned();
            t.found_where(t.indexes.kind.find(exactly(&fold(&kind))), move |resource| resource.kind == kind)
        };
    }

    /// What volumes are looked up by.
    VolumeBy for Volume named |t, name| t.found(t.indexes.name.find(exactly(&fold(name)))) => {
        /// The beginning of the name, in whatever case.
        NamePrefix(prefix: &'q str) => |t| t.found(t.indexes.name.find(starting_with(&fold(prefix))));
        /// The group; the empty one holds the volumes without a group.
        Group(group: &'q str) => |t| t.found(t.indexes.group.find(exactly(group)));
        /// The name of the driver.
        Driver(driver: &'q str) => |t| t.found(t.indexes.driver.find(exactly(driver)));
        /// A node that it is published on, or on its way to or from.
        Node(node: &'q NodeId) => |t| t.found(t.indexes.node.find(exactly(node.as_str())));
    }

    /// What nodes are looked up by. Their name is the host name, which several may share.
    NodeBy for Node named |t, name| t.found(t.indexes.name.find(exactly(&fold(name)))) => {
        /// The beginning of the host name, in whatever case.
        NamePrefix(prefix: &'q str) => |t| t.found(t.indexes.name.find(starting_with(&fold(prefix))));
        /// The role that the node acts in now, not the desired one.
        Role(role: NodeRole) => |t| t.found(t.indexes.role.at(&role));
        /// Whether it was accepted into the cluster.
        Membership(membership: Membership) => |t| t.found(t.indexes.membership.at(&membership.into()));
    }

    /// What services are looked up by.
    ServiceBy for Service named |t, name| t.found(t.indexes.name.find(exactly(&fold(name)))) => {
        /// The beginning of the name, in whatever case.
        NamePrefix(prefix: &'q str) => |t| t.found(t.indexes.name.find(starting_with(&fold(prefix))));
        /// `container`, `attachment`, or the kind of a generic runtime in lower case.
        Runtime(runtime: &'q str) => |t| t.found(t.indexes.runs.runtime.find(exactly(runtime)));
        /// A network that its tasks attach to.
        Network(network: &'q NetworkId) => |t| t.found(t.indexes.runs.network.find(exactly(network.as_str())));
        /// A secret that its tasks use.
        Secret(secret: &'q SecretId) => |t| t.found(t.indexes.runs.secret.find(exactly(secret.as_str())));
        /// A config that its tasks use.
        Config(config: &'q ConfigId) => |t| t.found(t.indexes.runs.config.find(exactly(config.as_str())));
    }

    /// What tasks are looked up by. Their name is the one of [`Task::name`].
    TaskBy for Task named |t, name| t.named(name) => {
        /// The beginning of the name, in whatever case.
        NamePrefix(prefix: &'q str) => |t| t.name_starts_with(prefix);
        /// The service that it belongs to.
        Service(service: &'q ServiceId) => |t| t.of_service(Some(service));
        /// Those that belong to no service.
        NoService => |t| t.of_service(None);
        /// The node that it was given; `None` finds those without a node.
        Node(node: Option<&'q NodeId>) => |t| t.of_node(node);
        /// The slot of a service.
        Slot(service: &'q ServiceId, slot: u64) => |t| t.of_slot(service, slot);
        /// The state that it shall reach.
        DesiredState(state: TaskState) => |t| t.with_facet(Facet::DesiredState(state));
        /// The state that was observed.
        State(state: TaskState) => |t| t.with_facet(Facet::State(state));
        /// `container`, `attachment`, or the kind of a generic runtime in lower case.
        Runtime(runtime: &'q str) => |t| t.with_facet(Facet::Runtime(runtime));
        /// A network that it asks for.
        Network(network: &'q NetworkId) => |t| t.with_facet(Facet::Network(network.as_str()));
        /// A secret that it uses.
        Secret(secret: &'q SecretId) => |t| t.with_facet(Facet::Secret(secret.as_str()));
        /// A config that it uses.
        Config(config: &'q ConfigId) => |t| t.with_facet(Facet::Config(config.as_str()));
        /// A cluster volume that was chosen for it.
        Volume(volume: &'q VolumeId) => |t| t.with_volume(volume.as_str());
    }
}

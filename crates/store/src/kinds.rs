//! What each kind is found by, and what rules it obeys.

use std::sync::Arc;

use swarmkit_api::{
    Cluster, ClusterId, Config, ConfigId, Extension, ExtensionId, Kind, Network, NetworkId, Node, NodeId, NodeRole,
    Object, Resource, ResourceId, Secret, SecretId, Service, ServiceId, Volume, VolumeId, wire,
};

use crate::{
    Change, Edit, StoreError,
    index::{Index, Text, exactly, fold},
    state::Tables,
    table::{Record, Table},
    tasks::{container_of, runtime_of},
};

/// The parts of a kind that do not differ between kinds.
macro_rules! lies_in {
    ($kind:ident, $field:ident) => {
        fn table(tables: &Tables) -> &Table<Self> {
            &tables.$field
        }

        fn table_mut(tables: &mut Tables) -> &mut Table<Self> {
            Arc::make_mut(&mut tables.$field)
        }

        fn into_change(edit: Edit<Self>) -> Change {
            Change::$kind(edit)
        }

        fn from_change(change: &Change) -> Option<&Edit<Self>> {
            match change {
                Change::$kind(edit) => Some(edit),
                _ => None,
            }
        }
    };
}

pub(crate) use lies_in;

/// Kinds with a unique name and no other index.
macro_rules! only_named {
    ($($kind:ident, $id:ident, $field:ident;)*) => {$(
        impl Record for $kind {
            type Indexes = Named<$id>;

            fn reindex(indexes: &mut Self::Indexes, id: &$id, before: Option<&Self>, after: Option<&Self>) {
                reindex_name(&mut indexes.name, id, before, after);
            }

            fn admit(tables: &Tables, new: &Self, replaced: Option<&Self::Id>) -> Result<(), StoreError> {
                name_is_free(&tables.$field.indexes.name, new, replaced)
            }

            lies_in!($kind, $field);
        }
    )*};
}

/// The index of kinds that have a name only.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<I: Ord> {
    pub(crate) name: Index<Text, I>,
}

impl<I: Ord> Default for Named<I> {
    fn default() -> Self {
        Self { name: Index::default() }
    }
}

only_named! {
    Cluster, ClusterId, clusters;
    Network, NetworkId, networks;
    Secret, SecretId, secrets;
    Config, ConfigId, configs;
}

/// Indexes by the name in the annotations. An empty name is a name.
fn reindex_name<O: Object>(names: &mut Index<Text, O::Id>, id: &O::Id, before: Option<&O>, after: Option<&O>) {
    let old = before.map(|object| &object.annotations().name);
    let new = after.map(|object| &object.annotations().name);
    if old != new {
        names.amend(id, old.map(|name| fold(name)), new.map(|name| fold(name)));
    }
}

/// Whether nobody has the name but the object that is about to be replaced.
fn name_is_free<O: Object>(names: &Index<Text, O::Id>, new: &O, replaced: Option<&O::Id>) -> Result<(), StoreError> {
    let taken = names.find(exactly(&fold(&new.annotations().name))).any(|holder| Some(holder) != replaced);
    if taken { Err(StoreError::NameConflict) } else { Ok(()) }
}

// === Nodes ===

/// The indexes of nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeIndexes {
    pub(crate) name: Index<Text, NodeId>,
    pub(crate) role: Index<NodeRole, NodeId>,
    pub(crate) membership: Index<i32, NodeId>,
}

impl Record for Node {
    type Indexes = NodeIndexes;

    fn reindex(indexes: &mut NodeIndexes, id: &NodeId, before: Option<&Self>, after: Option<&Self>) {
        let hostname = |node: &Self| node.description.as_ref().map(|description| fold(&description.hostname));
        if !both(before, after, |a, b| {
            a.description.is_some() == b.description.is_some() && a.hostname() == b.hostname()
        }) {
            indexes.name.amend(id, before.and_then(hostname), after.and_then(hostname));
        }
        indexes.role.amend(id, before.map(|node| node.role), after.map(|node| node.role));
        indexes.membership.amend(id, before.map(|node| node.spec.membership), after.map(|node| node.spec.membership));
    }

    fn admit(_: &Tables, _: &Self, _: Option<&Self::Id>) -> Result<(), StoreError> {
        Ok(())
    }

    lies_in!(Node, nodes);
}

// === Services ===

/// The indexes of services.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceIndexes {
    pub(crate) name: Index<Text, ServiceId>,
    pub(crate) runs: SpecIndexes,
}

impl Record for Service {
    type Indexes = ServiceIndexes;

    fn reindex(indexes: &mut ServiceIndexes, id: &ServiceId, before: Option<&Self>, after: Option<&Self>) {
        if both(before, after, |a, b| Arc::ptr_eq(&a.spec, &b.spec)) {
            return;
        }
        reindex_name(&mut indexes.name, id, before, after);
        indexes.runs.amend(id, before.map(service_keys), after.map(service_keys));
    }

    fn admit(tables: &Tables, new: &Self, replaced: Option<&Self::Id>) -> Result<(), StoreError> {
        name_is_free(&tables.services.indexes.name, new, replaced)
    }

    lies_in!(Service, services);
}

/// A service's networks are those of its task, or its own where the task lists none.
#[allow(deprecated, reason = "old clients still list networks there")]
fn service_keys(service: &Service) -> SpecKeys {
    let mut keys = service.spec.task.as_ref().map(spec_keys).unwrap_or_default();
    if keys.networks.is_empty() {
        keys.networks = targets(&service.spec.networks);
    }
    keys
}

/// What a service is found by, of what its tasks run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SpecIndexes {
    pub(crate) runtime: Index<Text, ServiceId>,
    pub(crate) network: Index<Text, ServiceId>,
    pub(crate) secret: Index<Text, ServiceId>,
    pub(crate) config: Index<Text, ServiceId>,
}

#[derive(Default)]
struct SpecKeys {
    runtime: Option<Text>,
    networks: Vec<Text>,
    secrets: Vec<Text>,
    configs: Vec<Text>,
}

impl SpecIndexes {
    fn amend(&mut self, id: &ServiceId, before: Option<SpecKeys>, after: Option<SpecKeys>) {
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        self.runtime.amend(id, before.runtime, after.runtime);
        self.network.amend_all(id, &before.networks, &after.networks);
        self.secret.amend_all(id, &before.secrets, &after.secrets);
        self.config.amend_all(id, &before.configs, &after.configs);
    }
}

fn spec_keys(spec: &wire::TaskSpec) -> SpecKeys {
    let container = container_of(spec);
    SpecKeys {
        runtime: runtime_of(spec).map(Text::from),
        networks: targets(&spec.networks),
        secrets: container.map(|spec| texts(spec.secrets.iter().map(|secret| &secret.secret_id))).unwrap_or_default(),
        configs: container.map(|spec| texts(spec.configs.iter().map(|config| &config.config_id))).unwrap_or_default(),
    }
}

fn targets(networks: &[wire::NetworkAttachmentConfig]) -> Vec<Text> {
    texts(networks.iter().map(|network| &network.target))
}

pub(crate) fn texts<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<Text> {
    texts.map(|text| Text::from(text.as_str())).collect()
}

/// Whether there are two objects, and they are alike in some respect.
pub(crate) fn both<O>(before: Option<&O>, after: Option<&O>, alike: impl FnOnce(&O, &O) -> bool) -> bool {
    matches!((before, after), (Some(before), Some(after)) if alike(before, after))
}

// === Extensions and resources ===

impl Record for Extension {
    type Indexes = Named<ExtensionId>;

    fn reindex(indexes: &mut Self::Indexes, id: &ExtensionId, before: Option<&Self>, after: Option<&Self>) {
        reindex_name(&mut indexes.name, id, before, after);
    }

    fn admit(tables: &Tables, new: &Self, replaced: Option<&Self::Id>) -> Result<(), StoreError> {
        if replaced.is_some() {
            return Err(StoreError::ExtensionImmutable);
        }
        let built_in = Kind::ALL.iter().any(|kind| kind.as_str().eq_ignore_ascii_case(&new.annotations.name));
        if built_in {
            return Err(StoreError::NameConflict);
        }
        name_is_free(&tables.extensions.indexes.name, new, None)
    }

    fn dismiss(tables: &Tables, old: &Self) -> Result<(), StoreError> {
        let used = tables.resources.indexes.kind.find(exactly(&fold(&old.annotations.name))).next().is_some();
        if used { Err(StoreError::ExtensionInUse) } else { Ok(()) }
    }

    lies_in!(Extension, extensions);
}

/// The indexes of resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceIndexes {
    pub(crate) name: Index<Text, ResourceId>,
    /// By kind without case, as extensions are named; whoever asks for a kind still has to compare.
    pub(crate) kind: Index<Text, ResourceId>,
}

impl Record for Resource {
    type Indexes = ResourceIndexes;

    fn reindex(indexes: &mut ResourceIndexes, id: &ResourceId, before: Option<&Self>, after: Option<&Self>) {
        reindex_name(&mut indexes.name, id, before, after);
        if !both(before, after, |a, b| a.kind == b.kind) {
            indexes.kind.amend(id, before.map(|old| fold(&old.kind)), after.map(|new| fold(&new.kind)));
        }
    }

    fn admit(tables: &Tables, new: &Self, replaced: Option<&Self::Id>) -> Result<(), StoreError> {
        if tables.extensions.indexes.name.find(exactly(&fold(&new.kind))).next().is_none() {
            return Err(StoreError::NoKind);
        }
        name_is_free(&tables.resources.indexes.name, new, replaced)
    }

    lies_in!(Resource, resources);
}

// === Volumes ===

/// Where it is published, or on its way to or from.
fn publishing_nodes(volume: &Volume) -> Vec<Text> {
    volume.publish_status.iter().map(|entry| Text::from(entry.node_id.as_str())).collect()
}

/// The indexes of volumes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VolumeIndexes {
    pub(crate) name: Index<Text, VolumeId>,
    pub(crate) group: Index<Text, VolumeId>,
    pub(crate) driver: Index<Text, VolumeId>,
    pub(crate) node: Index<Text, VolumeId>,
}

impl Record for Volume {
    type Indexes = VolumeIndexes;

    fn reindex(indexes: &mut VolumeIndexes, id: &VolumeId, before: Option<&Self>, after: Option<&Self>) {
        let nodes = |volume: Option<&Self>| volume.map(publishing_nodes).unwrap_or_default();
        indexes.node.amend_all(id, &nodes(before), &nodes(after));
        if both(before, after, |a, b| Arc::ptr_eq(&a.spec, &b.spec)) {
            return;
        }
        reindex_name(&mut indexes.name, id, before, after);
        let group = |volume: &Self| Text::from(volume.spec.group.as_str());
        indexes.group.amend(id, before.map(group), after.map(group));
        let driver = |volume: &Self| volume.spec.driver.as_ref().map(|driver| Text::from(driver.name.as_str()));
        indexes.driver.amend(id, before.and_then(driver), after.and_then(driver));
    }

    fn admit(tables: &Tables, new: &Self, replaced: Option<&Self::Id>) -> Result<(), StoreError> {
        name_is_free(&tables.volumes.indexes.name, new, replaced)?;
        if new.spec.driver.is_none() { Err(StoreError::NoDriver) } else { Ok(()) }
    }

    lies_in!(Volume, volumes);
}

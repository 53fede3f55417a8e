//! One immutable state of everything, and how it is read.

use std::{collections::BTreeSet, fmt, ops::Deref, sync::Arc};

use prost_types::Timestamp;
use swarmkit_api::{
    AnyObject, Cluster, Config, Extension, Kind, Network, Node, Object, Resource, Secret, Service, Task, Version,
    Volume,
};

use crate::{
    Change, ClusterBy, Digest, Edit, Found, Query, ServiceBy, Transaction,
    table::{Record, Table},
};

/// The name of the one cluster object.
pub const DEFAULT_CLUSTER: &str = "default";

/// A kind of object that the store keeps: all ten.
pub trait Stored: Record {}

impl<O: Record> Stored for O {}

macro_rules! tables {
    ($($field:ident: $kind:ident,)*) => {
        /// All tables. Clones share everything until one of them is changed.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Tables {
            $(pub(crate) $field: Arc<Table<$kind>>,)*
        }

        impl Tables {
            /// Puts an object of any kind, without asking any rule.
            pub(crate) fn put_any(&mut self, object: AnyObject, digest: Digest) -> Change {
                match object {
                    $(AnyObject::$kind(object) => {
                        let before = $kind::table_mut(self).put(object.clone(), digest).map(|entry| entry.object);
                        $kind::into_change(Edit { before, after: Some(object) })
                    })*
                }
            }

            /// Removes an object of any kind, without asking any rule. `None` when it is not there.
            pub(crate) fn remove_any(&mut self, kind: Kind, id: &str) -> Option<Change> {
                match kind {
                    $(Kind::$kind => {
                        let before = $kind::table_mut(self).remove(&id.into())?;
                        Some($kind::into_change(Edit { before: Some(before.object), after: None }))
                    })*
                }
            }

            /// Takes a write back. What was there before had the given digest.
            pub(crate) fn undo(&mut self, change: &Change, digest: Digest) {
                match change {
                    $(Change::$kind(edit) => {
                        let table = $kind::table_mut(self);
                        match &edit.before {
                            Some(before) => table.put(before.clone(), digest),
                            None => table.remove(edit.id()),
                        };
                    })*
                }
            }

            /// Every object, kind by kind in the order of the snapshot's fields, ids ascending.
            pub(crate) fn every(&self) -> impl Iterator<Item = AnyObject> {
                let objects = std::iter::empty();
                $(let objects = objects.chain(self.$field.values().cloned().map(Object::into_any));)*
                objects
            }

            /// How `after` differs from this, as edits.
            pub(crate) fn difference(&self, after: &Self) -> Vec<Change> {
                let mut changes = Vec::new();
                $(changes.extend(self.$field.difference(&after.$field).map(Change::$kind));)*
                changes
            }

            /// What all tables come to.
            pub(crate) fn digest(&self) -> Digest {
                Digest::default()$(.plus(self.$field.digest))*
            }
        }
    };
}

tables! {
    nodes: Node,
    services: Service,
    networks: Network,
    tasks: Task,
    clusters: Cluster,
    secrets: Secret,
    resources: Resource,
    extensions: Extension,
    configs: Config,
    volumes: Volume,
}

/// Everything that the store holds, at one version. All reading is here, for views and transactions alike.
#[derive(Clone)]
pub struct State {
    pub(crate) version: Version,
    /// The nonce of the change set that led here, by which the next one names what it was built on.
    pub(crate) lineage: u64,
    pub(crate) tables: Tables,
}

impl State {
    /// The state in which nothing was ever written.
    pub(crate) fn empty() -> Self {
        Self { version: Version::EMPTY, lineage: 0, tables: Tables::default() }
    }

    /// How many change sets led to this state. A transaction sees the version that it was built on.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// How another state differs from this one, as edits: kind by kind, ids ascending, an object once however often it was
    /// written. Costs what differs, not what there is, as long as one of the two came of the other.
    #[must_use]
    pub fn difference(&self, after: &Self) -> Vec<Change> {
        self.tables.difference(&after.tables)
    }

    /// What everything in it comes to. Replicas with the same objects have the same digest; it takes constant time.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.tables.digest()
    }

    /// The object with that id.
    #[must_use]
    pub fn get<O: Stored>(&self, id: &O::Id) -> Option<&Arc<O>> {
        O::table(&self.tables).get(id)
    }

    /// Every object of a kind, in ascending order of their ids.
    pub fn all<O: Stored>(&self) -> impl Iterator<Item = &Arc<O>> {
        O::table(&self.tables).values()
    }

    /// How many objects of a kind there are. Takes constant time.
    #[must_use]
    pub fn count<O: Stored>(&self) -> usize {
        O::table(&self.tables).len()
    }

    /// The objects that a query finds, such as `find(TaskBy::Service(&id))`.
    ///
    /// Those of one key come in ascending order of their ids; prefixes of names come in order of the names.
    pub fn find<O: Stored>(&self, by: impl Query<Object = O>) -> Found<'_, O> {
        by.run(O::table(&self.tables))
    }

    /// The objects that any of the queries finds, in their order, each object once.
    pub fn find_any<Q: Query>(&self, queries: impl IntoIterator<Item = Q>) -> Vec<&Arc<Q::Object>> {
        let mut seen = BTreeSet::new();
        queries.into_iter().flat_map(|by| self.find(by)).filter(|object| seen.insert(object.id())).collect()
    }

    /// The cluster's own object, once there is one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.find(ClusterBy::Name(DEFAULT_CLUSTER)).next()
    }

    /// The service of that name, in whatever case.
    #[must_use]
    pub fn service_by_name(&self, name: &str) -> Option<&Arc<Service>> {
        self.find(ServiceBy::Name(name)).next()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("version", &self.version).field("tables", &self.tables).finish()
    }
}

/// A frozen reading of the store. Nothing changes it, and holding it blocks nobody; it keeps alive what it shows.
///
/// Reads are those of [`State`]. Clones are cheap.
#[derive(Clone, Debug)]
pub struct View(pub(crate) Arc<State>);

impl View {
    /// This state with some writes, which go nowhere: for whoever wants to know what would follow from them. It costs what
    /// is written, not what there is. Written objects carry the version that this state has and the time `now`.
    ///
    /// ```
    /// # use swarmkit_api::{Node, NodeId};
    /// # use swarmkit_runtime::Env;
    /// # use swarmkit_store::{Store, StoreError};
    /// let store = Store::local(Env::real());
    /// let (supposed, _) = store.view().suppose(Default::default(), |tx| tx.create(Node::new(NodeId::from("n1"))))?;
    /// assert_eq!((supposed.count::<Node>(), store.view().count::<Node>()), (1, 0));
    /// # Ok::<(), StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `edit`.
    pub fn suppose<T, E>(
        &self,
        now: Timestamp,
        edit: impl FnOnce(&mut Transaction) -> Result<T, E>,
    ) -> Result<(Self, T), E> {
        let mut transaction = Transaction::on(State::clone(self), now, self.lineage, Arc::default());
        let value = edit(&mut transaction)?;
        Ok((Self(Arc::new(transaction.into_state())), value))
    }
}

impl Deref for View {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

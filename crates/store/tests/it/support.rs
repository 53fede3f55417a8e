//! Objects of every kind by id and name, and a proposer that does what a test says.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use swarmkit_api::{
    Cluster, Config, Extension, Network, Node, Resource, Secret, Service, Task, Volume,
    wire::{self, Driver},
};
use swarmkit_store::{
    Applied, Applier, Proposal, ProposeError, Proposer, Store, StoreError, Stored, Transaction, Update, Watch,
};
use swarmkit_testing::{env, named};
use tokio::task::unconstrained;

/// An object of any kind, by what all kinds have.
pub(crate) trait Sample: Stored {
    fn sample(id: &str, name: &str) -> Self;
}

macro_rules! sample {
    ($($kind:ident($object:ident, $name:ident) $set:block)*) => {$(
        impl Sample for $kind {
            fn sample(id: &str, $name: &str) -> Self {
                let mut $object = Self::new(id.into());
                $set
                $object
            }
        }
    )*};
}

sample! {
    Node(node, name) {
        node.description = Some(Arc::new(wire::NodeDescription { hostname: name.into(), ..Default::default() }));
    }
    Network(network, name) { Arc::make_mut(&mut network.spec).annotations = Some(named(name)); }
    Cluster(cluster, name) { Arc::make_mut(&mut cluster.spec).annotations = Some(named(name)); }
    Secret(secret, name) { Arc::make_mut(&mut secret.spec).annotations = Some(named(name)); }
    Config(config, name) { Arc::make_mut(&mut config.spec).annotations = Some(named(name)); }
    Extension(extension, name) { extension.annotations = named(name); }
    Resource(resource, name) {
        resource.annotations = named(name);
        resource.kind = "gadget".into();
    }
    Volume(volume, name) {
        let driver = Driver { name: "csi".into(), ..Default::default() };
        volume.spec = Arc::new(wire::VolumeSpec { annotations: Some(named(name)), driver: Some(driver), ..Default::default() });
    }
}

impl Sample for Service {
    fn sample(id: &str, name: &str) -> Self {
        let mut service = Self::new(id.into(), wire::ServiceSpec::default());
        Arc::make_mut(&mut service.spec).annotations = Some(named(name));
        service
    }
}

impl Sample for Task {
    fn sample(id: &str, name: &str) -> Self {
        let mut task = Self::new(id.into(), wire::TaskSpec::default());
        task.annotations = named(name);
        task
    }
}

/// An empty local store, in which resources of kind `gadget` may be created.
pub(crate) fn local() -> Store {
    let store = Store::local(env());
    write(&store, |tx| tx.create(Extension::sample("gadget", "gadget"))).unwrap();
    store
}

/// Runs a transaction on a store that commits at once.
pub(crate) fn write<T>(
    store: &Store,
    edit: impl FnOnce(&mut Transaction) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    unconstrained(store.update(edit))
        .now_or_never()
        .expect("the store commits at once")
        .map(|committed| committed.value)
}

/// The ids of what was found.
pub(crate) fn ids<'a, O: Stored>(found: impl IntoIterator<Item = &'a Arc<O>>) -> Vec<&'a str> {
    found.into_iter().map(|object| object.id().as_ref()).collect()
}

/// All updates that a watcher has not taken yet.
pub(crate) fn waiting(watch: &mut Watch) -> Vec<Update> {
    std::iter::from_fn(|| watch.try_next().unwrap()).collect()
}

/// A proposer that commits, fails and forgets when it is told to.
#[derive(Clone, Default)]
pub(crate) struct Held {
    applier: Arc<OnceLock<Applier>>,
    queue: Arc<Mutex<VecDeque<Proposal>>>,
    refusal: Arc<Mutex<Option<ProposeError>>>,
}

impl Held {
    pub(crate) fn store() -> (Self, Store) {
        let held = Self::default();
        (held.clone(), Store::new(env(), held))
    }

    pub(crate) fn applier(&self) -> &Applier {
        self.applier.get().unwrap()
    }

    /// Takes the oldest proposal out of the queue.
    pub(crate) fn take(&self) -> Proposal {
        self.queue.lock().pop_front().expect("something was proposed")
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.lock().len()
    }

    /// Commits the oldest proposal.
    pub(crate) fn commit(&self) -> Applied {
        let proposal = self.take();
        self.apply(&proposal.payload)
    }

    pub(crate) fn apply(&self, payload: &Bytes) -> Applied {
        self.applier().apply(payload).unwrap()
    }

    /// Refuses what is proposed from now on, or takes it again.
    pub(crate) fn refuse(&self, error: Option<ProposeError>) {
        *self.refusal.lock() = error;
    }
}

impl Proposer for Held {
    fn attach(&self, applier: Applier) {
        self.applier.set(applier).ok();
    }

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        if let Some(error) = &*self.refusal.lock() {
            return Err(error.clone());
        }
        self.queue.lock().push_back(proposal);
        Ok(())
    }
}

//! The loop around the decision.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use swarmkit_api::{Kind, Version};
use swarmkit_runtime::{Backoff, Env};
use swarmkit_store::{State, Store, StoreError, Transaction, Update, Watch};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, NetworkAllocator, NetworkOptions, NetworkProvider,
    plan::{Decision, Plan},
    world::World,
};

/// How long to wait before trying again what the store could not take for the moment.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Allocates until told to stop.
///
/// Works at once when something changes. While a decision is being committed further changes queue up, and the next
/// decision takes them all together.
///
/// # Errors
///
/// When this manager leads no more, its store was closed, or `provider` cannot work in this cluster.
pub async fn run(
    env: Env,
    store: Store,
    provider: Arc<dyn NetworkProvider>,
    stop: CancellationToken,
) -> Result<(), Error> {
    tokio::select! { biased; // nothing is decided after the stop
        () = stop.cancelled() => Ok(()),
        end = allocate(&env, &store, provider.as_ref()) => end,
    }
}

/// What is known, and what is given out. Both are built from the same snapshot, and amended by the same deltas.
struct Allocation<'p> {
    provider: &'p dyn NetworkProvider,
    networks: Box<dyn NetworkAllocator>,
    world: World,
    updates: Watch,
}

async fn allocate(env: &Env, store: &Store, provider: &dyn NetworkProvider) -> Result<(), Error> {
    let mut allocation = Allocation::new(store, provider)?;
    let mut retry = Backoff::new(RETRY.0, RETRY.1, env.rng("allocator"));
    loop {
        allocation.wait().await?;
        while !allocation.world.due.is_empty() {
            let due = std::mem::take(&mut allocation.world.due);
            let plan = allocation.world.plan(&due, allocation.networks.as_mut());
            match commit(store, &plan).await {
                Ok(outcome) => {
                    retry.reset();
                    allocation.world.note(&plan);
                    allocation.catch_up(outcome.written).await?;
                    for refused in outcome.refused {
                        plan.decisions[refused].put_back(&mut allocation.world.due, allocation.networks.as_mut());
                    }
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "allocations could not be committed; starting over");
                    env.sleep(retry.next_delay()).await;
                    allocation = Allocation::new(store, provider)?;
                    allocation.wait().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<'p> Allocation<'p> {
    fn new(store: &Store, provider: &'p dyn NetworkProvider) -> Result<Self, Error> {
        let updates = store.watch([Kind::Network, Kind::Service, Kind::Task]);
        let networks = provider.allocator(&NetworkOptions::default())?;
        Ok(Self { provider, networks, world: World::default(), updates })
    }

    /// Absorbs what happens next, and all that has happened with it.
    async fn wait(&mut self) -> Result<(), Error> {
        let update = self.updates.next().await?;
        self.absorb(&update)?;
        self.catch_up(Version::default()).await
    }

    /// Absorbs all that has arrived, at least up to a version: nothing is decided twice on the same facts.
    async fn catch_up(&mut self, version: Version) -> Result<(), Error> {
        while let Some(update) = self.updates.try_next()? {
            self.absorb(&update)?;
        }
        while self.world.version < version {
            let update = self.updates.next().await?;
            self.absorb(&update)?;
        }
        Ok(())
    }

    fn absorb(&mut self, update: &Update) -> Result<(), Error> {
        if let Update::Snapshot(view) = update {
            self.networks = self.provider.allocator(&options(view))?;
        }
        self.world.absorb(update, self.networks.as_mut());
        Ok(())
    }
}

fn options(state: &State) -> NetworkOptions {
    state.cluster().map_or_else(NetworkOptions::default, |cluster| NetworkOptions {
        default_address_pool: cluster.default_address_pool.clone(),
        subnet_size: cluster.subnet_size,
        vxlan_udp_port: cluster.vxlan_udp_port,
    })
}

/// What became of a plan.
#[derive(Default)]
struct Outcome {
    /// The version that holds the last of the writes. The least one when nothing was written.
    written: Version,
    /// The decisions that no longer applied, by their place in the plan.
    refused: Vec<usize>,
}

async fn commit(store: &Store, plan: &Plan) -> Result<Outcome, StoreError> {
    let outcome = Mutex::new(Outcome::default());
    let write = |index: usize, decision: &Decision, tx: &mut Transaction| {
        let before = tx.changes();
        let applied = decision.write(tx)?;
        let mut outcome = outcome.lock();
        if tx.changes() > before {
            outcome.written = tx.version().next();
        }
        if !applied {
            outcome.refused.push(index);
        }
        Ok::<(), StoreError>(())
    };
    let write = &write;
    let edits: Vec<_> =
        (0..).zip(&plan.decisions).map(|(n, it)| move |tx: &mut Transaction| write(n, it, tx)).collect();
    store.batch(edits).await?;
    Ok(outcome.into_inner())
}

//! The loop around the decision.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{Kind, Version};
use swarmkit_runtime::Env;
use swarmkit_store::{State, Store, Update, Watch};
use tokio_util::sync::CancellationToken;

use crate::{Error, NetworkAllocator, NetworkOptions, NetworkProvider, decision::Decision, world::World};

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
    let mut retry = store.retries("allocator");
    loop {
        allocation.wait().await?;
        while !allocation.world.due.is_empty() {
            let decisions = allocation.world.plan(allocation.networks.as_mut());
            match store.write_each(&decisions, Decision::write).await {
                Ok(written) => {
                    allocation.catch_up(written.version).await?;
                    for refused in &written.refused {
                        let Allocation { networks, world, .. } = &mut allocation;
                        decisions[*refused].put_back(world, networks.as_mut(), &store.view());
                    }
                    if written.refused.is_empty() || written.version > Version::default() {
                        retry.reset();
                    } else {
                        allocation.wait_at_most(env, retry.next_delay()).await?;
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
        let updates = store.watch([Kind::Network, Kind::Node, Kind::Service, Kind::Task]);
        let networks = provider.allocator(&NetworkOptions::default())?;
        Ok(Self { provider, networks, world: World::default(), updates })
    }

    /// Absorbs what happens next, and all that has happened with it.
    async fn wait(&mut self) -> Result<(), Error> {
        let update = self.updates.next().await?;
        absorb(self.provider, &mut self.networks, &mut self.world, &update)?;
        self.catch_up(Version::default()).await
    }

    /// Absorbs what happens next, unless nothing does for that long: what others have written was seen, but is not
    /// committed yet, and may never be.
    async fn wait_at_most(&mut self, env: &Env, delay: Duration) -> Result<(), Error> {
        tokio::select! { biased; // what happens makes the wait needless
            end = self.wait() => end,
            () = env.sleep(delay) => Ok(()),
        }
    }

    /// Absorbs all that has arrived, at least up to a version: nothing is decided twice on the same facts.
    async fn catch_up(&mut self, version: Version) -> Result<(), Error> {
        let Self { provider, networks, world, updates } = self;
        let at = world.version;
        updates.catch_up(at, version, |update| absorb(*provider, networks, world, update)).await?;
        Ok(())
    }
}

fn absorb(
    provider: &dyn NetworkProvider,
    networks: &mut Box<dyn NetworkAllocator>,
    world: &mut World,
    update: &Update,
) -> Result<(), Error> {
    if let Update::Snapshot(view) = update {
        *networks = provider.allocator(&options(view))?;
    }
    world.absorb(update, networks.as_mut());
    Ok(())
}

fn options(state: &State) -> NetworkOptions {
    state.cluster().map_or_else(NetworkOptions::default, |cluster| NetworkOptions {
        default_address_pool: cluster.default_address_pool.clone(),
        subnet_size: cluster.subnet_size,
        vxlan_udp_port: cluster.vxlan_udp_port,
    })
}

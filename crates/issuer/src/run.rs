//! The loop of the leader: whoever waits for a certificate gets an answer.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use swarmkit_api::{Kind, Node, NodeId};
use swarmkit_runtime::{Backoff, Env};
use swarmkit_store::{Change, Interest, Store, Transaction, Update};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Decision, Error, decide, sign::Signer};

/// The shortest and the longest pause before what could not be signed is tried again. The longest is upstream's.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How many certificates are made before the first of them is stored. Each takes a fraction of a millisecond, and
/// nothing else runs on this thread meanwhile.
const SIGNED_AT_ONCE: usize = 64;

/// Signs what is pending, until told to stop.
///
/// A request that cannot be answered now, because the root certificate cannot be used or a write did not get through,
/// keeps its place and is tried again.
///
/// # Errors
///
/// When leadership was lost.
pub async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    let mut updates = store.watch(Interest::none().kinds([Kind::Node, Kind::Cluster]));
    let mut desk = Desk::new(&env);
    loop {
        let pause = desk.pause();
        tokio::select! { biased; // stopping comes first, and news before work, so that work is done on the newest
            () = stop.cancelled() => return Ok(()),
            update = updates.next() => desk.absorb(&update.map_err(|_| Error::Stopped)?),
            () = env.sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
        while let Some(update) = updates.try_next().map_err(|_| Error::Stopped)? {
            desk.absorb(&update);
        }
        if desk.pause() == Some(Duration::ZERO) {
            desk.work(&env, &store).await?;
        }
    }
}

/// Who waits for a certificate, and who signs it.
struct Desk {
    waiting: BTreeSet<NodeId>,
    signer: Signer,
    retry: Backoff,
    /// Not before then, since the last attempt failed.
    not_before: Option<Instant>,
}

impl Desk {
    fn new(env: &Env) -> Self {
        let retry = Backoff::new(RETRY.0, RETRY.1, env.rng("issuer"));
        Self { waiting: BTreeSet::new(), signer: Signer::default(), retry, not_before: None }
    }

    fn absorb(&mut self, update: &Update) {
        match update {
            Update::Snapshot(view) => {
                let waits = |node: &&Arc<Node>| decide(node) == Decision::Sign;
                self.waiting = view.all::<Node>().filter(waits).map(|node| node.id.clone()).collect();
            }
            Update::Delta(delta) => delta.changes.iter().for_each(|change| self.absorb_change(change)),
        }
    }

    fn absorb_change(&mut self, change: &Change) {
        if let Some(node) = change.as_::<Node>() {
            if node.after.as_ref().is_some_and(|node| decide(node) == Decision::Sign) {
                self.waiting.insert(node.id().clone());
            } else {
                self.waiting.remove(node.id());
            }
        } else {
            // Another root may be one that can sign.
            self.not_before = None;
        }
    }

    /// How long until there is something to do. `None` when nobody waits.
    fn pause(&self) -> Option<Duration> {
        let pause = self.not_before.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default();
        (!self.waiting.is_empty()).then_some(pause)
    }

    /// Answers some of those who wait. Who could not be answered waits on.
    async fn work(&mut self, env: &Env, store: &Store) -> Result<(), Error> {
        let batch: Vec<_> = self.waiting.iter().take(SIGNED_AT_ONCE).cloned().collect();
        match self.answer(&batch, env, store).await {
            Ok(()) => {
                // A request that came in meanwhile is among the news, and takes its place again.
                for node in &batch {
                    self.waiting.remove(node);
                }
                self.retry.reset();
                self.not_before = None;
                Ok(())
            }
            Err(error) if error.is_transient() => {
                let pause = self.retry.next_delay();
                tracing::warn!(%error, ?pause, waiting = self.waiting.len(), "certificates cannot be issued now");
                self.not_before = Some(Instant::now() + pause);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn answer(&mut self, batch: &[NodeId], env: &Env, store: &Store) -> Result<(), Error> {
        let view = store.view();
        let cluster = view.cluster().ok_or(Error::Starting)?;
        let pending = batch.iter().filter_map(|id| view.get::<Node>(id)).filter(|node| decide(node) == Decision::Sign);
        let signed: Vec<_> = pending.map(|node| self.signer.sign(node, cluster, env)).collect::<Result<_, Error>>()?;
        store.batch(signed.into_iter().map(|signed| move |tx: &mut Transaction| signed.write(tx))).await?;
        Ok(())
    }
}

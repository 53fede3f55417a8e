//! The loop of the leader: whoever waits for a certificate gets an answer.

use std::{collections::BTreeSet, ops::Bound, sync::Arc, time::Duration};

use swarmkit_api::{Cluster, Kind, Node, NodeId};
use swarmkit_ca::ExternalCa;
use swarmkit_runtime::{Backoff, Env};
use swarmkit_store::{Change, Interest, Store, Transaction, Update};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Decision, Error, decide,
    outside::{Answered, Outside},
    sign::{Signed, Signer, Step},
};

/// The shortest and the longest pause before what could not be signed is tried again. The longest is upstream's.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How many certificates are made before the first of them is stored. Each takes a fraction of a millisecond, and
/// nothing else runs on this thread meanwhile.
const SIGNED_AT_ONCE: usize = 64;

/// Signs what is pending, until told to stop. Where the cluster's settings name authorities outside of it, `external` asks
/// them.
///
/// A request that cannot be answered now, because the root certificate cannot be used, an authority does not answer or a
/// write did not get through, keeps its place and is tried again.
///
/// # Errors
///
/// When leadership was lost.
pub async fn run(env: Env, store: Store, external: Arc<dyn ExternalCa>, stop: CancellationToken) -> Result<(), Error> {
    let mut updates = store.watch(Interest::none().kinds([Kind::Node, Kind::Cluster]));
    let mut desk = Desk::new(&env, external);
    loop {
        let pause = desk.pause();
        tokio::select! { biased; // stopping comes first, and news before work, so that work is done on the newest
            () = stop.cancelled() => return Ok(()),
            update = updates.next() => desk.absorb(&update.map_err(|_| Error::Stopped)?),
            answered = desk.outside.next() => desk.take(answered, &store).await?,
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
    outside: Outside,
    retry: Backoff,
    /// Not before then, since the last attempt failed.
    not_before: Option<Instant>,
    /// Who was tried last. The others come before it: what one request does to an authority is not their fault.
    last: Option<NodeId>,
}

impl Desk {
    fn new(env: &Env, external: Arc<dyn ExternalCa>) -> Self {
        let retry = Backoff::new(RETRY.0, RETRY.1, env.rng("issuer"));
        let outside = Outside::new(external, env.clone());
        Self { waiting: BTreeSet::new(), signer: Signer::default(), outside, retry, not_before: None, last: None }
    }

    fn absorb(&mut self, update: &Update) {
        match update {
            Update::Snapshot(view) => {
                let waits = |node: &&Arc<Node>| decide(node) == Decision::Sign;
                self.waiting = view.all::<Node>().filter(waits).map(|node| node.id.clone()).collect();
                self.other_signer();
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
        } else if let Some(cluster) = change.as_::<Cluster>() {
            let signers = |cluster: &Arc<Cluster>| (cluster.root_ca.clone(), cluster.spec.ca_config.clone());
            if cluster.before.as_ref().map(signers) != cluster.after.as_ref().map(signers) {
                self.other_signer();
            }
        }
    }

    /// Another root may be one that can sign, and another authority one that answers.
    fn other_signer(&mut self) {
        self.outside.forget();
        self.retry.reset();
        self.not_before = None;
    }

    /// How long until there is something to do. `None` when nobody waits, or nobody who is not being answered already.
    fn pause(&self) -> Option<Duration> {
        let pause = self.not_before.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default();
        let somebody = self.free() > 0 && self.waiting.iter().any(|node| !self.outside.has(node));
        somebody.then_some(pause)
    }

    fn free(&self) -> usize {
        self.outside.free(self.not_before.is_none())
    }

    /// Who is tried next.
    fn batch(&self) -> Vec<NodeId> {
        let later = match &self.last {
            Some(last) => (Bound::Excluded(last), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let later = self.waiting.range::<NodeId, _>(later);
        let rest = self.waiting.iter().take_while(|node| self.last.as_ref().is_some_and(|last| *node <= last));
        later.chain(rest).filter(|node| !self.outside.has(node)).take(SIGNED_AT_ONCE).cloned().collect()
    }

    /// Answers some of those who wait. Who could not be answered waits on.
    async fn work(&mut self, env: &Env, store: &Store) -> Result<(), Error> {
        let batch = self.batch();
        let answered = self.answer(&batch, env, store).await;
        self.settle(answered)
    }

    async fn answer(&mut self, batch: &[NodeId], env: &Env, store: &Store) -> Result<(), Error> {
        let view = store.view();
        let cluster = view.cluster().ok_or(Error::Starting)?;
        let mut signed = Vec::new();
        for id in batch {
            match view.get::<Node>(id).filter(|node| decide(node) == Decision::Sign) {
                None => drop(self.waiting.remove(id)),
                Some(node) => match self.signer.sign(node, cluster, env)? {
                    Step::Answered(answer) => signed.push(answer),
                    Step::Ask(_) if self.free() == 0 => break,
                    Step::Ask(question) => {
                        self.last = Some(id.clone());
                        self.outside.ask(*question);
                    }
                },
            }
        }
        self.write(signed, store).await
    }

    /// Stores the answer of somebody outside, if it is for the root that the cluster still has.
    async fn take(&mut self, answered: Answered, store: &Store) -> Result<(), Error> {
        let Answered { node: _, of, outcome } = answered;
        let written = match outcome {
            Ok(signed) => {
                let same = store.view().cluster().is_some_and(|cluster| cluster.root_ca == of);
                self.write(same.then_some(signed).into_iter().collect(), store).await
            }
            Err(error) => Err(Error::External(error)),
        };
        self.settle(written)
    }

    async fn write(&mut self, signed: Vec<Signed>, store: &Store) -> Result<(), Error> {
        if signed.is_empty() {
            return Ok(());
        }
        let nodes: Vec<_> = signed.iter().map(|signed| signed.node().clone()).collect();
        store.batch(signed.into_iter().map(|signed| move |tx: &mut Transaction| signed.write(tx))).await?;
        // Another request of the same node may have come in meanwhile, and its news have been absorbed already.
        let view = store.view();
        for id in nodes {
            if view.get::<Node>(&id).is_none_or(|node| decide(node) == Decision::Leave) {
                self.waiting.remove(&id);
            }
        }
        self.retry.reset();
        self.not_before = None;
        Ok(())
    }

    /// What may work later is tried again later. Several failures at once are one.
    fn settle(&mut self, worked: Result<(), Error>) -> Result<(), Error> {
        match worked {
            Err(error) if error.is_transient() => {
                let now = Instant::now();
                if self.not_before.is_none_or(|at| at <= now) {
                    let pause = self.retry.next_delay();
                    tracing::warn!(%error, ?pause, waiting = self.waiting.len(), "certificates cannot be issued now");
                    self.not_before = Some(now + pause);
                }
                Ok(())
            }
            other => other,
        }
    }
}

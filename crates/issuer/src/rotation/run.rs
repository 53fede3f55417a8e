//! The loop around the decisions, which the leader runs.

use std::time::Duration;

use swarmkit_api::{Kind, Node, NodeId, wire, wire::issuance_status::State};
use swarmkit_runtime::Env;
use swarmkit_store::{Interest, Store, StoreError, Transaction};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Rotation,
    finish::finish,
    is_renewing,
    turns::{Step, TURN, Turns},
};
use crate::Error;

/// Replaces the root whenever the cluster is to have another one, until told to stop.
///
/// # Errors
///
/// When leadership was lost.
pub async fn rotate(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    let mut updates = store.watch(Interest::none().kinds([Kind::Node, Kind::Cluster]));
    let mut retry = store.retries("root rotation");
    let mut turns = Turns::default();
    let mut again: Option<Instant> = None;
    loop {
        let pause = again.map(|at| at.saturating_duration_since(Instant::now()));
        tokio::select! { biased; // stopping comes first, and news before what follows from them
            () = stop.cancelled() => return Ok(()),
            update = updates.next() => turns.absorb(&update.map_err(|_| Error::Stopped)?, Instant::now()),
            () = env.sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
        while let Some(update) = updates.try_next().map_err(|_| Error::Stopped)? {
            turns.absorb(&update, Instant::now());
        }
        let step = turns.step(&store.view(), Instant::now());
        let done = tokio::select! { biased; // what was not written is written by the next leader
            () = stop.cancelled() => return Ok(()),
            done = carry_out(step, &turns, &env, &store) => done,
        };
        again = match done {
            Ok(until) => {
                retry.reset();
                until
            }
            Err(error) if error.is_transient() => {
                let pause: Duration = retry.next_delay();
                tracing::warn!(%error, ?pause, "the root cannot be replaced now");
                Some(Instant::now() + pause)
            }
            Err(error) => return Err(error.into()),
        };
    }
}

/// Does what there is to do, and gives when to look again although there may be no news by then.
async fn carry_out(step: Step, turns: &Turns, env: &Env, store: &Store) -> Result<Option<Instant>, StoreError> {
    let Some(rotation) = turns.rotation() else { return Ok(None) };
    match step {
        Step::Rest(until) => return Ok(until),
        Step::Tell(nodes) => {
            tracing::info!(nodes = nodes.len(), "nodes are told to get a certificate of the next root");
            store.batch(nodes.into_iter().map(|node| |tx: &mut Transaction| tell(tx, node, rotation))).await?;
        }
        Step::Finish => {
            if finish(store, rotation, env).await? {
                tracing::info!("the root of the cluster was replaced");
            }
        }
    }
    Ok(Some(Instant::now() + TURN))
}

/// Tells a node to renew, if it still has to.
fn tell(tx: &mut Transaction, node: NodeId, rotation: &Rotation) -> Result<(), StoreError> {
    let leads_there = tx.cluster().is_some_and(|cluster| rotation.leads_where(cluster));
    let Some(stored) = tx.get::<Node>(&node).filter(|node| leads_there && rotation.awaits(node)) else {
        return Ok(());
    };
    if is_renewing(stored) {
        return Ok(());
    }
    let told = Some(wire::IssuanceStatus { state: State::Rotate.into(), err: String::new() });
    tx.edit::<Node>(&node, |node| node.certificate.status = told).map(drop)
}

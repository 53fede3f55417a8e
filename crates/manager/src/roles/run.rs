//! The loop around the decision, which the leader runs.

use std::time::Duration;

use swarmkit_api::{Kind, Node, NodeId, NodeRole};
use swarmkit_raft::{Raft, RaftError};
use swarmkit_runtime::{Env, PartError};
use swarmkit_store::{Interest, Store, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Step, Unsettled};

/// The pause before what could not be done is tried again, as upstream.
const RETRY: Duration = Duration::from_secs(5);
/// How long a member may take to leave raft, as upstream.
const REMOVAL: Duration = Duration::from_secs(5);

/// Brings members and roles to what is wanted, until told to stop.
///
/// # Errors
///
/// When leadership was lost, or raft has ended.
pub(crate) async fn run(env: Env, store: Store, raft: Raft, stop: CancellationToken) -> Result<(), PartError> {
    let mut updates = store.watch(Interest::none().kinds([Kind::Node]));
    let mut members = raft.watch_members();
    let mut unsettled = Unsettled::default();
    let mut tried: Option<(Vec<Step>, Instant)> = None;
    loop {
        let again = tried.as_ref().map(|(_, at)| (*at + RETRY).saturating_duration_since(Instant::now()));
        tokio::select! { biased; // stopping comes first, and news before what is to be tried again
            () = stop.cancelled() => return Ok(()),
            update = updates.next() => unsettled.absorb(&update?),
            changed = members.changed() => drop(changed?),
            () = env.sleep(again.unwrap_or_default()), if again.is_some() => {}
        }
        while let Some(update) = updates.try_next()? {
            unsettled.absorb(&update);
        }
        let steps = unsettled.plan(&store.view(), &members.latest(), raft.raft_id());
        let rests = tried.as_ref().is_some_and(|(last, at)| *last == steps && at.elapsed() < RETRY);
        if rests {
            continue;
        }
        if steps.is_empty() {
            tried = None;
            continue;
        }
        tokio::select! { biased; // what was begun is taken up by the next leader
            () = stop.cancelled() => return Ok(()),
            done = carry_out(&steps, &store, &raft) => done?,
        }
        tried = Some((steps, Instant::now()));
    }
}

/// Carries out each step. One that fails for now is told, and is found again in the next plan.
async fn carry_out(steps: &[Step], store: &Store, raft: &Raft) -> Result<(), StoreError> {
    let roles = steps.iter().filter_map(|step| match step {
        Step::SetRole { node, role } => Some((node, *role)),
        Step::Remove { .. } | Step::HandOver { .. } => None,
    });
    match set_roles(roles.collect(), store).await {
        Err(error) if error.is_transient() => tracing::warn!(%error, "roles cannot be changed now"),
        done => done?,
    }
    for step in steps {
        let (done, node) = match step {
            Step::SetRole { .. } => continue,
            Step::Remove { node, raft_id } => (remove(raft, *raft_id).await, Some(node)),
            Step::HandOver { raft_id } => (hand_over(raft, *raft_id).await, None),
        };
        match (done, node) {
            (Ok(()), Some(node)) => tracing::info!(%node, "a manager has left raft"),
            (Ok(()), None) => tracing::info!("this manager is to leave raft, and another one leads"),
            (Err(error), Some(node)) => tracing::warn!(%node, %error, "a manager cannot leave raft now"),
            (Err(error), None) => tracing::warn!(%error, "this manager cannot leave raft now"),
        }
    }
    Ok(())
}

/// Writes the roles of nodes that are wanted so still.
async fn set_roles(roles: Vec<(&NodeId, NodeRole)>, store: &Store) -> Result<(), StoreError> {
    if roles.is_empty() {
        return Ok(());
    }
    store
        .update(|tx| {
            for (id, role) in roles {
                let Some(stored) = tx.get::<Node>(id) else { continue };
                if stored.spec.desired_role() != role || stored.role == role {
                    continue;
                }
                let mut node = Node::clone(stored);
                node.role = role;
                tx.update(node)?;
                tracing::info!(node = %id, ?role, "the role of a node");
            }
            Ok::<_, StoreError>(())
        })
        .await
        .map(drop)
}

async fn remove(raft: &Raft, raft_id: u64) -> Result<(), RaftError> {
    let removal = tokio::time::timeout(REMOVAL, raft.remove(raft_id)).await;
    match removal.unwrap_or(Err(RaftError::TimedOut("the removal of a member"))) {
        // Somebody was faster.
        Err(RaftError::UnknownMember) => Ok(()),
        done => done,
    }
}

/// Lets another manager lead, which then removes this one. Where that cannot be, this one removes itself.
async fn hand_over(raft: &Raft, own: u64) -> Result<(), RaftError> {
    match raft.transfer_leadership(None).await {
        Ok(()) => Ok(()),
        Err(error) => {
            tracing::warn!(%error, "leadership cannot be handed over");
            remove(raft, own).await
        }
    }
}

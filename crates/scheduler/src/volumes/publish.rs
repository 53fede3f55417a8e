//! What is written about volumes when a task is assigned to a node.

use swarmkit_api::{
    NodeId, Volume,
    wire::{VolumePublishStatus, volume_publish_status::State},
};
use swarmkit_store::{StoreError, Transaction};

use super::{Chosen, fit::is_leaving};

/// Asks for the volumes of a task to be published on its node, each once, if they are still what they were when they
/// were chosen; gives whether they are. Writes nothing otherwise.
pub(crate) fn publish(tx: &mut Transaction, node: &NodeId, chosen: &[Chosen]) -> Result<bool, StoreError> {
    let still_holds = |chosen: &Chosen| {
        tx.get::<Volume>(&chosen.volume.id).is_some_and(|stored| looks_the_same(stored, &chosen.volume, node))
    };
    if !chosen.iter().all(still_holds) {
        return Ok(false);
    }
    for Chosen { volume, .. } in chosen {
        let has_entry = |stored: &Volume| stored.publish_status.iter().any(|entry| entry.node_id == node.as_str());
        if !tx.get::<Volume>(&volume.id).is_some_and(|stored| has_entry(stored)) {
            let node_id = node.to_string();
            let entry = VolumePublishStatus { node_id, state: State::PendingPublish.into(), ..Default::default() };
            tx.edit::<Volume>(&volume.id, |stored| stored.publish_status.push(entry))?;
        }
    }
    Ok(true)
}

/// Whether two records of a volume are the same to a task on a node. Who else has it is nobody's to change but the
/// scheduler's, and when fewer have it, that is no hindrance.
fn looks_the_same(stored: &Volume, known: &Volume, node: &NodeId) -> bool {
    stored.spec == known.spec
        && stored.volume_info == known.volume_info
        && stored.pending_delete == known.pending_delete
        && !is_leaving(stored, node)
}

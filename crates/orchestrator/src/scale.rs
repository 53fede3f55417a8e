//! Which slots a replicated service gives up.

use std::collections::BTreeMap;

use swarmkit_api::{NodeId, Service, TaskState};

use crate::slot::{Slot, SlotKey};

/// The slots that go when only `keep` of them stay.
///
/// Those go first that run nowhere yet, or have several tasks; then the surplus on the nodes with the most slots of the
/// service. Among equals those go first whose task does not run, then those with higher numbers.
pub(crate) fn surplus<'s>(
    service: &Service,
    slots: impl Iterator<Item = (&'s SlotKey, &'s Slot)>,
    keep: usize,
) -> Vec<SlotKey> {
    let mut order: Vec<_> = slots
        .map(|(key, slot)| {
            let tasks = slot.updatable(service);
            let runs = tasks.iter().any(|task| task.status.state == TaskState::Running);
            let node = if let [task] = tasks.as_slice() { task.node_id.as_ref() } else { None };
            (!runs, key, node)
        })
        .collect();
    order.sort();
    let mut on_node = BTreeMap::<&NodeId, usize>::new();
    let mut ranked: Vec<_> = order
        .into_iter()
        .map(|(_, key, node)| {
            let rank = node.map_or(usize::MAX, |node| {
                let slots = on_node.entry(node).or_default();
                *slots += 1;
                *slots
            });
            (rank, key)
        })
        .collect();
    // Stable, so the order among equals stays.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().skip(keep).map(|(_, key)| key.clone()).collect()
}

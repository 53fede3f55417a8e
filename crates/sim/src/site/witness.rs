//! Who watches a member from outside, and tells the oracle.

use std::sync::Arc;

use swarmkit_api::{Config, wire::StoreSnapshot};
use swarmkit_raft::Role;
use swarmkit_store::{Interest, Update};

use super::{Member, World};
use crate::bug::Bug;

/// The machine whose memory has a fault, where one has.
const FORGETFUL: &str = "n2";

/// Tells of every change of a member's role.
pub(super) async fn watch_role(world: World, name: Arc<str>, member: Member) {
    let mut leadership = member.raft.leadership();
    let mut role = leadership.latest();
    loop {
        world.trace.line(&name, format_args!("{}", shown(&role)));
        world.oracle.role(member.raft.raft_id(), &role, member.store.version().0);
        let changed = tokio::select! { biased; // the dead say nothing
            () = member.life.cancelled() => return,
            changed = leadership.changed() => changed,
        };
        let Ok(next) = changed else { return };
        role = next;
    }
}

/// Changes something that no client looks at.
fn flip(held: &mut StoreSnapshot) {
    if let Some(config) = held.configs.first_mut() {
        let annotations = config.spec.get_or_insert_default().annotations.get_or_insert_default();
        annotations.labels.insert("flipped".into(), String::new());
    }
}

fn shown(role: &Role) -> String {
    match role {
        Role::Leader { term } => format!("leads term {term}"),
        Role::Follower { leader: Some(leader) } => format!("follows {}", leader.node_id),
        Role::Follower { leader: None } => "follows nobody".to_owned(),
    }
}

/// Tells of every state that a replica goes through, and whether it is the leader's.
pub(super) async fn watch_states(world: World, name: Arc<str>, life: u64, member: Member) {
    let mut watch = member.store.watch(Interest::all());
    let mut healthy = world.bug != Some(Bug::MemoryFault) || *name != *FORGETFUL;
    loop {
        let update = tokio::select! { biased; // the dead change nothing
            () = member.life.cancelled() => return,
            update = watch.next() => update,
        };
        let Ok(update) = update else { return };
        let view = match &update {
            Update::Snapshot(view) => view,
            Update::Delta(delta) => &delta.view,
        };
        world.trace.line(&name, format_args!("applied {}", view.version().0));
        world.oracle.reached(&name, life, view);
        world.oracle.compared(&name, member.store.divergence());
        if !healthy && view.count::<Config>() > 0 {
            healthy = true;
            world.trace.line(&name, format_args!("has a fault in its memory"));
            swarmkit_testing::tamper(&member.store, flip);
        }
    }
}

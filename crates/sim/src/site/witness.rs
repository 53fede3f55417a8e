//! Who watches a member from outside, and tells the oracle.

use std::sync::Arc;

use swarmkit_raft::Role;
use swarmkit_store::{Interest, Update};

use super::{Member, World};

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

fn shown(role: &Role) -> String {
    match role {
        Role::Leader { term } => format!("leads term {term}"),
        Role::Follower { leader: Some(leader) } => format!("follows {}", leader.node_id),
        Role::Follower { leader: None } => "follows nobody".to_owned(),
    }
}

/// Tells of every state that a replica goes through.
pub(super) async fn watch_states(world: World, name: Arc<str>, life: u64, member: Member) {
    let mut watch = member.store.watch(Interest::all());
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
    }
}

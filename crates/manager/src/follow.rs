//! What a manager derives from its raft member and its store, and keeps up to date for its services.

use std::collections::BTreeSet;

use swarmkit_api::{
    Cluster, Kind, NodeId, wire,
    wire::{ManagerStatus, raft_member_status::Reachability},
};
use swarmkit_control::{MemberSet, Members};
use swarmkit_raft::{MemberStatus, Raft, RaftError, Role, SnapshotPolicy};
use swarmkit_rpc::{Authority, Leader};
use swarmkit_store::{Store, WatchEnded};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::address::is_same;

/// What follows from who leads.
pub(crate) struct Followed {
    /// Where this manager is reached now. The log may still hold the address that it had before.
    pub(crate) own_addr: String,
    pub(crate) leader: watch::Sender<Leader>,
    pub(crate) managers: watch::Sender<Vec<wire::Peer>>,
    pub(crate) members: Members,
}

/// Tells everybody who leads and who the members are.
pub(crate) async fn raft(raft: Raft, followed: Followed, stop: CancellationToken) -> Result<(), RaftError> {
    let (mut leadership, mut members) = (raft.leadership(), raft.watch_members());
    loop {
        followed.tell(raft.raft_id(), &leadership.latest(), members.latest());
        tokio::select! { biased; // stopping comes first, then who leads
            () = stop.cancelled() => return Ok(()),
            role = leadership.changed() => drop(role?),
            changed = members.changed() => drop(changed?),
        }
    }
}

impl Followed {
    fn tell(&self, own: u64, role: &Role, mut members: Vec<MemberStatus>) {
        for status in members.iter_mut().filter(|status| status.member.raft_id == own) {
            if !is_same(&self.own_addr, &status.member.addr) {
                status.member.addr.clone_from(&self.own_addr);
            }
        }
        let (leader, leader_id) = match role {
            Role::Leader { .. } => (Leader::Here, Some(own)),
            Role::Follower { leader: Some(member) } => (Leader::At(member.addr.clone()), Some(member.raft_id)),
            Role::Follower { leader: None } => (Leader::unknown(), None),
        };
        let statuses: MemberSet = members
            .iter()
            .map(|MemberStatus { member, reachable, .. }| {
                let reachability = match reachable {
                    None => Reachability::Unknown,
                    Some(false) => Reachability::Unreachable,
                    Some(true) => Reachability::Reachable,
                };
                let status = ManagerStatus {
                    raft_id: member.raft_id,
                    addr: member.addr.clone(),
                    leader: Some(member.raft_id) == leader_id,
                    reachability: reachability.into(),
                };
                (member.node_id.clone(), status)
            })
            .collect();
        self.members.set(statuses);
        // Who does not vote yet may not have got far enough to be of use to anybody.
        let peers: Vec<_> = members
            .into_iter()
            .filter(|status| status.member.voter)
            .map(|MemberStatus { member, .. }| wire::Peer { node_id: member.node_id.into(), addr: member.addr })
            .collect();
        self.managers.send_if_modified(|known| {
            let changed = *known != peers;
            *known = peers;
            changed
        });
        self.leader.send_if_modified(|known| {
            // What was not known before is not known since then.
            let changed = *known != leader && (known.is_known() || leader.is_known());
            if changed {
                *known = leader;
            }
            changed
        });
    }
}

impl Drop for Followed {
    /// What was told last does not hold for ever: nothing leads through a manager that has ended.
    fn drop(&mut self) {
        self.leader.send_replace(Leader::unknown());
    }
}

/// Does what the cluster object asks of every manager: keeps removed nodes out, whose certificates still verify, and takes
/// snapshots as often as it says.
pub(crate) async fn cluster(
    store: Store,
    authority: Authority,
    raft: Raft,
    stop: CancellationToken,
) -> Result<(), WatchEnded> {
    let mut updates = store.watch(Kind::Cluster);
    loop {
        let update = tokio::select! { biased; // stopping comes first
            () = stop.cancelled() => return Ok(()),
            update = updates.next() => update?,
        };
        let cluster = update.view().cluster();
        authority.set_removed(cluster.map(|cluster| blacklisted(cluster)).unwrap_or_default());
        if let Some(config) = cluster.and_then(|cluster| cluster.spec.raft.as_ref()) {
            raft.set_snapshot_policy(snapshot_policy(config));
        }
    }
}

fn snapshot_policy(config: &wire::RaftConfig) -> SnapshotPolicy {
    SnapshotPolicy {
        interval: config.snapshot_interval,
        kept_entries: config.log_entries_for_slow_followers,
        kept_snapshots: config.keep_old_snapshots,
    }
}

fn blacklisted(cluster: &Cluster) -> BTreeSet<NodeId> {
    cluster.blacklisted_certificates.keys().map(|node| NodeId::from(node.as_str())).collect()
}

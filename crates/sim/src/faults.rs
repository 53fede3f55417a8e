//! What goes wrong, and when.
//!
//! A fault is a variant of [`Fault`] and an arm of `strike`. One that ends by itself spawns its end; the healing at the end of
//! a run undoes whatever is left, so a fault that changes something must be known to `Cluster::heal` too.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, rngs::SmallRng, seq::IndexedRandom as _};
use swarmkit_api::NodeId;
use tokio::time::Instant;

use crate::{cluster::Cluster, disk::Moment, network::Weather, plan::Plan, site::Site};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Messages are lost, late, repeated and reordered.
    Weather,
    /// The machines fall into two groups that do not hear each other.
    Split,
    /// The leader is alone.
    LeaderAlone,
    /// Somebody hears, and is not heard, or the reverse.
    OneWay,
    /// A machine loses power.
    PowerCut,
    /// All machines lose power at once.
    Blackout,
    /// A machine, often the leader, loses power at a chosen moment of its disk.
    PowerCutAt,
    /// All machines lose power, one after the other, within a few syncs.
    RollingBlackout,
    /// A process is killed.
    Kill,
    /// A process is told to stop.
    Stop,
    /// A process is held up for a while.
    Pause,
    /// A disk takes long for each sync.
    SlowDisk,
    /// A disk is full.
    DiskFull,
    /// A disk fails to sync.
    SyncFails,
    /// A disk changes a bit of what it holds, and the machine restarts.
    Decay,
    /// The leader hands leadership on.
    Transfer,
    /// The leader hands leadership on, and nobody hears of it.
    TransferInTheDark,
    /// A member is replaced by one that never was.
    Replace,
    /// A clock jumps.
    ClockJump,
    /// A member seals everything with another key.
    NewKey,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Weather,
        Self::Split,
        Self::LeaderAlone,
        Self::OneWay,
        Self::PowerCut,
        Self::Blackout,
        Self::PowerCutAt,
        Self::RollingBlackout,
        Self::Kill,
        Self::Stop,
        Self::Pause,
        Self::SlowDisk,
        Self::DiskFull,
        Self::SyncFails,
        Self::Decay,
        Self::Transfer,
        Self::TransferInTheDark,
        Self::Replace,
        Self::ClockJump,
        Self::NewKey,
    ];
}

/// Lets faults happen, one after the other, for as long as the plan says.
pub(crate) async fn happen(cluster: Cluster, plan: Plan, mut rng: SmallRng) {
    let end = Instant::now() + plan.faults_for;
    let faults: Vec<Fault> = plan.faults.iter().copied().collect();
    loop {
        let pause = Duration::from_millis(rng.random_range(plan.pace_ms.0..=plan.pace_ms.1));
        tokio::time::sleep(pause).await;
        if Instant::now() >= end {
            return;
        }
        if let Some(&fault) = faults.choose(&mut rng) {
            cluster.strike(fault, &mut rng).await;
        }
    }
}

impl Cluster {
    /// Lets one fault happen.
    async fn strike(&self, fault: Fault, rng: &mut SmallRng) {
        let victim = self.victim(rng).clone();
        self.world.trace.line("fault", format_args!("{fault:?} {}", victim.node));
        let nodes: Vec<NodeId> = self.sites.iter().map(|site| site.node.clone()).collect();
        let alone = [victim.node.clone()];
        let network = &self.world.network;
        match fault {
            Fault::Weather => {
                network.weather(if rng.random_bool(0.5) { Weather::STORM } else { Weather::RAIN });
                self.later(rng, 2000, |cluster| cluster.world.network.weather(Weather::FAIR));
            }
            Fault::Split => {
                let (left, right): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|_| rng.random_bool(0.5));
                network.cut(&left, &right);
                network.cut(&right, &left);
                self.later(rng, 3000, |cluster| cluster.world.network.mend());
            }
            Fault::LeaderAlone => {
                let Some((leader, _)) = self.leader() else { return };
                let alone = [leader.node.clone()];
                network.cut(&alone, &nodes);
                network.cut(&nodes, &alone);
                self.later(rng, 3000, |cluster| cluster.world.network.mend());
            }
            Fault::OneWay => {
                if rng.random_bool(0.5) {
                    network.cut(&alone, &nodes);
                } else {
                    network.cut(&nodes, &alone);
                }
                self.later(rng, 3000, |cluster| cluster.world.network.mend());
            }
            Fault::PowerCut => victim.cut_power(),
            Fault::Blackout => self.sites.iter().for_each(|site| site.cut_power()),
            Fault::PowerCutAt => aim(&victim, rng),
            Fault::RollingBlackout => {
                for site in self.sites.iter() {
                    site.disk.cut_power_at(Moment::Appended, rng.random_range(0..3));
                }
            }
            Fault::Kill => victim.kill(),
            Fault::Stop => victim.stop(),
            Fault::Pause => {
                victim.pause(true);
                self.later(rng, 2500, move |_| victim.pause(false));
            }
            Fault::SlowDisk => {
                victim.disk.sync_takes(20, rng.random_range(30..300));
                self.later(rng, 4000, move |_| victim.disk.sync_takes(1, 4));
            }
            Fault::DiskFull => {
                victim.disk.fill_up_after(rng.random_range(0..4000));
                self.later(rng, 3000, move |_| victim.disk.repair());
            }
            Fault::SyncFails => {
                victim.disk.fail_syncs();
                self.later(rng, 1000, move |_| {
                    // What such a disk holds is only known after it was started afresh.
                    victim.cut_power();
                    victim.disk.repair();
                });
            }
            Fault::Decay if self.is_whole() && self.sites.iter().all(|site| !site.disk.has_decayed()) => {
                if victim.disk.decay().is_some() {
                    victim.kill();
                }
            }
            Fault::Decay => {}
            Fault::Transfer => self.transfer(&victim),
            Fault::TransferInTheDark => {
                let Some((leader, _)) = self.leader() else { return };
                self.transfer(&victim);
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..20))).await;
                let alone = [leader.node.clone()];
                network.cut(&nodes, &alone);
                network.cut(&alone, &nodes);
                self.later(rng, 1000, |cluster| cluster.world.network.mend());
            }
            Fault::Replace if self.is_whole() => self.replace(&victim).await,
            Fault::Replace => {}
            Fault::NewKey => victim.member().into_iter().for_each(|member| member.keys.request()),
            Fault::ClockJump => victim.clock.jump_to(rng.random_range(-3_600_000..3_600_000)),
        }
    }

    /// Whom it hits: the leader more often than others.
    fn victim(&self, rng: &mut SmallRng) -> &Arc<Site> {
        let leader = self.leaders().into_iter().next();
        match leader {
            Some(leader) if rng.random_bool(0.4) => leader,
            _ => self.any(rng),
        }
    }

    /// Does something within so many milliseconds.
    fn later(&self, rng: &mut SmallRng, within_ms: u64, what: impl FnOnce(&Self) + Send + 'static) {
        let (this, after) = (self.clone(), Duration::from_millis(rng.random_range(1..=within_ms)));
        drop(self.world.outside.spawn("later", async move {
            tokio::time::sleep(after).await;
            what(&this);
        }));
    }

    /// Asks the leader to hand on leadership, and does not wait for it.
    fn transfer(&self, to: &Arc<Site>) {
        let Some((_, leader)) = self.leader() else { return };
        let (raft, to) = (leader.raft.clone(), to.raft_id().filter(|&id| id != leader.raft.raft_id()));
        drop(leader.spawner.spawn("transfer", async move { raft.transfer_leadership(to).await }));
    }

    /// Takes a member out of the group; once that is committed, its machine begins anew.
    async fn replace(&self, victim: &Arc<Site>) {
        /// How long that is waited for.
        const PATIENCE: Duration = Duration::from_secs(2);
        let (Some((_, leader)), Some(raft_id)) = (self.leader(), victim.raft_id()) else { return };
        let raft = leader.raft.clone();
        if let Some(Ok(())) = leader.ask(PATIENCE, async move { raft.remove(raft_id).await }).await {
            victim.begin_anew();
        }
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        self.world.trace.line("fault", format_args!("all faults end"));
        self.world.network.mend();
        self.world.network.weather(Weather::FAIR);
        for site in self.sites.iter() {
            if site.disk.is_faulty() {
                site.cut_power();
            }
            site.disk.repair();
            site.pause(false);
        }
    }
}

/// Lets the power go off when the disk is where it hurts.
fn aim(victim: &Site, rng: &mut SmallRng) {
    let moment = *Moment::ALL.choose(rng).unwrap_or(&Moment::Appended);
    // Names change rarely, bytes all the time.
    let passes = match moment {
        Moment::Appended | Moment::Synced => rng.random_range(0..20),
        Moment::Renamed | Moment::Created | Moment::Removed => 0,
    };
    victim.disk.cut_power_at(moment, passes);
}

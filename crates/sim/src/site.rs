//! One machine that runs a manager: its disk, its clock, and the lives of the member on it.

mod keys;
mod witness;

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{Rng as _, RngExt as _, rngs::SmallRng};
use swarmkit_api::NodeId;
use swarmkit_raft::{
    Begin, KeyRotation, KeyRotator, LogError, LogKey, LogKeys, Raft, RaftConfig, RaftError, RaftOptions, RaftProposer,
    Role, new_raft_id,
};
use swarmkit_runtime::{Crew, End, Env, Gate, Spawner};
use swarmkit_store::{Store, StoreError};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    keys::Keeper,
    witness::{watch_role, watch_states},
};
use crate::{
    Trace,
    bug::Bug,
    clock::SimClock,
    disk::SimDisk,
    network::{End as Reachable, Network},
    oracle::Oracle,
};

/// What every machine of a world shares.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) seed: Env,
    pub(crate) bug: Option<Bug>,
    pub(crate) trace: Trace,
    pub(crate) oracle: Oracle,
    pub(crate) network: Network,
    /// Whoever watches from outside, and never crashes.
    pub(crate) outside: Spawner,
    pub(crate) options: RaftOptions,
}

/// A member that runs. Clones share it.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) raft: Raft,
    pub(crate) store: Store,
    pub(crate) spawner: Spawner,
    pub(crate) life: CancellationToken,
    pub(crate) keys: KeyRotator,
    stop: CancellationToken,
    gate: Gate,
}

/// One machine.
pub(crate) struct Site {
    pub(crate) node: NodeId,
    pub(crate) name: Arc<str>,
    pub(crate) disk: SimDisk,
    pub(crate) clock: SimClock,
    world: World,
    state: Mutex<State>,
}

struct State {
    rng: SmallRng,
    begin: Begin,
    /// What opens the disk. Kept elsewhere, safely.
    keys: LogKeys,
    lives: u64,
    condition: Condition,
}

/// How a machine is.
#[derive(Clone)]
pub(crate) enum Condition {
    /// Its member is being started, or ends.
    Between,
    /// Its member runs.
    Runs(Member),
    /// It is started again at some time.
    Down { until: Instant },
    /// Its disk is damaged: it has to begin again as a new member.
    Damaged,
}

impl Site {
    pub(crate) fn new(node: NodeId, founder: bool, world: World) -> Arc<Self> {
        let mut rng = world.seed.rng(&format!("site {node}"));
        let disk = SimDisk::new(node.clone(), world.seed.rng(&format!("disk {node}")), world.trace.clone(), world.bug);
        let begin = if founder { Begin::Bootstrap } else { Begin::Join { raft_id: (rng.next_u64() >> 1) + 1 } };
        let keys = LogKey::new([7; 32]).into();
        let state = State { rng, begin, keys, lives: 0, condition: Condition::Down { until: Instant::now() } };
        let name = Arc::from(node.as_str());
        Arc::new(Self { node, name, disk, clock: SimClock::new(), world, state: Mutex::new(state) })
    }

    /// The member, if it runs.
    pub(crate) fn member(&self) -> Option<Member> {
        match &self.state.lock().condition {
            Condition::Runs(member) if !member.life.is_cancelled() => Some(member.clone()),
            _ => None,
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        self.state.lock().condition.clone()
    }

    /// Whether its member runs and leads, as it says itself.
    pub(crate) fn leads(&self) -> bool {
        self.member().is_some_and(|member| matches!(member.raft.leadership().current(), Role::Leader { .. }))
    }

    /// Starts the member, on what the disk holds.
    pub(crate) async fn start(self: &Arc<Self>) {
        let (number, begin, keys) = {
            let mut state = self.state.lock();
            state.lives += 1;
            state.condition = Condition::Between;
            (state.lives, state.begin, state.keys.clone())
        };
        let seed = self.world.seed.rng(&format!("life {} {number}", self.node)).next_u64();
        let env = Env::seeded(seed, self.clock.clone());
        let (life, stop, gate) = (CancellationToken::new(), CancellationToken::new(), Gate::default());
        let proposer = RaftProposer::new();
        let store = Store::new(env.clone(), proposer.clone());
        let config = RaftConfig {
            disk: self.disk.mount(life.clone()),
            keys: keys.clone(),
            env: env.clone(),
            options: self.world.options.clone(),
            node_id: self.node.clone(),
            addr: format!("{}:2377", self.node),
            messenger: Arc::new(self.world.network.messenger(self.node.clone(), life.clone())),
            begin,
        };
        self.note(format_args!("life {number} begins"));
        let mut crew = Crew::behind(gate.clone(), &stop);
        let spawner = crew.spawner();
        let (started, raft) = oneshot::channel();
        let rotator = KeyRotator::new();
        let keeper = Keeper { site: self.clone(), life: life.clone() };
        let requests = rotator.clone();
        crew.spawn("member", move |stop| async move {
            let (raft, parts) = Raft::start(config, &proposer, &stop).await?;
            // Whoever started it may have lost interest.
            let _ = started.send(raft.clone());
            let mut crew = Crew::under(&stop);
            crew.spawn("raft", |_| parts.run());
            crew.spawn("keys", |stop| KeyRotation { raft, keys, keeper, requests, env }.run(stop));
            crew.finish().await
        });
        drop(self.world.outside.spawn("keeper", self.clone().keep(crew, life.clone(), gate.clone())));
        let Ok(raft) = raft.await else { return };
        let member = Member { raft, store, spawner, life, keys: rotator, stop, gate };
        self.state.lock().begin = Begin::Join { raft_id: member.raft.raft_id() };
        self.attend(&member, number);
        let mut state = self.state.lock();
        if !member.life.is_cancelled() {
            state.condition = Condition::Runs(member);
        }
    }

    /// Makes the member reachable, and watches it from outside.
    fn attend(&self, member: &Member, number: u64) {
        let end =
            Reachable { life: member.life.clone(), receiver: member.raft.receiver(), spawner: member.spawner.clone() };
        self.world.network.add(self.node.clone(), end);
        let outside = &self.world.outside;
        drop(outside.spawn("roles", watch_role(self.world.clone(), self.name.clone(), member.clone())));
        drop(outside.spawn("states", watch_states(self.world.clone(), self.name.clone(), number, member.clone())));
    }

    /// Holds the member's crew until it dies or ends.
    async fn keep(self: Arc<Self>, crew: Crew, life: CancellationToken, gate: Gate) {
        let ends = tokio::select! { biased; // a machine without power does nothing more
            () = life.cancelled() => None,
            ends = crew.join() => Some(ends),
        };
        life.cancel();
        gate.open();
        let damaged = match ends {
            None => {
                self.note(format_args!("is dead"));
                false
            }
            Some(ends) => self.ended(&ends),
        };
        let mut state = self.state.lock();
        let pause = Duration::from_millis(state.rng.random_range(20..3000));
        state.condition = if damaged { Condition::Damaged } else { Condition::Down { until: Instant::now() + pause } };
    }

    /// The member ended by itself. Tells whether its disk is damaged.
    fn ended(&self, ends: &[End]) -> bool {
        let Some(error) = ends.iter().find_map(|end| end.result.as_ref().err()) else {
            self.note(format_args!("has stopped"));
            return false;
        };
        self.note(format_args!("ended: {error}"));
        match error.downcast_ref::<RaftError>() {
            Some(RaftError::Log(LogError::Io { .. } | LogError::Closed)) => false,
            Some(RaftError::Log(_)) => {
                if !self.disk.has_decayed() {
                    self.world.oracle.violated("a crash damages no log", format!("{}: {error}", self.name));
                }
                true
            }
            _ if self.disk.was_faulty() => false,
            // A snapshot that cannot be read comes back through openraft, which wraps it.
            _ if self.disk.has_decayed() => true,
            _ => {
                let what = format!("{}: {error}", self.name);
                self.world.oracle.violated("a member ends only with its disk", what);
                false
            }
        }
    }

    /// The power goes off.
    pub(crate) fn cut_power(&self) {
        let condition = self.condition();
        if let Condition::Runs(member) = condition
            && !member.life.is_cancelled()
        {
            self.disk.lose_power();
            member.life.cancel();
        }
    }

    /// The process is killed; the machine goes on, so what was written stays.
    pub(crate) fn kill(&self) {
        if let Some(member) = self.member() {
            self.note(format_args!("is killed"));
            member.life.cancel();
        }
    }

    /// The process is told to stop.
    pub(crate) fn stop(&self) {
        if let Some(member) = self.member() {
            self.note(format_args!("is told to stop"));
            member.stop.cancel();
        }
    }

    /// The process is held up, or goes on.
    pub(crate) fn pause(&self, paused: bool) {
        let Condition::Runs(member) = self.condition() else { return };
        self.note(format_args!("{}", if paused { "pauses" } else { "goes on" }));
        if paused { member.gate.close() } else { member.gate.open() }
    }

    /// It begins again on an empty disk, as a member that never was.
    pub(crate) fn begin_anew(&self) {
        if let Some(member) = self.member() {
            member.life.cancel();
        }
        self.disk.wipe();
        let mut state = self.state.lock();
        let env = Env::seeded(state.rng.next_u64(), self.clock.clone());
        state.begin = Begin::Join { raft_id: new_raft_id(&env) };
        if matches!(state.condition, Condition::Damaged) {
            state.condition = Condition::Down { until: Instant::now() };
        }
    }

    /// The raft id that it has, or will have.
    pub(crate) fn raft_id(&self) -> Option<u64> {
        match self.state.lock().begin {
            Begin::Join { raft_id } => Some(raft_id),
            _ => None,
        }
    }

    fn note(&self, what: fmt::Arguments<'_>) {
        self.world.trace.line(&self.node, what);
    }
}

impl Member {
    /// Lets the member's own crew do something for a client, who waits so long. Nothing if it dies, or takes too long.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        within: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let work = self.spawner.spawn("client", async move { tokio::time::timeout(within, work).await.ok() });
        // The member may be held up, so the client has a clock of its own.
        let answer = tokio::time::timeout(within, work).await.ok()?.ok()??;
        if self.life.is_cancelled() { None } else { answer }
    }
}

/// Whether a write may have taken place although it failed.
pub(crate) fn may_have_happened(error: &StoreError) -> bool {
    matches!(error, StoreError::Propose(swarmkit_store::ProposeError::Unknown))
}

//! Who is told of everything that can be seen from outside, and asks the invariants.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use parking_lot::Mutex;
use prost::Message as _;
use swarmkit_api::{Config, wire::swarmkit::raft::v1 as wire};
use swarmkit_raft::Role;
use swarmkit_store::{Divergence, State as StoreState};
use tokio_util::sync::CancellationToken;

use crate::{
    Trace,
    clients::TWINS,
    history::History,
    invariants::{
        Broken, Contents, Verdict,
        acknowledged::{Acknowledged, AcknowledgedWrites},
        convergence,
        election_safety::ElectionSafety,
        gap_free_watch::{Mirror, Told},
        leader_completeness::LeaderCompleteness,
        linearizable,
        log_matching::LogMatching,
        one_digest,
        state_machine_safety::StateMachineSafety,
        transactions,
    },
};

/// Sees everything, and keeps the first invariant that broke. Clones share it.
#[derive(Clone)]
pub struct Oracle(Arc<Shared>);

struct Shared {
    trace: Trace,
    broken: CancellationToken,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    broken: Option<Broken>,
    elections: ElectionSafety,
    logs: LogMatching,
    leaders: LeaderCompleteness,
    states: StateMachineSafety,
    writes: AcknowledgedWrites,
    history: History,
}

/// What a run saw, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Terms that had a leader.
    pub terms: usize,
    /// Versions of the store.
    pub versions: usize,
    /// Writes that were acknowledged.
    pub writes: usize,
    /// Operations of all histories.
    pub operations: usize,
    /// Objects whose history could not be decided in the steps that there are.
    pub undecided: usize,
}

/// What a store holds.
pub(crate) fn contents(state: &StoreState) -> Contents {
    state.all::<Config>().map(|config| (Arc::from(config.id.as_ref()), value_of(config))).collect()
}

/// What an object of a client holds.
pub(crate) fn value_of(config: &Config) -> u64 {
    let bytes: [u8; 8] = config.spec.data.as_ref().try_into().unwrap_or_default();
    u64::from_le_bytes(bytes)
}

impl Oracle {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(trace: Trace) -> Self {
        Self(Arc::new(Shared { trace, broken: CancellationToken::new(), seen: Mutex::default() }))
    }

    /// Cancelled when an invariant breaks.
    #[must_use]
    pub fn alarm(&self) -> &CancellationToken {
        &self.0.broken
    }

    /// The first invariant that broke.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        self.0.seen.lock().broken.clone()
    }

    /// A leader sends entries, or a sign of life.
    pub fn append(&self, request: &wire::AppendRequest) {
        self.check(|seen| seen.append(request));
    }

    /// A member answers a request for its vote.
    pub fn vote(&self, voter: u64, answer: &wire::VoteResponse) {
        let Some(vote) = answer.vote.filter(|_| answer.granted) else { return };
        self.check(|seen| seen.elections.votes(voter, vote.term, vote.candidate));
    }

    /// A member is announced as leader or follower; its store is at `version`.
    pub fn role(&self, raft_id: u64, role: &Role, version: u64) {
        if let Role::Leader { term } = *role {
            self.check(|seen| {
                seen.elections.leads(term, raft_id)?;
                seen.leaders.announced(term, version)
            });
        }
    }

    /// A replica, in one of its lives, has reached a state.
    pub fn reached(&self, replica: &Arc<str>, life: u64, state: &StoreState) {
        let contents = Arc::new(contents(state));
        self.check(|seen| {
            transactions::check(&contents, TWINS)?;
            seen.states.reached(replica, life, state.version().0, &contents)
        });
    }

    /// A replica has, or has not, found that it does not hold what the leader holds.
    pub fn compared(&self, replica: &str, divergence: Option<Divergence>) {
        self.check(|_| one_digest::check(replica, divergence));
    }

    /// A watch tells of changes.
    pub fn told(&self, mirror: &mut Mirror, version: u64, changes: &[Told]) {
        self.check(|seen| {
            let truth = seen.states.at(version).cloned();
            mirror.absorb(version, changes, truth.as_deref())
        });
    }

    /// A writer is told that its write was committed.
    pub fn acknowledged(&self, write: Acknowledged) {
        let mut seen = self.0.seen.lock();
        seen.leaders.acknowledged(write.version);
        seen.writes.add(write);
    }

    /// Works on the history of the clients.
    pub fn history<T>(&self, work: impl FnOnce(&mut History) -> T) -> T {
        work(&mut self.0.seen.lock().history)
    }

    /// Judges what can be judged at the end only. `replicas` is nothing if the end was not reached in peace.
    pub fn conclude(&self, replicas: Option<&[convergence::Replica]>) -> Counts {
        let mut counts = Counts::default();
        self.check(|seen| {
            (counts.terms, counts.versions) = (seen.elections.terms(), seen.states.versions());
            (counts.writes, counts.operations) = (seen.writes.len(), seen.history.len());
            for (key, history) in seen.history.objects() {
                if !linearizable::check(key, history)? {
                    counts.undecided += 1;
                }
            }
            let Some(replicas) = replicas else { return Ok(()) };
            convergence::check(replicas)?;
            let last = replicas.iter().filter_map(|replica| replica.version).min().unwrap_or_default();
            seen.writes.check(last, |version| seen.states.at(version).map(Arc::as_ref))
        });
        counts
    }

    /// Nothing came about in the time that there was.
    pub fn late(&self, what: &str) {
        self.check(|_| convergence::late(what));
    }

    /// Something that should not happen did, beside the invariants.
    pub fn violated(&self, invariant: &'static str, what: String) {
        self.check(|_| Err(Broken { invariant, what }));
    }

    fn check(&self, ask: impl FnOnce(&mut Seen) -> Verdict) {
        let mut seen = self.0.seen.lock();
        let Err(broken) = ask(&mut seen) else { return };
        if seen.broken.is_none() {
            self.0.trace.line("oracle", format_args!("BROKEN {broken}"));
            seen.broken = Some(broken);
            drop(seen);
            self.0.broken.cancel();
        }
    }
}

impl Seen {
    fn append(&mut self, request: &wire::AppendRequest) -> Verdict {
        let Some(vote) = request.vote else { return Ok(()) };
        self.elections.leads(vote.term, vote.candidate)?;
        let mut before = request.previous;
        if let Some(id) = &before {
            self.leaders.has((id.index, id.term), vote.term)?;
        }
        for entry in &request.entries {
            let Some(id) = entry.id else { continue };
            self.logs.entry((id.index, id.term), before.map(|id| id.term), sum(entry))?;
            self.leaders.has((id.index, id.term), vote.term)?;
            before = Some(id);
        }
        request.committed.map_or(Ok(()), |id| self.leaders.committed((id.index, id.term), vote.term))
    }
}

fn sum(entry: &wire::Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.encode_to_vec().hash(&mut hasher);
    hasher.finish()
}

impl std::fmt::Debug for Oracle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Oracle({:?})", self.broken())
    }
}

/// Histories by object, for the oracle.
pub(crate) type Histories = BTreeMap<Arc<str>, Vec<linearizable::Operation>>;

//! What a run will be like: everything that follows from the seed alone.

use std::{collections::BTreeSet, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use swarmkit_raft::RaftOptions;

use crate::{bug::Bug, faults::Fault};

/// What one run is like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// A mistake made on purpose.
    pub bug: Option<Bug>,
    /// How many managers there are.
    pub managers: usize,
    /// How long faults happen.
    pub faults_for: Duration,
    /// How long everything may take to be well again afterwards.
    pub heal_within: Duration,
    /// How long there is between two faults, in milliseconds.
    pub pace_ms: (u64, u64),
    /// The faults of this run; each run has only some, or they would hide each other.
    pub faults: BTreeSet<Fault>,
    /// How many clients read and write.
    pub clients: usize,
    /// How many objects they use.
    pub objects: usize,
    /// How many clients watch.
    pub watchers: usize,
    /// The members' own numbers: small ones, so that what is rare becomes frequent.
    pub raft: RaftOptions,
}

impl Plan {
    /// What follows from a seed.
    #[must_use]
    pub fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let faults = Fault::ALL.into_iter().filter(|_| rng.random_bool(0.6)).collect();
        let (heartbeat, election) = *[(50, 150), (50, 150), (100, 300)].choose(&mut rng).unwrap_or(&(50, 150));
        let mut raft = RaftOptions::default();
        (raft.heartbeat, raft.election_min) = (Duration::from_millis(heartbeat), Duration::from_millis(election));
        (raft.election_max, raft.segment_bytes) = (2 * raft.election_min, rng.random_range(1..16) << 10);
        (raft.snapshot_interval, raft.kept_entries) = (rng.random_range(10..80), rng.random_range(0..20));
        Self {
            seed,
            bug,
            managers: if rng.random_bool(0.7) { 3 } else { 5 },
            faults_for: Duration::from_secs(rng.random_range(8..24)),
            heal_within: Duration::from_secs(90),
            pace_ms: if rng.random_bool(0.5) { (50, 600) } else { (200, 2500) },
            faults,
            clients: rng.random_range(2..6),
            objects: rng.random_range(2..6),
            watchers: 2,
            raft,
        }
    }
}

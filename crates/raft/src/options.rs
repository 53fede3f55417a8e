//! The numbers that a member works by.

use std::{fmt, time::Duration};

use openraft::{Config, SnapshotPolicy, StepDownPolicy};

/// The most entries of one message to a follower.
const MESSAGE_ENTRIES: u64 = 1024;

/// Limit for one chunk of a snapshot, and for installing it after the last one.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a leader that was removed from the membership serves on before it hands over.
const REMOVED_LEADER_SERVES: Duration = Duration::from_millis(150);

/// Timing and compaction. The defaults suit managers in one data centre.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftOptions {
    /// How often a leader tells the others that it is there. Default: 50 ms.
    pub heartbeat: Duration,
    /// The shortest time without a leader after which a member stands for election, beside the lease. Default: 150 ms.
    pub election_min: Duration,
    /// The longest such time, and the lease: how long a leader is trusted without a word of it. Default: 300 ms. A
    /// leader that fails is replaced after one lease and one such time.
    pub election_max: Duration,
    /// A snapshot is written once this many entries were committed since the last. 0: never. Default: 10 000, as upstream.
    pub snapshot_interval: u64,
    /// One is also written once change sets of so many bytes were, whatever their number. Default: 256 MiB, which is read
    /// back in a second or two at a start.
    pub snapshot_bytes: u64,
    /// How many entries that a snapshot covers are kept for followers that lag a little. Default: 500, as upstream.
    pub kept_entries: u64,
    /// A file of the log that is at least this long is followed by another, in bytes. Default: 16 MiB.
    pub segment_bytes: u64,
}

impl Default for RaftOptions {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
            snapshot_interval: 10_000,
            snapshot_bytes: 256 << 20,
            kept_entries: 500,
            segment_bytes: 16 << 20,
        }
    }
}

/// The numbers contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid raft options: {0}")]
pub struct InvalidOptions(pub(crate) String);

impl RaftOptions {
    /// The same numbers as openraft has them.
    pub(crate) fn to_openraft(&self) -> Result<Config, InvalidOptions> {
        let lease = millis(self.election_max);
        let config = Config {
            cluster_name: "swarm".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: lease,
            enable_pre_vote: Some(true),
            // Must be twice the lease at least.
            quorum_loss_probe_interval: Some(2 * lease),
            // A leader that comes back stands for election like everybody else.
            enable_leader_restore: Some(false),
            removed_leader_step_down: StepDownPolicy::After(millis(REMOVED_LEADER_SERVES)),
            max_payload_entries: MESSAGE_ENTRIES,
            install_snapshot_timeout: millis(SNAPSHOT_TIMEOUT),
            // A member that comes back without its log must not bring the leader down. It gets the log again.
            allow_log_reversion: Some(true),
            // Both may change while the member runs, so a part of ours asks for snapshots and purges.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            backoff: "20ms 50ms 100ms ...500ms".to_owned(),
            ..Config::default()
        };
        config.validate().map_err(|error| InvalidOptions(error.to_string()))
    }
}

fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}

/// What identifies a member to people: its raft id, as upstream prints it.
pub(crate) struct RaftId(pub(crate) u64);

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

//! The settings of a dispatcher, and the bounds that it keeps.

use std::{sync::Arc, time::Duration};

use swarmkit_secret_drivers::{NoDrivers, SecretDrivers};

/// How a dispatcher treats its nodes. The defaults are upstream's.
#[derive(Clone, Debug)]
pub struct DispatcherConfig {
    /// How often nodes say that they are alive, unless the cluster's specification says otherwise. 5 s.
    pub heartbeat_period: Duration,
    /// By how much a single period may differ from that, to either side, so that nodes do not all call at once. 500 ms.
    pub heartbeat_epsilon: Duration,
    /// After how many periods of silence a node is down. 3.
    pub grace: u32,
    /// The same for a node that has not yet come back after a change of leader. 6.
    pub grace_unknown: u32,
    /// The window in which registrations of one node are counted. With zero, none is ever refused. 8 s.
    pub registration_window: Duration,
    /// How many registrations of one node are served in one window. 3.
    pub registrations: u32,
    /// How long a node may be down before its tasks are given up for lost. 24 h.
    pub node_down_period: Duration,
    /// Provides the values of secrets that name a driver. None by default: tasks then go without.
    pub secret_drivers: Arc<dyn SecretDrivers>,
}

impl Default for DispatcherConfig {
    fn default() -> Self {
        Self {
            heartbeat_period: Duration::from_secs(5),
            heartbeat_epsilon: Duration::from_millis(500),
            grace: 3,
            grace_unknown: 6,
            registration_window: Duration::from_secs(8),
            registrations: 3,
            node_down_period: Duration::from_secs(24 * 3600),
            secret_drivers: Arc::new(NoDrivers),
        }
    }
}

/// The weight of every manager in session messages. As upstream: its peers choose by what they observe.
pub(crate) const MANAGER_WEIGHT: i64 = 10;
/// How many changes a message of the assignments stream holds. As upstream.
pub(crate) const CHANGES_PER_MESSAGE: usize = 100;
/// How long the opening of a session waits for the term to begin. Calls come here as soon as this manager is known to lead;
/// the term begins a commit later. Short, since it also holds up a manager that stops.
pub(crate) const TERM_WAIT: Duration = Duration::from_millis(500);
/// How many calls may wait for the session table. Each costs microseconds, so this is a few milliseconds of work.
pub(crate) const WAITING_CALLS: usize = 1024;
/// How many writes may wait for the one that is under way. Beyond it, callers wait. As upstream.
pub(crate) const WAITING_WRITES: usize = 10_000;
/// How many of them are written at once.
pub(crate) const WRITES_PER_BATCH: usize = 1024;
/// How many questions one secret driver is asked at once. The others wait, so that a thousand tasks that come at once do not
/// overwhelm it; one that answers within 10 ms still provides 1,600 values a second.
pub(crate) const DRIVER_CALLS: usize = 16;
/// How many answers of drivers may wait for one stream. Beyond it, the parts that hold them wait.
pub(crate) const DRIVER_CALLS_WAITING: usize = 16;
/// How long the first message of a stream waits for secret drivers. Agents take it for everything that there is, so it should
/// name every task; but a driver that hangs must not hold up the others for longer than this.
pub(crate) const FIRST_MESSAGE_WAIT: Duration = Duration::from_secs(1);
/// A deadline that is noticed so late shows that this manager was stopped or starved, and could not have heard a heartbeat.
/// Far more than a busy manager is late, and far less than any period of grace.
pub(crate) const DEAF_AFTER: Duration = Duration::from_secs(1);

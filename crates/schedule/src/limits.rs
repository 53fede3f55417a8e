//! How much a schedule may fill the store with.

/// How many runs of a job go on at once at most, those included that were asked for. Without a limit, runs that never end
/// would fill the store.
pub const RUNS_AT_ONCE_MAX: usize = 100;

/// How many runs of a job may be kept that succeeded, and how many that failed: all are part of one object.
pub const HISTORY_MAX: u32 = 1000;

//! What a specification asks for, with upstream's defaults where it asks for nothing.

use std::time::Duration;

use swarmkit_api::{
    Service,
    wire::{
        RestartPolicy, TaskSpec,
        restart_policy::RestartCondition,
        service_spec::Mode,
        update_config::{FailureAction, UpdateOrder},
        update_status::UpdateState,
    },
};

use crate::times::period;

/// How long a task that ended waits to be replaced, unless its specification says otherwise.
const RESTART_DELAY: Duration = Duration::from_secs(5);

/// For how long a rollout watches a new task, unless the specification says otherwise.
const MONITOR: Duration = Duration::from_secs(5);

/// How many tasks a slot of a service keeps when nothing is said about it.
pub(crate) const HISTORY_LIMIT: i64 = 5;

/// Which kind of service it is: what a slot is, and when it has enough tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// That many numbered slots.
    Replicated { replicas: u64 },
    /// One slot per node.
    Global,
    /// Numbered slots that each complete once.
    ReplicatedJob { concurrent: u64, completions: u64 },
    /// One slot per node that completes once.
    GlobalJob,
}

/// When and how often a task is replaced that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) condition: RestartCondition,
    pub(crate) delay: Duration,
    /// 0 means without end.
    pub(crate) max_attempts: u64,
    /// Within which attempts are counted. `None` counts all.
    pub(crate) window: Option<Duration>,
    /// Up to which the delay doubles with each end in a row.
    pub(crate) max_delay: Duration,
    /// How long a task must have run for its end not to be one in a row.
    pub(crate) stable_after: Duration,
}

/// How a rollout goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rolling {
    /// How many slots at a time; `None` means all.
    pub(crate) parallelism: Option<u64>,
    pub(crate) delay: Duration,
    pub(crate) monitor: Duration,
    pub(crate) on_failure: FailureAction,
    pub(crate) max_failure_ratio: f32,
    pub(crate) order: UpdateOrder,
    /// How long a new task may take to run.
    pub(crate) progress_deadline: Option<Duration>,
    /// How many slots may be without a task that runs.
    pub(crate) max_unavailable: Option<usize>,
}

// === impl Shape ===

impl Shape {
    /// `None` for a specification that is none of the four.
    pub(crate) fn of(service: &Service) -> Option<Self> {
        Some(match service.spec.mode.as_ref()? {
            Mode::Replicated(mode) => Self::Replicated { replicas: mode.replicas },
            Mode::Global(_) => Self::Global,
            Mode::ReplicatedJob(job) => {
                Self::ReplicatedJob { concurrent: job.max_concurrent, completions: job.total_completions }
            }
            Mode::GlobalJob(_) => Self::GlobalJob,
        })
    }

    /// Whether its slots are nodes.
    pub(crate) fn is_per_node(self) -> bool {
        matches!(self, Self::Global | Self::GlobalJob)
    }

    pub(crate) fn is_job(self) -> bool {
        matches!(self, Self::ReplicatedJob { .. } | Self::GlobalJob)
    }
}

// === impl Restart ===

impl Restart {
    pub(crate) fn of(spec: &TaskSpec) -> Self {
        match &spec.restart {
            None => Self {
                condition: RestartCondition::Any,
                delay: RESTART_DELAY,
                max_attempts: 0,
                window: None,
                max_delay: RESTART_DELAY,
                stable_after: Duration::ZERO,
            },
            Some(policy) => {
                let delay = period(policy.delay).unwrap_or(RESTART_DELAY);
                let max_delay = period(policy.max_delay).unwrap_or(delay);
                Self {
                    condition: condition(policy),
                    delay,
                    max_attempts: policy.max_attempts,
                    window: period(policy.window).filter(|window| !window.is_zero()),
                    max_delay,
                    stable_after: period(policy.stable_after).unwrap_or(max_delay),
                }
            }
        }
    }

    /// How often the delay doubles until it is the longest: 0 if it is always the same.
    pub(crate) fn steps(&self) -> u32 {
        if self.delay.is_zero() {
            return 0;
        }
        let longer = std::iter::successors(Some(self.delay), |delay| Some(delay.saturating_mul(2)));
        longer.take_while(|delay| *delay < self.max_delay).fold(0, |steps, _| steps + 1)
    }

    /// The delay after it has doubled so often.
    pub(crate) fn delay_at(&self, steps: u32) -> Duration {
        if self.steps() == 0 {
            return self.delay;
        }
        (0..steps.min(self.steps())).fold(self.delay, |delay, _| delay.saturating_mul(2)).min(self.max_delay)
    }
}

/// A number that nobody knows means what an absent policy means.
fn condition(policy: &RestartPolicy) -> RestartCondition {
    RestartCondition::try_from(policy.condition).unwrap_or(RestartCondition::Any)
}

// === impl Rolling ===

impl Rolling {
    /// What the specification asks for the rollout that is under way: a rollback has settings of its own.
    pub(crate) fn of(service: &Service) -> Self {
        let rolls_back = state(service) == Some(UpdateState::RollbackStarted);
        let config = if rolls_back { &service.spec.rollback } else { &service.spec.update };
        match config {
            None => Self {
                parallelism: Some(1),
                delay: Duration::ZERO,
                monitor: MONITOR,
                on_failure: FailureAction::Pause,
                max_failure_ratio: 0.0,
                order: UpdateOrder::StopFirst,
                progress_deadline: None,
                max_unavailable: None,
            },
            Some(config) => Self {
                parallelism: (config.parallelism > 0).then_some(config.parallelism),
                delay: period(config.delay).unwrap_or(Duration::ZERO),
                monitor: period(config.monitor).unwrap_or(MONITOR),
                on_failure: config.failure_action(),
                max_failure_ratio: config.max_failure_ratio,
                order: config.order(),
                progress_deadline: period(config.progress_deadline).filter(|deadline| !deadline.is_zero()),
                max_unavailable: (config.max_unavailable > 0)
                    .then(|| usize::try_from(config.max_unavailable).unwrap_or(usize::MAX)),
            },
        }
    }
}

/// Where the rollout of a service stands. `None` when there was none since it was last changed.
pub(crate) fn state(service: &Service) -> Option<UpdateState> {
    service.update_status.as_ref().map(|status| status.state())
}

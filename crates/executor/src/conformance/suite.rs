//! The suite as a value: which checks, what the executor does not offer, and what came of it.

use std::{fmt, panic::AssertUnwindSafe};

use futures_util::FutureExt as _;
use swarmkit_api::wire::TaskSpec;

use super::{Act, adoption, life, measuring, output, stopping, trial::Bench};
use crate::Executor;

/// What an executor may be without, as long as it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Ability {
    /// Health checks.
    Health,
    /// The output of tasks.
    Logs,
    /// Stop signals that the specification chooses.
    StopSignals,
    /// What tasks use.
    Usage,
}

/// What came of the checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The checks that hold.
    pub passed: Vec<&'static str>,
    /// The checks that were not made, and why.
    pub skipped: Vec<(&'static str, String)>,
    /// The checks that do not hold, each with the sentence that says what is wrong.
    pub failed: Vec<(&'static str, String)>,
}

/// The checks of an executor, to be run. See the module's example.
pub struct Suite<O, S> {
    bench: Bench<O, S>,
    lacks: Vec<(Ability, String)>,
    only: Option<Vec<String>>,
}

/// Runs the checks one after the other: `name, what it takes, function`.
macro_rules! checks {
    ($($module:ident :: $check:ident $(needs $ability:ident)?),* $(,)?) => {
        /// The names of all checks, in the order in which they are made.
        pub const CHECKS: &[&str] = &[$(stringify!($check)),*];

        impl<E: Executor, O: AsyncFn() -> E, S: Fn(Act) -> TaskSpec> Suite<O, S> {
            /// Makes the checks and tells what came of them. A check that fails ends no other one.
            pub async fn report(&self) -> Report {
                let mut report = Report::default();
                $(
                    let name = stringify!($check);
                    let needs: Option<Ability> = None $(.or(Some(Ability::$ability)))?;
                    match self.skips(name, needs) {
                        Some(Skip::Unwanted) => {}
                        Some(Skip::Lacking(reason)) => report.skipped.push((name, reason)),
                        None => {
                            // Boxed, since the states of all checks together are large.
                            let check = Box::pin($module::$check(&self.bench));
                            match AssertUnwindSafe(check).catch_unwind().await {
                                Ok(()) => report.passed.push(name),
                                Err(panic) => report.failed.push((name, sentence(panic.as_ref()))),
                            }
                        }
                    }
                )*
                report
            }
        }
    };
}

checks! {
    life::a_description_says_what_the_node_can_run,
    life::a_task_that_ends_well_is_success,
    life::an_exit_code_is_reported_also_long_after_and_again,
    life::every_step_may_be_repeated,
    life::every_step_may_be_dropped_half_way,
    life::a_task_is_started_once_in_its_life,
    life::what_cannot_run_is_refused_before_or_at_its_start,
    life::a_task_is_up_when_it_is_well needs Health,
    life::an_unchanged_definition_is_accepted_in_every_state,
    life::a_status_tells_of_nothing_before_the_start_and_of_the_end_after_it,
    life::many_tasks_run_side_by_side,
    life::a_closed_controller_refuses_and_leaves_the_task_alone,
    stopping::shutdown_works_in_every_state,
    stopping::what_does_not_heed_is_killed_after_its_grace,
    stopping::the_stop_signal_is_the_one_that_was_chosen needs StopSignals,
    stopping::terminate_does_not_ask,
    stopping::a_stop_that_was_dropped_can_be_repeated,
    stopping::remove_works_in_every_state,
    stopping::remove_may_come_while_somebody_waits,
    adoption::a_running_task_is_adopted,
    adoption::an_end_that_nobody_watched_is_reported,
    adoption::a_task_that_was_prepared_can_be_started,
    adoption::what_nobody_knows_any_more_is_removed,
    adoption::a_removal_outlives_the_program,
    output::both_streams_are_kept needs Logs,
    output::nothing_older_than_what_was_asked_for_is_read needs Logs,
    output::a_follower_sees_the_end needs Logs,
    output::a_reader_that_stalls_holds_up_nobody needs Logs,
    measuring::what_a_task_uses_is_told_while_it_runs needs Usage,
}

enum Skip {
    Unwanted,
    Lacking(String),
}

impl<E: Executor, O: AsyncFn() -> E, S: Fn(Act) -> TaskSpec> Suite<O, S> {
    /// All checks, for an executor that offers everything. `open` and `spec` are as in [`super::all`].
    pub fn new(open: O, spec: S) -> Self {
        Self { bench: Bench::new(open, spec), lacks: Vec::new(), only: None }
    }

    /// The executor does not offer that, and why. Checks that need it are not made, and the report says so.
    #[must_use]
    pub fn without(mut self, ability: Ability, reason: impl Into<String>) -> Self {
        self.lacks.push((ability, reason.into()));
        self
    }

    /// Only the checks of these names.
    ///
    /// # Panics
    ///
    /// When there is no such check.
    #[must_use]
    pub fn only<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        if let Some(unknown) = names.iter().find(|name| !CHECKS.contains(&name.as_str())) {
            panic!("there is no check {unknown:?}; there are {}", CHECKS.join(", "));
        }
        self.only = Some(names);
        self
    }

    /// Makes the checks.
    ///
    /// # Panics
    ///
    /// When one fails: with every check that did, and what is wrong.
    pub async fn run(&self) -> Report {
        let report = self.report().await;
        assert!(report.failed.is_empty(), "{report}");
        report
    }

    fn skips(&self, name: &str, needs: Option<Ability>) -> Option<Skip> {
        if self.only.as_ref().is_some_and(|only| !only.iter().any(|wanted| wanted == name)) {
            return Some(Skip::Unwanted);
        }
        let lacks = self.lacks.iter().find(|(ability, _)| Some(*ability) == needs);
        lacks.map(|(_, reason)| Skip::Lacking(reason.clone()))
    }
}

impl<O, S> fmt::Debug for Suite<O, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("lacks", &self.lacks).field("only", &self.only).finish_non_exhaustive()
    }
}

impl fmt::Display for Report {
    /// One line for each check that was not made or does not hold, and how many hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, sentence) in &self.failed {
            writeln!(f, "FAILED {name}: {sentence}")?;
        }
        for (name, reason) in &self.skipped {
            writeln!(f, "skipped {name}: {reason}")?;
        }
        write!(f, "{} passed, {} failed, {} skipped", self.passed.len(), self.failed.len(), self.skipped.len())
    }
}

/// What a check that failed has said.
fn sentence(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it gave no reason").to_owned()
}

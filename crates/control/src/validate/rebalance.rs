//! Whether tasks are moved to nodes that have fewer: of which services that can be asked.

use swarmkit_api::wire::{
    ServiceSpec,
    service_spec::Mode,
    swarmkit::orchestration::v1::{Rebalance, rebalance},
};

use super::Checked;
use crate::ControlError;

/// Only tasks of replicated services could as well be elsewhere. Others may say no.
pub(crate) fn rebalance(spec: &ServiceSpec) -> Checked {
    let Some(wanted) = &spec.rebalance else { return Ok(()) };
    rebalance_mode(wanted)?;
    let what = match &spec.mode {
        Some(Mode::Replicated(_)) | None => return Ok(()),
        Some(Mode::Global(_)) => "tasks of global services",
        Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)) => "tasks of jobs",
    };
    if wanted.mode() == rebalance::Mode::On || wanted.moves_per_minute > 0 {
        return Err(ControlError::invalid(format!(
            "{what} cannot be rebalanced: only those of replicated services are moved"
        )));
    }
    Ok(())
}

/// The mode has to be one that is known.
pub(crate) fn rebalance_mode(wanted: &Rebalance) -> Checked {
    match rebalance::Mode::try_from(wanted.mode) {
        Ok(_) => Ok(()),
        Err(_) => Err(ControlError::invalid(format!("unknown mode of rebalancing: {}", wanted.mode))),
    }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::wire;

    use super::*;

    fn check(mode: Mode, wanted: rebalance::Mode, moves_per_minute: u32) -> Result<(), String> {
        let wanted = Rebalance { mode: wanted.into(), moves_per_minute };
        let spec = ServiceSpec { mode: Some(mode), rebalance: Some(wanted), ..Default::default() };
        rebalance(&spec).map_err(|error| error.to_string())
    }

    #[test]
    fn only_replicated_services_are_rebalanced() {
        let refused = |what: &str| {
            Err(format!("tasks of {what} cannot be rebalanced: only those of replicated services are moved"))
        };
        let replicated = Mode::Replicated(wire::ReplicatedService { replicas: 3 });
        let job = Mode::ReplicatedJob(wire::ReplicatedJob::default());
        assert_eq!(check(replicated, rebalance::Mode::On, 5), Ok(()));
        assert_eq!(check(Mode::Global(wire::GlobalService {}), rebalance::Mode::On, 0), refused("global services"));
        assert_eq!(check(Mode::Global(wire::GlobalService {}), rebalance::Mode::Unset, 3), refused("global services"));
        assert_eq!(check(job, rebalance::Mode::On, 0), refused("jobs"));
        assert_eq!(check(Mode::GlobalJob(wire::GlobalJob {}), rebalance::Mode::On, 0), refused("jobs"));
        assert_eq!(check(Mode::GlobalJob(wire::GlobalJob {}), rebalance::Mode::Off, 0), Ok(()));
        assert_eq!(rebalance(&ServiceSpec::default()).map_err(|error| error.to_string()), Ok(()));
    }

    #[test]
    fn a_mode_that_nobody_knows_is_refused() {
        let why = rebalance_mode(&Rebalance { mode: 7, moves_per_minute: 0 }).unwrap_err();
        assert_eq!(why.to_string(), "unknown mode of rebalancing: 7");
    }
}

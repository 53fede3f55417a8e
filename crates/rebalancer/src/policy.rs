//! Who asks for it: the service, or the cluster for the services that say nothing.

use std::num::NonZeroU32;

use swarmkit_api::{
    Cluster, Service,
    wire::{
        service_spec::Mode,
        swarmkit::orchestration::v1::{Rebalance, rebalance},
    },
};

/// How many tasks may be moved in any minute, of one service and of all, unless somebody says otherwise.
pub const MOVES_PER_MINUTE: u32 = 10;

/// What the cluster says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClusterPolicy {
    /// Whether services move that say nothing.
    is_on: bool,
    /// How many tasks of all services may be moved in any minute.
    pub(crate) limit: usize,
}

impl Default for ClusterPolicy {
    fn default() -> Self {
        Self { is_on: false, limit: limit(None) }
    }
}

impl ClusterPolicy {
    pub(crate) fn of(cluster: Option<&Cluster>) -> Self {
        let orchestration = cluster.and_then(|cluster| cluster.spec.orchestration.as_ref());
        let rebalance = orchestration.and_then(|orchestration| orchestration.rebalance.as_ref());
        let is_on = rebalance.is_some_and(|rebalance| rebalance.mode() == rebalance::Mode::On);
        Self { is_on, limit: limit(rebalance) }
    }

    /// How many tasks of a service may be moved in any minute. `None` when it shall not be moved at all, or cannot: only
    /// replicated services have tasks that could as well be elsewhere.
    pub(crate) fn limit_of(&self, service: &Service) -> Option<usize> {
        let Some(Mode::Replicated(_)) = service.spec.mode else { return None };
        let rebalance = service.spec.rebalance.as_ref();
        let is_on = match rebalance.map_or(rebalance::Mode::Unset, Rebalance::mode) {
            rebalance::Mode::On => true,
            rebalance::Mode::Off => false,
            rebalance::Mode::Unset => self.is_on,
        };
        is_on.then(|| limit(rebalance))
    }
}

fn limit(rebalance: Option<&Rebalance>) -> usize {
    let given = rebalance.and_then(|rebalance| NonZeroU32::new(rebalance.moves_per_minute));
    given.map_or(MOVES_PER_MINUTE, NonZeroU32::get) as usize
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmkit_testing::{cluster, service};

    use super::*;

    fn rebalance(mode: rebalance::Mode, moves_per_minute: u32) -> Option<Rebalance> {
        Some(Rebalance { mode: mode.into(), moves_per_minute })
    }

    fn cluster_policy(rebalance: Option<Rebalance>) -> ClusterPolicy {
        let mut cluster = cluster();
        Arc::make_mut(&mut cluster.spec).orchestration.get_or_insert_default().rebalance = rebalance;
        ClusterPolicy::of(Some(&cluster))
    }

    fn service_limit(cluster: ClusterPolicy, rebalance: Option<Rebalance>) -> Option<usize> {
        cluster.limit_of(&service("web").spec(|spec| spec.rebalance = rebalance).build())
    }

    #[test]
    fn nobody_is_moved_who_does_not_ask_for_it() {
        assert_eq!(service_limit(ClusterPolicy::of(None), None), None);
        assert_eq!(service_limit(cluster_policy(rebalance(rebalance::Mode::Unset, 3)), None), None);
        assert_eq!(service_limit(cluster_policy(rebalance(rebalance::Mode::Off, 0)), None), None);
    }

    #[test]
    fn a_service_has_the_last_word_and_the_cluster_speaks_for_the_others() {
        let [on, off] = [rebalance::Mode::On, rebalance::Mode::Off].map(|mode| cluster_policy(rebalance(mode, 0)));
        assert_eq!(service_limit(on, None), Some(10));
        assert_eq!(service_limit(on, rebalance(rebalance::Mode::Unset, 4)), Some(4));
        assert_eq!(service_limit(on, rebalance(rebalance::Mode::Off, 4)), None);
        assert_eq!(service_limit(off, rebalance(rebalance::Mode::On, 2)), Some(2));
        assert_eq!(cluster_policy(rebalance(rebalance::Mode::Unset, 3)).limit, 3);
        assert_eq!((on.limit, ClusterPolicy::default().limit), (10, 10));
    }

    #[test]
    fn only_replicated_services_are_moved() {
        let on = cluster_policy(rebalance(rebalance::Mode::On, 0));
        assert_eq!(on.limit_of(&service("web").global().build()), None);
        assert_eq!(on.limit_of(&service("web").job(3, 3).build()), None);
        assert_eq!(on.limit_of(&service("web").global_job().build()), None);
    }
}

//! Where tasks of a service failed of late.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use swarmkit_api::{NodeId, ServiceId, Version};

/// How many recent failures make a node a bad choice for a service. As upstream.
const FAULTY_FAILURES: usize = 5;

/// For how long a failure counts as recent. As upstream.
const FAILURE_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Failures count for one version of a service: a new specification starts with a clean record.
pub(crate) type FailureKey = (ServiceId, Option<Version>);

/// When tasks of a service failed on each node, within the window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures {
    known: BTreeMap<FailureKey, BTreeMap<NodeId, Vec<SystemTime>>>,
    /// When failures that are no longer recent were last dropped.
    swept: Option<SystemTime>,
}

impl Failures {
    /// The nodes on which that version of a service failed too often of late, and how often.
    pub(crate) fn faulty(&self, key: &FailureKey, now: SystemTime) -> impl Iterator<Item = (&NodeId, usize)> {
        let nodes = self.known.get(key).into_iter().flatten();
        let counts = nodes.map(move |(node, failures)| (node, failures.iter().filter(|at| recent(**at, now)).count()));
        counts.filter(|(_, count)| *count >= FAULTY_FAILURES)
    }

    /// Remembers that a task failed on a node.
    pub(crate) fn record(&mut self, key: FailureKey, node: &NodeId, at: SystemTime, now: SystemTime) {
        if !recent(at, now) {
            return;
        }
        self.sweep(now);
        let service = key.0.clone();
        let failures = self.known.entry(key).or_default().entry(node.clone()).or_default();
        failures.retain(|at| recent(*at, now));
        failures.push(at);
        if failures.len() == FAULTY_FAILURES {
            tracing::warn!(%node, %service, "tasks of the service fail here; other nodes are preferred for now");
        }
    }

    /// Drops what is no longer recent, at most once per window, so that the memory of failures cannot grow.
    fn sweep(&mut self, now: SystemTime) {
        if self.swept.is_some_and(|swept| recent(swept, now)) {
            return;
        }
        self.swept = Some(now);
        self.known.retain(|_, nodes| {
            nodes.retain(|_, failures| failures.iter().any(|at| recent(*at, now)));
            !nodes.is_empty()
        });
    }
}

/// A time in the future is recent: clocks differ a little.
fn recent(at: SystemTime, now: SystemTime) -> bool {
    !now.duration_since(at).is_ok_and(|age| age >= FAILURE_WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_services_that_went_away_are_forgotten() {
        let (mut failures, start) = (Failures::default(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        for number in 0..100 {
            let key = (ServiceId::from(format!("s{number}")), None);
            failures.record(key, &NodeId::from("n"), start, start);
        }
        assert_eq!(failures.known.len(), 100);
        let later = start + FAILURE_WINDOW;
        failures.record(("last".into(), None), &NodeId::from("n"), later, later);
        assert_eq!(failures.known.len(), 1);
    }
}

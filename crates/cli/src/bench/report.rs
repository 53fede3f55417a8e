//! The figures of a measurement.

use std::time::Duration;

use serde::Serialize;

use super::moments::Moments;
use crate::output::Columns;

/// The figures, times in milliseconds since the request that created the service was sent.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// How many tasks were timed.
    count: usize,
    /// When the request was answered.
    service_created_ms: f64,
    /// Tasks that began to run in a second, from the request to the last of them.
    per_second: f64,
    /// When tasks were seen to exist.
    created: Spread,
    /// When they had a node.
    assigned: Spread,
    /// When they ran.
    running: Spread,
}

/// How moments are spread. A percentile is the smallest moment that so many percent do not exceed.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Spread {
    min_ms: f64,
    mean_ms: f64,
    stddev_ms: f64,
    p50_ms: f64,
    p75_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

impl Report {
    pub(super) fn new(service_created: Duration, moments: &Moments) -> Self {
        let running = Spread::of(moments.seen().filter_map(|seen| seen.running));
        let count = moments.running();
        Self {
            count,
            service_created_ms: millis(service_created),
            per_second: if running.max_ms > 0.0 { count as f64 / (running.max_ms / 1000.0) } else { 0.0 },
            created: Spread::of(moments.seen().map(|seen| seen.created)),
            assigned: Spread::of(moments.seen().filter_map(|seen| seen.assigned)),
            running,
        }
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let titles = ["Milliseconds until", "Min", "Mean", "Stddev", "p50", "p75", "p95", "p99", "p99.9", "Max"];
        let mut columns = Columns::spaced(2).titled(&titles);
        for (stage, spread) in [("created", &self.created), ("assigned", &self.assigned), ("running", &self.running)] {
            let Spread { min_ms, mean_ms, stddev_ms, p50_ms, p75_ms, p95_ms, p99_ms, p999_ms, max_ms } = spread;
            let times = [min_ms, mean_ms, stddev_ms, p50_ms, p75_ms, p95_ms, p99_ms, p999_ms, max_ms];
            let [a, b, c, d, e, f, g, h, i] = times.map(|time| format!("{time:.1}"));
            columns.row([stage.to_owned(), a, b, c, d, e, f, g, h, i]);
        }
        let (count, rate, answered) = (self.count, self.per_second, self.service_created_ms);
        format!("{columns}\n{count} tasks, {rate:.0} a second; the service was created after {answered:.1} ms\n")
    }
}

impl Spread {
    fn of(moments: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<f64> = moments.map(millis).collect();
        times.sort_by(f64::total_cmp);
        let (Some(&min_ms), Some(&max_ms)) = (times.first(), times.last()) else { return Self::default() };
        let count = times.len() as f64;
        let mean_ms = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean_ms).powi(2)).sum::<f64>() / count;
        let percentile = |percent: f64| times[((percent / 100.0 * count).ceil() as usize).clamp(1, times.len()) - 1];
        Self {
            min_ms,
            mean_ms,
            stddev_ms: variance.sqrt(),
            p50_ms: percentile(50.0),
            p75_ms: percentile(75.0),
            p95_ms: percentile(95.0),
            p99_ms: percentile(99.0),
            p999_ms: percentile(99.9),
            max_ms,
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_moment_that_was_seen() {
        let spread = Spread::of((1..=200).map(Duration::from_millis));
        assert_eq!((spread.min_ms, spread.p50_ms, spread.p75_ms, spread.max_ms), (1.0, 100.0, 150.0, 200.0));
        assert_eq!((spread.p95_ms, spread.p99_ms, spread.p999_ms, spread.mean_ms), (190.0, 198.0, 200.0, 100.5));
        assert_eq!(Spread::of(std::iter::once(Duration::from_millis(7))).p50_ms, 7.0);
        assert_eq!(Spread::of(std::iter::empty()), Spread::default());
    }
}

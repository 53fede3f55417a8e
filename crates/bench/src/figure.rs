//! A figure, and what its samples come to.
use std::fmt;

use anyhow::Result;

use crate::lab::Lab;

/// One figure that the project claims, or gives for information.
pub(crate) struct Figure {
    /// `of.what`: it is looked up by this everywhere.
    pub(crate) id: &'static str,
    /// What is measured, from where to where.
    pub(crate) meaning: &'static str,
    /// Unit of the samples.
    pub(crate) unit: Unit,
    /// What the median should stay below, or reach if more is better.
    pub(crate) limit: Option<f64>,
    /// The same of upstream, with its conditions; see `docs/benchmarks.md`.
    pub(crate) upstream: Option<&'static str>,
    /// How often it is measured unless told otherwise.
    pub(crate) repeats: u32,
    /// Measured only if asked for by name.
    pub(crate) for_information: bool,
    /// Takes the samples.
    pub(crate) run: Run,
}

/// Takes so many samples.
pub(crate) type Run = fn(&mut Lab, u32) -> Result<Vec<f64>>;

/// The units that figures come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
    Bytes,
    Megabytes,
    Percent,
    PerSecond,
    /// Calls that were made.
    Calls,
    /// One thing divided by another of its kind.
    Times,
}

impl Unit {
    /// Whether a limit is the least that it should be, not the most.
    pub(crate) fn more_is_better(self) -> bool {
        self == Self::PerSecond
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Bytes => "B",
            Self::Megabytes => "MB",
            Self::Percent => "%",
            Self::PerSecond => "/s",
            Self::Calls => "calls",
            Self::Times => "x",
        })
    }
}

/// What samples come to.
#[derive(Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    pub(crate) median: f64,
    /// What 99 of 100 samples do not exceed; of less than a hundred, the largest.
    pub(crate) p99: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// None without samples.
    pub(crate) fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (min, max) = (*samples.first()?, *samples.last()?);
        let half = samples.len() / 2;
        let median =
            if samples.len() % 2 == 1 { samples[half] } else { f64::midpoint(samples[half - 1], samples[half]) };
        let p99 = samples[(samples.len() * 99).div_ceil(100) - 1];
        Some(Self { count: samples.len(), median, p99, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        let odd = Summary::of(vec![3.0, 1.0, 2.0]).expect("samples");
        assert_eq!(odd, Summary { count: 3, median: 2.0, p99: 3.0, min: 1.0, max: 3.0 });
        let even = Summary::of(vec![4.0, 1.0, 2.0, 3.0]).expect("samples");
        assert_eq!(even, Summary { count: 4, median: 2.5, p99: 4.0, min: 1.0, max: 4.0 });
        assert_eq!(Summary::of(Vec::new()), None);
    }

    #[test]
    fn one_sample_in_a_hundred_may_exceed_the_99th_percentile() {
        let summary = Summary::of((1..=200).map(f64::from).collect()).expect("samples");
        assert_eq!((summary.p99, summary.max), (198.0, 200.0));
    }
}

//! What all figures share: the daemon to measure, a runtime to call it with, and a clock.
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Runtime;

use crate::figure::Summary;
use crate::figures::{
    disp::Sessions,
    idle::Idle,
    orch::{Converged, Events},
    raft::{Loads, Pair},
    sched::Placements,
};

/// About so many lines tell of the progress of one figure.
const PROGRESS_LINES: u32 = 20;

/// Where figures are measured.
pub(crate) struct Lab {
    swarmd: PathBuf,
    runtime: Runtime,
    /// Both idle figures come from one measurement, which takes minutes.
    pub(crate) idle: Vec<Idle>,
    /// The figures of a load come from the same runs.
    pub(crate) loads: Loads,
    /// So do those of writes beside snapshots.
    pub(crate) snapshots: Vec<Pair>,
    /// The figures of a converged cluster are those of the same clusters.
    pub(crate) converged: Vec<Converged>,
    /// Those of events, by thousands of services.
    pub(crate) events: Events,
    /// Both figures of sessions that stand are those of the same ones.
    pub(crate) sessions: Option<Sessions>,
    /// Those of clusters that were filled with tasks.
    pub(crate) placements: Vec<Placements>,
}

impl Lab {
    /// Measures this daemon, or the one beside the running program.
    pub(crate) fn new(swarmd: Option<PathBuf>) -> Result<Self> {
        let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("swarmd"));
        let swarmd = match swarmd {
            Some(path) => path,
            None => beside().context("looking for the daemon")?,
        };
        // One thread leaves the other core to what is measured.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            swarmd,
            runtime,
            idle: Vec::new(),
            loads: Loads::new(),
            snapshots: Vec::new(),
            converged: Vec::new(),
            events: Events::new(),
            sessions: None,
            placements: Vec::new(),
        })
    }

    /// The daemon; an error if it is not there.
    pub(crate) fn swarmd(&self) -> Result<&Path> {
        ensure!(self.swarmd.is_file(), "there is no daemon at {}", self.swarmd.display());
        Ok(&self.swarmd)
    }

    /// Runs a measurement to its end.
    pub(crate) fn block_on<T>(&self, measure: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(measure)
    }
}

/// Tells on standard error how far a figure is that takes minutes.
pub(crate) struct Progress {
    of: u32,
    every: u32,
    watch: Stopwatch,
}

impl Progress {
    /// Of so many samples.
    pub(crate) fn begin(of: u32) -> Self {
        Self { of, every: of.div_ceil(PROGRESS_LINES).max(1), watch: Stopwatch::start() }
    }

    /// Writes a line now and then.
    pub(crate) fn tell(&mut self, samples: &[f64]) {
        let done = samples.len() as u32;
        let Some(summary) = Summary::of(samples.to_vec()).filter(|_| done.is_multiple_of(self.every)) else { return };
        let Summary { median, p99, max, .. } = summary;
        let (of, seconds) = (self.of, self.watch.seconds());
        eprintln!("{done} of {of} after {seconds:.0} s: median {median:.0}, p99 {p99:.0}, max {max:.0}");
    }
}

/// Real time since it was started.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a benchmark takes real time")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn seconds(self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

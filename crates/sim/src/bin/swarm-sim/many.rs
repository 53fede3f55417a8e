//! Many seeds, one process each.

use std::{
    collections::VecDeque,
    process::{Command, ExitCode, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use swarmkit_sim::Bug;

use crate::{BROKEN, Flags};

/// How long one run may take before it counts as hanging.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// How often the end of a process is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// What one run came to.
struct Run {
    seed: u64,
    end: End,
    /// What it printed: the report first.
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Held,
    Broken,
    /// It ended in another way, or not at all.
    Failed,
}

impl Run {
    /// The same run, if the second one was no different.
    fn and_again(self, second: Self) -> Self {
        if self.text == second.text {
            return self;
        }
        let text = format!("seed {} DIFFERS from itself:\n{}{}", self.seed, self.text, second.text);
        Self { end: End::Failed, text, ..self }
    }
}

/// What is seen while seeds run: how far it is, and each run that went wrong as soon as it did.
///
/// On a terminal it is a bar; elsewhere a line now and then, so that a run of hours shows in a log that it goes on.
struct Progress {
    bar: ProgressBar,
    /// After how many seeds there is a line where there is no terminal. 0: never.
    line_every: u64,
    /// Whether runs that went wrong are shown.
    shows: bool,
}

/// How many lines about its progress a run of many seeds writes where there is no terminal.
const LINES: u64 = 50;

/// How many seeds there are at least between two such lines.
const SEEDS_PER_LINE: u64 = 20;

impl Progress {
    fn new(seeds: usize) -> Self {
        let seeds = seeds as u64;
        let bar = ProgressBar::with_draw_target(Some(seeds), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} to go {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let line_every = if bar.is_hidden() { (seeds / LINES).max(SEEDS_PER_LINE) } else { 0 };
        Self { bar, line_every, shows: true }
    }

    fn silent() -> Self {
        Self { bar: ProgressBar::hidden(), line_every: 0, shows: false }
    }

    fn ran(&self, run: &Run, bug: Option<Bug>) {
        if self.shows && run.end != End::Held {
            self.bar.suspend(|| println!("{}\nreplay: {}\n", run.text.trim_end(), replay(run.seed, bug)));
        }
        self.bar.inc(1);
        let done = self.bar.position();
        if self.line_every > 0 && done.is_multiple_of(self.line_every) {
            eprintln!("{done} of {} seeds", self.bar.length().unwrap_or_default());
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Runs the seeds that the flags ask for, and tells how it went.
pub(crate) fn run(flags: &Flags) -> Result<ExitCode> {
    let base = since_1970().as_nanos() as u64;
    let fresh = (0..flags.fresh).map(|number| base.wrapping_add(number) % 1_000_000_000_000);
    let seeds: VecDeque<u64> = (flags.first..flags.first + flags.seeds).chain(fresh).collect();
    let start = now();
    let progress = Progress::new(seeds.len());
    let runs = spread(flags, flags.bug, seeds, &progress, false)?;
    progress.end();
    let wall = start.elapsed();
    let broken = runs.iter().filter(|run| run.end != End::Held).count();
    let simulated: f64 = runs.iter().filter_map(|run| number(&run.text, "simulated_ms")).sum::<f64>() / 1000.0;
    let sum = |name: &str| runs.iter().filter_map(|run| number(&run.text, name)).sum::<f64>();
    let seconds = wall.as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s: {:.2} seeds/s, {:.1} simulated seconds per second; \
         {} writes, {} operations, {} undecided histories; {} broken",
        runs.len(),
        runs.len() as f64 / seconds,
        simulated / seconds,
        sum("writes"),
        sum("operations"),
        sum("undecided"),
        broken,
    );
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes each mistake, and tells after how many seeds an invariant breaks.
pub(crate) fn prove(flags: &Flags) -> Result<ExitCode> {
    let mut missed = 0;
    for bug in Bug::ALL.into_iter().filter(|bug| flags.bug.is_none_or(|wanted| wanted == *bug)) {
        let limit = bug.caught_within();
        let seeds = (flags.first..flags.first + limit).collect();
        let runs = spread(flags, Some(bug), seeds, &Progress::silent(), true)?;
        let caught = runs.iter().filter(|run| run.end == End::Broken).min_by_key(|run| run.seed);
        match caught {
            Some(run) => {
                let said = run.text.lines().next().unwrap_or_default();
                let invariant = said.split_once("BROKEN ").map_or(said, |(_, broken)| broken);
                let invariant = invariant.split_once(':').map_or(invariant, |(name, _)| name);
                println!("{bug}: seed {} of at most {limit}: {invariant}", run.seed - flags.first + 1);
            }
            None => {
                missed += 1;
                println!("{bug}: NOT NOTICED in {limit} seeds");
            }
        }
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs seeds in as many processes at once as there may be. `first_only`: stops when an invariant has broken.
fn spread(
    flags: &Flags,
    bug: Option<Bug>,
    seeds: VecDeque<u64>,
    progress: &Progress,
    first_only: bool,
) -> Result<Vec<Run>> {
    let jobs = flags.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let deadline = flags.limit.map(|seconds| now() + Duration::from_secs(seconds));
    let (seeds, runs) = (Mutex::new(seeds), Mutex::new(Vec::new()));
    let over = AtomicBool::new(false);
    let work = || -> Result<()> {
        while !over.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| now() < deadline) {
            let Some(seed) = seeds.lock().pop_front() else { break };
            let mut run = one(seed, bug)?;
            if flags.twice {
                run = run.and_again(one(seed, bug)?);
            }
            if first_only && run.end == End::Broken {
                over.store(true, Ordering::Relaxed);
            }
            progress.ran(&run, bug);
            runs.lock().push(run);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
    })?;
    Ok(runs.into_inner())
}

/// Runs one seed in a process of its own.
fn one(seed: u64, bug: Option<Bug>) -> Result<Run> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--seed").arg(seed.to_string()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(bug) = bug {
        command.arg("--bug").arg(bug.name());
    }
    let mut child = command.spawn().context("starting a run")?;
    let start = now();
    // What a run prints is far less than a pipe holds, so it can be read at the end.
    while child.try_wait()?.is_none() {
        if start.elapsed() > HANGS_AFTER {
            child.kill()?;
            child.wait()?;
            return Ok(Run { seed, end: End::Failed, text: format!("seed {seed} HANGS") });
        }
        std::thread::sleep(LOOK);
    }
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    let end = match status.code() {
        Some(0) => End::Held,
        Some(code) if code == i32::from(BROKEN) => End::Broken,
        _ => End::Failed,
    };
    let mut text = String::from_utf8_lossy(&stdout).into_owned();
    if end == End::Failed {
        text.push_str(&format!("seed {seed} ended with {status}: {}", String::from_utf8_lossy(&stderr)));
    }
    Ok(Run { seed, end, text })
}

/// The command that runs a seed again.
fn replay(seed: u64, bug: Option<Bug>) -> String {
    let bug = bug.map(|bug| format!(" --bug {bug}")).unwrap_or_default();
    format!("cargo xtask sim --seed {seed}{bug} --trace trace.txt")
}

/// The number after a word of a report.
fn number(text: &str, name: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "a program that says how long it took")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "seeds that were never run before")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

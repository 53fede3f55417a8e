//! Runs simulations: one seed in this process, or many, each in a process of its own.
//!
//! One process for each seed, because a run then depends on nothing but the seed: not on which runs came before it, and a
//! run that hangs or dies takes no other with it.

mod entropy;
mod many;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use swarmkit_sim::{Bug, Plan, Trace, run};

/// How many lines of the trace are shown beside a broken invariant.
const SHOWN_LINES: usize = 40;

/// How often a run may ask for entropy: the standard library does once, for the keys of its hash maps.
const ENTROPY_CALLS: u64 = 1;

/// The exit code of a run in which an invariant broke.
const BROKEN: u8 = 3;

/// Managers in a simulated world: faults from a seed, and invariants that watch.
#[derive(Debug, Parser)]
#[command(name = "swarm-sim", max_term_width = 100)]
struct Flags {
    /// Run this one seed, and show the end of its trace if an invariant breaks.
    #[arg(long, conflicts_with_all = ["seeds", "fresh", "prove"])]
    seed: Option<u64>,
    /// Write the whole trace of that seed to a file.
    #[arg(long, value_name = "FILE", requires = "seed")]
    trace: Option<PathBuf>,
    /// Show what the members log, as `RUST_LOG` says.
    #[arg(long, requires = "seed")]
    logs: bool,
    /// Run so many seeds.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seeds: u64,
    /// The first of them.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    first: u64,
    /// And so many that were probably never run before.
    #[arg(long, value_name = "N", default_value_t = 0)]
    fresh: u64,
    /// Begin no more runs after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    limit: Option<u64>,
    /// How many runs at once. Default: as many as there are cores.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Run each seed twice, and compare the traces.
    #[arg(long)]
    twice: bool,
    /// Make a mistake on purpose.
    #[arg(long, value_name = "NAME")]
    bug: Option<Bug>,
    /// Make each of the mistakes in turn, and fail if one is not noticed within the seeds that it is said to need.
    #[arg(long)]
    prove: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let done = match flags.seed {
        Some(seed) => one(&flags, seed),
        None if flags.prove => many::prove(&flags),
        None => many::run(&flags),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn one(flags: &Flags, seed: u64) -> Result<ExitCode> {
    let trace = match &flags.trace {
        Some(path) => Trace::to_file(path).with_context(|| format!("writing {}", path.display()))?,
        None => Trace::new(),
    };
    if flags.logs {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    }
    let report = run(&Plan::new(seed, flags.bug), &trace);
    trace.flush()?;
    println!("{report}");
    if entropy::calls() > ENTROPY_CALLS {
        println!("entropy was asked for {} times: something does not take its chance from Env", entropy::calls());
        return Ok(ExitCode::FAILURE);
    }
    if report.broken.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    for line in trace.last(SHOWN_LINES) {
        println!("    {line}");
    }
    Ok(ExitCode::from(BROKEN))
}

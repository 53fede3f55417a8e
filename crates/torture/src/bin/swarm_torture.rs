//! Tortures a cluster of real managers; `cargo xtask torture` builds and runs it.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use swarmkit_torture::{Network, Plan, Report, run};

/// Kills, pauses and cuts off the managers of a real cluster while clients write, and judges what comes of it.
#[derive(Debug, Parser)]
#[command(name = "swarm-torture", max_term_width = 100)]
struct Flags {
    /// How many rounds.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// How many managers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    managers: u8,
    /// What faults and clients follow from. Default: another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// The daemon. Default: the one beside this program.
    #[arg(long, value_name = "PATH")]
    swarmd: Option<PathBuf>,
    /// Where state, logs and the history go, in a directory of their own. Default: the system's temporary directory.
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Use loopback addresses even where network namespaces could be made: nobody is cut off.
    #[arg(long)]
    loopback: bool,
    /// Keep state, logs and the history of a good run too.
    #[arg(long)]
    keep: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match torture(Flags::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the cluster has stood it.
async fn torture(flags: Flags) -> Result<bool> {
    let managers = usize::from(flags.managers);
    let swarmd = match flags.swarmd {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("swarmd"),
    };
    ensure!(swarmd.is_file(), "there is no daemon at {}", swarmd.display());
    let mut builder = tempfile::Builder::new();
    let dir = builder.prefix("swarm-torture-").tempdir_in(flags.dir.unwrap_or_else(std::env::temp_dir))?.keep();
    let network = if flags.loopback { Network::loopback(managers) } else { Network::new(managers) }?;
    let seed = flags.seed.unwrap_or_else(|| u64::from(fresh_seed()));
    println!("seed {seed}, {} rounds; everything is in {}", flags.rounds, dir.display());
    let began = now();
    let plan = Plan { swarmd, dir: dir.clone(), managers, rounds: flags.rounds, seed };
    let progress = |line: &str| println!("[{:6.1} s] {line}", began.elapsed().as_secs_f64());
    let report: Report = tokio::select! { biased; // whoever interrupts wants an end; dropping the run cleans up
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        report = run(&plan, network, progress) => report.with_context(|| format!("logs are in {}", dir.display()))?,
    };
    println!("\n{report}");
    if report.is_good() && !flags.keep {
        std::fs::remove_dir_all(&dir)?;
        println!("good: nothing was lost, doubled or out of order ({:.0} s)", began.elapsed().as_secs_f64());
    } else {
        let dir = dir.display();
        println!("history: {dir}/history.jsonl\nlogs:    {dir}/m*/swarmd.log");
        println!("again:   cargo xtask torture --managers {managers} --rounds {} --seed {seed}", flags.rounds);
    }
    Ok(report.is_good())
}

/// Some number that is another one each time.
fn fresh_seed() -> u32 {
    let mut bytes = [0; 4];
    swarmkit_runtime::Env::real().fill_random(&mut bytes);
    u32::from_le_bytes(bytes)
}

#[expect(clippy::disallowed_methods, reason = "whoever waits is told how long")]
fn now() -> Instant {
    Instant::now()
}

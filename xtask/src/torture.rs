//! `cargo xtask torture`: builds the daemon and what tortures it, and runs the latter.
//!
//! What is done and judged is in `crates/torture`.
use anyhow::Result;

use crate::workspace::{cargo, metadata, root, run as run_command};

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// How many rounds.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// How many managers.
    #[arg(long, default_value_t = 3)]
    managers: u8,
    /// What faults and clients follow from. Default: another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Torture the release build.
    #[arg(long)]
    release: bool,
    /// Use loopback addresses even where network namespaces could be made: nobody is cut off.
    #[arg(long)]
    loopback: bool,
    /// Keep state, logs and the history of a good run too.
    #[arg(long)]
    keep: bool,
}

/// How many rounds continuous integration plays: about a minute.
const SHORT_ROUNDS: u32 = 15;

/// The form of continuous integration. The seed is another one each time, and is printed.
pub(crate) fn short() -> Result<()> {
    run(&Flags { rounds: SHORT_ROUNDS, managers: 3, seed: None, release: false, loopback: false, keep: false })
}

/// Builds and runs.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let mut build = cargo(["build", "--quiet", "--package", "swarmkit-torture", "--bin", "swarm-torture"]);
    build.args(["--package", "swarmkit-cli", "--bin", "swarmd"]);
    run_command(build.args(flags.release.then_some("--release")))?;
    let profile = if flags.release { "release" } else { "debug" };
    let program = metadata()?.target_directory.join(profile).join("swarm-torture");
    let mut torture = std::process::Command::new(program);
    torture.current_dir(root());
    torture.arg(format!("--rounds={}", flags.rounds)).arg(format!("--managers={}", flags.managers));
    torture.args(flags.seed.map(|seed| format!("--seed={seed}")));
    torture.args(flags.loopback.then_some("--loopback")).args(flags.keep.then_some("--keep"));
    run_command(&mut torture)
}

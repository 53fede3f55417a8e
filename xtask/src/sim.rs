//! `cargo xtask sim`: builds the simulator and runs it.
//!
//! What it does, and what its flags mean, is in `crates/sim`.
use std::ffi::OsString;

use anyhow::Result;

use crate::workspace::{cargo, root, run as run_command};

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Build it in release: worth the time for some hundred seeds or more.
    #[arg(long)]
    release: bool,
    /// What the simulator is told: `--seeds N`, `--seed S [--trace FILE]`, `--prove`; `--help` after `--` says all.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<OsString>,
}

/// Simulates.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let mut build = cargo(["build", "--quiet", "--locked", "--package", "swarmkit-sim", "--bin", "swarm-sim"]);
    build.args(flags.release.then_some("--release"));
    run_command(&mut build)?;
    let folder = if flags.release { "release" } else { "debug" };
    let target = crate::workspace::metadata()?.target_directory;
    let mut sim = std::process::Command::new(target.join(folder).join("swarm-sim"));
    run_command(sim.current_dir(root()).args(&flags.flags))
}

/// What continuous integration runs: seeds that are always the same, a few that were never run, and each mistake that
/// is made on purpose.
pub(crate) fn smoke() -> Result<()> {
    let flags = |words: &[&str]| Flags { release: false, flags: words.iter().map(OsString::from).collect() };
    run(&flags(&["--seeds", SMOKE_SEEDS, "--fresh", SMOKE_FRESH, "--limit", SMOKE_SECONDS]))?;
    run(&flags(&["--prove"]))
}

/// How many seeds are run each time.
const SMOKE_SEEDS: &str = "40";
/// How many that were never run before.
const SMOKE_FRESH: &str = "8";
/// After how many seconds no more runs begin.
const SMOKE_SECONDS: &str = "60";

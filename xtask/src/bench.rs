//! `cargo xtask bench`: builds what is measured and what measures it in release, and runs the latter.
//!
//! The figures themselves are in `crates/bench`.
use anyhow::Result;

use crate::workspace::{cargo, root, run as run_command};

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The figures to measure, by id; all but those for information if none is given.
    figures: Vec<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Print what figures there are, and measure nothing.
    #[arg(long)]
    list: bool,
    /// How often each is measured, in place of its own number.
    #[arg(long, value_name = "N")]
    repeat: Option<u32>,
}

/// Measures.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let mut build = cargo(["build", "--quiet", "--release", "--package", "swarmkit-bench", "--bin", "swarm-figures"]);
    if !flags.list {
        build.args(["--package", "swarmkit-cli", "--bin", "swarmd"]);
    }
    run_command(&mut build)?;
    let mut figures = std::process::Command::new(target_directory()?.join("release/swarm-figures"));
    figures.current_dir(root()).args(&flags.figures);
    figures.args(flags.json.then_some("--json")).args(flags.list.then_some("--list"));
    figures.args(flags.repeat.map(|times| format!("--repeat={times}")));
    run_command(&mut figures)
}

fn target_directory() -> Result<std::path::PathBuf> {
    Ok(crate::workspace::metadata()?.target_directory.into_std_path_buf())
}

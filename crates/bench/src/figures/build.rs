//! How long a build from nothing takes.
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::lab::{Lab, Stopwatch};

/// `build.cold`
pub(crate) fn cold(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = |args: &[&str]| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&root).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    run(&mut cargo(&["fetch", "--quiet", "--locked"]))?;
    let mut samples = Vec::new();
    for _ in 0..repeats {
        let target = tempfile::tempdir()?;
        let mut build = cargo(&["build", "--quiet", "--release", "--locked"]);
        build.env("CARGO_TARGET_DIR", target.path());
        let watch = Stopwatch::start();
        run(&mut build)?;
        samples.push(watch.seconds());
    }
    Ok(samples)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

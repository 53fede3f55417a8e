//! `cargo xtask test`: the tests, by the quickest runner that is there.
use std::process::Stdio;

use anyhow::Result;

use crate::workspace::{cargo, run as run_command};

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Only tests of this package, such as `swarmkit-store`; may be given several times.
    #[arg(long, short, value_name = "NAME")]
    package: Vec<String>,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// Runs unit and integration tests with nextest if it is installed, else with cargo's own runner; then examples in
/// comments, which nextest cannot run.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let mut scope: Vec<&str> = flags.package.iter().flat_map(|name| ["--package", name]).collect();
    if scope.is_empty() {
        scope.push("--workspace");
    }
    let filter = flags.filter.as_deref();
    if !has_nextest() {
        return run_command(cargo(["test"]).args(&scope).args(filter));
    }
    run_command(cargo(["nextest", "run", "--no-tests=pass"]).args(&scope).args(filter))?;
    run_command(cargo(["test", "--doc"]).args(&scope).args(filter))
}

/// Whether cargo-nextest is installed.
pub(crate) fn has_nextest() -> bool {
    let status = cargo(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

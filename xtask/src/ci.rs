//! `cargo xtask ci`: the steps of continuous integration, in the order in which a failure is cheapest to find.
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cargo_metadata::TargetKind;
use clap::ValueEnum;

use crate::tidy;
use crate::workspace::{cargo, metadata, root, run as run_command, shown};

/// How long one example may run.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Only these steps.
    #[arg(value_enum)]
    steps: Vec<Step>,
}

/// One step, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The code is formatted.
    Fmt,
    /// The rules of the house hold.
    Tidy,
    /// The generated code is fresh.
    Generate,
    /// Clippy has nothing to say.
    Clippy,
    /// The documentation builds, and its links lead somewhere.
    Doc,
    /// Licences, advisories and banned crates; left out where cargo-deny is not installed.
    Deny,
    /// Simulated managers keep their promises, from some seeds.
    Sim,
    /// The tests pass.
    Test,
    /// The examples run to their end.
    Examples,
    /// Three real managers stand some rounds of faults under load.
    Torture,
}

/// Runs the steps, and stops at the first that fails.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let wanted = |step: &Step| flags.steps.is_empty() || flags.steps.contains(step);
    for step in Step::value_variants().iter().filter(|step| wanted(step)) {
        let name = format!("{step:?}").to_lowercase();
        println!("==> {name}");
        let start = now();
        step.run().with_context(|| format!("step {name}"))?;
        println!("<== {name}: {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

impl Step {
    fn run(self) -> Result<()> {
        match self {
            Self::Fmt => run_command(&mut cargo(["fmt", "--all", "--check"])),
            Self::Tidy => tidy::run(),
            Self::Generate => crate::generate::check(),
            Self::Clippy => {
                run_command(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
            }
            Self::Doc => {
                let mut doc = cargo(["doc", "--workspace", "--no-deps", "--locked"]);
                run_command(doc.env("RUSTDOCFLAGS", "-D warnings"))
            }
            Self::Deny => deny(),
            Self::Sim => crate::sim::smoke(),
            Self::Test => run_command(&mut cargo(tidy::TEST_COMMAND.split_whitespace().skip(1))),
            Self::Examples => examples(),
            Self::Torture => crate::torture::short(),
        }
    }
}

fn deny() -> Result<()> {
    if cargo(["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
        return run_command(&mut cargo(["deny", "check"]));
    }
    println!("cargo-deny is not installed: left out");
    Ok(())
}

/// Builds all examples, then runs each to its end. An example is a program that ends by itself.
fn examples() -> Result<()> {
    run_command(&mut cargo(["build", "--workspace", "--examples", "--locked"]))?;
    let metadata = metadata()?;
    let packages = metadata.workspace_packages();
    let targets = packages.iter().flat_map(|package| &package.targets);
    let folder = metadata.target_directory.join("debug/examples");
    for target in targets.filter(|target| target.kind.contains(&TargetKind::Example)) {
        run_example(folder.join(&target.name).as_std_path())?;
    }
    Ok(())
}

fn run_example(program: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.current_dir(root());
    println!("    {}", shown(&command));
    let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    let status = wait(&mut child, EXAMPLE_LIMIT)?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{}: {status}", shown(&command)),
        None => bail!("{} did not end within {} s", shown(&command), EXAMPLE_LIMIT.as_secs()),
    }
}

/// Waits for a process, and ends it if that takes too long.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<std::process::ExitStatus>> {
    let start = now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[expect(clippy::disallowed_methods, reason = "a chore takes real time and says how much")]
fn now() -> Instant {
    Instant::now()
}

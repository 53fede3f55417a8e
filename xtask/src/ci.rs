//! `cargo xtask ci`: the steps of continuous integration, in the order in which a failure is cheapest to find.
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cargo_metadata::TargetKind;
use clap::ValueEnum;

use crate::tidy;
use crate::workspace::{cargo, metadata, root, run as run_command, shown};

/// How long one example may run.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(60);

/// Examples that serve until they are told to stop, and keep files in the folder that they are run in.
const SERVERS: [&str; 1] = ["external_ca"];

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

/// Builds all examples, then runs each to its end. An example is a program that ends by itself, or a server.
fn examples() -> Result<()> {
    run_command(&mut cargo(["build", "--workspace", "--examples", "--locked"]))?;
    let metadata = metadata()?;
    let packages = metadata.workspace_packages();
    let targets = packages.iter().flat_map(|package| &package.targets);
    let folder = metadata.target_directory.join("debug/examples");
    for target in targets.filter(|target| target.kind.contains(&TargetKind::Example)) {
        let program = folder.join(&target.name);
        if SERVERS.contains(&target.name.as_str()) {
            run_server(program.as_std_path(), metadata.target_directory.join("served").as_std_path())?;
        } else {
            run_example(program.as_std_path())?;
        }
    }
    Ok(())
}

fn run_example(program: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.current_dir(root());
    println!("    {}", shown(&command));
    let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    succeeded(&command, &mut child)
}

/// Runs a server in a folder of its own until it has said something, then has it stop.
fn run_server(program: &Path, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut command = Command::new(program);
    command.current_dir(folder).stdout(Stdio::piped());
    println!("    {}", shown(&command));
    let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    let (said, hears) = mpsc::channel();
    let out = child.stdout.take().context("its output is ours")?;
    #[expect(clippy::disallowed_methods, reason = "a chore hears a program out while it waits for it")]
    let listener = std::thread::spawn(move || {
        BufReader::new(out).lines().map_while(Result::ok).for_each(|line| drop(said.send(line)))
    });
    let first = hears.recv_timeout(EXAMPLE_LIMIT);
    let told = Command::new("kill").arg(child.id().to_string()).status();
    let ended = succeeded(&command, &mut child);
    // It ends with the program whose output it reads.
    drop(listener.join());
    let first = first.with_context(|| format!("{} has said nothing", shown(&command)))?;
    println!("{first}");
    told?;
    ended
}

fn succeeded(command: &Command, child: &mut Child) -> Result<()> {
    match wait(child, EXAMPLE_LIMIT)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{}: {status}", shown(command)),
        None => bail!("{} did not end within {} s", shown(command), EXAMPLE_LIMIT.as_secs()),
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

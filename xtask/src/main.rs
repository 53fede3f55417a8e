//! The chores of this workspace: `cargo xtask <chore>`.
mod bench;
mod ci;
mod generate;
mod setup;
mod sim;
mod test;
mod tidy;
mod torture;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chores of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Flags {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Tells what this machine lacks to build, test and run the project, and how to get it.
    Setup,
    /// Writes the Rust code of `proto/` into `crates/api/src/generated`.
    Generate(generate::Flags),
    /// Checks the rules of the house that neither compiler nor clippy can see.
    Tidy,
    /// Does what continuous integration does. It never writes to the tree.
    Ci(ci::Flags),
    /// Runs the tests, all or some.
    Test(test::Flags),
    /// Kills, pauses and cuts off the managers of a real cluster while clients write, and judges what comes of it.
    Torture(torture::Flags),
    /// Measures the figures that the project claims, on a release build.
    Bench(bench::Flags),
    /// Simulates managers under faults, from seeds.
    Sim(sim::Flags),
}

fn main() -> ExitCode {
    match run(Flags::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<()> {
    match chore {
        Chore::Setup => setup::run(),
        Chore::Generate(flags) => generate::run(&flags),
        Chore::Tidy => tidy::run(),
        Chore::Ci(flags) => ci::run(&flags),
        Chore::Test(flags) => test::run(&flags),
        Chore::Torture(flags) => torture::run(&flags),
        Chore::Bench(flags) => bench::run(&flags),
        Chore::Sim(flags) => sim::run(&flags),
    }
}

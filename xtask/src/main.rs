//! The chores of this workspace: `cargo xtask <chore>`.
mod generate;
mod workspace;

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
    /// Writes the Rust code of `proto/` into `crates/api/src/generated`.
    Generate(generate::Flags),
}

fn main() -> anyhow::Result<()> {
    match Flags::parse().chore {
        Chore::Generate(flags) => generate::run(&flags),
    }
}

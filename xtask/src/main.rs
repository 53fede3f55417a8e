//! The chores of this workspace: `cargo xtask <chore>`.
mod generate;

fn main() -> anyhow::Result<()> {
    generate::generate()
}

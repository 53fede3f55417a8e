//! Measures how fast a cluster starts tasks.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    swarmkit_cli::bench::main(std::env::args_os()).await
}

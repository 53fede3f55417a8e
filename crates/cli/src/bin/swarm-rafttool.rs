//! Looks into the log and the snapshots of a manager.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    swarmkit_cli::rafttool::main(std::env::args_os()).await
}

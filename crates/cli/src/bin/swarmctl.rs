//! Controls a cluster through a node's control socket.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    swarmkit_cli::ctl::main(std::env::args_os()).await
}

//! Runs a node of a cluster.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Tasks outlive this program: it starts itself anew to look after each of them, and this is where that begins.
    swarmkit_executor_process::run_if_requested();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(swarmkit_cli::daemon::main(std::env::args_os())),
        Err(error) => {
            eprintln!("swarmd: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The suite that every executor has to pass.

use swarmkit_executor::{PROCESS_IMAGE, conformance};
use swarmkit_executor_process::ProcessExecutor;

/// The program that tests start supervisors from.
pub(crate) const SUPERVISOR: &str = env!("CARGO_BIN_EXE_swarmkit-supervisor");

#[tokio::test]
async fn the_process_executor_keeps_every_obligation() {
    let dir = tempfile::tempdir().unwrap();
    let open = async || ProcessExecutor::builder(dir.path()).supervisor_program(SUPERVISOR).open().await.unwrap();
    conformance::all(open, conformance::shell(PROCESS_IMAGE)).await;
}

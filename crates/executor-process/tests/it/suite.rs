//! The suite that every executor has to pass.

use swarmkit_executor::{PROCESS_IMAGE, conformance};

use crate::world;

#[tokio::test]
async fn the_process_executor_keeps_every_obligation() {
    let dir = tempfile::tempdir().unwrap();
    conformance::all(async || world::open(dir.path()).await, conformance::shell(PROCESS_IMAGE)).await;
}

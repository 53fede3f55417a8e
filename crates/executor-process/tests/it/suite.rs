//! The suite that every executor has to pass.

use swarmkit_executor::{PROCESS_IMAGE, conformance};
use swarmkit_executor_process::{IsolationMode, ProcessExecutor};

use crate::{image, isolated, world};

#[tokio::test]
async fn the_process_executor_keeps_every_obligation() {
    let dir = tempfile::tempdir().unwrap();
    conformance::all(async || world::open(dir.path()).await, conformance::shell(PROCESS_IMAGE)).await;
}

#[tokio::test]
async fn it_keeps_them_with_every_task_isolated() {
    if !isolated::is_possible().await {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let open = async || {
        let builder = ProcessExecutor::builder(dir.path()).supervisor_program(world::SUPERVISOR);
        builder.isolation(IsolationMode::Always).open().await.unwrap()
    };
    conformance::all(open, conformance::shell(PROCESS_IMAGE)).await;
}

#[tokio::test]
async fn it_keeps_them_with_every_task_in_an_image() {
    if !isolated::is_possible().await || !image::busybox_is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    image::busybox_root(&dir.path().join("images/box"));
    conformance::all(async || world::open(dir.path()).await, conformance::shell("swarmkit.process/image/box")).await;
}

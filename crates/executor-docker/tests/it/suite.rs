//! The suite that every executor has to pass.

use swarmkit_api::wire::{TaskSpec, task_spec::Runtime};
use swarmkit_executor::conformance::{self, Act};

use crate::world::{Ground, IMAGE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_docker_executor_keeps_every_obligation() {
    let Some(ground) = Ground::find().await else { return };
    let dir = tempfile::tempdir().unwrap();
    conformance::all(async || ground.open(dir.path()).await, spec).await;
    assert_eq!(ground.containers_of(dir.path()).await, Vec::<String>::new(), "nothing is left behind");
}

/// The first process of a container ignores the signals that it does not handle, so each has an init for a first one.
fn spec(act: Act) -> TaskSpec {
    let mut spec = conformance::shell(IMAGE)(act);
    let Some(Runtime::Container(container)) = &mut spec.runtime else { panic!("shell makes containers") };
    // Its init would be started all the same, and then not find the program.
    container.init = Some(act != Act::Impossible);
    spec
}

//! An engine that goes away and comes back.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use swarmkit_executor::{Controller as _, Executor as _, FixedDependencies};
use swarmkit_executor_docker::{DockerExecutor, PullPolicy};
use swarmkit_runtime::Spawner;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::world::{World, task, within};

/// A socket that leads to the engine's as long as it lives. To its clients, dropping it is an engine that ends.
struct Relay {
    path: PathBuf,
    crew: Option<swarmkit_runtime::Crew>,
}

impl Relay {
    fn new(path: &Path, engine: &Path) -> Self {
        let mut crew = swarmkit_runtime::Crew::under(&CancellationToken::new());
        let (listener, engine) = (UnixListener::bind(path).unwrap(), engine.to_owned());
        crew.spawn("relay", async move |_| serve(listener, engine).await);
        Self { path: path.to_owned(), crew: Some(crew) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.crew.take());
        std::fs::remove_file(&self.path).ok();
    }
}

async fn serve(listener: UnixListener, engine: PathBuf) -> io::Result<()> {
    let spawner = Spawner::current().expect("a part runs in its crew");
    loop {
        let (mut client, _) = listener.accept().await?;
        let mut server = UnixStream::connect(&engine).await?;
        spawner.spawn("connection", async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
    }
}

#[tokio::test]
async fn a_task_runs_on_while_the_engine_is_away_and_its_end_is_seen_when_it_is_back() {
    let Some(world) = World::find().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("relay.sock");
    let relay = Relay::new(&socket, &world.ground.socket);
    let builder = DockerExecutor::builder(dir.path()).socket(&socket).pull(PullPolicy::Never);
    let executor = builder.open().await.unwrap();
    let behind = World { ground: world.ground.clone(), dir, executor };
    let run = behind.started(task("while [ ! -e /go ]; do sleep 0.1; done; exit 5", |_, _| {}), none()).await;
    let mut wait = pin!(run.controller.wait());
    let brief = Duration::from_millis(200);
    assert!(tokio::time::timeout(brief, &mut wait).await.is_err(), "it runs");

    drop(relay);
    assert!(tokio::time::timeout(brief, &mut wait).await.is_err(), "an engine that is away ends nothing");
    let error = within(run.controller.status()).await.unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    let error = within(run.controller.shutdown()).await.unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    // It ends while nobody can see it.
    world.ground.touch(&run.task, "/go").await;
    world.ground.ended(&run.task).await;

    let _relay = Relay::new(&socket, &world.ground.socket);
    let error = within(wait).await.unwrap_err();
    assert_eq!(error.exit_code(), Some(5), "{error:?}");
    within(behind.executor.describe()).await.unwrap();
    behind.end().await;
    world.end().await;
}

fn none() -> FixedDependencies {
    FixedDependencies::new()
}

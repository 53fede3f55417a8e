//! Volumes with a plugin that does as a test says.

use std::{collections::VecDeque, future::Future};

use futures_util::{FutureExt as _, future::BoxFuture};
use swarmkit_executor::{Dependencies as _, VolumeRequest};
use swarmkit_runtime::Crew;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::payloads::PayloadChange;

/// How one call ends, and how long it takes.
type Play = (Duration, Result<(), ExecError>);

/// A plugin for which a test lays out how its next calls end. The others succeed at once.
#[derive(Default)]
struct Played {
    plays: Mutex<VecDeque<Play>>,
    calls: Mutex<Vec<String>>,
    called: Notify,
}

impl Played {
    fn call(&self, call: String) -> impl Future<Output = Result<(), ExecError>> + use<> {
        self.calls.lock().push(call);
        self.called.notify_waiters();
        let (takes, end) = self.plays.lock().pop_front().unwrap_or((Duration::ZERO, Ok(())));
        async move {
            tokio::time::sleep(takes).await;
            end
        }
    }

    /// Waits until there were so many calls, and gives them.
    async fn calls(&self, number: usize) -> Vec<String> {
        loop {
            let called = self.called.notified();
            tokio::pin!(called);
            called.as_mut().enable();
            let calls = self.calls.lock().clone();
            if calls.len() >= number {
                return calls;
            }
            called.await;
        }
    }
}

impl NodeVolumes for Played {
    fn describe(&self) -> BoxFuture<'_, Vec<wire::NodeCsiInfo>> {
        async { vec![wire::NodeCsiInfo { plugin_name: "disk".into(), node_id: "d-1".into(), ..Default::default() }] }
            .boxed()
    }

    fn publish(&self, request: VolumeRequest) -> BoxFuture<'_, Result<PathBuf, ExecError>> {
        let secrets: String = request.secrets.iter().map(|(key, text)| format!(" {key}={}", text.as_str())).collect();
        let done = self.call(format!("publish {}{secrets}", request.volume.id));
        async move { done.await.map(|()| PathBuf::from("/volumes").join(&request.volume.id)) }.boxed()
    }

    fn unpublish(&self, request: VolumeRequest) -> BoxFuture<'_, Result<(), ExecError>> {
        self.call(format!("unpublish {}", request.volume.id)).boxed()
    }
}

/// A node with that plugin.
struct World {
    plugin: Arc<Played>,
    payloads: Payloads,
    env: Env,
    crew: Crew,
}

impl World {
    fn new(plays: impl IntoIterator<Item = Play>) -> Self {
        let plugin = Arc::new(Played { plays: Mutex::new(plays.into_iter().collect()), ..Played::default() });
        let volumes = Volumes::with(Some(plugin.clone() as Arc<dyn NodeVolumes>));
        let crew = Crew::under(&CancellationToken::new());
        Self { plugin, payloads: Payloads::with(volumes), env: swarmkit_testing::env(), crew }
    }

    fn assign(&self, volume: &wire::VolumeAssignment, here: bool) {
        self.payloads.volumes.assign(volume.clone(), here, &self.env, &self.payloads, &self.crew.spawner());
    }

    fn path(&self) -> Result<PathBuf, ExecError> {
        self.payloads.of(&user()).volume("v")
    }

    /// Waits until the volume is here, or not going to be.
    async fn settled(&self) -> Result<PathBuf, ExecError> {
        loop {
            match self.path() {
                Err(error) if error.is_temporary() => tokio::time::sleep(Duration::from_millis(1)).await,
                settled => return settled,
            }
        }
    }
}

fn volume() -> wire::VolumeAssignment {
    wire::VolumeAssignment { id: "v".into(), ..Default::default() }
}

/// A task that has the volume.
fn user() -> Arc<Task> {
    let mut task = Task::new("t".into(), wire::TaskSpec::default());
    task.volumes = vec![wire::VolumeAttachment { id: "v".into(), ..Default::default() }];
    Arc::new(task)
}

fn ids(ids: &[&str]) -> BTreeSet<VolumeId> {
    ids.iter().map(|id| VolumeId::from(*id)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_brought_here_for_its_tasks_and_taken_away_after_them() {
    let world = World::new([]);
    let error = world.path().unwrap_err();
    assert!(error.is_temporary(), "managers may not have sent it yet");
    assert_eq!(error.to_string(), "dependency not ready: published path is unavailable");
    world.assign(&volume(), true);
    assert_eq!(world.settled().await.unwrap(), PathBuf::from("/volumes/v"));

    let volumes = &world.payloads.volumes;
    volumes.observe(&user(), TaskState::Running);
    world.assign(&volume(), false);
    let told = volumes.wait_untold();
    tokio::pin!(told);
    assert!(tokio::time::timeout(Duration::from_secs(3600), &mut told).await.is_err(), "the task still has it open");
    assert_eq!(world.path().unwrap_err().to_string(), "volume being removed");
    assert_eq!(world.plugin.calls(1).await, ["publish v"]);

    volumes.observe(&user(), TaskState::Shutdown);
    assert_eq!(told.await, ids(&["v"]));
    assert_eq!(world.plugin.calls(2).await, ["publish v", "unpublish v"]);
    volumes.told(&ids(&["v"]));
    assert!(tokio::time::timeout(Duration::from_secs(1), volumes.wait_untold()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn one_that_this_node_was_never_told_of_is_taken_away_as_well() {
    let world = World::new([]);
    world.assign(&volume(), false);
    assert_eq!(world.payloads.volumes.wait_untold().await, ids(&["v"]));
    assert_eq!(world.plugin.calls(1).await, ["unpublish v"], "an agent before this one may have brought it");
}

#[tokio::test(start_paused = true)]
async fn what_a_plugin_cannot_do_now_is_tried_again_later_and_later() {
    let fail = || (Duration::ZERO, Err(ExecError::temporary("the disk is busy")));
    let world = World::new([fail(), fail(), fail(), fail()]);
    let start = Instant::now();
    world.assign(&volume(), true);
    world.plugin.calls(2).await;
    let error = world.path().unwrap_err();
    assert!(error.is_temporary());
    assert_eq!(error.to_string(), "dependency not ready: published path is unavailable: the disk is busy");
    world.settled().await.unwrap();
    assert_eq!(world.plugin.calls.lock().len(), 5);
    // Pauses of 0.2, 0.4, 0.8 and 1.6 s, each drawn from a part of that.
    assert!(start.elapsed() <= Duration::from_millis(3050), "{:?}", start.elapsed());
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_task_is_refused_where_its_volume_can_never_be() {
    let world = World::new([(Duration::ZERO, Err(ExecError::rejected("this node has no storage plugin \"tape\"")))]);
    world.assign(&volume(), true);
    let error = world.settled().await.unwrap_err();
    assert_eq!(error.to_string(), "this node has no storage plugin \"tape\"");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_begun_is_not_cut_short_by_a_new_wish() {
    let world = World::new([(Duration::from_secs(10), Ok(()))]);
    let start = Instant::now();
    world.assign(&volume(), true);
    world.plugin.calls(1).await;
    world.assign(&volume(), false);
    assert_eq!(world.plugin.calls(2).await, ["publish v", "unpublish v"]);
    assert!(start.elapsed() >= Duration::from_secs(10), "first the one call ends, then the other begins");
    assert_eq!(world.payloads.volumes.wait_untold().await, ids(&["v"]));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_wanted_again_before_it_was_taken_away_stays() {
    let world = World::new([]);
    world.assign(&volume(), true);
    world.settled().await.unwrap();
    world.payloads.volumes.observe(&user(), TaskState::Running);
    world.assign(&volume(), false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.assign(&volume(), true);
    world.settled().await.unwrap();
    world.payloads.volumes.observe(&user(), TaskState::Complete);
    assert!(tokio::time::timeout(Duration::from_secs(60), world.payloads.volumes.wait_untold()).await.is_err());
    assert!(!world.plugin.calls.lock().contains(&"unpublish v".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_volume_whose_plugin_hangs_holds_up_no_other() {
    let world = World::new([(Duration::from_secs(100_000), Ok(()))]);
    world.assign(&volume(), true);
    world.plugin.calls(1).await;
    world.assign(&wire::VolumeAssignment { id: "w".into(), ..Default::default() }, false);
    assert_eq!(world.payloads.volumes.wait_untold().await, ids(&["w"]));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_given_the_secrets_that_are_here_under_its_own_names() {
    let world = World::new([]);
    let secret = |id: &str, data: &'static [u8]| {
        let spec = wire::SecretSpec { data: data.into(), ..Default::default() };
        PayloadChange::Secret(Box::new(wire::Secret { id: id.into(), spec: Some(spec), ..Default::default() }))
    };
    world.payloads.replace(vec![secret("s1", b"hush"), secret("s2", b"\xff")]);
    let wanted = |key: &str, secret: &str| wire::VolumeSecret { key: key.into(), secret: secret.into() };
    let secrets = vec![wanted("password", "s1"), wanted("binary", "s2"), wanted("gone", "s3")];
    world.assign(&wire::VolumeAssignment { secrets, ..volume() }, true);
    assert_eq!(world.plugin.calls(1).await, ["publish v password=hush"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_plugins_has_no_volumes_and_says_so() {
    let payloads = Payloads::default();
    let crew = Crew::under(&CancellationToken::new());
    payloads.volumes.assign(volume(), false, &swarmkit_testing::env(), &payloads, &crew.spawner());
    assert_eq!(payloads.volumes.wait_untold().await, ids(&["v"]));
    let error = payloads.of(&user()).volume("v").unwrap_err();
    assert_eq!(error.to_string(), "volume v cannot be published: this node has no plugin for cluster volumes");
    assert!(payloads.volumes.describe().await.is_empty());
}

//! The enforcer of volumes: who has to leave when a volume is drained.

use swarmkit_api::{Volume, VolumeId};
use wire::volume_spec::VolumeAvailability;

use super::{stage::Stage, *};

fn volume(id: &str, availability: VolumeAvailability) -> Volume {
    let mut volume = Volume::new(VolumeId::from(id));
    let annotations = Some(testing::named(id));
    let driver = Some(wire::Driver { name: "disks".to_owned(), ..Default::default() });
    let availability = availability.into();
    volume.spec = Arc::new(wire::VolumeSpec { annotations, driver, availability, ..Default::default() });
    volume
}

fn set(store: &Store, id: &str, availability: VolumeAvailability) {
    write(store, |tx| {
        let change = |volume: &mut Volume| Arc::make_mut(&mut volume.spec).set_availability(availability);
        tx.edit(&VolumeId::from(id), change).map(drop)
    });
}

/// A store with two volumes, and tasks of `web` in many states that use the first one of them, but for `web.9`, which
/// uses the other.
fn used(availability: VolumeAvailability) -> Store {
    let store = testing::store(
        "node a; service web replicas=9 restart=none; task web.1 on a; task web.2 on a assigned; task web.3 on a complete
         task web.4 on a running wants shutdown; task web.5 on a running wants remove; task web.6 on a failed wants shutdown
         task web.7 on a ready wants ready; task web.8 on a; task web.9 on a",
    );
    write(&store, |tx| {
        tx.create(volume("data", availability))?;
        tx.create(volume("logs", VolumeAvailability::Active))?;
        for number in [1, 2, 3, 4, 5, 6, 7, 9] {
            let id = if number == 9 { "logs" } else { "data" };
            let attachment = wire::VolumeAttachment { id: id.to_owned(), ..Default::default() };
            tx.edit(&format!("web.{number}").as_str().into(), |task: &mut Task| task.volumes = vec![attachment])?;
        }
        Ok(())
    });
    store
}

fn rejected(store: &Store) -> Vec<String> {
    let view = store.view();
    let rejected = view.all::<Task>().filter(|task| task.status.state == TaskState::Rejected);
    let tell = |task: &Arc<Task>| {
        assert_eq!(task.status.message, "task rejected by volume enforcer");
        assert_eq!(task.status.err, "attached to volume which is being drained");
        let now = env().now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(task.status.timestamp.map(|at| at.seconds.unsigned_abs()), Some(now), "it is told when");
        task.id.to_string()
    };
    rejected.map(tell).collect()
}

async fn enforce(store: &Store, story: impl AsyncFnOnce(&Store)) {
    alone(store, |store, stop| crate::volumes::run(env(), store, stop), story).await;
}

const LIVE: [&str; 3] = ["web.1", "web.2", "web.7"];

#[tokio::test(start_paused = true)]
async fn at_its_start_the_tasks_of_a_drained_volume_are_rejected_and_those_that_end_are_left_alone() {
    let store = used(VolumeAvailability::Drain);
    enforce(&store, async |_| {}).await;
    assert_eq!(rejected(&store), LIVE);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_comes_to_be_drained_loses_its_tasks_and_one_that_is_paused_does_not() {
    let store = used(VolumeAvailability::Active);
    enforce(&store, async |store| set(store, "data", VolumeAvailability::Pause)).await;
    assert_eq!(rejected(&store), [""; 0]);
    enforce(&store, async |store| set(store, "data", VolumeAvailability::Drain)).await;
    assert_eq!(rejected(&store), LIVE);
    let before = store.version();
    enforce(&store, async |_| {}).await;
    assert_eq!(store.version(), before, "nothing is written twice");
}

#[tokio::test(start_paused = true)]
async fn what_loses_its_volume_is_replaced_as_its_restart_policy_says() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=5s").await;
    let task = stage.tasks()[0].id.clone();
    write(&stage.store, |tx| {
        tx.create(volume("data", VolumeAvailability::Active))?;
        let attachment = wire::VolumeAttachment { id: "data".to_owned(), ..Default::default() };
        tx.edit(&task, |task: &mut Task| task.volumes = vec![attachment]).map(drop)
    });
    set(&stage.store, "data", VolumeAvailability::Drain);
    stage.settle().await;
    assert_eq!(stage.history(), ["web.1 rejected wants shutdown", "web.1 ready wants ready"]);
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.told(), ["web.1 running"]);
}

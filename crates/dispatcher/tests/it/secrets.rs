//! Secrets whose values drivers provide.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use swarmkit_api::{Secret, TaskState, wire};
use swarmkit_dispatcher::DispatcherConfig;
use swarmkit_secret_drivers::{ProvidedSecret, SecretDriver, SecretDrivers, SecretError, SecretRequest};
use tokio::{sync::watch, time::Instant};
use zeroize::Zeroizing;

use crate::{
    assignments::{listen, said},
    world::World,
};

/// A driver that is played. What it does depends on the name of the secret: `own…` is for one task alone, `bad…` is
/// refused, `slow…` waits until it is told to go on, everything else is for all tasks.
#[derive(Clone, Debug)]
struct Played {
    asked: Arc<Mutex<Vec<SecretRequest>>>,
    goes_on: watch::Sender<bool>,
}

impl Played {
    fn new() -> Self {
        Self { asked: Arc::default(), goes_on: watch::Sender::new(false) }
    }

    /// Which tasks it was asked for, sorted.
    fn asked(&self) -> Vec<String> {
        let mut asked: Vec<_> = self.asked.lock().iter().map(|request| request.task_id.clone()).collect();
        asked.sort();
        asked
    }
}

impl SecretDrivers for Played {
    fn find(&self, driver: &str) -> Option<Arc<dyn SecretDriver>> {
        matches!(driver, "vault" | "other").then(|| Arc::new(self.clone()) as Arc<dyn SecretDriver>)
    }
}

impl SecretDriver for Played {
    fn get(&self, request: SecretRequest) -> BoxFuture<'_, Result<ProvidedSecret, SecretError>> {
        self.asked.lock().push(request.clone());
        async move {
            let own = request.secret_name.starts_with("own");
            match request.secret_name.as_str() {
                name if name.starts_with("bad") => return Err(SecretError::Refused("sealed".into())),
                name if name.starts_with("slow") => drop(self.goes_on.subscribe().wait_for(|goes_on| *goes_on).await),
                _ => {}
            }
            let value = if own { format!("for {}", request.task_id) } else { "for all".to_owned() };
            Ok(ProvidedSecret { value: Zeroizing::new(value.into_bytes()), do_not_reuse: own })
        }
        .boxed()
    }
}

/// A dispatcher with that driver, over a store in which these secrets have it.
async fn world(text: &str, drivers: &Played, secrets: &[(&str, &str)]) -> World {
    let config = DispatcherConfig { secret_drivers: Arc::new(drivers.clone()), ..DispatcherConfig::default() };
    let mut world = World::stopped(text, config);
    for (secret, driver) in secrets {
        let edit = |secret: &mut Secret| {
            let spec = Arc::make_mut(&mut secret.spec);
            spec.driver = Some(wire::Driver { name: (*driver).into(), ..Default::default() });
            spec.data.clear();
        };
        world.write(|tx| tx.edit::<Secret>(&(*secret).into(), edit)).await;
    }
    world.lead().await;
    world
}

/// The values of a message's secrets by their ids, and whether they are the node's affair alone.
fn values(message: &wire::AssignmentsMessage) -> BTreeMap<String, (String, bool)> {
    let secrets = message.changes.iter().filter_map(|change| match change.assignment.as_ref()?.item.as_ref()? {
        wire::assignment::Item::Secret(secret) => Some(secret.clone()),
        _ => None,
    });
    let value = |secret: wire::Secret| {
        let data = String::from_utf8(secret.spec.unwrap_or_default().data.to_vec()).unwrap();
        (secret.id, (data, secret.internal))
    };
    secrets.map(value).collect()
}

fn value(text: &str, internal: bool) -> (String, bool) {
    (text.to_owned(), internal)
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_a_driver_comes_with_the_first_task_that_needs_it_and_goes_with_the_last() {
    let drivers = Played::new();
    let world = world("node a; secret s=1; service web secret=s", &drivers, &[("s", "vault")]).await;
    let (mut stream, _) = listen(&world, "a").await;
    world.amend("task web.1 on a assigned");
    let message = stream.next().await;
    assert_eq!(said(&message), ["+secret s", "+task web.1"]);
    assert_eq!(values(&message)["s"], value("for all", false));
    world.amend("task web.2 on a assigned");
    assert_eq!(said(&stream.next().await), ["+task web.2"]);
    assert_eq!(drivers.asked(), ["web.1"], "the node has it already");
    world.delete_task("web.1").await;
    assert_eq!(said(&stream.next().await), ["-task web.1"]);
    world.delete_task("web.2").await;
    assert_eq!(said(&stream.next().await), ["-secret s", "-task web.2"]);
}

#[tokio::test(start_paused = true)]
async fn a_driver_is_told_who_needs_its_secret() {
    let drivers = Played::new();
    let text = "node a; secret s=1; service web secret=s; task web.1 on a assigned";
    let world = world(text, &drivers, &[("s", "vault")]).await;
    listen(&world, "a").await;
    let asked = drivers.asked.lock().clone();
    let task = world.task("web.1");
    let secret = Arc::clone(world.store.view().get::<Secret>(&"s".into()).unwrap());
    assert_eq!(asked, [SecretRequest::new(&secret, &task)]);
    let told = (asked[0].secret_name.as_str(), asked[0].service_name.as_str(), asked[0].node_id.as_str());
    assert_eq!(told, ("s", "web", "a"));
}

#[tokio::test(start_paused = true)]
async fn a_value_for_one_task_alone_comes_under_an_id_of_its_own_and_that_is_what_goes_with_the_task() {
    let drivers = Played::new();
    let text = "node a; secret own=1; service web secret=own; task web.1 on a assigned; task web.2 on a running";
    let world = world(text, &drivers, &[("own", "vault")]).await;
    let (mut stream, first) = listen(&world, "a").await;
    assert_eq!(first, ["+secret own.web.1", "+secret own.web.2", "+task web.1", "+task web.2"]);
    world.amend("task web.3 on a assigned");
    let message = stream.next().await;
    assert_eq!(said(&message), ["+secret own.web.3", "+task web.3"]);
    assert_eq!(values(&message)["own.web.3"], value("for web.3", true));
    world.delete_task("web.1").await;
    assert_eq!(said(&stream.next().await), ["-secret own.web.1", "-task web.1"]);
    world.edit_task("web.2", |task| task.status.state = TaskState::Failed).await;
    assert_eq!(said(&stream.next().await), ["-secret own.web.2"]);
    world.delete_task("web.3").await;
    assert_eq!(said(&stream.next().await), ["-secret own.web.3", "-task web.3"]);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_refuses_leaves_its_secret_out_and_the_rest_is_told() {
    let drivers = Played::new();
    let text = "node a; secret bad=1; secret s=2; secret plain=3; service web secret=bad; service fine secret=s; \
                service old secret=plain; task web.1 on a assigned; task fine.1 on a assigned; task old.1 on a assigned";
    let world = world(text, &drivers, &[("bad", "vault"), ("s", "vault")]).await;
    let (mut stream, first) = listen(&world, "a").await;
    assert_eq!(first, ["+secret plain", "+secret s", "+task fine.1", "+task old.1", "+task web.1"]);
    world.delete_task("web.1").await;
    assert_eq!(said(&stream.next().await), ["-task web.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_whose_driver_this_manager_lacks_is_left_out() {
    let drivers = Played::new();
    let text = "node a; secret s=1; service web secret=s; task web.1 on a assigned";
    let world = world(text, &drivers, &[("s", "nobody")]).await;
    assert_eq!(listen(&world, "a").await.1, ["+task web.1"]);
    assert_eq!(drivers.asked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_hangs_holds_up_only_the_tasks_that_need_it_and_those_not_for_ever() {
    let drivers = Played::new();
    let text = "node a; secret slow=1; secret s=2; service web secret=slow; service fine secret=s; \
                task web.1 on a assigned; task web.2 on a running; task fine.1 on a assigned";
    let world = world(text, &drivers, &[("slow", "vault"), ("s", "other")]).await;
    let begin = Instant::now();
    let (mut stream, first) = listen(&world, "a").await;
    assert_eq!(first, ["+secret s", "+task fine.1", "+task web.2"], "what the node has taken up is always named");
    assert_eq!(begin.elapsed(), Duration::from_secs(1));
    let next = Instant::now();
    world.amend("task fine.2 on a assigned; task web.3 on a assigned");
    assert_eq!(said(&stream.next().await), ["+task fine.2"]);
    assert_eq!(next.elapsed(), Duration::ZERO);
    assert_eq!(said(&stream.next().await), ["+task web.1"], "without the secret");
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
    assert_eq!(said(&stream.next().await), ["+task web.3"]);
    assert!(stream.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_goes_while_its_driver_is_asked_leaves_nothing_behind() {
    let drivers = Played::new();
    let world = world("node a; secret slow=1; service web secret=slow", &drivers, &[("slow", "vault")]).await;
    let (mut stream, _) = listen(&world, "a").await;
    world.amend("task web.1 on a assigned");
    assert!(stream.is_silent().await);
    world.delete_task("web.1").await;
    assert_eq!(said(&stream.next().await), ["-task web.1"]);
    drivers.goes_on.send_replace(true);
    assert!(stream.is_silent().await);
    world.amend("task web.2 on a assigned");
    assert_eq!(said(&stream.next().await), ["+secret slow", "+task web.2"]);
}

#[tokio::test(start_paused = true)]
async fn a_driver_is_asked_a_few_questions_at_once_and_another_one_does_not_wait_for_it() {
    let drivers = Played::new();
    let many: String = (1..=40).map(|n| format!("task web.{n} on a assigned;")).collect();
    let text =
        format!("node a; node b; secret slow=1; secret s=2; service web secret=slow; service fine secret=s; {many}");
    let world = world(&text, &drivers, &[("slow", "vault"), ("s", "other")]).await;
    let (mut stream, first) = listen(&world, "a").await;
    assert_eq!(first, [""; 0]);
    assert_eq!(drivers.asked().len(), 16);
    world.amend("task fine.1 on b assigned");
    assert_eq!(listen(&world, "b").await.1, ["+secret s", "+task fine.1"]);
    drivers.goes_on.send_replace(true);
    let mut told = 0;
    while told < 41 {
        told += stream.next().await.changes.len();
    }
    assert!(stream.is_silent().await);
    assert_eq!((told, drivers.asked().len()), (41, 41), "forty tasks here, one there; one secret");
}

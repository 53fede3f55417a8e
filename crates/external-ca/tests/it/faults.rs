//! Servers that do not do what they should.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmkit_api::NodeRole;
use swarmkit_ca::{ExternalCa as _, ExternalCaError};
use swarmkit_external_ca::{ANSWER_BYTES_MAX, CfsslClient, QUESTION_TIME, server::Fault};
use swarmkit_runtime::{Clock, Env};
use tokio::sync::{Semaphore, watch};

use crate::world::{World, identity, nobody, order};

#[tokio::test]
async fn a_server_out_of_order_may_be_asked_again_and_answers_once_it_is_well() {
    let world = World::new().await;
    let wanted = identity("w", NodeRole::Worker);
    for (fault, text) in [
        (Fault::Status, "unexpected status code in CSR response: 500"),
        (Fault::Garbage, "failed to parse CSR response: "),
        (Fault::Cut, "error: "),
        (Fault::Flood, "length limit exceeded"),
    ] {
        world.server.misbehave(Some(fault));
        let error = world.sign(&wanted).await.unwrap_err();
        assert!(error.is_recoverable(), "{fault:?}: {error}");
        assert!(error.to_string().contains(text), "{fault:?}: {error}");
        world.server.misbehave(None);
        world.sign(&wanted).await.unwrap();
    }
    assert_eq!(ANSWER_BYTES_MAX, 256 * 1024);
    world.end().await;
}

#[tokio::test]
async fn an_address_where_nobody_is_may_be_asked_again() {
    let world = World::new().await;
    let silent = nobody().await;
    for url in [silent.as_str(), "http://127.0.0.1:1/sign", "nonsense", "https://"] {
        let error = world.sign_at(&world.at(&[url]), &identity("w", NodeRole::Worker)).await.unwrap_err();
        assert!(error.is_recoverable(), "settings can be mended: {error}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_refusal_is_for_good() {
    let world = World::new().await;
    world.server.misbehave(Some(Fault::Refusal));
    let error = world.sign(&identity("w", NodeRole::Worker)).await.unwrap_err();
    assert!(!error.is_recoverable());
    let text = format!("external CA {}: response errors: 0 not today", world.server.url());
    assert_eq!(error.to_string(), text);
    world.end().await;
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_noticed() {
    let world = World::new().await;
    world.server.misbehave(Some(Fault::Impostor));
    let error = world.sign(&identity("w", NodeRole::Worker)).await.unwrap_err();
    let ExternalCaError::Unfit { reason } = &error else { panic!("{error:?}") };
    assert!(reason.contains("it is for node somebody-else"), "{reason}");
    world.end().await;
}

/// A clock on which no time passes until it is let, and which tells how long it was asked to wait.
struct Held {
    passes: Arc<Semaphore>,
    asked: watch::Sender<Duration>,
}

impl Clock for Held {
    fn now(&self) -> SystemTime {
        Env::real().now()
    }

    fn sleep(&self, period: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.asked.send_replace(period);
        let passes = self.passes.clone();
        Box::pin(async move { drop(passes.acquire().await) })
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_after_its_time() {
    let world = World::new().await;
    world.server.misbehave(Some(Fault::Silence));
    let (passes, asked) = (Arc::new(Semaphore::new(0)), watch::Sender::new(Duration::ZERO));
    let clock = Held { passes: passes.clone(), asked: asked.clone() };
    let client = CfsslClient::new(Env::seeded(7, clock), world.credentials.clone());
    let (authorities, (_, wanted)) = (world.authorities(), order(&identity("w", NodeRole::Worker)));
    let mut seen = world.server.seen();
    let (answer, ()) = tokio::join!(client.sign(&authorities, &wanted), async {
        seen.wait_for(|seen| seen.questions == 1).await.unwrap();
        passes.add_permits(1);
    });
    let error = answer.unwrap_err();
    assert!(error.is_recoverable() && error.to_string().ends_with("no answer within 5 seconds"), "{error}");
    assert_eq!((*asked.borrow(), QUESTION_TIME), (Duration::from_secs(5), Duration::from_secs(5)));
    world.end().await;
}

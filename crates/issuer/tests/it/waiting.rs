//! Waiting for the outcome.

use std::time::Duration;

use swarmkit_api::{Node, wire, wire::issuance_status::State};
use tonic::{Code, Request};

use super::world::{World, ask, outcome, settle, state};

#[tokio::test(start_paused = true)]
async fn who_asks_early_is_answered_as_soon_as_the_certificate_is_there() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    let begin = tokio::time::Instant::now();
    let answer = async { outcome(&mut authority, &asked.node).await.unwrap() };
    let lead = async {
        settle().await;
        world.lead()
    };
    let (answer, term) = tokio::join!(answer, lead);
    assert_eq!(state(&answer), State::Issued);
    world.verified(&asked, &answer);
    assert_eq!(begin.elapsed(), Duration::ZERO, "no polling, no pause");
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_names_nobody_or_somebody_unknown_is_told_at_once() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    assert_eq!(outcome(&mut authority, &"".into()).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(outcome(&mut authority, &"nobody".into()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_removed_meanwhile_is_not_waited_for() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    let remove = async {
        settle().await;
        world.put(|tx| tx.delete::<Node>(&asked.node).map(drop)).await;
    };
    let (answer, ()) = tokio::join!(outcome(&mut authority, &asked.node), remove);
    assert_eq!(answer.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    let begin = tokio::time::Instant::now();
    let mut request = Request::new(wire::NodeCertificateStatusRequest { node_id: asked.node.to_string() });
    request.set_timeout(Duration::from_secs(24 * 3600));
    let told = authority.node_certificate_status(request).await.unwrap_err();
    assert_eq!(told.code(), Code::DeadlineExceeded, "which callers take for: ask again");
    assert!(begin.elapsed() <= Duration::from_secs(61));
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_stops_sends_its_callers_to_the_next_one() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    let stop = async {
        settle().await;
        world.stop.cancel();
    };
    let (answer, ()) = tokio::join!(outcome(&mut authority, &asked.node), stop);
    let stopped = (Code::Aborted, "CA signer is stopped");
    let told = answer.unwrap_err();
    assert_eq!((told.code(), told.message()), stopped);
    let before = world.store.version();
    let told = ask(&mut authority, &world.tokens().worker).await.err().expect("refused");
    assert_eq!((told.code(), told.message()), stopped);
    let told = world.anyone().await.get_root_ca_certificate(wire::GetRootCaCertificateRequest {}).await.unwrap_err();
    assert_eq!((told.code(), told.message()), stopped);
    assert_eq!(world.store.version(), before);

    let again = world.again().await;
    let roots = again.anyone().await.get_root_ca_certificate(wire::GetRootCaCertificateRequest {}).await.unwrap();
    assert_eq!(roots.into_inner().certificate, world.root.bundle().as_bytes(), "the next one has the same root");
    let term = again.lead();
    let answer = outcome(&mut again.stranger().await, &asked.node).await.unwrap();
    world.verified(&asked, &answer);
    term.end().await;
}

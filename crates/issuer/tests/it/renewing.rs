//! Nodes that have a certificate and want another one.

use std::time::Duration;

use swarmkit_api::{Node, NodeRole, wire, wire::issuance_status::State};
use tonic::Code;

use super::world::{World, ask, identity, member, outcome, settle, state};

async fn with_worker() -> World {
    let world = World::new().await;
    world.put(|tx| tx.create(member("w", NodeRole::Worker)).map(drop)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_member_renews_without_a_token_and_stays_who_it_is() {
    let world = with_worker().await;
    let term = world.lead();
    for (id, role) in [("w", NodeRole::Worker), ("m", NodeRole::Manager)] {
        let mut authority = world.node(&id.into(), role).await;
        let asked = ask(&mut authority, "").await.unwrap();
        assert_eq!(asked.node.as_str(), id);
        settle().await;
        let answer = outcome(&mut authority, &asked.node).await.unwrap();
        assert_eq!(*world.verified(&asked, &answer).identity(), identity(id, role));
    }
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_role_in_a_renewed_certificate_is_the_one_in_the_store() {
    let world = with_worker().await;
    let term = world.lead();
    let id = "w".into();
    world.edit_node(&id, |node| node.role = NodeRole::Manager).await;
    let mut authority = world.node(&id, NodeRole::Worker).await;
    let asked = ask(&mut authority, "").await.unwrap();
    settle().await;
    let promoted = world.verified(&asked, &outcome(&mut authority, &id).await.unwrap());
    assert_eq!(promoted.identity().role, NodeRole::Manager);

    world.edit_node(&id, |node| node.role = NodeRole::Worker).await;
    let mut authority = world.node(&id, NodeRole::Manager).await;
    let asked = ask(&mut authority, "").await.unwrap();
    settle().await;
    let demoted = world.verified(&asked, &outcome(&mut authority, &id).await.unwrap());
    assert_eq!(demoted.identity().role, NodeRole::Worker, "a manager's certificate does not keep it one");
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_is_told_so() {
    let world = with_worker().await;
    let mut authority = world.node(&"w".into(), NodeRole::Worker).await;
    ask(&mut authority, "").await.unwrap();
    world.put(|tx| tx.delete::<Node>(&"w".into()).map(drop)).await;
    let refused = ask(&mut authority, "").await.err().expect("refused");
    let text = "node w not found when attempting to renew certificate";
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, text));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_removed_needs_a_token_and_becomes_another_one() {
    let world = with_worker().await;
    world
        .edit_cluster(|cluster| {
            cluster.blacklisted_certificates.insert("w".to_owned(), wire::BlacklistedCertificate::default());
        })
        .await;
    let mut authority = world.node(&"w".into(), NodeRole::Worker).await;
    let refused = ask(&mut authority, "").await.err().expect("refused");
    let text = "A valid join token is necessary to join this cluster";
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, text));
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    assert_ne!(asked.node.as_str(), "w");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_told_to_renew_is_left_alone_until_it_does() {
    let world = with_worker().await;
    let id = "w".into();
    let rotate = Some(wire::IssuanceStatus { state: State::Rotate.into(), err: String::new() });
    world.edit_node(&id, |node| node.certificate.status = rotate).await;
    let term = world.lead();
    settle().await;
    let mut authority = world.node(&id, NodeRole::Worker).await;
    assert_eq!(state(&outcome(&mut authority, &id).await.unwrap()), State::Rotate, "told at once");

    let asked = ask(&mut authority, "").await.unwrap();
    settle().await;
    let answer = outcome(&mut authority, &id).await.unwrap();
    assert_eq!(state(&answer), State::Issued);
    world.verified(&asked, &answer);
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_lives_as_long_as_the_cluster_says() {
    let world = with_worker().await;
    let term = world.lead();
    let hours = |hours: i64| Some(prost_types::Duration { seconds: hours * 3600, nanos: 0 });
    for (said, hours) in [(None, 2160), (hours(5), 5), (hours(0), 2160), (hours(-3), 2160)] {
        world
            .edit_cluster(|cluster| {
                let mut spec = cluster.spec.as_ref().clone();
                spec.ca_config.get_or_insert_default().node_cert_expiry = said;
                cluster.spec = spec.into();
            })
            .await;
        let mut authority = world.node(&"w".into(), NodeRole::Worker).await;
        let asked = ask(&mut authority, "").await.unwrap();
        settle().await;
        let validity = world.verified(&asked, &outcome(&mut authority, &asked.node).await.unwrap()).validity();
        let left = validity.not_after.duration_since(world.env.now()).unwrap();
        let wanted = Duration::from_secs(hours * 3600);
        assert!(left.abs_diff(wanted) <= Duration::from_secs(60), "{left:?} of {wanted:?}");
    }
    term.end().await;
}

//! The loop of the leader, when things go wrong and leaders change.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{Node, NodeRole, wire, wire::issuance_status::State};
use swarmkit_store::{Interest, ProposeError, Update};

use super::{
    OUTSIDE,
    world::{World, ask, fresh_key, member, outcome, settle, state},
};

#[tokio::test(start_paused = true)]
async fn what_one_leader_left_pending_the_next_one_signs() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    world.lead().end().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    settle().await;
    assert_eq!(world.stored(&asked.node).certificate.status.as_ref().unwrap().state(), State::Pending);

    let term = world.lead();
    world.verified(&asked, &outcome(&mut authority, &asked.node).await.unwrap());
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_request_never_gets_the_certificate_of_an_older_one() {
    let world = World::new().await;
    world.put(|tx| tx.create(member("w", NodeRole::Worker)).map(drop)).await;
    let mut history = world.store.watch(Interest::none().object::<Node>(&"w".into()));
    assert!(matches!(history.next().await, Ok(Update::Snapshot(_))));
    let mut authority = world.node(&"w".into(), NodeRole::Worker).await;
    ask(&mut authority, "").await.unwrap();

    // The newer request is under way, and not visible yet, while the older one is signed.
    world.gate.close();
    let newer = async {
        let asked = ask(&mut authority, "").await.unwrap();
        let answer = outcome(&mut authority, &asked.node).await.unwrap();
        (asked, answer)
    };
    let meanwhile = async {
        settle().await;
        let term = world.lead();
        settle().await;
        world.gate.open();
        term
    };
    let ((asked, answer), term) = tokio::join!(newer, meanwhile);
    world.verified(&asked, &answer);
    term.end().await;

    let mut issued = 0;
    while let Some(update) = history.try_next().unwrap() {
        if let Update::Delta(delta) = update {
            let nodes = delta.changes.iter().filter_map(|change| change.as_::<Node>()?.after.clone());
            issued += nodes.filter(|node| !node.certificate.certificate.is_empty()).count();
        }
    }
    assert_eq!(issued, 1, "the older request was never answered");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_did_not_get_through_is_tried_again() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    world.gate.fail(ProposeError::Failed("disk full".into()));
    world.gate.fail(ProposeError::Superseded);
    let term = world.lead();
    world.verified(&asked, &outcome(&mut authority, &asked.node).await.unwrap());
    assert_eq!(world.gate.refused(), 2);
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn losing_the_lead_ends_the_loop() {
    let world = World::new().await;
    ask(&mut world.stranger().await, &world.tokens().worker).await.unwrap();
    world.gate.fail(ProposeError::NotLeader { leader: None });
    assert_eq!(world.lead().failure().await, "raft: failed to process the request: node lost leader status");
}

#[tokio::test(start_paused = true)]
async fn a_root_that_cannot_sign_keeps_requests_waiting_until_there_is_one_that_can() {
    let world = World::new().await;
    let good = world.root_in_store();
    let keyless = wire::RootCa { ca_key: Default::default(), ..good.clone() };
    let garbage = wire::RootCa { ca_cert: b"garbage".as_slice().into(), ..good.clone() };
    // Where an authority outside signs, a root without its key is as it should be.
    for bad in if OUTSIDE { vec![garbage] } else { vec![keyless, garbage] } {
        let mut authority = world.stranger().await;
        world.edit_cluster(|cluster| cluster.root_ca = bad.into()).await;
        let term = world.lead();
        let asked = ask(&mut authority, &good.join_tokens.as_ref().unwrap().worker).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let waiting = world.stored(&asked.node);
        assert_eq!(waiting.certificate.status.as_ref().unwrap().state(), State::Pending, "not its fault");

        let begin = tokio::time::Instant::now();
        world.edit_cluster(|cluster| cluster.root_ca = good.clone().into()).await;
        world.verified(&asked, &outcome(&mut authority, &asked.node).await.unwrap());
        assert_eq!(begin.elapsed(), Duration::ZERO, "the pause does not outlive its reason");
        term.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_accepted_waits() {
    let world = World::new().await;
    let term = world.lead();
    let (_, csr) = fresh_key();
    let mut node = member("w", NodeRole::Worker);
    Arc::make_mut(&mut node.spec).membership = wire::node_spec::Membership::Pending.into();
    node.certificate.csr = csr;
    node.certificate.status = Some(wire::IssuanceStatus { state: State::Pending.into(), err: String::new() });
    world.put(|tx| tx.create(node).map(drop)).await;
    settle().await;
    let id = "w".into();
    assert!(world.stored(&id).certificate.certificate.is_empty());

    let accepted = wire::node_spec::Membership::Accepted.into();
    world.edit_node(&id, |node| Arc::make_mut(&mut node.spec).membership = accepted).await;
    assert_eq!(state(&outcome(&mut world.stranger().await, &id).await.unwrap()), State::Issued);
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_joins_at_once_is_served_to_the_last() {
    let world = World::new().await;
    let (_, csr) = fresh_key();
    world
        .put(|tx| {
            for number in 0..150 {
                let mut node = member(&format!("w{number}"), NodeRole::Worker);
                node.certificate.csr = csr.clone();
                node.certificate.status =
                    Some(wire::IssuanceStatus { state: State::Pending.into(), err: String::new() });
                tx.create(node)?;
            }
            Ok(())
        })
        .await;
    let term = world.lead();
    let mut authority = world.stranger().await;
    for number in 0..150 {
        let id = format!("w{number}").as_str().into();
        assert_eq!(state(&outcome(&mut authority, &id).await.unwrap()), State::Issued);
    }
    term.end().await;
}

//! What an authority outside of the cluster does to those who wait for certificates.

use std::time::Duration;

use swarmkit_api::{Node, NodeRole, wire, wire::issuance_status::State};
use swarmkit_ca::{RootCa, SystemKeys};
use swarmkit_testing::Mood;
use tokio::time::Instant;

use super::world::{World, ask, authorities, fresh_key, member, outcome, state};

/// As many as are asked for at once.
const UNDER_WAY: u64 = 16;

#[tokio::test(start_paused = true)]
async fn an_authority_that_is_away_is_asked_again_and_again_until_it_is_back() {
    let world = World::new().await;
    world.outside.turn(Mood::Away);
    let term = world.lead();
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let times = *world.outside.asked().borrow();
    // The pause grows to ten seconds, of which chance takes up to a half.
    assert!((360..=740).contains(&times), "{times}");
    assert_eq!(world.stored(&asked.node).certificate.status.as_ref().unwrap().state(), State::Pending);

    let begin = Instant::now();
    world.outside.turn(Mood::Well);
    // A connection of a machine without a certificate does not last so long.
    let mut authority = world.stranger().await;
    world.verified(&asked, &outcome(&mut authority, &asked.node).await.unwrap());
    assert!(begin.elapsed() <= Duration::from_secs(20), "{:?}", begin.elapsed());
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_is_away_is_not_hammered_by_a_crowd() {
    let world = World::new().await;
    world.outside.turn(Mood::Away);
    world.put(|tx| (0..100).try_for_each(|number| tx.create(pending(number)).map(drop))).await;
    let term = world.lead();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let times = *world.outside.asked().borrow();
    // The first round, and then one question each five to ten seconds.
    assert!((UNDER_WAY + 50..=UNDER_WAY + 140).contains(&times), "{times}");
    // It is not always the same one that is asked for: what one request does to the authority is not the others' fault.

    world.outside.turn(Mood::Well);
    let mut authority = world.stranger().await;
    for number in 0..100 {
        assert_eq!(state(&outcome(&mut authority, &name(number).as_str().into()).await.unwrap()), State::Issued);
    }
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_authority_holds_up_only_as_many_as_may_be_under_way_and_no_other_work() {
    let world = World::new().await;
    world.outside.turn(Mood::Silent);
    world.put(|tx| (0..100).try_for_each(|number| tx.create(pending(number)).map(drop))).await;
    let term = world.lead();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(*world.outside.asked().borrow(), UNDER_WAY);

    // A request that nobody need be asked about waits for a place like others, and gets it when settings change.
    let garbage = |node: &mut Node| node.certificate.csr = b"garbage".as_slice().into();
    world.edit_node(&"w000".into(), garbage).await;
    world.outside.turn(Mood::Well);
    world.edit_cluster(|cluster| edit_authorities(cluster, &["https://another/sign"])).await;
    let mut authority = world.stranger().await;
    assert_eq!(state(&outcome(&mut authority, &"w000".into()).await.unwrap()), State::Failed);
    assert_eq!(state(&outcome(&mut authority, &"w099".into()).await.unwrap()), State::Issued);
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_authority_refuses_fails_with_its_words_and_another_request_may_succeed() {
    let world = World::new().await;
    let term = world.lead();
    let mut authority = world.stranger().await;
    for (mood, words) in [
        (Mood::Refusing, "external CA https://authority/sign: not today".to_owned()),
        (Mood::Impostor, "it is for node somebody-else as Worker of cluster ours".to_owned()),
    ] {
        world.outside.turn(mood);
        let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
        let answer = outcome(&mut authority, &asked.node).await.unwrap();
        assert_eq!(state(&answer), State::Failed);
        assert!(answer.status.unwrap().err.ends_with(&words));
        assert!(answer.certificate.unwrap().certificate.is_empty());

        world.outside.turn(Mood::Well);
        let mut node = world.node(&asked.node, NodeRole::Worker).await;
        let again = ask(&mut node, "").await.unwrap();
        world.verified(&again, &outcome(&mut node, &asked.node).await.unwrap());
    }
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_replaced_while_somebody_is_asked_gets_a_certificate_of_its_own() {
    let world = World::new().await;
    world.put(|tx| tx.create(member("w", NodeRole::Worker)).map(drop)).await;
    world.outside.turn(Mood::Silent);
    let term = world.lead();
    let mut authority = world.node(&"w".into(), NodeRole::Worker).await;
    ask(&mut authority, "").await.unwrap();
    world.outside.asked().wait_for(|asked| *asked == 1).await.unwrap();
    let newer = ask(&mut authority, "").await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*world.outside.asked().borrow(), 1, "one at a time for each node");
    world.outside.turn(Mood::Well);
    world.edit_cluster(|cluster| edit_authorities(cluster, &["https://another/sign"])).await;
    world.verified(&newer, &outcome(&mut authority, &newer.node).await.unwrap());
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_authority_for_another_root_is_not_asked_and_the_right_one_is_once_it_is_known() {
    let world = World::new().await;
    let other = RootCa::create(&SystemKeys, &world.env).unwrap();
    world
        .edit_cluster(|cluster| {
            let mut spec = cluster.spec.as_ref().clone();
            spec.ca_config.as_mut().unwrap().external_cas[0].ca_cert = other.bundle().to_owned().into();
            cluster.spec = spec.into();
        })
        .await;
    let term = world.lead();
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*world.outside.asked().borrow(), 0);

    let begin = Instant::now();
    world.edit_cluster(|cluster| edit_authorities(cluster, &["https://authority/sign"])).await;
    world.verified(&asked, &outcome(&mut authority, &asked.node).await.unwrap());
    assert_eq!(begin.elapsed(), Duration::ZERO, "the pause does not outlive its reason");
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn authorities_outside_come_before_a_key_at_hand_and_without_them_it_signs() {
    let world = World::new().await;
    let key = world.root.signing_key().unwrap().to_pem().as_bytes().to_vec();
    world
        .edit_cluster(|cluster| {
            let root = wire::RootCa { ca_key: key.into(), ..cluster.root_ca.as_ref().clone() };
            cluster.root_ca = root.into();
        })
        .await;
    let term = world.lead();
    let mut authority = world.stranger().await;
    for (urls, times) in [(authorities().len(), 1), (0, 1)] {
        if urls == 0 {
            world.edit_cluster(|cluster| edit_authorities(cluster, &[])).await;
        }
        let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
        world.verified(&asked, &outcome(&mut authority, &asked.node).await.unwrap());
        assert_eq!(*world.outside.asked().borrow(), times);
    }
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_root_is_replaced_by_one_that_is_kept_outside_its_authority_signs_and_the_cross_certificate_follows()
{
    let world = World::new().await;
    let target = RootCa::create(&SystemKeys, &world.env).unwrap();
    let cross = world.root.cross_sign(target.bundle()).unwrap();
    let rotation = wire::RootRotation {
        ca_cert: target.bundle().to_owned().into(),
        cross_signed_ca_cert: cross.clone().into(),
        ..Default::default()
    };
    world
        .edit_cluster(|cluster| {
            let root = wire::RootCa { root_rotation: Some(rotation), ..cluster.root_ca.as_ref().clone() };
            cluster.root_ca = root.into();
        })
        .await;
    world.outside.sign_with(target.clone());
    let term = world.lead();
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*world.outside.asked().borrow(), 0, "an authority that names no root is of the present one");

    world
        .edit_cluster(|cluster| {
            let mut spec = cluster.spec.as_ref().clone();
            spec.ca_config.as_mut().unwrap().external_cas[0].ca_cert = target.bundle().to_owned().into();
            cluster.spec = spec.into();
        })
        .await;
    let answer = outcome(&mut authority, &asked.node).await.unwrap();
    // Whoever trusts the present root alone can follow the chain.
    world.verified(&asked, &answer);
    assert!(answer.certificate.unwrap().certificate.ends_with(cross.as_bytes()));
    term.end().await;
}

fn edit_authorities(cluster: &mut swarmkit_api::Cluster, urls: &[&str]) {
    let mut spec = cluster.spec.as_ref().clone();
    let one = |url: &&str| wire::ExternalCa { url: (*url).to_owned(), ..Default::default() };
    spec.ca_config.as_mut().unwrap().external_cas = urls.iter().map(one).collect();
    cluster.spec = spec.into();
}

fn name(number: u32) -> String {
    format!("w{number:03}")
}

/// A node that waits for its first certificate.
fn pending(number: u32) -> Node {
    let mut node = member(&name(number), NodeRole::Worker);
    (_, node.certificate.csr) = fresh_key();
    node.certificate.status = Some(wire::IssuanceStatus { state: State::Pending.into(), err: String::new() });
    node
}

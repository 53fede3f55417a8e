//! Who may ask, for what, and whom.

use std::time::Duration;

use swarmkit_api::{ClusterId, NodeRole};
use swarmkit_ca::{Authorities, ExternalCa as _, ExternalCaError, Identity, RootCa, Validity};
use swarmkit_external_ca::{CfsslClient, server::Fault};

use crate::world::{World, certificate, credentials, identity, known, nobody, order, order_for, root};

#[tokio::test]
async fn a_manager_gets_certificates_for_the_nodes_of_its_cluster() {
    let world = World::new().await;
    for wanted in [identity("w", NodeRole::Worker), identity("m2", NodeRole::Manager)] {
        assert_eq!(*world.sign(&wanted).await.unwrap().identity(), wanted);
    }
    world.end().await;
}

#[tokio::test]
async fn a_server_that_heeds_the_wanted_life_gives_the_one_that_the_cluster_says() {
    let world = World::new().await;
    let hours = Duration::from_secs(7 * 3600);
    let (_, order) = order_for(&identity("w", NodeRole::Worker), hours);
    let signed = world.client().sign(&world.authorities(), &order).await.unwrap();
    let validity = Validity::of_chain(&signed).unwrap();
    let left = validity.not_after.duration_since(world.env.now()).unwrap();
    assert!(left.abs_diff(hours) <= Duration::from_secs(120), "{left:?}");
    world.end().await;
}

#[tokio::test]
async fn nobody_but_managers_of_that_cluster_is_listened_to() {
    let refused = |error: ExternalCaError, text: &str| match error {
        ExternalCaError::Refused { reason, .. } => assert!(reason.contains(text), "{reason}"),
        other => panic!("{other:?}"),
    };
    let world = World::with(false, &identity("w", NodeRole::Worker)).await;
    let error = world.sign(&identity("w2", NodeRole::Worker)).await.unwrap_err();
    refused(error, "only managers may ask");
    world.end().await;

    let mut foreign = identity("m", NodeRole::Manager);
    foreign.cluster = ClusterId::from("theirs");
    let world = World::with(false, &foreign).await;
    let error = world.sign(&identity("w", NodeRole::Worker)).await.unwrap_err();
    refused(error, "another organization");
    world.end().await;
}

#[tokio::test]
async fn a_client_of_another_root_is_not_listened_to_and_a_server_of_another_root_is_not_asked() {
    let mut world = World::new().await;
    let theirs = root(&world.env);
    let stranger = credentials(&theirs, &identity("m", NodeRole::Manager), &world.env);
    let client = CfsslClient::new(world.env.clone(), stranger);
    let (_, wanted) = order(&identity("w", NodeRole::Worker));
    let error = client.sign(&world.authorities(), &wanted).await.unwrap_err();
    assert!(matches!(error, ExternalCaError::Unavailable { .. }), "{error}");

    let server = world.another(&theirs, &world.root.clone()).await;
    let error = world.sign_at(&world.at(&[server.url()]), wanted.identity()).await.unwrap_err();
    assert!(error.is_recoverable() && error.to_string().contains("invalid peer certificate"), "{error}");
    assert_eq!((world.server.seen().borrow().questions, server.seen().borrow().questions), (0, 0));
    world.end().await;
}

#[tokio::test]
async fn authorities_are_asked_in_their_order_until_one_has_answered() {
    let mut world = World::new().await;
    let root = world.root.clone();
    let (first, second) = (world.server.clone(), world.another(&root, &root).await);
    let wanted = identity("w", NodeRole::Worker);
    let counts = || (first.seen().borrow().questions, second.seen().borrow().questions);

    let silent = nobody().await;
    let order = world.at(&[&silent, "ftp://nothing", first.url(), second.url()]);
    world.sign_at(&order, &wanted).await.unwrap();
    assert_eq!(counts(), (1, 0));

    first.misbehave(Some(Fault::Refusal));
    world.sign_at(&order, &wanted).await.unwrap();
    assert_eq!(counts(), (2, 1));

    let order = world.at(&[first.url(), &silent]);
    let error = world.sign_at(&order, &wanted).await.unwrap_err();
    let ExternalCaError::Unavailable { url, .. } = &error else { panic!("the last error is told: {error}") };
    assert_eq!(*url, silent);
    let error = world.sign_at(&world.at(&[]), &wanted).await.unwrap_err();
    assert_eq!(error, ExternalCaError::NoUrls);
    world.end().await;
}

#[tokio::test]
async fn the_certificate_that_the_node_has_now_is_shown_not_the_one_that_it_had() {
    let world = World::new().await;
    let (client, wanted) = (world.client(), identity("w", NodeRole::Worker));
    let shown = || world.server.seen().borrow().client.clone();
    let (_, one) = order(&wanted);
    client.sign(&world.authorities(), &one).await.unwrap();
    assert_eq!(shown(), world.credentials.trust().certificate().chain()[0].to_vec());

    let renewed = certificate(&world.root, &world.credentials.identity(), &world.env);
    world.credentials.replace_certificate(renewed.clone()).unwrap();
    client.sign(&world.authorities(), &one).await.unwrap();
    assert_eq!(shown(), renewed.chain()[0].to_vec());
    world.end().await;
}

#[tokio::test]
async fn while_the_root_is_replaced_the_authority_of_the_new_one_signs_and_its_server_is_believed() {
    let mut world = World::new().await;
    let target = root(&world.env);
    // As an operator sets it up for a rotation: it listens to managers that still have certificates of the old root.
    let both = RootCa::from_pem(&(world.root.bundle().to_owned() + target.bundle()), world.env.now()).unwrap();
    let new = world.another(&target, &both).await;
    let settings = [known(world.server.url(), None), known(new.url(), Some(&target))];
    let rotating = Authorities::new(&settings, &target, &world.root);
    assert_eq!(rotating.urls(), [new.url()]);

    let (_, wanted) = order(&identity("w", NodeRole::Worker));
    let signed = world.client().sign(&rotating, &wanted).await.unwrap();
    let cross = world.root.cross_sign(target.bundle()).unwrap();
    let trusted = world.root.without_signer().with_intermediates(&cross, world.env.now()).unwrap();
    let chain = wanted.accept(&signed, &trusted, world.env.now()).unwrap();
    assert!(chain.ends_with(&cross), "who trusts the old root only can follow it");
    assert_eq!(world.server.seen().borrow().questions, 0);
    world.end().await;
}

#[tokio::test]
async fn what_names_nobody_is_not_signed() {
    let world = World::new().await;
    let nobody = Identity { node: "".into(), ..identity("w", NodeRole::Worker) };
    let error = world.sign(&nobody).await.unwrap_err();
    assert!(!error.is_recoverable() && error.to_string().contains("the subject is not complete"), "{error}");
    world.end().await;
}

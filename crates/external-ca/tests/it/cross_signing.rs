//! One root, signed by the authority that holds the key of another.

use swarmkit_api::NodeRole;
use swarmkit_ca::{Expiry, ExternalCa as _, ExternalCaError, KeyPair, RootCa};

use crate::world::{World, certificate, identity, root};

#[tokio::test]
async fn an_authority_with_the_profile_for_it_cross_signs_another_root() {
    let manager = identity("m", NodeRole::Manager);
    let world = World::with(true, &manager).await;
    let target = root(&world.env);
    let cross = world.client().cross_sign(&world.authorities(), &target).await.unwrap();

    let key = KeyPair::from_pem(&target.signing_key().unwrap().to_pem()).unwrap();
    let trusted = RootCa::from_pem(world.root.bundle(), world.env.now()).unwrap();
    let rotating = trusted.with_intermediates(&cross, world.env.now()).unwrap().with_signer(&cross, key, &world.env);
    let leaf = certificate(&rotating.unwrap(), &manager, &world.env);
    let issuer = leaf.verify(&world.root, Expiry::Enforced, world.env.now()).unwrap();
    assert_eq!(issuer.public_key, target.signing_key().unwrap().public_key());
    world.end().await;
}

#[tokio::test]
async fn an_authority_without_that_profile_refuses_and_a_root_without_its_key_is_not_asked_for() {
    let world = World::new().await;
    let target = root(&world.env);
    let error = world.client().cross_sign(&world.authorities(), &target).await.unwrap_err();
    assert!(error.to_string().ends_with("response errors: 0 there is no profile \"CA\" here"), "{error}");
    let before = world.server.seen().borrow().questions;
    let error = world.client().cross_sign(&world.authorities(), &target.without_signer()).await.unwrap_err();
    assert!(matches!(error, ExternalCaError::Refused { .. }), "{error:?}");
    assert_eq!((before, world.server.seen().borrow().questions), (1, 1));
    world.end().await;
}

#[tokio::test]
async fn the_organization_does_not_matter_where_an_authority_is_signed() {
    let mut foreign = identity("m", NodeRole::Manager);
    foreign.cluster = "theirs".into();
    let world = World::with(true, &foreign).await;
    world.client().cross_sign(&world.authorities(), &root(&world.env)).await.unwrap();
    world.end().await;
}

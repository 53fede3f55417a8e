//! A node that was away while the root of its cluster was replaced.

use bytes::Bytes;
use swarmkit_ca::{KeyPair, KeySource as _, LEAF_VALIDITY_MIN, RootCa, SystemKeys};

use super::*;

/// A cluster whose root was replaced, and a node that trusts the old one still. It has a certificate of the new one, as
/// everybody had before the end, if `turned`.
async fn replaced(turned: bool) -> (World, RootCa) {
    let mut world = World::new().await;
    let env = world.authority.env.clone();
    let (old, new) = (world.authority.root.clone(), RootCa::create(&SystemKeys, &env).unwrap());
    if turned {
        let crossed = old.cross_sign(new.bundle()).unwrap();
        let key = KeyPair::from_pem(&new.signing_key().unwrap().to_pem()).unwrap();
        let rotating = old.without_signer().with_intermediates(&crossed, env.now()).unwrap();
        let rotating = rotating.with_signer(&crossed, key, &env).unwrap();
        let key = SystemKeys.generate().unwrap();
        let chain = rotating.issue(&key.request().unwrap(), &world.own, LEAF_VALIDITY_MIN, &env).unwrap();
        let certificate = NodeCertificate::new(&chain, key).unwrap();
        world.keys.save_node(&certificate).unwrap();
        world.credentials = Credentials::new(old.without_signer(), certificate, &env).unwrap();
    }
    world.keys.save_root(&old).unwrap();
    let (ca_cert, ca_key) = (Bytes::from(new.bundle().to_owned()), new.signing_key().unwrap().to_pem());
    let replace = |cluster: &mut Cluster| {
        let root_ca = Arc::make_mut(&mut cluster.root_ca);
        (root_ca.ca_cert, root_ca.ca_key) = (ca_cert, ca_key.as_bytes().to_vec().into());
    };
    let id = world.authority.store.view().cluster().unwrap().id.clone();
    world.authority.store.update(|tx| tx.edit(&id, replace)).await.unwrap();
    (world, new)
}

/// Asks once for another certificate, and gives which root is trusted after that.
async fn trusted_after_a_wish(world: &mut World) -> String {
    world.renew();
    world.tell(State::Rotate);
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.credentials.trust().root().bundle().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_next_certificate_has_an_unknown_signer_asks_for_the_root_and_goes_on() {
    let (mut world, new) = replaced(true).await;
    world.serve().await;
    world.sign();
    let before = world.credentials.trust().certificate().chain_pem();
    assert_eq!(trusted_after_a_wish(&mut world).await, new.bundle());
    assert_ne!(world.credentials.trust().certificate().chain_pem(), before, "and it was renewed by that one");
    assert_eq!(world.credentials.trust().issuer(), new.issuer_info());
    let kept = world.keys.load_root().unwrap();
    assert_eq!(kept.bundle(), new.bundle(), "also after a restart");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn roots_under_which_a_workers_certificate_does_not_verify_are_not_believed() {
    let (mut world, _) = replaced(false).await;
    world.serve().await;
    world.sign();
    let before = (world.authority.root.bundle().to_owned(), world.credentials.trust().certificate().chain_pem());
    let root = trusted_after_a_wish(&mut world).await;
    assert_eq!((root, world.credentials.trust().certificate().chain_pem()), before);
    assert_eq!(world.keys.load_root().unwrap().bundle(), before.0);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_asks_nobody_for_roots() {
    let (mut world, _) = replaced(true).await;
    world.serve().await;
    world.sign();
    world.change_role(NodeRole::Manager).await;
    let before = world.authority.root.bundle().to_owned();
    assert_eq!(trusted_after_a_wish(&mut world).await, before);
    assert_eq!(world.stored().certificate.status.unwrap().state(), State::Issued, "and it could have a certificate");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn another_failure_is_no_reason_to_ask_for_roots() {
    let (mut world, _) = replaced(true).await;
    world.serve().await;
    // Nobody signs, and then the answer is no.
    let before = world.authority.root.bundle().to_owned();
    assert_eq!(trusted_after_a_wish(&mut world).await, before);
    let refused = wire::IssuanceStatus { state: State::Failed.into(), err: "not you".to_owned() };
    let id = NodeId::from("w");
    world
        .authority
        .store
        .update(|tx| tx.edit::<Node>(&id, |node| node.certificate.status = Some(refused)))
        .await
        .unwrap();
    tokio::time::sleep(MINUTE * 10).await;
    assert_eq!(world.credentials.trust().root().bundle(), before);
    world.end().await;
}

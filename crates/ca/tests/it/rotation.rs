//! Handshakes while a cluster changes its root: the old root, the new one and the cross certificate share one name.

use rustls::pki_types::CertificateDer;
use swarmkit_api::NodeRole;
use swarmkit_ca::{Credentials, KeyPair, MANAGER, RootCa, SystemKeys, TlsFault};

use crate::{
    other::{Other, VERSIONS, ring},
    world::{World, caller, fault, meet, meet_nodes},
};

/// A cluster that changes from one root to another, and a third root of the same name that is neither.
struct Rotation {
    old: World,
    new: RootCa,
    stranger: RootCa,
    signer: World,
}

impl Rotation {
    fn new() -> Self {
        let old = World::new();
        let make = || RootCa::create(&SystemKeys, &old.env).unwrap();
        let (new, stranger) = (make(), make());
        let cross = old.root.cross_sign(new.bundle()).unwrap();
        let key = KeyPair::from_pem(&new.signing_key().unwrap().to_pem()).unwrap();
        let signer = old.root.without_signer().with_intermediates(&cross, old.env.now()).unwrap();
        let root = signer.with_signer(&cross, key, &old.env).unwrap();
        let signer = World { root, ..old.clone() };
        Self { old, new, stranger, signer }
    }

    /// Every bundle that a node may trust meanwhile, in every order.
    fn bundles(&self) -> Vec<RootCa> {
        let (old, new, stranger) = (self.old.root.bundle(), self.new.bundle(), self.stranger.bundle());
        let bundles: [&[&str]; 6] = [&[old], &[new], &[old, new], &[new, old], &[stranger, old], &[stranger, new, old]];
        bundles.iter().map(|parts| RootCa::from_pem(&parts.concat(), self.old.env.now()).unwrap()).collect()
    }

    /// Every chain in which a leaf of the new key may be shown.
    fn chains(&self, leaf: &[CertificateDer<'static>]) -> Vec<Vec<CertificateDer<'static>>> {
        let [leaf, cross] = leaf else { panic!("a leaf and the cross certificate") };
        let (old, new, stranger) = (&self.old.root.roots()[0], &self.new.roots()[0], &self.stranger.roots()[0]);
        let chains: [&[&CertificateDer<'static>]; 8] = [
            &[leaf, cross],
            &[leaf, cross, old],
            &[leaf, old, cross],
            &[leaf, new, cross],
            &[leaf, new, cross, old],
            &[leaf, old, new, cross],
            &[leaf, stranger, cross],
            &[leaf, stranger, old, new, cross],
        ];
        chains.iter().map(|chain| chain.iter().map(|&der| der.clone()).collect()).collect()
    }
}

/// Ours, with a certificate of the old root or of the new one, trusting a bundle.
fn ours(issuer: &World, trusts: &RootCa) -> Option<Credentials> {
    Credentials::new(trusts.clone(), issuer.certificate(NodeRole::Manager), &issuer.env).ok()
}

#[tokio::test]
async fn nodes_that_have_changed_and_nodes_that_have_not_trust_each_other_whatever_bundle_they_have() {
    let rotation = Rotation::new();
    let nodes: Vec<Credentials> = [&rotation.old, &rotation.signer]
        .into_iter()
        .flat_map(|issuer| rotation.bundles().into_iter().filter_map(|bundle| ours(issuer, &bundle)))
        .collect();
    // All but the one with a certificate of the old root that trusts the new one alone.
    assert_eq!(nodes.len(), 2 * rotation.bundles().len() - 1);
    let changed = |node: &Credentials| node.trust().certificate().chain().len() == 2;
    let trusts_old = |node: &Credentials| node.trust().root().bundle().contains(rotation.old.root.bundle());
    for server in &nodes {
        for client in &nodes {
            let (served, called) = meet_nodes(server, client).await;
            let expected = (trusts_old(server) || changed(client)) && (trusts_old(client) || changed(server));
            assert_eq!(served.is_ok() && called.is_ok(), expected, "{server:?} and {client:?}");
        }
    }
}

#[tokio::test]
async fn the_chain_may_be_shown_in_any_order_and_with_other_roots_of_the_same_name() {
    let rotation = Rotation::new();
    let (wall, leaf) = (&rotation.old.wall, rotation.signer.certificate(NodeRole::Manager));
    for trusts in rotation.bundles() {
        let ours = ours(&rotation.signer, &trusts).unwrap();
        for chain in rotation.chains(leaf.chain()) {
            for version in VERSIONS {
                let other =
                    || Other { provider: ring(), trusts: &trusts, chain: chain.clone(), key: leaf.key(), version };
                let (served, called) = meet(other().server(wall), ours.trust().client_config(), MANAGER).await;
                assert_eq!(called.unwrap().get_ref().1.protocol_version(), Some(version.version));
                assert!(served.is_ok());
                let (served, called) = meet(ours.trust().server_config(), other().client(wall), MANAGER).await;
                assert_eq!(caller(served), Some(leaf.identity().clone()));
                assert!(called.is_ok());
            }
        }
    }
}

#[tokio::test]
async fn without_the_cross_certificate_the_old_root_does_not_trust_the_new_one() {
    let rotation = Rotation::new();
    let (wall, leaf) = (&rotation.old.wall, rotation.signer.certificate(NodeRole::Manager));
    let ours = rotation.old.node(NodeRole::Manager);
    let (new, old) = (&rotation.new.roots()[0], &rotation.old.root.roots()[0]);
    for chain in [vec![], vec![new], vec![old], vec![old, new]] {
        let chain: Vec<_> = [&leaf.chain()[0]].into_iter().chain(chain).cloned().collect();
        for version in VERSIONS {
            let (trusts, chain) = (&rotation.old.root, chain.clone());
            let other = Other { provider: ring(), trusts, chain, key: leaf.key(), version };
            let (_, called) = meet(other.server(wall), ours.trust().client_config(), MANAGER).await;
            assert_eq!(fault(called), TlsFault::Untrusted);
        }
    }
}

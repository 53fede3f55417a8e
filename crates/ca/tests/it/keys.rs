//! Handshakes between nodes and under roots whose keys are of every accepted kind.

use rustls::SignatureScheme;
use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_ca::{
    Credentials, Error, Identity, KeyPair, KeySource, LEAF_VALIDITY_DEFAULT, MANAGER, NodeCertificate, RootCa, TlsFault,
};

use crate::{
    other::{Other, VERSIONS, ring},
    world::{World, caller, fault, meet, meet_nodes, server_of},
};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/", $name))
    };
}

const KEYS: [&str; 6] = [
    fixture!("p256-sec1.key"),
    fixture!("p384-sec1.key"),
    fixture!("p521-sec1.key"),
    fixture!("rsa2048-pkcs1.key"),
    fixture!("rsa3072.key"),
    fixture!("rsa4096.key"),
];
const P521: &str = fixture!("p521-sec1.key");

struct File(&'static str);

impl KeySource for File {
    fn generate(&self) -> Result<KeyPair, Error> {
        KeyPair::from_pem(self.0)
    }
}

/// A cluster whose root has a key from a file.
fn world(key: &'static str) -> World {
    let world = World::new();
    World { root: RootCa::create(&File(key), &world.env).unwrap(), ..world }
}

fn certificate(world: &World, key: &'static str) -> NodeCertificate {
    let identity = Identity::new(NodeId::new(world.env.new_id()), NodeRole::Manager, ClusterId::from("cluster"));
    let key = KeyPair::from_pem(key).unwrap();
    let chain = world.root.issue(&key.request().unwrap(), &identity, LEAF_VALIDITY_DEFAULT, &world.env).unwrap();
    NodeCertificate::new(&chain, key).unwrap()
}

fn node(world: &World, key: &'static str) -> Credentials {
    Credentials::new(world.root.without_signer(), certificate(world, key), &world.env).unwrap()
}

#[tokio::test]
async fn nodes_with_keys_of_every_kind_know_each_other_under_roots_of_every_kind() {
    for root in KEYS {
        let world = world(root);
        let ours = node(&world, KEYS[0]);
        for key in KEYS {
            let theirs = node(&world, key);
            for (server, client) in [(&ours, &theirs), (&theirs, &ours)] {
                let (served, called) = meet_nodes(server, client).await;
                assert_eq!(caller(served), Some(client.identity()));
                assert_eq!(server_of(called), server.identity());
            }
        }
    }
}

#[tokio::test]
async fn every_kind_of_key_proves_itself_under_both_versions_of_tls() {
    let world = world(P521);
    let ours = node(&world, P521);
    let provider = ours.trust().client_config().crypto_provider().clone();
    for key in KEYS {
        let theirs = certificate(&world, key);
        for version in VERSIONS {
            let other = || {
                let (trusts, chain) = (&world.root, theirs.chain().to_vec());
                Other { provider: provider.clone(), trusts, chain, key: theirs.key(), version }
            };
            let (served, called) = meet(other().server(&world.wall), ours.trust().client_config(), MANAGER).await;
            assert_eq!(caller(served), Some(ours.identity()));
            let called = called.unwrap();
            assert_eq!(called.get_ref().1.protocol_version(), Some(version.version));
            let (served, _) = meet(ours.trust().server_config(), other().client(&world.wall), MANAGER).await;
            assert_eq!(caller(served), Some(theirs.identity().clone()));
        }
    }
}

#[tokio::test]
async fn a_peer_without_the_curve_is_refused_by_itself_and_not_by_us() {
    let world = world(P521);
    let (ours, theirs) = (node(&world, P521), certificate(&world, KEYS[0]));
    for version in VERSIONS {
        let chain = theirs.chain().to_vec();
        let other = Other { provider: ring(), trusts: &world.root, chain, key: theirs.key(), version };
        let (served, called) = meet(ours.trust().server_config(), other.client(&world.wall), MANAGER).await;
        assert!(called.is_err());
        assert!(!matches!(fault(served), TlsFault::Untrusted));
    }
}

#[test]
fn what_is_offered_in_handshakes_is_what_certificates_may_be_signed_with_and_pss() {
    let offered =
        node(&World::new(), KEYS[0]).trust().client_config().crypto_provider().signature_verification_algorithms;
    let offered: Vec<SignatureScheme> = offered.mapping.iter().map(|(scheme, _)| *scheme).collect();
    let expected = [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA512,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA256,
    ];
    assert_eq!(offered, expected);
}

#[tokio::test]
async fn a_chain_made_by_another_program_is_shown_and_believed() {
    let world = World::new();
    let trusts = RootCa::from_pem(fixture!("root-p521-sha512.crt"), world.env.now()).unwrap();
    let chain = [fixture!("chain-manager.crt"), fixture!("chain-authority.crt")].concat();
    let certificate = NodeCertificate::new(&chain, KeyPair::from_pem(KEYS[0]).unwrap()).unwrap();
    let node = Credentials::new(trusts, certificate, &world.env).unwrap();
    let (served, called) = meet_nodes(&node, &node).await;
    assert_eq!(caller(served), Some(node.identity()));
    assert_eq!(server_of(called).node, NodeId::from("node2"));
}

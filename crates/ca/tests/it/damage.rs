//! What strangers send may be anything: with any one byte of it changed, and cut off anywhere, it is refused.

use std::time::{Duration, SystemTime};

use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_ca::{
    Expiry, Identity, IssuerInfo, KeyPair, KeySource as _, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys,
};

use crate::world::World;

/// The block of a PEM text with each of its bytes changed in turn, in the lowest and in the highest bit, and each
/// beginning of it.
fn damaged(text: &str) -> impl Iterator<Item = String> {
    let block = pem::parse(text).unwrap();
    let (tag, bytes) = (block.tag().to_owned(), block.into_contents());
    let changed = (0..bytes.len()).flat_map(|at| [1, 0x80].map(|bit| (at, bit)));
    let changes = changed.map({
        let bytes = bytes.clone();
        move |(at, bit)| {
            let mut bytes = bytes.clone();
            bytes[at] ^= bit;
            bytes
        }
    });
    let beginnings = (0..bytes.len()).map(move |length| bytes[..length].to_vec());
    changes.chain(beginnings).map(move |bytes| pem::encode(&pem::Pem::new(tag.as_str(), bytes)))
}

/// A moment between both ends of everything that is made here.
fn now(world: &World) -> SystemTime {
    world.env.now() + Duration::from_secs(60)
}

fn issue(world: &World, request: &str) -> Result<String, swarmkit_ca::Error> {
    let identity = Identity::new(NodeId::from("node"), NodeRole::Worker, ClusterId::from("cluster"));
    world.root.issue(request, &identity, LEAF_VALIDITY_DEFAULT, &world.env)
}

#[test]
fn damaged_roots_are_refused() {
    let world = World::new();
    for good in [world.root.bundle(), include_str!("../fixtures/root-full-name.crt")] {
        for bad in damaged(good) {
            assert!(RootCa::from_pem(&bad, now(&world)).is_err(), "{bad}");
        }
        RootCa::from_pem(good, now(&world)).unwrap();
    }
}

#[test]
fn damaged_roots_that_are_cross_signed_all_the_same_can_be_read() {
    // Their own signatures are not looked at: whoever asks for it is believed to want the name and the key.
    let world = World::new();
    let mut signed = 0;
    for bad in damaged(include_str!("../fixtures/root-full-name.crt")) {
        let Ok(cross) = world.root.cross_sign(&bad) else { continue };
        assert_eq!(IssuerInfo::of_signer(&cross).unwrap(), IssuerInfo::of_signer(&bad).unwrap());
        signed += 1;
    }
    assert!(signed > 0);
}

#[test]
fn damaged_leaves_are_refused() {
    let world = World::new();
    let key = SystemKeys.generate().unwrap();
    let pem = key.to_pem();
    let good = issue(&world, &key.request().unwrap()).unwrap();
    let holds = |chain: &str| {
        let node = NodeCertificate::new(chain, KeyPair::from_pem(&pem).unwrap());
        node.is_ok_and(|node| node.verify(&world.root, Expiry::Enforced, now(&world)).is_ok())
    };
    for bad in damaged(&good) {
        assert!(!holds(&bad), "{bad}");
    }
    assert!(holds(&good));
}

#[test]
fn damaged_requests_are_refused() {
    let world = World::new();
    let good = SystemKeys.generate().unwrap().request().unwrap();
    for bad in damaged(&good) {
        assert!(issue(&world, &bad).is_err(), "{bad}");
    }
    issue(&world, &good).unwrap();
}

#[test]
fn damaged_keys_are_refused_or_are_whole_keys() {
    for good in [include_str!("../fixtures/p256-sec1.key"), include_str!("../fixtures/rsa2048-pkcs1.key")] {
        for bad in damaged(good) {
            if let Ok(key) = KeyPair::from_pem(&bad) {
                assert_eq!(KeyPair::from_pem(&key.to_pem()).unwrap().public_key(), key.public_key());
            }
        }
    }
}

//! Proofs that hold, and those that do not.

use super::*;
use crate::{
    KeyPair, LEAF_VALIDITY_DEFAULT,
    key::{KeySource as _, SystemKeys},
    testing::{DAY, env, fixture, manager, member, noon, root, worker},
};

const REQUEST: &[u8] = b"a request";

fn check(root: &RootCa, node: &NodeCertificate, signature: &[u8], request: &[u8]) -> Result<Returning, Error> {
    let later = noon() + DAY * 400;
    Returning::verify(root, node.chain_pem().as_bytes(), signature, request, later)
}

#[test]
fn a_certificate_whose_time_is_over_still_says_who_holds_its_key() {
    let root = root();
    for identity in [worker(), manager()] {
        let node = member(&root, &identity);
        let proof = node.sign_return(REQUEST).unwrap();
        let returning = check(&root, &node, &proof, REQUEST).unwrap();
        assert_eq!(returning, Returning { identity, validity: node.validity() });
        let now = Returning::verify(&root, node.chain_pem().as_bytes(), &proof, REQUEST, noon());
        assert!(now.is_ok(), "its time need not be over");
    }
}

#[test]
fn keys_of_other_kinds_prove_the_same() {
    let root = root();
    let keys =
        [fixture!("p384-sec1.key"), fixture!("p521-sec1.key"), fixture!("rsa2048-pkcs8.key"), fixture!("rsa3072.key")];
    for key in keys {
        let key = KeyPair::from_pem(key).unwrap();
        let chain = root.issue(&key.request().unwrap(), &worker(), LEAF_VALIDITY_DEFAULT, &env()).unwrap();
        let node = NodeCertificate::new(&chain, key).unwrap();
        let proof = node.sign_return(REQUEST).unwrap();
        assert_eq!(check(&root, &node, &proof, REQUEST).unwrap().identity, worker());
        assert!(matches!(check(&root, &node, &proof, b"another request"), Err(Error::NoProof)));
    }
}

#[test]
fn a_proof_holds_for_its_request_its_key_and_its_cluster_only() {
    let root = root();
    let (node, other) = (member(&root, &worker()), member(&root, &worker()));
    let proof = node.sign_return(REQUEST).unwrap();
    assert!(matches!(check(&root, &node, &proof, b"another request"), Err(Error::NoProof)));
    assert!(matches!(check(&root, &other, &proof, REQUEST), Err(Error::NoProof)), "another key of the same node");
    let elsewhere = Identity::new(worker().node, worker().role, "cluster2".into());
    let key = SystemKeys.generate().unwrap();
    let chain = root.issue(&key.request().unwrap(), &elsewhere, LEAF_VALIDITY_DEFAULT, &env()).unwrap();
    let there = NodeCertificate::new(&chain, key).unwrap();
    let bare = there.key().sign(&statement("cluster1", REQUEST)).unwrap();
    assert!(matches!(check(&root, &there, &bare, REQUEST), Err(Error::NoProof)), "signed for another cluster");
    for garbage in [&[][..], b"garbage", &proof[1..], &[0; 2048]] {
        assert!(matches!(check(&root, &node, garbage, REQUEST), Err(Error::NoProof)));
    }
    // What the key signs elsewhere is no proof.
    let bare = node.key().sign(REQUEST).unwrap();
    assert!(matches!(check(&root, &node, &bare, REQUEST), Err(Error::NoProof)));
}

#[test]
fn a_certificate_of_another_root_and_one_of_the_future_prove_nothing() {
    let node = member(&root(), &worker());
    let proof = node.sign_return(REQUEST).unwrap();
    assert!(matches!(check(&root(), &node, &proof, REQUEST), Err(Error::UnknownAuthority)));
    let root = root();
    let node = member(&root, &worker());
    let proof = node.sign_return(REQUEST).unwrap();
    let before = Returning::verify(&root, node.chain_pem().as_bytes(), &proof, REQUEST, noon() - DAY);
    assert!(matches!(before, Err(Error::NotYetValid { .. })));
}

#[test]
fn what_is_too_large_or_no_chain_is_not_looked_at() {
    let root = root();
    let node = member(&root, &worker());
    let proof = node.sign_return(REQUEST).unwrap();
    assert!(check(&root, &node, &[0; 2049], REQUEST).is_err());
    let long = node.chain_pem().repeat(200);
    for chain in [long.as_bytes(), b"", b"garbage", &[0xff, 0xfe]] {
        let refused = Returning::verify(&root, chain, &proof, REQUEST, noon());
        assert!(matches!(refused, Err(Error::Malformed { .. })), "{refused:?}");
    }
}

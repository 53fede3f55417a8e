//! Faults of memory.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use prost::{
    Message as _,
    encoding::{WireType, decode_key, decode_varint, skip_field},
};
use swarmkit_api::{
    Node,
    wire::{self, StoreSnapshot},
};
use swarmkit_store::{Applier, Proposal, ProposeError, Proposer, Store};

use crate::env;

/// What a snapshot says of itself in front of its objects: the version, and the change set that led to it. What comes
/// after, the digest, is left out, so that nobody checks it.
const SAYS: [u32; 2] = [1000, 1002];

/// Changes what a store holds behind its back, as a fault of memory would: its version stays what it is, nothing is
/// proposed, and no other replica hears of it.
///
/// # Panics
///
/// The store's own snapshot cannot be read, or what it was made to hold is not allowed.
pub fn tamper(store: &Store, change: impl FnOnce(&mut StoreSnapshot)) {
    let bytes = store.applier().snapshot().to_bytes();
    let mut held = StoreSnapshot::decode(bytes.clone()).expect("a store reads its own snapshot");
    change(&mut held);
    let mut altered = head(&bytes);
    held.encode(&mut altered).expect("a vector grows");
    let mut restore = store.applier().restore();
    restore.chunk(&altered).expect("a snapshot as a store writes it");
    store.applier().install(restore).expect("it is complete");
}

/// Makes a store hold something that its leader does not, and lets it notice: with the leader's next change set.
///
/// # Panics
///
/// Never: whatever a store holds, it takes from a leader that held the same.
pub fn diverge(store: &Store) {
    let log = Recorder::default();
    let leader = Store::new(env(), log.clone());
    let mut restore = leader.applier().restore();
    restore.chunk(&store.applier().snapshot().to_bytes()).expect("a store reads its own snapshot");
    leader.applier().install(restore).expect("it is complete");
    tamper(store, |held| held.nodes.push(wire::Node { id: "nobody's".into(), ..Default::default() }));
    let write = leader.submit(|tx| tx.create(Node::new("the-leader's".into()))).now_or_never();
    drop(write.expect("there is a place").expect("the id is free"));
    for payload in log.0.lock().drain(..) {
        store.applier().apply(&payload).expect("a store wrote it");
    }
    assert!(store.divergence().is_some(), "it holds one node too many");
}

/// A log that keeps what is proposed.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Bytes>>>);

impl Proposer for Recorder {
    fn attach(&self, _: Applier) {}

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        self.0.lock().push(proposal.payload);
        Ok(())
    }
}

/// The fields in front of the objects that are to stay, as they are.
fn head(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut head) = (bytes, Vec::new());
    for wanted in SAYS {
        let field = rest;
        let (number, kind) = decode_key(&mut rest).expect("a field");
        assert_eq!(number, wanted, "the version comes first, then what led to it");
        match kind {
            WireType::Varint => drop(decode_varint(&mut rest).expect("a number")),
            kind => skip_field(kind, number, &mut rest, prost::encoding::DecodeContext::default()).expect("a number"),
        }
        head.extend_from_slice(&field[..field.len() - rest.len()]);
    }
    head
}

#[cfg(test)]
mod tests {
    use swarmkit_api::NodeId;

    use super::*;
    use crate::store;

    #[test]
    fn only_what_is_tampered_with_changes() {
        let store = store("node a; node b");
        let before = store.view();
        tamper(&store, |held| held.nodes[0].vxlanudp_port = 7);
        let after = store.view();
        let port = |id: &str| after.get::<Node>(&NodeId::from(id)).map(|node| node.vxlan_udp_port);
        assert_eq!((port("a"), port("b"), after.version()), (Some(7), Some(0), before.version()));
        assert_ne!(after.digest(), before.digest());
        assert_eq!(store.divergence(), None, "nobody has said what it should be");
    }

    #[test]
    fn a_store_is_made_to_notice_that_it_differs() {
        let store = store("node a");
        let before = store.version();
        diverge(&store);
        assert_eq!(store.divergence().map(|divergence| divergence.version), Some(before));
        assert_eq!(store.version(), before.next());
    }
}

//! Sizes and numbers at their limits.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use swarmkit_api::{Config, ConfigId, wire};

use super::{Subject, create, within};
use crate::{MAX_IN_FLIGHT, MAX_PROPOSAL_BYTES, ProposeError, StoreError};

/// More than a change set adds to the data of a config.
const OVERHEAD: usize = 256;

fn config(bytes: usize) -> Config {
    let mut config = Config::new(ConfigId::from("large"));
    config.spec = Arc::new(wire::ConfigSpec { data: Bytes::from(vec![b'x'; bytes]), ..Default::default() });
    config
}

pub(super) async fn the_largest_proposal_is_committed(subject: &impl Subject) {
    let store = subject.store();
    let written = store.update(|tx| tx.create(config(MAX_PROPOSAL_BYTES - OVERHEAD)));
    within("the largest proposal", written).await.expect("a proposal within the limit is committed");
    let view = store.view();
    let config = view.get::<Config>(&ConfigId::from("large")).expect("what was committed is visible");
    assert_eq!(config.spec.data.len(), MAX_PROPOSAL_BYTES - OVERHEAD);
}

pub(super) async fn a_larger_one_is_refused_and_leaves_no_trace(subject: &impl Subject) {
    let store = subject.store();
    let version = store.version();
    let written = store.update(|tx| tx.create(config(MAX_PROPOSAL_BYTES)));
    let error = within("a proposal that is too large", written).await.expect_err("what is too large is refused");
    assert!(matches!(error, StoreError::Propose(ProposeError::TooLarge { .. })), "{error}");
    assert_eq!(store.version(), version, "what was refused made a version");
    let small = store.update(|tx| tx.create(config(1)));
    within("an update", small).await.expect("the id is free, since what was refused left no trace");
}

pub(super) async fn more_writers_than_places_all_get_through(subject: &impl Subject) {
    let store = subject.store();
    let before = store.version();
    let writers = (0..MAX_IN_FLIGHT + 100).map(|number| create(store, number));
    for outcome in join_all(writers).await {
        outcome.expect("an update of a working store is committed");
    }
    assert_eq!(store.version().0 - before.0, MAX_IN_FLIGHT as u64 + 100);
}

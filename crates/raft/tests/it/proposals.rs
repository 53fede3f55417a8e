//! What becomes of change sets on their way through the log.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{Config, ConfigId, wire};
use swarmkit_raft::{MemoryDisk, RaftOptions};
use swarmkit_store::{ProposeError, StoreError};

use crate::{
    cluster::{Running, Site, alone},
    group::{has, three},
};

/// The most that one proposal may have, in bytes.
const LIMIT: usize = 1_572_864;

/// A config with so much data.
fn config(id: &str, bytes: usize) -> Config {
    let mut config = Config::new(ConfigId::from(id));
    let annotations = Some(wire::Annotations { name: id.to_owned(), ..Default::default() });
    config.spec = Arc::new(wire::ConfigSpec { annotations, data: vec![7; bytes].into(), ..Default::default() });
    config
}

async fn write(member: &Running, id: &str, bytes: usize) -> Result<(), StoreError> {
    member.store.update(|tx| tx.create(config(id, bytes))).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_proposal_of_exactly_the_limit_is_committed_everywhere_and_one_byte_more_is_refused() {
    let places = three(RaftOptions::default()).await;
    let leader = places[0].member();
    let refused = write(leader, "a", LIMIT).await.unwrap_err();
    let StoreError::Propose(ProposeError::TooLarge { size, limit }) = refused else { panic!("{refused}") };
    assert_eq!(limit, LIMIT);
    let text = ProposeError::TooLarge { size, limit }.to_string();
    assert!(text.starts_with("raft: raft message is too large and can't be sent"), "{text}");
    let frame = size - LIMIT;
    let one_more = write(leader, "b", LIMIT - frame + 1).await.unwrap_err();
    assert!(
        matches!(one_more, StoreError::Propose(ProposeError::TooLarge { size, .. }) if size == LIMIT + 1),
        "{one_more}"
    );
    write(leader, "c", LIMIT - frame).await.unwrap();
    for place in &places {
        while place.member().store.view().count::<Config>() != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_proposal_to_a_member_that_has_stopped_says_so() {
    let site = Site::new("n1", MemoryDisk::new());
    let member = site.start().await.unwrap();
    member.lead().await;
    let store = member.store.clone();
    member.stop().await;
    let refused = store.update(|tx| tx.create(config("a", 1))).await.unwrap_err();
    assert_eq!(refused, StoreError::Propose(ProposeError::Stopped));
    assert_eq!(refused.to_string(), "raft: failed to process the request: node is stopped");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_undoes_nothing_and_one_whose_time_ends_after_it_was_applied_is_told_of_success() {
    let disk = MemoryDisk::new();
    let (_, member) = alone(disk.clone(), RaftOptions::default()).await;
    let sync = Duration::from_millis(10);
    disk.delay_syncs(sync);
    let gave_up = tokio::time::timeout(sync / 2, member.write("a")).await;
    assert!(gave_up.is_err());
    has(&member, &["a"]).await;
    let mut writing = Box::pin(member.write("b"));
    assert!(futures_util::poll!(&mut writing).is_pending());
    has(&member, &["a", "b"]).await;
    // Its time is over, and it has not looked since.
    let told = tokio::time::timeout(Duration::ZERO, writing).await;
    assert_eq!(told.expect("what was applied counts"), Ok(()));
}

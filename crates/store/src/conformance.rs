//! What every proposer must do, as checks that anyone can run against theirs.
//!
//! ```
//! use swarmkit_runtime::Env;
//! use swarmkit_store::{Store, conformance};
//!
//! /// A store on the proposer that is to be checked. One that can fail or restart says how.
//! struct Local(Store);
//!
//! impl conformance::Subject for Local {
//!     fn store(&self) -> &Store {
//!         &self.0
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! conformance::all(async || Local(Store::local(Env::real()))).await;
//! # }
//! ```
//!
//! The checks run one after the other, each on a subject of its own, and panic with a sentence that says what is wrong.
//! They bound every wait, and judge nothing by how long it took.

mod bounds;
mod failure;
mod order;

use std::{future::Future, sync::Arc, time::Duration};

use swarmkit_api::{Node, NodeId, Version};

use crate::{Pending, Store, StoreError, Update, Watch};

/// How long anything may take before the suite calls it stuck. Generous: a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store on the proposer that is to be checked, and what the suite may do to it.
///
/// It must commit what is proposed when it is made, and again when it has recovered or restarted.
pub trait Subject: Send + Sized {
    /// The store.
    fn store(&self) -> &Store;

    /// Makes the proposer lose what it commits with, as by the loss of leadership, with proposals under way. Says whether
    /// it can: by default it cannot, and is not checked for it.
    fn fail(&self) -> impl Future<Output = bool> + Send {
        async { false }
    }

    /// Ends the failure.
    fn recover(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Ends as by a crash, and starts again from what is durable. By default nothing is.
    fn restart(self) -> impl Future<Output = Option<Self>> + Send {
        async { None }
    }
}

/// Runs every check. `make` makes a subject whose store is empty.
///
/// # Panics
///
/// When the proposer does not keep an obligation of [`crate::Proposer`].
pub async fn all<S: Subject>(make: impl AsyncFn() -> S) {
    order::an_update_is_visible_to_whoever_was_told(&make().await).await;
    order::order_of_submission_is_order_of_commit(&make().await).await;
    order::a_transaction_builds_on_those_under_way(&make().await).await;
    order::concurrent_writers_lose_nothing(&make().await).await;
    order::a_writer_that_gives_up_holds_up_nobody(&make().await).await;
    order::a_transaction_without_writes_is_not_proposed(&make().await).await;
    order::an_error_of_the_writer_leaves_no_trace(&make().await).await;
    bounds::the_largest_proposal_is_committed(&make().await).await;
    bounds::a_larger_one_is_refused_and_leaves_no_trace(&make().await).await;
    bounds::more_writers_than_places_all_get_through(&make().await).await;
    failure::nothing_is_committed_after_a_failed_one(&make().await).await;
    failure::what_is_not_known_is_not_called_failed(&make().await).await;
    failure::a_store_works_again_after_each_failure(&make().await).await;
    failure::what_was_acknowledged_survives_a_restart(make().await).await;
}

/// The node that the suite writes under that number.
fn numbered(number: usize) -> Node {
    Node::new(NodeId::from(format!("node-{number:05}")))
}

/// Waits with patience.
async fn within<F: Future>(what: &str, wait: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing happened for {PATIENCE:?}"),
    }
}

/// Creates a node, and waits for it to be committed.
async fn create(store: &Store, number: usize) -> Result<Version, StoreError> {
    let written = store.update(|tx| tx.create(numbered(number)));
    within("an update", written).await.map(|committed| committed.value.meta.version)
}

/// Hands out the creation of a node.
async fn submit(store: &Store, number: usize) -> Result<Pending, StoreError> {
    let submitted = store.submit(|tx| tx.create(numbered(number)));
    within("handing out a transaction", submitted).await.map(|(_, pending)| pending)
}

/// Whether the node of that number is committed.
fn has(store: &Store, number: usize) -> bool {
    store.view().get::<Node>(&numbered(number).id).is_some()
}

/// The nodes that the next deltas create, until there are so many, each with the version that made it.
async fn created(watch: &mut Watch, count: usize) -> Vec<(Version, Arc<Node>)> {
    let mut created = Vec::new();
    while created.len() < count {
        match within("a watch", watch.next()).await {
            Ok(Update::Snapshot(view)) => {
                assert_eq!(view.count::<Node>(), 0, "the first snapshot is that of an empty store")
            }
            Ok(Update::Delta(delta)) => {
                let nodes = delta.changes.iter().filter_map(|change| change.as_::<Node>()?.created());
                created.extend(nodes.map(|node| (delta.version, node.clone())));
            }
            Err(error) => panic!("the watch ended: {error}"),
        }
    }
    created
}

//! Telling the operator when this manager does not hold what the leader holds.

use std::convert::Infallible;

use swarmkit_store::{Divergence, Store};
use tokio_util::sync::CancellationToken;

/// Says so at level error when it is noticed, and once more when it is over, until told to stop.
///
/// Nothing stops because of it: which of the two is right cannot be told from here, and a leader with a fault would stop
/// all others.
pub(crate) async fn run(store: Store, stop: CancellationToken) -> Result<(), Infallible> {
    let mut noticed = store.watch_divergence();
    let mut differs = false;
    loop {
        let now = *noticed.borrow_and_update();
        match now {
            Some(Divergence { version, own, proposer }) => tracing::error!(
                version = version.0,
                %own,
                leader = %proposer,
                "this manager's store does not hold what the leader's held: one of the two has a fault"
            ),
            None if differs => tracing::info!("a snapshot has taken the place of what differed from the leader"),
            None => {}
        }
        differs = now.is_some();
        tokio::select! { biased; // stopping comes first
            () = stop.cancelled() => return Ok(()),
            changed = noticed.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

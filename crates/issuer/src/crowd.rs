//! How many nodes wait for their first certificate.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use swarmkit_api::{Node, wire::issuance_status::State};
use swarmkit_store::View;
use tokio::time::Instant;

/// Nodes that may wait at a time. They are signed within seconds, unless what signs is out of order; then a site of a thousand
/// nodes joins four times over, each of which costs the store a few KiB, and there it ends.
pub(crate) const CROWD_MAX: usize = 4096;
/// How long a full house is believed to be full. Counting walks through all nodes, which takes about a millisecond for ten
/// thousand.
const COUNT_AGAIN: Duration = Duration::from_millis(100);

/// Room for nodes that wait. Clones share it.
///
/// It is counted once for all the room that is found, not for each node: those that have been let in since may all wait
/// still, and when there is no room left by that reckoning, it is counted anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Arc<Mutex<Room>>);

#[derive(Debug, Default)]
struct Room {
    left: usize,
    counted: Option<Instant>,
}

impl Crowd {
    /// Whether one more may wait. If so, it does.
    pub(crate) fn has_room(&self, view: &View) -> bool {
        let mut room = self.0.lock();
        let now = Instant::now();
        if room.left == 0 && room.counted.is_none_or(|counted| now >= counted + COUNT_AGAIN) {
            *room = Room { left: CROWD_MAX.saturating_sub(waiting(view)), counted: Some(now) };
        }
        let has_room = room.left > 0;
        room.left = room.left.saturating_sub(1);
        has_room
    }
}

fn waiting(view: &View) -> usize {
    let waits =
        |node: &&Arc<Node>| node.certificate.status.as_ref().is_some_and(|status| status.state() == State::Pending);
    view.all::<Node>().filter(waits).count()
}

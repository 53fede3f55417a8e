//! Hearing that this node was removed from its cluster.

use std::{path::PathBuf, time::Duration};

use swarmkit_agent::{AgentHandle, Contact, SessionError};
use swarmkit_api::NodeId;
use swarmkit_rpc::is_removed;
use tokio_util::sync::CancellationToken;

use crate::NodeError;

/// How long its tasks may take to stop. The cluster has replaced them already.
const LEAVING: Duration = Duration::from_secs(10);

/// Ends the node when managers say that it was removed: it can never come back under its id. Its tasks are stopped, as
/// nobody else would.
pub(crate) async fn notice(
    agent: AgentHandle,
    id: NodeId,
    state_dir: PathBuf,
    stop: CancellationToken,
) -> Result<(), NodeError> {
    let mut contact = agent.contact();
    tokio::select! { biased; // stopping comes first
        () = stop.cancelled() => return Ok(()),
        told = contact.wait_for(|contact| says_removed(contact, &id)) => if told.is_err() {
            return Ok(());
        },
    }
    tracing::warn!(node = %id, "this node was removed from its cluster, and stops its tasks");
    tokio::select! { biased; // whoever stops the node does not want to wait
        () = stop.cancelled() => {}
        _ = agent.leave(LEAVING) => {}
    }
    Err(NodeError::Removed { path: state_dir })
}

fn says_removed(contact: &Contact, id: &NodeId) -> bool {
    matches!(contact.error.as_deref(), Some(SessionError::Refused(status)) if is_removed(status, id))
}

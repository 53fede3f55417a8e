//! `renew-certs` and `downgrade-key`: what can be mended in the certificates of a node that does not run.

use prost_types::Timestamp;
use serde_json::json;
use swarmkit_ca::role_name;
use swarmkit_node::{Offline, Renewed};

use super::{Context, Printer, RafttoolError};
use crate::output::absolute;

/// Makes the node a certificate with the root key of the newest state that its log has.
pub(super) async fn renew_certificate(context: &mut Context<'_>, offline: &Offline) -> Result<(), RafttoolError> {
    let replayed = context.inspector.replay(true).await?;
    let cluster = replayed.view.cluster().ok_or(RafttoolError::Nothing("the log holds no cluster"))?;
    let Renewed { node, role, cluster, not_after } = offline.renew_certificate(cluster.clone()).await?;
    let (role, not_after) = (role_name(role), absolute(Some(&Timestamp::from(not_after))));
    let json = json!({ "node": node.as_str(), "role": role, "cluster": cluster.as_str(), "not_after": not_after });
    context.show(&json, || {
        format!("Node {node} has a new certificate as {role} of cluster {cluster} until {not_after}.\n")
    })
}

/// Writes the node's key in the old form.
pub(super) async fn downgrade_key(printer: &mut Printer<'_>, offline: &Offline) -> Result<(), RafttoolError> {
    offline.downgrade_key().await?;
    printer.show(&json!({ "downgraded": true }), || {
        "The key is in its old form (SEC1) until a node of this version writes it again.\n".to_owned()
    })
}

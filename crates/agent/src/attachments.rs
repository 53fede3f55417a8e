//! Networks for containers that something else on this node has started.

use std::{sync::Arc, time::Duration};

use swarmkit_api::wire;
use tokio::sync::watch;

use crate::{AgentHandle, SessionError, manager::ManagerClient, session::in_time};

/// How long a manager may take over an attachment. It answers when that is replicated.
const ATTACHMENT_TIMEOUT: Duration = Duration::from_secs(15);

/// The manager of the present session, if there is one.
pub(crate) type Present = Option<Arc<dyn ManagerClient>>;

impl AgentHandle {
    /// Attaches a container that was started outside of the cluster to one of its networks, and gives the attachment's id.
    /// The addresses come to this node as those of a task do. Waits for a session if there is none.
    ///
    /// # Errors
    ///
    /// What the manager says: that there is no such network (`NotFound`), or that it cannot be attached to
    /// (`PermissionDenied`). Or that it did not answer, or that the agent has ended.
    pub async fn attach_network(
        &self,
        config: wire::NetworkAttachmentConfig,
        container_id: impl Into<String>,
    ) -> Result<String, SessionError> {
        let request = wire::AttachNetworkRequest { config: Some(config), container_id: container_id.into() };
        let manager = present(&self.present).await?;
        let answer = in_time("an attachment", ATTACHMENT_TIMEOUT, manager.attach_network(request)).await?;
        Ok(answer.attachment_id)
    }

    /// Ends an attachment of this node. Waits for a session if there is none.
    ///
    /// # Errors
    ///
    /// What the manager says: that there is no such attachment (`NotFound`), or that it is not this node's
    /// (`PermissionDenied`). Or that it did not answer, or that the agent has ended.
    pub async fn detach_network(&self, attachment_id: impl Into<String>) -> Result<(), SessionError> {
        let request = wire::DetachNetworkRequest { attachment_id: attachment_id.into() };
        let manager = present(&self.present).await?;
        in_time("a detachment", ATTACHMENT_TIMEOUT, manager.detach_network(request)).await.map(drop)
    }
}

async fn present(present: &watch::Receiver<Present>) -> Result<Arc<dyn ManagerClient>, SessionError> {
    let mut present = present.clone();
    let found = present.wait_for(Option::is_some).await.map_err(|_| SessionError::Closed)?;
    found.clone().ok_or(SessionError::Closed)
}

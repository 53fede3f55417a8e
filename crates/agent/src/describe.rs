//! What this node says of itself, and when it has to say it anew.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use swarmkit_api::wire;
use swarmkit_executor::{DynExecutor, ExecError};
use swarmkit_runtime::Env;
use tokio::sync::watch;

use crate::volumes::Volumes;

/// How often the executor is asked whether the node has changed. As upstream.
const REFRESH: Duration = Duration::from_secs(20);
/// How long the executor may take to say what the node is. A session is opened without waiting longer: a node whose
/// runtime hangs is alive all the same.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Describes the node: what the executor says, and what the agent adds.
pub(crate) struct Describer {
    pub(crate) env: Env,
    pub(crate) executor: Arc<dyn DynExecutor>,
    /// In place of the name that the executor gives.
    pub(crate) hostname: Option<String>,
    pub(crate) tls_info: watch::Receiver<Option<wire::NodeTlsInfo>>,
    pub(crate) fips: bool,
    pub(crate) volumes: Volumes,
    /// What was said last. Templates of tasks read it.
    pub(crate) said: NodeFacts,
}

/// The last description, shared with whoever expands templates.
#[derive(Clone, Default)]
pub(crate) struct NodeFacts(Arc<Mutex<Option<Arc<wire::NodeDescription>>>>);

impl NodeFacts {
    /// The last description, if there was any.
    pub(crate) fn get(&self) -> Option<Arc<wire::NodeDescription>> {
        self.0.lock().clone()
    }
}

impl Describer {
    /// The description to open a session with: a fresh one, or the last one if the executor cannot say.
    pub(crate) async fn announce(&mut self) -> Option<wire::NodeDescription> {
        if let Some(fresh) = self.describe().await {
            *self.said.0.lock() = Some(Arc::new(fresh));
        }
        self.said.get().map(|said| wire::NodeDescription::clone(&said))
    }

    /// Waits until the node is no more what it said.
    pub(crate) async fn changed(&mut self) {
        loop {
            tokio::select! { biased; // either way the executor is asked
                Ok(()) = self.tls_info.changed() => {}
                () = self.env.sleep(REFRESH) => {}
            }
            let fresh = self.describe().await;
            if fresh.is_some_and(|fresh| self.said.get().is_none_or(|said| fresh != *said)) {
                return;
            }
        }
    }

    async fn describe(&mut self) -> Option<wire::NodeDescription> {
        let described = async { tokio::join!(self.executor.describe(), self.volumes.describe()) };
        let described = tokio::time::timeout(DESCRIBE_TIMEOUT, described).await;
        let (described, csi_info) = match described {
            Ok((described, csi_info)) => (Ok(described), csi_info),
            Err(late) => (Err(late), Vec::new()),
        };
        let mut description = match described.unwrap_or_else(|_| Err(ExecError::temporary("it did not answer in time")))
        {
            Ok(description) => description,
            Err(error) => {
                tracing::error!(%error, "the executor cannot describe this node");
                return None;
            }
        };
        if let Some(hostname) = &self.hostname {
            description.hostname.clone_from(hostname);
        }
        description.tls_info.clone_from(&self.tls_info.borrow_and_update());
        description.fips = self.fips;
        description.csi_info.extend(csi_info);
        Some(description)
    }
}

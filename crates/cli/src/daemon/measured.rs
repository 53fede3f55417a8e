//! The metrics of a daemon: bound before the node starts, measuring its tasks, and following its store while it is
//! a manager.

use std::{convert::Infallible, time::Duration};

use swarmkit_node::NodeHandle;
use swarmkit_runtime::Crew;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::RunError;
use crate::metrics::{Collector, Registry, serve};

/// How often a node that is no manager is asked whether it has become one.
const LOOK: Duration = Duration::from_secs(1);

/// Where metrics are served, if they are wanted.
pub(crate) struct Measured {
    crew: Crew,
    registry: Option<Registry>,
}

impl Measured {
    /// Serves `registry` at `address`.
    pub(crate) async fn begin(listen: Option<(String, Registry)>) -> Result<Self, RunError> {
        let mut crew = Crew::under(&CancellationToken::new());
        let Some((address, registry)) = listen else { return Ok(Self { crew, registry: None }) };
        let listener = TcpListener::bind(&address)
            .await
            .map_err(|source| RunError::Metrics { address: address.clone(), source })?;
        let at = listener.local_addr().map_or(address, |at| at.to_string());
        tracing::info!(address = at, "serving metrics");
        let shown = registry.clone();
        crew.spawn("metrics", move |stop| serve(listener, shown, stop));
        Ok(Self { crew, registry: Some(registry) })
    }

    /// Measures the tasks of a node, and follows its store whenever it has one.
    pub(crate) fn follow(&mut self, node: NodeHandle) {
        let Some(registry) = self.registry.clone() else { return };
        registry.measure(node.clone());
        self.crew.spawn("metrics collector", move |stop| async move {
            loop {
                let look = async {
                    // A node without a store is a worker, now.
                    if let Some(store) = node.store() {
                        let leader = node.clone();
                        Collector::new(&registry, node.id(), move || leader.leads()).follow(&store).await;
                    }
                    tokio::time::sleep(LOOK).await;
                };
                tokio::select! { biased; // what is stopped looks no further
                    () = stop.cancelled() => return Ok::<(), Infallible>(()),
                    () = look => {}
                }
            }
        });
    }

    /// Ends both.
    pub(crate) async fn end(self) {
        if let Some(registry) = &self.registry {
            registry.forget_tasks();
        }
        self.crew.stop().cancel();
        drop(self.crew.join().await);
    }
}

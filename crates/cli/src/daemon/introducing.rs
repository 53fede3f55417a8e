//! Engines that are introduced to each other by a manager.

use std::convert::Infallible;

use swarmkit_api::Node;
use swarmkit_node::NodeHandle;
use swarmkit_overlay_networks::{GOSSIP_PORT, introduce};
use swarmkit_runtime::Crew;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Introduces engines, where a node gives out overlays, for as long as it manages.
pub(crate) struct Introducing {
    crew: Crew,
    /// Where they dial.
    address: Option<String>,
}

impl Introducing {
    /// `listen_remote` is where other nodes reach this one: engines dial the same host.
    pub(crate) fn new(is_wanted: bool, listen_remote: &str) -> Self {
        let host = listen_remote.rsplit_once(':').map_or(listen_remote, |(host, _)| host);
        let address = is_wanted.then(|| format!("{host}:{GOSSIP_PORT}"));
        Self { crew: Crew::under(&CancellationToken::new()), address }
    }

    /// Begins, with the nodes that `node` knows of.
    pub(crate) fn follow(&mut self, node: NodeHandle) {
        let Some(address) = self.address.take() else { return };
        self.crew.spawn("introductions", move |stop| async move {
            let listener = match TcpListener::bind(&address).await {
                Ok(listener) => listener,
                Err(error) => {
                    // An engine on this machine does it itself, unless it is something else that listens there.
                    tracing::warn!(address, %error, "engines are not introduced to each other by this node");
                    stop.cancelled().await;
                    return Ok::<(), Infallible>(());
                }
            };
            tracing::info!(address, "introducing engines to each other");
            // A node without a store is a worker, now.
            let nodes = move || {
                let view = node.store().map(|store| store.view());
                view.map(|view| view.all::<Node>().cloned().collect()).unwrap_or_default()
            };
            introduce(listener, nodes, stop).await
        });
    }

    /// Ends it.
    pub(crate) async fn end(self) {
        self.crew.stop().cancel();
        drop(self.crew.join().await);
    }
}

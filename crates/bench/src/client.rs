//! A connection to a control socket, as bare as it can be: HTTP/2 without TLS, so that what is timed is the daemon.
use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use swarmkit_api::wire::control_client::ControlClient;
use swarmkit_api::wire::watch_client::WatchClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// How long an answer may take, or the first one of a stream.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Room for lists of some thousands of objects.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Client(Channel);

impl Client {
    /// Connects; none while nobody listens there.
    pub(crate) async fn connect(socket: &Path) -> Option<Self> {
        let socket = socket.to_owned();
        let connector = service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The address only fills in a header: the connector knows the socket.
        let endpoint = Endpoint::from_static("http://localhost").timeout(CALL_DEADLINE);
        endpoint.connect_with_connector(connector).await.ok().map(Self)
    }

    /// What reads and changes the cluster.
    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.0.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// What streams changes.
    pub(crate) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.0.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

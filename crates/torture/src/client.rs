//! A connection to the control socket of one member, made anew when it breaks.

use std::{path::PathBuf, time::Duration};

use hyper_util::rt::TokioIo;
use swarmkit_api::wire::{control_client::ControlClient, watch_client::WatchClient};
use tokio::{net::UnixStream, time::timeout};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// How long it may take until a process on this machine has accepted a connection. One that is paused does not.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Room for lists of some ten thousand objects.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// A way to one member. HTTP/2 without TLS, so that little of the machine goes to the client.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    channel: Option<Channel>,
}

impl Client {
    /// A client that is not connected yet.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, channel: None }
    }

    /// What reads and changes the cluster; none if nobody listens. In that case nothing was sent.
    pub async fn control(&mut self) -> Option<ControlClient<Channel>> {
        let channel = self.channel().await?;
        Some(ControlClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// What streams changes; none if nobody listens.
    pub async fn watch(&mut self) -> Option<WatchClient<Channel>> {
        let channel = self.channel().await?;
        Some(WatchClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Forgets the connection: the next call makes another one.
    pub fn disconnect(&mut self) {
        self.channel = None;
    }

    async fn channel(&mut self) -> Option<Channel> {
        if self.channel.is_none() {
            let socket = self.socket.clone();
            let connector = service_fn(move |_| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            // The address only fills in a header: the connector knows the socket.
            let endpoint = Endpoint::from_static("http://localhost");
            let connected = timeout(CONNECT_LIMIT, endpoint.connect_with_connector(connector)).await;
            self.channel = connected.ok()?.ok();
        }
        self.channel.clone()
    }
}

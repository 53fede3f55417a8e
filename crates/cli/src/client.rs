//! A connection to a node's control socket.

use std::{
    error::Error as _,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use swarmkit_api::wire::{control_client::ControlClient, watch_client::WatchClient};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Where a node listens for control calls unless told otherwise, as upstream.
pub const DEFAULT_SOCKET: &str = "/var/run/swarmd.sock";

/// The variable that names the socket of a node, as upstream.
pub const SOCKET_VARIABLE: &str = "SWARM_SOCKET";

/// How long a call may take. A manager answers in milliseconds or not at all; an election is over within seconds.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// How long connecting to a socket of this machine may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// The largest answer that is accepted. Lists have neither pages nor a limit: this is about 100,000 tasks.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Nobody answers at the control socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to the control socket {}: {reason}", socket.display())]
pub struct ConnectError {
    /// The socket that was tried.
    pub socket: PathBuf,
    /// What the system said.
    pub reason: String,
    /// Whether it may help to try again: no socket yet, or nobody listening on it.
    pub absent: bool,
}

/// A connection to a node. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    ///
    /// When nothing listens there, or it may not be used.
    ///
    /// # Panics
    ///
    /// Never: the address of the endpoint is a constant.
    pub async fn connect(path: &Path) -> Result<Self, ConnectError> {
        // The name is for the protocol's sake; the connector below decides where the bytes go.
        let endpoint = Endpoint::from_static("http://swarm.control").timeout(CALL_DEADLINE);
        let socket = path.to_owned();
        let connector = service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let refuse = |reason: String, absent| ConnectError { socket: path.to_owned(), reason, absent };
        match tokio::time::timeout(CONNECT_DEADLINE, endpoint.connect_with_connector(connector)).await {
            Ok(Ok(channel)) => Ok(Self { channel }),
            Ok(Err(error)) => Err(match io_cause(&error) {
                Some(cause) => refuse(
                    cause.to_string(),
                    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused),
                ),
                None => refuse(error.to_string(), false),
            }),
            Err(_) => Err(refuse("nobody answers".to_owned(), true)),
        }
    }

    /// The calls that read and change the cluster.
    #[must_use]
    pub fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The call that streams changes.
    #[must_use]
    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

fn io_cause(error: &tonic::transport::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("swarmd.sock");
        let error = Client::connect(&socket).await.unwrap_err();
        let expected = format!(
            "cannot connect to the control socket {}: No such file or directory (os error 2)",
            socket.display()
        );
        assert_eq!(error.to_string(), expected);
        assert!(error.absent);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_not_worth_another_try() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Client::connect(&file.path().join("below")).await.unwrap_err();
        assert!(!error.absent, "{error}");
    }
}

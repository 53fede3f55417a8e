//! A connection to a node's control socket.

use std::path::{Path, PathBuf};

use swarmkit_api::wire::{
    ca_client::CaClient,
    control_client::ControlClient,
    logs_client::LogsClient,
    swarmkit::{
        backup::v1::backup_client::BackupClient, exec::v1::exec_client::ExecClient,
        scheduling::v1::scheduling_client::SchedulingClient, unlock::v1::unlock_client::UnlockClient,
    },
    watch_client::WatchClient,
};
use swarmkit_rpc::{Channel, ConnectError, connect_unix};
use swarmkit_runtime::{Env, Spawner};

/// Where a node listens for control calls unless told otherwise, as upstream.
pub const DEFAULT_SOCKET: &str = "/var/run/swarmd.sock";

/// The variable that names the socket of a node, as upstream.
pub const SOCKET_VARIABLE: &str = "SWARM_SOCKET";

/// The largest answer that is accepted. Lists have neither pages nor a limit: this is about 100,000 tasks.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How often a change is tried anew when the object has changed in the meantime. Managers write to services and nodes
/// all the time, so this is no rare event; but whoever loses this often is up against another client.
pub const UPDATE_ATTEMPTS_MAX: u32 = 5;

/// What is called to read and change a cluster.
pub type Control = ControlClient<Channel>;

/// A connection to a node. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    path: PathBuf,
    env: Env,
    spawner: Spawner,
}

impl Client {
    /// Connects to the socket at `path`. Every call has a deadline.
    ///
    /// # Errors
    ///
    /// When nothing listens there, or it may not be used.
    pub async fn connect(path: &Path, env: &Env, spawner: &Spawner) -> Result<Self, ConnectError> {
        let channel = connect_unix(path, env, spawner).await?;
        Ok(Self { channel, path: path.to_owned(), env: env.clone(), spawner: spawner.clone() })
    }

    /// Connects to the same socket again, on which another process may listen by now.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub async fn reconnect(&self) -> Result<Self, ConnectError> {
        Self::connect(&self.path, &self.env, &self.spawner).await
    }

    /// Whether the connection stands, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.channel.is_open()
    }

    /// The calls that read and change the cluster.
    #[must_use]
    pub fn control(&self) -> Control {
        ControlClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The calls that tell roots and the unlock key.
    #[must_use]
    pub fn ca(&self) -> CaClient<Channel> {
        CaClient::new(self.channel.clone())
    }

    /// The call that streams everything.
    #[must_use]
    pub fn backup(&self) -> BackupClient<Channel> {
        BackupClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The call that streams logs.
    #[must_use]
    pub fn logs(&self) -> LogsClient<Channel> {
        LogsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The calls that say why tasks wait, and what would become of services.
    #[must_use]
    pub fn scheduling(&self) -> SchedulingClient<Channel> {
        SchedulingClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Commands in tasks, attaching to them, and what they use.
    #[must_use]
    pub fn exec(&self) -> ExecClient<Channel> {
        ExecClient::new(self.channel.clone())
    }

    /// The calls that a manager answers while it waits for its unlock key, and nobody else.
    #[must_use]
    pub fn unlock(&self) -> UnlockClient<Channel> {
        UnlockClient::new(self.channel.clone())
    }

    /// The call that streams changes.
    #[must_use]
    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// Whether an update was refused because the object has changed since it was read: read it again.
#[must_use]
pub fn is_out_of_sequence(status: &tonic::Status) -> bool {
    status.message().contains("update out of sequence")
}

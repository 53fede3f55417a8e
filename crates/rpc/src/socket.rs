//! The control socket: a Unix socket on which calls count as this node's own.

use std::{
    fs::{self, Permissions},
    io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use futures_util::future::BoxFuture;
use rustix::net::RecvFlags;
use swarmkit_ca::{Credentials, unverified_client};
use swarmkit_runtime::{Env, Spawner};
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

use crate::{
    channel::{Channel, ChannelOptions},
    connect_error::ConnectError,
    peer::Origin,
    tls,
    transport::{Arrival, Link, Listener, ServerRole, Stream},
};

/// What the first byte of a TLS connection says: a handshake follows.
const TLS_HANDSHAKE: u8 = 0x16;

/// Only the socket's owner may open it.
const SOCKET_MODE: u32 = 0o600;
/// Only the owner may look into its directory, where this crate makes one.
const DIRECTORY_MODE: u32 = 0o700;

/// A listening control socket. Its file goes with it.
///
/// Upstream's clients speak TLS here without verifying anything, some of its tools speak plain HTTP/2; both are served.
pub struct ControlSocket {
    listener: UnixListener,
    credentials: Option<Credentials>,
    path: PathBuf,
}

// === impl ControlSocket ===

impl ControlSocket {
    /// Listens at `path`, with `credentials` for those who insist on TLS.
    ///
    /// A file that a dead server left behind is replaced. One that somebody answers on is not.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when somebody listens there, or what else the system says.
    pub async fn bind(path: &Path, credentials: Option<Credentials>) -> io::Result<Self> {
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent)?;
        }
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path).await => {
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
        Ok(Self { listener, credentials, path: path.to_owned() })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Listener for ControlSocket {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let (stream, _) = self.listener.accept().await?;
            let credentials = self.credentials.clone();
            let address = self.path.display().to_string();
            let handshake = Box::pin(async move {
                let first = peek(&stream).await.map_err(|error| ConnectError::broken(&address, &error))?;
                let stream: Box<dyn Stream> = match credentials {
                    Some(credentials) if first == TLS_HANDSHAKE => tls::answer(stream, &credentials, &address).await?.0,
                    _ => Box::new(stream),
                };
                Ok(Link { stream, origin: Origin::Local })
            });
            Ok(Arrival { addr: None, handshake })
        })
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a socket file is there on which nobody listens.
async fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The first byte of a connection, left where it is.
async fn peek(stream: &UnixStream) -> io::Result<u8> {
    loop {
        stream.readable().await?;
        let mut byte = [0; 1];
        let peeked = stream.try_io(Interest::READABLE, || {
            rustix::net::recv(stream, &mut byte[..], RecvFlags::PEEK).map_err(io::Error::from)
        });
        match peeked {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Connects to a control socket. The file's permissions say who may, so the server's certificate is not verified.
///
/// # Errors
///
/// What stands in the way.
pub async fn connect_unix(path: &Path, env: &Env, spawner: &Spawner) -> Result<Channel, ConnectError> {
    let address = path.display().to_string();
    let dial = async {
        let stream = UnixStream::connect(path).await.map_err(|error| ConnectError::unreachable(&address, &error))?;
        let config = unverified_client(env)
            .map_err(|error| ConnectError::Closed { address: address.clone(), reason: error.to_string() })?;
        tls::call(stream, None, config, &address, ServerRole::Manager).await
    };
    // Silence on one machine means nothing: no keep-alive.
    let options = ChannelOptions { keep_alive: None, ..ChannelOptions::default() };
    Channel::open(&address, dial, &options, spawner, &CancellationToken::new()).await
}

/// Connects to a socket on which another program serves gRPC without TLS, such as a storage plugin. The file's permissions
/// say who may.
///
/// # Errors
///
/// What stands in the way.
pub async fn connect_plain_unix(path: &Path, spawner: &Spawner) -> Result<Channel, ConnectError> {
    let address = path.display().to_string();
    let dial = async {
        let stream = UnixStream::connect(path).await.map_err(|error| ConnectError::unreachable(&address, &error))?;
        Ok(Link { stream: Box::new(stream), origin: Origin::Local })
    };
    let options = ChannelOptions { keep_alive: None, ..ChannelOptions::default() };
    Channel::open(&address, dial, &options, spawner, &CancellationToken::new()).await
}

//! A manager whose keys are locked, and that was given no key: it says so, and waits for one.
//!
//! On its control socket it serves one service, which takes the key. On its port for other nodes it can prove nothing, since
//! the key of its certificate is locked: whoever calls gets a TLS alert that says that the door is closed, and tries another
//! manager, or later.

use std::{io, path::Path, sync::Arc, time::Duration};

use swarmkit_api::{
    NodeId, NodeRole,
    wire::swarmkit::unlock::v1::{
        AskRequest, AskResponse, OpenRequest, OpenResponse,
        unlock_server::{Unlock, UnlockServer},
    },
};
use swarmkit_ca::{
    Credentials, Error as CaError, Identity, KeySource as _, KeyStore, LEAF_VALIDITY_MIN, NodeCertificate, RootCa,
    SystemKeys, UnlockKey,
};
use swarmkit_rpc::{Authority, ControlSocket, ServerOptions, Services, serve};
use swarmkit_runtime::{Crew, Env, Spawner};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::signals::Signals;

/// A fatal TLS alert: access denied. It takes no key to send it.
const DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
/// How long a caller may take to say hello before it is told. Callers are told one after the other.
const HELLO: Duration = Duration::from_secs(1);
/// How long to wait when the system would not give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Nobody could hand over the key.
#[derive(Debug, thiserror::Error)]
#[error("cannot wait for the unlock key: {0}")]
pub(crate) struct WaitError(String);

/// How the waiting has ended.
pub(crate) enum Waited {
    /// With the key.
    Key(UnlockKey),
    /// With a signal of this name.
    Signal(&'static str),
}

/// Whether the key of the node in a state directory is locked.
pub(crate) async fn is_locked(state_dir: &Path, env: &Env) -> bool {
    let keys = KeyStore::new(state_dir, env).looking_only();
    let loaded = Spawner::blocking(move || keys.load_node().map(drop)).await;
    matches!(loaded, Ok(Err(CaError::Locked)))
}

/// Waits until somebody hands over the key, or wants the program to end.
pub(crate) async fn wait(
    state_dir: &Path,
    socket: &Path,
    remote: &str,
    env: &Env,
    signals: &mut Signals,
) -> Result<Waited, WaitError> {
    let failed = |error: &dyn std::fmt::Display| WaitError(error.to_string());
    let keys = KeyStore::new(state_dir, env).looking_only();
    let node = keys.named().map(|named| named.node).unwrap_or_else(|_| NodeId::from(""));
    let (handed, mut key) = mpsc::channel(1);
    let crew = Crew::under(&CancellationToken::new());
    let credentials = passing(env).map_err(|error| failed(&error))?;
    let authority = Authority::fixed(credentials.identity());
    let door = Door { state_dir: state_dir.into(), env: env.clone(), node: node.clone(), handed };
    let services = Services::new(authority).with(UnlockServer::new(door)).map_err(|error| failed(&error))?;
    let listener = ControlSocket::bind(socket, Some(credentials)).await;
    let listener = listener.map_err(|error| failed(&format!("cannot listen at {}: {error}", socket.display())))?;
    let spawner = crew.spawner();
    drop(spawner.spawn("unlock", serve(Box::new(listener), services, ServerOptions::default(), spawner.clone())));
    match TcpListener::bind(remote).await {
        Ok(listener) => drop(spawner.spawn("closed door", deny(listener, crew.stop().clone()))),
        Err(error) => tracing::warn!(address = remote, %error, "other nodes are not told that this one is locked"),
    }
    tracing::warn!(
        %node,
        "this manager is locked, and waits for its unlock key: swarmctl --socket {} cluster unlock",
        socket.display()
    );
    let waited = tokio::select! { biased; // whoever wants to stop does not want to wait for a key
        signal = signals.next() => Waited::Signal(signal),
        key = key.recv() => match key {
            Some(key) => Waited::Key(key),
            None => return Err(WaitError("nobody listens any more".to_owned())),
        },
    };
    // The answer goes out first, and then the node has socket and port for itself.
    crew.stop().cancel();
    crew.finish().await.map_err(|error| failed(&error))?;
    Ok(waited)
}

/// Clients of the socket insist on TLS, and do not look at the certificate: it is made for the purpose, and never written.
fn passing(env: &Env) -> Result<Credentials, CaError> {
    let root = RootCa::create(&SystemKeys, env)?;
    let own = Identity::new(env.new_id().into(), NodeRole::Manager, env.new_id().into());
    let key = SystemKeys.generate()?;
    let chain = root.issue(&key.request()?, &own, LEAF_VALIDITY_MIN, env)?;
    Credentials::new(root.without_signer(), NodeCertificate::new(&chain, key)?, env)
}

/// Tells everybody who calls that the door is closed.
async fn deny(listener: TcpListener, stop: CancellationToken) {
    let tell = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::time::timeout(HELLO, refuse(stream)).await),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    };
    tokio::select! { biased; // stopping comes first
        () = stop.cancelled() => {}
        () = tell => {}
    }
}

/// Reads the greeting first: a connection that is closed over unread bytes is reset, and the alert lost.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let mut hello = [0; 4096];
    let _ = stream.read(&mut hello).await?;
    stream.write_all(&DENIED).await?;
    stream.shutdown().await?;
    while stream.read(&mut hello).await? > 0 {}
    Ok(())
}

/// Takes the key.
struct Door {
    state_dir: Arc<Path>,
    env: Env,
    node: NodeId,
    handed: mpsc::Sender<UnlockKey>,
}

#[tonic::async_trait]
impl Unlock for Door {
    async fn ask(&self, _: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        Ok(Response::new(AskResponse { node_id: self.node.to_string() }))
    }

    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<OpenResponse>, Status> {
        let key = UnlockKey::parse(request.into_inner().key.trim())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let keys = KeyStore::new(&self.state_dir, &self.env).with_unlock_key(Some(key.clone())).looking_only();
        match Spawner::blocking(move || keys.load_node().map(drop)).await {
            Ok(Ok(())) => {}
            Ok(Err(CaError::Locked)) => {
                tracing::warn!("a wrong unlock key was refused");
                return Err(Status::permission_denied("that is not the unlock key of this node; it waits on"));
            }
            Ok(Err(error)) => return Err(Status::failed_precondition(error.to_string())),
            Err(panicked) => return Err(Status::internal(panicked.to_string())),
        }
        // One is enough: whoever comes second has handed over the same.
        let _ = self.handed.try_send(key);
        Ok(Response::new(OpenResponse {}))
    }
}

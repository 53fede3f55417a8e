//! What handshakes are tested with: a clock that a test turns, authorities, nodes, and two ends of a pipe.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, ServerConfig,
    pki_types::{ServerName, UnixTime},
    time_provider::TimeProvider,
};
use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_ca::{
    Credentials, Identity, KeySource as _, LEAF_VALIDITY_DEFAULT, MANAGER, NodeCertificate, RootCa, SystemKeys,
    TlsFault,
};
use swarmkit_runtime::{Clock, Env};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// A clock that a test turns, at noon of the first of January 2030 to begin with.
#[derive(Clone, Debug)]
pub(crate) struct Wall(Arc<AtomicU64>);

impl Wall {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_893_499_200)))
    }

    pub(crate) fn turn(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

impl Clock for Wall {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) wall: Wall,
    pub(crate) env: Env,
    pub(crate) root: RootCa,
}

impl World {
    pub(crate) fn new() -> Self {
        let wall = Wall::new();
        let env = Env::seeded(1, wall.clone());
        let root = RootCa::create(&SystemKeys, &env).unwrap();
        Self { wall, env, root }
    }

    pub(crate) fn certificate(&self, role: NodeRole) -> NodeCertificate {
        let identity = Identity::new(NodeId::new(self.env.new_id()), role, ClusterId::from("cluster"));
        let key = SystemKeys.generate().unwrap();
        let chain = self.root.issue(&key.request().unwrap(), &identity, LEAF_VALIDITY_DEFAULT, &self.env).unwrap();
        NodeCertificate::new(&chain, key).unwrap()
    }

    pub(crate) fn node(&self, role: NodeRole) -> Credentials {
        Credentials::new(self.root.without_signer(), self.certificate(role), &self.env).unwrap()
    }
}

pub(crate) type Served = io::Result<server::TlsStream<tokio::io::DuplexStream>>;
pub(crate) type Called = io::Result<client::TlsStream<tokio::io::DuplexStream>>;

/// Shakes hands, then sends a byte each way: under TLS 1.3 a server's refusal of the client's certificate arrives only
/// after the client is done.
pub(crate) async fn meet(server: Arc<ServerConfig>, client: Arc<ClientConfig>, name: &'static str) -> (Served, Called) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serve = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        stream.write_u8(1).await?;
        stream.read_u8().await?;
        Ok(stream)
    };
    let call = async {
        let name = ServerName::try_from(name).unwrap();
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.read_u8().await?;
        stream.write_u8(1).await?;
        stream.flush().await?;
        Ok(stream)
    };
    tokio::join!(serve, call)
}

pub(crate) async fn meet_nodes(server: &Credentials, client: &Credentials) -> (Served, Called) {
    meet(server.trust().server_config(), client.trust().client_config(), MANAGER).await
}

pub(crate) fn caller(served: Served) -> Option<Identity> {
    let stream = served.unwrap();
    let chain = stream.get_ref().1.peer_certificates()?;
    Some(Identity::from_certificate(&chain[0]).unwrap())
}

pub(crate) fn server_of(called: Called) -> Identity {
    Identity::from_certificate(&called.unwrap().get_ref().1.peer_certificates().unwrap()[0]).unwrap()
}

pub(crate) fn fault<T>(result: io::Result<T>) -> TlsFault {
    let error = result.err().expect("the handshake fails");
    TlsFault::from_io(&error).unwrap_or_else(|| panic!("no TLS fault: {error:?}"))
}

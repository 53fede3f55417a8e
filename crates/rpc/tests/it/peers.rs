//! TLS as other programs speak it: which versions, which suites, and with or without a word on HTTP/2.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use rustls::{
    CipherSuite, ClientConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, ring},
    pki_types::{ServerName, UnixTime},
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};
use swarmkit_api::NodeRole;
use swarmkit_ca::Credentials;
use swarmkit_rpc::{
    Arrival, Authority, ChannelOptions, Channels, ConnectError, Link, Listener, Origin, ServerOptions, ServerRole,
    TlsTransport, Transport, serve,
};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::world::{Desk, World, check, identity, listen};

/// The suites that every peer may choose from, with keys as nodes have them.
const TLS12_SUITES: [SupportedCipherSuite; 3] = [
    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];
const TLS13_SUITES: [SupportedCipherSuite; 3] = [
    ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
    ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
    ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// The clock of these tests.
#[derive(Debug)]
struct Noon;

impl TimeProvider for Noon {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1_893_499_200)))
    }
}

/// A client of another make: its settings are those of a node, but for what a test says.
struct Other(ClientConfig);

impl Other {
    fn of(credentials: &Credentials) -> Self {
        Self((*credentials.trust().client_config()).clone())
    }

    fn offering(mut self, protocols: &[&[u8]]) -> Self {
        self.0.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        self
    }

    async fn handshake<S>(&self, stream: S) -> TlsStream<S>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let name = ServerName::try_from("swarm-manager").unwrap();
        TlsConnector::from(Arc::new(self.0.clone())).connect(name, stream).await.unwrap()
    }
}

impl Transport for Other {
    fn dial<'a>(&'a self, address: &'a str, _: ServerRole) -> BoxFuture<'a, Result<Link, ConnectError>> {
        Box::pin(async move {
            let stream = self.handshake(TcpStream::connect(address).await.unwrap()).await;
            Ok(Link { stream: Box::new(stream), origin: Origin::Remote { identity: None, addr: None } })
        })
    }

    fn listen<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

/// A server of another make, which has never heard of HTTP/2 being chosen in a handshake.
struct SelectsNone {
    listener: TcpListener,
    credentials: Credentials,
}

impl Listener for SelectsNone {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let (stream, addr) = self.listener.accept().await?;
            let mut config = (*self.credentials.trust().server_config()).clone();
            config.alpn_protocols.clear();
            let handshake = Box::pin(async move {
                let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
                assert_eq!(stream.get_ref().1.alpn_protocol(), None);
                let origin = Origin::Remote { identity: Some(identity("m2", NodeRole::Manager)), addr: Some(addr) };
                Ok(Link { stream: Box::new(stream), origin })
            });
            Ok(Arrival { addr: Some(addr), handshake })
        })
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

#[tokio::test]
async fn every_listener_selects_h2_where_it_is_offered() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let credentials = world.node("m2", NodeRole::Manager);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("swarmd.sock");
    let socket = swarmkit_rpc::ControlSocket::bind(&path, Some(credentials.clone())).await.unwrap();
    let services = Desk::new(&world.root).services(Authority::of(&credentials), None);
    let serving = serve(Box::new(socket), services, ServerOptions::default(), world.spawner());
    drop(world.spawner().spawn("socket", serving));

    for offered in [&[&b"h2"[..]][..], &[b"http/1.1", b"h2"], &[b"h2", b"grpc-exp"]] {
        let other = Other::of(&credentials).offering(offered);
        let over_tcp = other.handshake(TcpStream::connect(&manager.address).await.unwrap()).await;
        assert_eq!(over_tcp.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let over_socket = other.handshake(UnixStream::connect(&path).await.unwrap()).await;
        assert_eq!(over_socket.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    }
}

#[tokio::test]
async fn a_client_that_offers_no_protocol_is_served() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let other = Other::of(&world.node("m2", NodeRole::Manager)).offering(&[]);
    let stream = other.handshake(TcpStream::connect(&manager.address).await.unwrap()).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let channel = world.connect_by(&other, &manager.address, ServerRole::Manager).await.unwrap();
    check(&channel, "").await.unwrap();
    assert_eq!(manager.desk.caller().identity, Some(identity("m2", NodeRole::Manager)));
}

#[tokio::test]
async fn a_server_that_selects_no_protocol_is_called_all_the_same() {
    let world = World::new();
    let credentials = world.node("m1", NodeRole::Manager);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let services = Desk::new(&world.root).services(Authority::of(&credentials), None);
    let listener = Box::new(SelectsNone { listener, credentials });
    drop(world.spawner().spawn("server", serve(listener, services, ServerOptions::default(), world.spawner())));
    let channel = world.connect(&world.node("m2", NodeRole::Manager), &address).await.unwrap();
    check(&channel, "").await.unwrap();
}

#[tokio::test]
async fn each_suite_of_either_version_will_do() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let credentials = world.node("m2", NodeRole::Manager);
    let versions = [(&TLS12, TLS12_SUITES), (&TLS13, TLS13_SUITES)];
    for (version, suites) in versions {
        for suite in suites {
            let provider = CryptoProvider { cipher_suites: vec![suite], ..ring::default_provider() };
            let node = Other::of(&credentials).0;
            let config = ClientConfig::builder_with_details(Arc::new(provider), Arc::new(Noon))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(anchors(&world))
                .with_client_cert_resolver(node.client_auth_cert_resolver.clone());
            let other = Other(config).offering(&[b"h2"]);
            let stream = other.handshake(TcpStream::connect(&manager.address).await.unwrap()).await;
            let agreed = stream.get_ref().1;
            assert_eq!(agreed.negotiated_cipher_suite().map(|suite| suite.suite()), Some(suite.suite()));
            assert_eq!(agreed.protocol_version(), Some(version.version));
            let channel = world.connect_by(&other, &manager.address, ServerRole::Manager).await.unwrap();
            check(&channel, "").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_offers_what_upstream_offers_in_tls_1_2_and_nothing_else() {
    let world = World::new();
    let config = world.node("m1", NodeRole::Manager).trust().server_config();
    let suites = config.crypto_provider().cipher_suites.iter();
    let mut old: Vec<_> = suites.filter(|suite| suite.tls13().is_none()).map(|suite| suite.suite()).collect();
    old.sort_by_key(|suite| u16::from(*suite));
    let mut expected = vec![
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    expected.sort_by_key(|suite| u16::from(*suite));
    assert_eq!(old, expected);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_in_new_handshakes_and_live_connections_stay() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let worker = world.node("w", NodeRole::Worker);
    let live = world.connect(&worker, &manager.address).await.unwrap();
    let mut open = listen(&live).await.unwrap();
    open.message().await.unwrap().expect("the first");
    let shown = async || {
        let stream = Other::of(&worker).handshake(TcpStream::connect(&manager.address).await.unwrap()).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let before = shown().await;
    for _ in 0..3 {
        manager.credentials.replace_certificate(world.certificate("m1", NodeRole::Manager)).unwrap();
        worker.replace_certificate(world.certificate("w", NodeRole::Worker)).unwrap();
        assert_eq!(shown().await, manager.credentials.trust().certificate().chain()[0].to_vec());
        assert_ne!(shown().await, before);
        listen(&live).await.expect("a connection outlives the certificates that it was made with");
    }
    open.message().await.unwrap().expect("and so do its calls");
}

#[tokio::test]
async fn no_call_fails_while_both_sides_renew_their_certificates() {
    const ROUNDS: usize = 30;
    let world = World::new();
    let manager = world.manager("m1").await;
    let credentials = world.node("m2", NodeRole::Manager);
    let transport = Arc::new(TlsTransport::new(credentials.clone()));
    let channels = Channels::new(transport, ChannelOptions::default(), world.spawner());
    let caller = async || {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..ROUNDS * 4 {
            let channel = channels.manager(&manager.address).await.unwrap();
            check(&channel, "").await.unwrap();
            seen.insert(manager.desk.caller().addr);
        }
        seen
    };
    let renewals = async {
        for _ in 0..ROUNDS {
            check(&channels.manager(&manager.address).await.unwrap(), "").await.unwrap();
            manager.credentials.replace_certificate(world.certificate("m1", NodeRole::Manager)).unwrap();
            credentials.replace_certificate(world.certificate("m2", NodeRole::Manager)).unwrap();
        }
    };
    let (seen, _, ()) = tokio::join!(caller(), caller(), renewals);
    assert!(seen.len() > 1, "and the connections have followed the certificates");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_finds_what_it_expects() {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: there is no openssl on this machine");
        return;
    }
    let world = World::new();
    let manager = world.manager("m1").await;
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, world.root.bundle()).unwrap();
    let ask = |extra: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &manager.address, "-verify_hostname", "swarm-manager"]);
        // The clock of this test, by which its certificates are valid.
        command.args(["-attime", "1893499200", "-CAfile"]).arg(&roots).args(extra);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        tokio::task::block_in_place(|| {
            let mut child = command.spawn().unwrap();
            drop(child.stdin.take().unwrap().flush());
            let said = child.wait_with_output().unwrap();
            format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr))
        })
    };
    for (extra, version) in [
        (&["-alpn", "h2", "-tls1_3"][..], "TLSv1.3"),
        (&["-alpn", "h2", "-tls1_2"], "TLSv1.2"),
        (&["-alpn", "http/1.1,h2", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "TLSv1.2"),
        (&["-alpn", "h2", "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], "TLSv1.2"),
    ] {
        let said = ask(extra);
        assert!(said.contains("ALPN protocol: h2"), "{extra:?}: {said}");
        assert!(said.contains(version) && said.contains("Verify return code: 0 (ok)"), "{extra:?}: {said}");
    }
    let said = ask(&["-tls1_2"]);
    assert!(said.contains("No ALPN negotiated") && said.contains("Verify return code: 0 (ok)"), "{said}");
    for refused in [&["-tls1_1"][..], &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"]] {
        let said = ask(refused);
        assert!(said.contains("Cipher is (NONE)"), "{refused:?}: {said}");
    }
}

fn anchors(world: &World) -> rustls::RootCertStore {
    let mut anchors = rustls::RootCertStore::empty();
    for certificate in world.root.roots() {
        anchors.add(certificate.clone()).unwrap();
    }
    anchors
}

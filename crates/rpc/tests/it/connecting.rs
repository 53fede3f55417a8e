//! What a person reads when a connection cannot be made.

use std::{sync::Arc, time::Duration};

use swarmkit_api::NodeRole;
use swarmkit_ca::{LEAF_VALIDITY_DEFAULT, RootCa, TlsFault};
use swarmkit_rpc::{Channel, ChannelOptions, ConnectError, ServerRole, TlsTransport, fetch_root};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::world::{World, check};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn fault(error: &ConnectError) -> &TlsFault {
    match error {
        ConnectError::Tls { fault, .. } => fault,
        other => panic!("not a TLS fault: {other}"),
    }
}

/// An address where nobody listens.
async fn closed_port() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn nobody_at_the_address() {
    let (world, address) = (World::new(), closed_port().await);
    let error = world.connect(&world.node("w", NodeRole::Worker), &address).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach {address}: connection refused"));
    assert!(error.is_transient());
}

#[tokio::test]
async fn an_address_that_is_none() {
    let world = World::new();
    let error = world.connect(&world.node("w", NodeRole::Worker), "no-port").await.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach no-port: "), "{error}");
}

#[tokio::test]
async fn somebody_who_says_nothing() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let transport = TlsTransport::new(world.node("w", NodeRole::Worker));
    let options = ChannelOptions { connect_timeout: Duration::from_millis(20), ..ChannelOptions::default() };
    let connected = Channel::connect(&transport, &address, ServerRole::Manager, &options, &world.spawner()).await;
    assert_eq!(connected.unwrap_err().to_string(), format!("{address} did not answer within 20 ms"));
}

#[tokio::test]
async fn a_program_without_tls() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let other_program = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
    };
    let worker = world.node("w", NodeRole::Worker);
    let (connected, ()) = tokio::join!(world.connect(&worker, &address), other_program);
    let expected = format!("{address}: the peer does not speak TLS: another program may listen there");
    assert_eq!(connected.unwrap_err().to_string(), expected);
}

#[tokio::test]
async fn a_manager_that_speaks_no_grpc() {
    let world = World::new();
    let manager = world.node("m", NodeRole::Manager);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let other_program = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(manager.trust().server_config()).accept(stream).await.unwrap();
        stream.write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
        stream.flush().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
    };
    let worker = world.node("w", NodeRole::Worker);
    let (connected, ()) = tokio::join!(world.connect(&worker, &address), other_program);
    let error = connected.unwrap_err();
    assert_eq!(error, ConnectError::NotGrpc { address });
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_manager_of_another_cluster() {
    let (ours, theirs) = (World::new(), World::new());
    let manager = theirs.manager("m").await;
    let error = ours.connect(&ours.node("w", NodeRole::Worker), &manager.address).await.unwrap_err();
    assert_eq!(*fault(&error), TlsFault::Untrusted);
    assert_eq!(
        error.to_string(),
        format!("{}: the peer's certificate is not signed by a root CA that this node trusts", manager.address)
    );
}

#[tokio::test]
async fn a_manager_that_does_not_trust_us_refuses_before_the_first_call() {
    let (ours, theirs) = (World::new(), World::new());
    let manager = theirs.manager("m").await;
    let both = format!("{}{}", ours.root.bundle(), theirs.root.bundle());
    let worker = ours.node("w", NodeRole::Worker);
    worker.replace_root(RootCa::from_pem(&both, ours.env.now()).unwrap()).unwrap();
    let error = ours.connect(&worker, &manager.address).await.unwrap_err();
    assert_eq!(*fault(&error), TlsFault::OwnUntrusted, "{error}");
}

#[tokio::test]
async fn clocks_that_disagree() {
    let world = World::new();
    let manager = world.manager("m").await;
    let worker = world.node("w", NodeRole::Worker);
    world.wall.turn(LEAF_VALIDITY_DEFAULT + DAY);
    let error = world.connect(&worker, &manager.address).await.unwrap_err();
    assert!(matches!(fault(&error), TlsFault::Expired { .. }), "{error}");
    assert!(error.to_string().contains("this machine's clock says 2030-04-02T12:00:00Z"), "{error}");

    manager.credentials.replace_certificate(world.certificate("m", NodeRole::Manager)).unwrap();
    let error = world.connect(&worker, &manager.address).await.unwrap_err();
    assert_eq!(*fault(&error), TlsFault::OwnExpired);
    assert!(error.to_string().ends_with("check this machine's clock, then renew"), "{error}");
}

#[tokio::test]
async fn a_worker_that_listens_is_not_called_as_a_manager() {
    let world = World::new();
    let worker = world.node("w", NodeRole::Worker);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(worker.trust().server_config()).accept(stream).await.map(drop)
    };
    let manager = world.node("m", NodeRole::Manager);
    let (connected, _) = tokio::join!(world.connect(&manager, &address), accept);
    assert_eq!(*fault(&connected.unwrap_err()), TlsFault::WrongRole);
}

#[tokio::test]
async fn strangers_at_the_door_do_not_disturb_the_others() {
    let world = World::new();
    let manager = world.manager("m").await;
    let channel = world.connect(&world.node("m2", NodeRole::Manager), &manager.address).await.unwrap();
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"", b"\x16\x03\x01\xff\xff"] {
        let mut stream = tokio::net::TcpStream::connect(&manager.address).await.unwrap();
        stream.write_all(noise).await.unwrap();
        drop(stream);
        check(&channel, "").await.unwrap();
    }
}

/// In real time, since it waits for the network: five seconds.
#[tokio::test]
async fn who_takes_a_connection_and_says_nothing_is_told_apart_from_who_is_not_there() {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = fetch_root(&address, None, &world.env, &world.spawner()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{address} took the connection and said nothing within 4900 ms"));
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told() {
    let world = World::new();
    let error = fetch_root("nobody.invalid:4242", None, &world.env, &world.spawner()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot reach nobody.invalid:4242: its name is not known ("), "{text}");
    assert!(error.is_transient(), "a name server may be down for a moment");
}

#[tokio::test]
async fn roots_are_fetched_and_checked_against_the_pin() {
    let (world, other) = (World::new(), World::new());
    let manager = world.manager("m").await;
    let fetch = async |pin| fetch_root(&manager.address, pin, &world.env, &world.spawner()).await;
    assert_eq!(fetch(Some(world.root.digest())).await.unwrap().digest(), world.root.digest());
    assert_eq!(fetch(None).await.unwrap().digest(), world.root.digest());
    let error = fetch(Some(other.root.digest())).await.unwrap_err();
    let pin = other.root.digest().to_hex();
    let expected = format!("{}: remote CA does not match fingerprint. Expected: {pin}", manager.address);
    assert_eq!(error.to_string(), expected);
    assert!(!error.is_transient());
}

#[tokio::test]
async fn roots_cannot_be_fetched_where_nobody_is() {
    let (world, address) = (World::new(), closed_port().await);
    let error = fetch_root(&address, None, &world.env, &world.spawner()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach {address}: connection refused"));
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_node_without_a_certificate_cannot_listen() {
    use swarmkit_rpc::Transport as _;
    let world = World::new();
    let joining = Arc::new(TlsTransport::joining(&world.root, &world.env).unwrap());
    assert!(joining.listen("127.0.0.1:0").await.is_err());
}

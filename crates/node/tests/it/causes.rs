//! Machines that cannot join, and what they are told: each line whole, over real connections.
//!
//! Pauses between attempts take no time here; what a peer takes does.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmkit_api::{NodeRole, wire};
use swarmkit_ca::{Credentials, Identity, JoinToken, KeySource as _, NodeCertificate, RootCa, SystemKeys};
use swarmkit_executor::InertExecutor;
use swarmkit_node::{Node, NodeBuilder};
use swarmkit_rpc::{
    Authority, ChannelOptions, Channels, Forward, Leader, ServerOptions, Services, TlsTransport, Transport as _, serve,
};
use swarmkit_runtime::{Clock, Crew, Env};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::world::{PATIENCE, Running, cluster, tokens};

const HOUR: i64 = 3600;

/// A clock that is wrong by some seconds. Who sleeps on it, wakes at once.
struct Wrong(i64);

impl Clock for Wrong {
    fn now(&self) -> SystemTime {
        let (now, by) = (Env::real().now(), Duration::from_secs(self.0.unsigned_abs()));
        if self.0 < 0 { now - by } else { now + by }
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::task::yield_now())
    }
}

fn joining(dir: &std::path::Path, address: &str, token: &str, wrong_by: i64) -> NodeBuilder {
    let node = Node::builder(dir, Arc::new(InertExecutor::new())).join(address, Some(token.to_owned()));
    node.env(Env::seeded(11, Wrong(wrong_by)))
}

/// What a machine is told that cannot join.
async fn told_with(address: &str, token: &str, wrong_by: i64) -> String {
    let dir = tempfile::tempdir().unwrap();
    let started = Running::start(joining(dir.path(), address, token, wrong_by));
    let error = tokio::time::timeout(PATIENCE, started).await.expect("in time").err().expect("it cannot join");
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.contains("deadline exceeded"), "{text}");
    text
}

async fn told(address: &str, token: &str) -> String {
    told_with(address, token, 0).await
}

/// A token of no cluster.
fn some_token() -> String {
    format!("SWMTKN-1-{}-{}", "1".repeat(50), "1".repeat(25))
}

/// Something that listens, and says the same to everybody.
async fn saying(text: &'static [u8]) -> (String, Crew) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut crew = Crew::under(&CancellationToken::new());
    crew.spawn("peer", move |stop| async move {
        let answer = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut hello = [0; 1024];
                let _ = stream.read(&mut hello).await;
                let _ = stream.write_all(text).await;
                // Until the other side has had enough.
                let _ = stream.read(&mut hello).await;
            }
        };
        tokio::select! { biased; // stopping comes first
            () = stop.cancelled() => Ok::<_, std::io::Error>(()),
            () = answer => Ok(()),
        }
    });
    (address, crew)
}

/// A server with a certificate of some cluster, and whatever services.
struct Server {
    address: String,
    token: String,
    crew: Crew,
}

async fn server(services: impl FnOnce(Services, &Crew, &RootCa) -> Services) -> Server {
    let env = Env::real();
    let root = RootCa::create(&SystemKeys, &env).unwrap();
    let own = Identity::new("m".into(), NodeRole::Manager, "c".into());
    let key = SystemKeys.generate().unwrap();
    let chain = root.issue(&key.request().unwrap(), &own, Duration::from_secs(3600), &env).unwrap();
    let node = NodeCertificate::new(&chain, key).unwrap();
    let credentials = Credentials::new(root.without_signer(), node, &env).unwrap();
    let crew = Crew::under(&CancellationToken::new());
    let listener = TlsTransport::new(credentials).listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let services = services(Services::new(Authority::fixed(own)), &crew, &root);
    let spawner = crew.spawner();
    drop(spawner.spawn("server", serve(listener, services, ServerOptions::default(), spawner.clone())));
    let token = JoinToken::generate(root.digest(), false, &env).as_str().to_owned();
    Server { address, token, crew }
}

impl Server {
    async fn end(self) {
        self.crew.stop().cancel();
        self.crew.finish().await.unwrap();
    }
}

/// Tells the roots of its cluster, and answers whoever asks for a certificate with this.
#[derive(Clone)]
struct Refusing {
    root: RootCa,
    with: Status,
}

#[tonic::async_trait]
impl wire::ca_server::Ca for Refusing {
    async fn get_root_ca_certificate(
        &self,
        _: Request<wire::GetRootCaCertificateRequest>,
    ) -> Result<Response<wire::GetRootCaCertificateResponse>, Status> {
        let certificate = self.root.bundle().to_owned().into();
        Ok(Response::new(wire::GetRootCaCertificateResponse { certificate }))
    }

    async fn get_unlock_key(
        &self,
        _: Request<wire::GetUnlockKeyRequest>,
    ) -> Result<Response<wire::GetUnlockKeyResponse>, Status> {
        Err(self.with.clone())
    }
}

#[tonic::async_trait]
impl wire::node_ca_server::NodeCa for Refusing {
    async fn issue_node_certificate(
        &self,
        _: Request<wire::IssueNodeCertificateRequest>,
    ) -> Result<Response<wire::IssueNodeCertificateResponse>, Status> {
        Err(self.with.clone())
    }

    async fn node_certificate_status(
        &self,
        _: Request<wire::NodeCertificateStatusRequest>,
    ) -> Result<Response<wire::NodeCertificateStatusResponse>, Status> {
        Err(self.with.clone())
    }
}

async fn refusing(with: Status) -> Server {
    server(|services, _, root| {
        let authority = Refusing { root: root.clone(), with };
        let services = services.with(wire::ca_server::CaServer::new(authority.clone())).unwrap();
        services.with(wire::node_ca_server::NodeCaServer::new(authority)).unwrap()
    })
    .await
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_said_to_have_no_manager() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let expected = format!(
        "cannot join the cluster: cannot reach {nobody}: connection refused; no manager listens there: check the \
         address, and that the manager runs and listens on more than its own loopback address"
    );
    assert_eq!(told(&nobody, &some_token()).await, expected);
}

#[tokio::test]
async fn a_name_that_is_not_known_is_told() {
    let text = told("nobody.invalid:4242", &some_token()).await;
    let begin = "cannot join the cluster: cannot reach nobody.invalid:4242: its name is not known (";
    assert!(text.starts_with(begin), "{text}");
    assert!(text.ends_with("); check the address, and the network of this machine"), "{text}");
}

#[tokio::test]
async fn programs_that_are_no_managers_are_recognized() {
    const PORT: &str = "check the port: managers listen on 4242 unless they are told otherwise";
    let not_tls = "the peer does not speak TLS: another program may listen there";
    for text in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.6\r\n", b"\xff\x00\x13\x37garbage"] {
        let (address, crew) = saying(text).await;
        let expected = format!("cannot join the cluster: {address}: {not_tls}; {PORT}");
        assert_eq!(told(&address, &some_token()).await, expected);
        crew.stop().cancel();
        crew.finish().await.unwrap();
    }
    // A TLS alert: it has no protocol in common with us, as web servers say that speak no HTTP/2.
    let (address, crew) = saying(&[21, 3, 3, 0, 2, 2, 120]).await;
    let expected =
        format!("cannot join the cluster: {address}: TLS handshake failed: the peer speaks no HTTP/2; {PORT}");
    assert_eq!(told(&address, &some_token()).await, expected);
    crew.stop().cancel();
    crew.finish().await.unwrap();
    let other = server(|services, _, _| services).await;
    let expected =
        format!("cannot join the cluster: {} speaks HTTP/2 and is no manager of a swarm; {PORT}", other.address);
    assert_eq!(told(&other.address, &other.token).await, expected);
    other.end().await;
}

#[tokio::test]
async fn a_locked_manager_says_that_it_is_locked() {
    // The alert that it answers with, since it has no key to say anything else: access denied.
    let (address, crew) = saying(&[21, 3, 3, 0, 2, 2, 49]).await;
    let expected = format!(
        "cannot join the cluster: {address}: the manager there is locked, and waits for its unlock key; on that \
         machine, `swarmctl cluster unlock` takes the key"
    );
    assert_eq!(told(&address, &some_token()).await, expected);
    crew.stop().cancel();
    crew.finish().await.unwrap();
}

#[tokio::test]
async fn a_token_that_does_not_fit_is_told_with_where_to_find_one_that_does() {
    let (_dir, manager) = cluster().await;
    let store = manager.handle.store().unwrap();
    let (address, token) = (manager.handle.remote_addr().unwrap(), tokens(&store).0);
    let shown = "`swarmctl cluster inspect default` on a manager shows";

    let expected = format!(
        "cannot join the cluster: invalid join token; a token begins with SWMTKN-1- and has 85 characters; {shown} it whole"
    );
    assert_eq!(told(&address, "SWMTKN-1-nonsense").await, expected);

    // A token with another secret is what one is after it was rotated.
    let (head, secret) = token.rsplit_once('-').unwrap();
    let other: String = secret.chars().rev().collect();
    let expected = format!(
        "cannot join the cluster: {address} refused: A valid join token is necessary to join this cluster; the token \
         is one of this cluster, and its secret is not known or no longer: it may have been rotated. {shown} the present ones"
    );
    assert_eq!(told(&address, &format!("{head}-{other}")).await, expected);

    let another = RootCa::create(&SystemKeys, &Env::real()).unwrap();
    let foreign = JoinToken::generate(another.digest(), false, &Env::real()).as_str().to_owned();
    let expected = format!(
        "cannot join the cluster: {address}: remote CA does not match fingerprint. Expected: {}; the token is of \
         another cluster, or of a time before this one changed its root. {shown} the present ones",
        another.digest().to_hex()
    );
    assert_eq!(told(&address, &foreign).await, expected);
    manager.end().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_wrong_by_hours_is_named_in_both_directions() {
    let (_dir, manager) = cluster().await;
    let (address, token) = (manager.handle.remote_addr().unwrap(), tokens(&manager.handle.store().unwrap()).0);
    for (wrong_by, shown) in [(-3 * HOUR - 750, "3 h 12 min behind"), (91 * 24 * HOUR + 600, "91 d ahead of")] {
        let text = told_with(&address, &token, wrong_by).await;
        let begin = format!("cannot join the cluster: this machine's clock is {shown} that of {address} (");
        let end = " there), so that the cluster's certificates cannot be used here; set it, for example with NTP, and \
                   start again";
        assert!(text.starts_with(&begin) && text.ends_with(end), "{text}");
        assert!(text.contains("Z here, "), "both times: {text}");
    }
    manager.end().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_does_no_harm_yet_keeps_nobody_out() {
    let (_dir, manager) = cluster().await;
    let (address, token) = (manager.handle.remote_addr().unwrap(), tokens(&manager.handle.store().unwrap()).0);
    for wrong_by in [-4 * 60, 3 * HOUR] {
        let dir = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let started = joining(dir.path(), &address, &token, wrong_by).start(&stop);
        drop(tokio::time::timeout(PATIENCE, started).await.expect("in time").expect("it joins"));
    }
    manager.end().await.unwrap();
}

#[tokio::test]
async fn managers_without_a_leader_say_so() {
    let Some(since) = Instant::now().checked_sub(Duration::from_secs(60)) else {
        return; // a machine that has run for less than a minute
    };
    let (lead, leader) = watch::channel(Leader::Unknown { since });
    let manager = server(|services, crew, root| {
        let transport = TlsTransport::joining(root, &Env::real()).unwrap();
        let channels = Channels::new(Arc::new(transport), ChannelOptions::default(), crew.spawner());
        let authority = Refusing { root: root.clone(), with: Status::internal("nobody asks") };
        services.with_forwarded(wire::ca_server::CaServer::new(authority), &Forward::new(leader, channels)).unwrap()
    })
    .await;
    let expected = format!(
        "cannot join the cluster: {} would not tell its root CA: The swarm does not have a leader. It's possible that \
         too few managers are online. Make sure more than half of the managers are online.; start the managers that \
         are down, or read docs/recovery.md if they are lost",
        manager.address
    );
    assert_eq!(told(&manager.address, &manager.token).await, expected);
    drop(lead);
    manager.end().await;
}

#[tokio::test]
async fn a_manager_that_is_held_up_or_full_is_told_apart_from_one_that_says_no() {
    for (status, told_as) in [
        (
            Status::deadline_exceeded("context deadline exceeded"),
            "was reached and did not answer in time; the manager may be overloaded, or wait for a leader: look at its \
             log, and start again",
        ),
        (
            Status::resource_exhausted("too many nodes wait"),
            "refused: too many nodes wait; the cluster takes no more nodes in at this moment: start again in a while",
        ),
        (Status::permission_denied("no"), "refused: no"),
    ] {
        let manager = refusing(status).await;
        let expected = format!("cannot join the cluster: {} {told_as}", manager.address);
        assert_eq!(told(&manager.address, &manager.token).await, expected);
        manager.end().await;
    }
}

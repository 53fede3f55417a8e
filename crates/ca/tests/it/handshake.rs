//! Who gets through to whom, and what is said to those who do not.

use std::time::Duration;

use rustls::pki_types::ServerName;
use swarmkit_api::NodeRole;
use swarmkit_ca::{LEAF_VALIDITY_DEFAULT, RootCa, SWARM_CA, TlsFault, joining_client, unverified_client};
use swarmkit_runtime::Env;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use crate::world::{Wall, World, caller, fault, meet, meet_nodes, server_of};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_worker_and_a_manager_know_each_other() {
    let world = World::new();
    let (manager, worker) = (world.node(NodeRole::Manager), world.node(NodeRole::Worker));
    let (served, called) = meet_nodes(&manager, &worker).await;
    assert_eq!(called.as_ref().unwrap().get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(caller(served), Some(worker.identity()));
    assert_eq!(server_of(called), manager.identity());
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_let_in_and_is_nobody() {
    let world = World::new();
    let manager = world.node(NodeRole::Manager);
    let client = joining_client(&world.root, &world.env).unwrap();
    let (served, called) = meet(manager.trust().server_config(), client, SWARM_CA).await;
    assert_eq!(caller(served), None);
    assert_eq!(server_of(called), manager.identity());
}

#[tokio::test]
async fn a_worker_cannot_pass_for_a_manager() {
    let world = World::new();
    let (pretender, worker) = (world.node(NodeRole::Worker), world.node(NodeRole::Worker));
    let (_, called) = meet_nodes(&pretender, &worker).await;
    assert_eq!(fault(called), TlsFault::WrongRole);
    let client = joining_client(&world.root, &world.env).unwrap();
    let (_, called) = meet(pretender.trust().server_config(), client, SWARM_CA).await;
    assert_eq!(fault(called), TlsFault::WrongRole);
}

#[tokio::test]
async fn nodes_of_two_clusters_refuse_each_other() {
    let (ours, theirs) = (World::new(), World::new());
    let (manager, stranger) = (ours.node(NodeRole::Manager), theirs.node(NodeRole::Manager));
    let (_, called) = meet_nodes(&manager, &stranger).await;
    assert_eq!(fault(called), TlsFault::Untrusted);
    // A stranger that trusts us is still refused by us.
    let both = format!("{}{}", theirs.root.bundle(), ours.root.bundle());
    stranger.replace_root(RootCa::from_pem(&both, ours.env.now()).unwrap()).unwrap();
    let (served, called) = meet_nodes(&manager, &stranger).await;
    assert_eq!(fault(served), TlsFault::Untrusted);
    assert_eq!(fault(called), TlsFault::OwnUntrusted);
}

#[tokio::test]
async fn an_expired_server_is_told_from_an_unknown_one() {
    let world = World::new();
    let (manager, worker) = (world.node(NodeRole::Manager), world.node(NodeRole::Worker));
    world.wall.turn(LEAF_VALIDITY_DEFAULT + DAY);
    let (_, called) = meet_nodes(&manager, &worker).await;
    let fault = fault(called);
    assert!(matches!(fault, TlsFault::Expired { .. }), "{fault}");
    assert_eq!(
        fault.to_string(),
        "the peer's certificate expired at 2030-04-01T12:00:00Z, and this machine's clock says 2030-04-02T12:00:00Z: \
         check the clocks, then the peer's renewal"
    );
}

#[tokio::test]
async fn an_expired_caller_is_told_that_it_is_the_one() {
    let world = World::new();
    let (manager, worker) = (world.node(NodeRole::Manager), world.node(NodeRole::Worker));
    world.wall.turn(LEAF_VALIDITY_DEFAULT + DAY);
    manager.replace_certificate(world.certificate(NodeRole::Manager)).unwrap();
    let (served, called) = meet_nodes(&manager, &worker).await;
    assert!(matches!(fault(served), TlsFault::Expired { .. }));
    assert_eq!(fault(called), TlsFault::OwnExpired);
}

#[tokio::test]
async fn a_clock_that_is_behind_is_named_as_the_cause() {
    let world = World::new();
    let manager = world.node(NodeRole::Manager);
    let behind = Env::seeded(1, Wall::new());
    world.wall.turn(30 * DAY);
    manager.replace_certificate(world.certificate(NodeRole::Manager)).unwrap();
    let client = joining_client(&world.root, &behind).unwrap();
    let (_, called) = meet(manager.trust().server_config(), client, SWARM_CA).await;
    let fault = fault(called);
    assert!(matches!(fault, TlsFault::NotYetValid { .. }), "{fault}");
    assert!(fault.to_string().ends_with("check this machine's clock"), "{fault}");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections() {
    let world = World::new();
    let (manager, worker) = (world.node(NodeRole::Manager), world.node(NodeRole::Worker));
    let (served, _) = meet_nodes(&manager, &worker).await;
    assert_eq!(caller(served).unwrap().role, NodeRole::Worker);
    worker.replace_certificate(world.certificate(NodeRole::Manager)).unwrap();
    let (served, _) = meet_nodes(&manager, &worker).await;
    assert_eq!(caller(served), Some(worker.identity()));
    assert_eq!(worker.identity().role, NodeRole::Manager);
}

#[tokio::test]
async fn a_newly_trusted_root_lets_both_sides_in() {
    let (ours, theirs) = (World::new(), World::new());
    let both = RootCa::from_pem(&format!("{}{}", ours.root.bundle(), theirs.root.bundle()), ours.env.now()).unwrap();
    let (manager, guest) = (ours.node(NodeRole::Manager), theirs.node(NodeRole::Worker));
    for node in [&manager, &guest] {
        node.replace_root(both.clone()).unwrap();
    }
    let (served, called) = meet_nodes(&manager, &guest).await;
    assert_eq!(caller(served), Some(guest.identity()));
    assert_eq!(server_of(called), manager.identity());
}

#[tokio::test]
async fn a_bundle_is_fetched_from_a_server_that_is_not_yet_trusted() {
    let world = World::new();
    let manager = world.node(NodeRole::Manager);
    let client = unverified_client(&world.env).unwrap();
    let (served, called) = meet(manager.trust().server_config(), client, SWARM_CA).await;
    assert_eq!(caller(served), None);
    assert!(called.is_ok());
}

#[tokio::test]
async fn what_is_not_tls_is_named() {
    let world = World::new();
    let (near, mut far) = tokio::io::duplex(1024);
    let client = joining_client(&world.root, &world.env).unwrap();
    let answer = async { far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await };
    let call = TlsConnector::from(client).connect(ServerName::try_from(SWARM_CA).unwrap(), near);
    let (answered, called) = tokio::join!(answer, call);
    answered.unwrap();
    assert_eq!(fault(called), TlsFault::NotTls);
}

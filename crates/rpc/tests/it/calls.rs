//! Who may call what, over real TLS.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::{Request, Response};
use swarmkit_api::NodeRole;
use swarmkit_rpc::{Authority, MountError, Origin, ServerRole, Services, TlsTransport};
use tonic::{Code, body::Body, server::NamedService};

use crate::world::{Desk, SUBSCRIPTIONS, World, check, identity, listen, publish, root_bundle, unlock_key};

#[tokio::test]
async fn a_handler_learns_who_calls_and_from_where() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let channel = world.connect(&world.node("m2", NodeRole::Manager), &manager.address).await.unwrap();
    check(&channel, "").await.unwrap();
    let caller = manager.desk.caller();
    assert_eq!(caller.identity, Some(identity("m2", NodeRole::Manager)));
    assert!(caller.addr.unwrap().ip().is_loopback());
    assert!(!caller.local && caller.forwarded_by.is_none());
    let server = Origin::Remote {
        identity: Some(identity("m1", NodeRole::Manager)),
        addr: Some(manager.address.parse().unwrap()),
    };
    assert_eq!(*channel.server(), server);
}

#[tokio::test]
async fn a_worker_may_not_call_what_is_for_managers() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let channel = world.connect(&world.node("w1", NodeRole::Worker), &manager.address).await.unwrap();
    publish(&channel, &["a"]).await.unwrap();
    let status = unlock_key(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().starts_with("Permission denied: unauthorized peer role: "), "{status}");
    assert_eq!(manager.desk.calls(), 1, "the handler has not seen the call");
}

#[tokio::test]
async fn a_joining_node_may_only_call_what_is_for_anyone() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let joining = TlsTransport::joining(&world.root, &world.env).unwrap();
    let channel = world.connect_by(&joining, &manager.address, ServerRole::Authority).await.unwrap();
    assert_eq!(root_bundle(&channel).await.unwrap(), world.root.bundle());
    assert_eq!(manager.desk.caller().identity, None);
    let status = publish(&channel, &["a"]).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::PermissionDenied,
            "Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = \
             no client certificates in request"
        )
    );
}

#[tokio::test]
async fn a_removed_node_is_refused_on_the_connection_that_it_has() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let channel = world.connect(&world.node("w1", NodeRole::Worker), &manager.address).await.unwrap();
    publish(&channel, &["a"]).await.unwrap();
    manager.authority.set_removed(BTreeSet::from(["w1".into()]));
    let status = publish(&channel, &["b"]).await.unwrap_err();
    assert!(status.message().ends_with("node w1 was removed from swarm"), "{status}");
    assert_eq!(manager.desk.published(), ["a"]);
}

#[tokio::test]
async fn streams_run_in_both_directions() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let channel = world.connect(&world.node("w1", NodeRole::Worker), &manager.address).await.unwrap();
    let mut subscriptions = listen(&channel).await.unwrap();
    for n in 0..SUBSCRIPTIONS {
        assert_eq!(subscriptions.message().await.unwrap().unwrap().id, n.to_string());
    }
    publish(&channel, &["a", "b", "c"]).await.unwrap();
    assert_eq!(manager.desk.published(), ["a", "b", "c"]);
    drop(subscriptions);
    manager.desk.idle().await;
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let channel = world.connect(&world.node("m2", NodeRole::Manager), &manager.address).await.unwrap();
    let answers = join_all((0..500).map(|_| check(&channel, ""))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(manager.desk.calls(), 500);
}

#[tokio::test]
async fn messages_beyond_four_mebibytes_are_refused() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let channel = world.connect(&world.node("m2", NodeRole::Manager), &manager.address).await.unwrap();
    check(&channel, &"x".repeat(4 * 1024 * 1024 - 100)).await.unwrap();
    let status = check(&channel, &"x".repeat(4 * 1024 * 1024)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    check(&channel, "").await.unwrap();
}

#[tokio::test]
async fn what_is_not_served_is_unimplemented() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let channel = world.connect(&world.node("m2", NodeRole::Manager), &manager.address).await.unwrap();
    for path in ["/docker.swarmkit.v1.Control/ListNodes", "/docker.swarmkit.v1.Health/Reboot", "/", "/a", "//b"] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let answer = tower::ServiceExt::oneshot(channel.clone(), request).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "12", "{path}");
    }
}

#[test]
fn a_service_that_the_access_table_does_not_know_cannot_be_mounted() {
    #[derive(Clone)]
    struct Unknown;

    impl NamedService for Unknown {
        const NAME: &'static str = "example.Unknown";
    }

    impl tower::Service<Request<Body>> for Unknown {
        type Response = Response<Body>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Self::Error>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            std::future::ready(Ok(Response::default()))
        }
    }

    let services = || Services::new(Authority::fixed(identity("m1", NodeRole::Manager)));
    let error = services().with(Unknown).err().unwrap();
    assert_eq!(error.to_string(), "service example.Unknown has no row in the access table, so nobody may call it");
    let world = World::new();
    let health = || swarmkit_api::wire::health_server::HealthServer::new(Desk::new(&world.root));
    let twice = services().with(health()).and_then(|services| services.with(health())).err();
    assert_eq!(twice, Some(MountError::Twice { service: "docker.swarmkit.v1.Health" }));
}

//! Who may call what.

use http::uri::PathAndQuery;
use swarmkit_api::{
    NodeRole, Task,
    access::{self, Caller, Method},
    wire,
};
use swarmkit_rpc::Channel;
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;

use crate::world::{Machine, add_worker, identity, in_time, settle, web};

/// What a manager serves to other nodes.
pub(crate) const REMOTE: [&str; 17] = [
    "Backup",
    "CA",
    "Control",
    "Dispatcher",
    "Exec",
    "ExecBroker",
    "Health",
    "LogBroker",
    "Logs",
    "NodeCA",
    "Raft",
    "RaftMember",
    "RaftMembership",
    "RaftTransport",
    "ResourceAllocator",
    "Scheduling",
    "Watch",
];

/// What it serves on its control socket.
pub(crate) const LOCAL: [&str; 13] = [
    "Backup",
    "CA",
    "Control",
    "Dispatcher",
    "Exec",
    "ExecBroker",
    "Health",
    "LogBroker",
    "Logs",
    "NodeCA",
    "ResourceAllocator",
    "Scheduling",
    "Watch",
];

/// Services that no manager has that runs: the one that takes the key of a manager that waits for it.
pub(crate) const UNSERVED: [&str; 1] = ["Unlock"];

fn short(method: &Method) -> &'static str {
    method.service.rsplit('.').next().unwrap()
}

/// Calls a method with an empty message, whatever it takes.
async fn try_call(channel: &Channel, method: &'static Method) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(method.path);
    let codec = ProstCodec::<(), ()>::default();
    client.unary(Request::new(()), path, codec).await.map(drop)
}

/// The same, and gives the code of the answer.
async fn call(channel: &Channel, method: &'static Method) -> Code {
    try_call(channel, method).await.map_or_else(|status| status.code(), |()| Code::Ok)
}

/// Calls what agents, operators and managers call first, and gives what each is refused with.
async fn refusals(channel: &Channel) -> Vec<String> {
    let mut told = Vec::new();
    for path in ["Dispatcher/Session", "Control/ListNodes", "RaftMembership/Join"] {
        let method = access::method(&format!("/docker.swarmkit.v1.{path}")).unwrap();
        let refused = try_call(channel, method).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{path}");
        told.push(refused.message().to_owned());
    }
    told
}

#[tokio::test(start_paused = true)]
async fn without_a_certificate_one_may_ask_for_the_roots_and_for_a_certificate_and_nothing_else() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    let callers = machine.callers();
    let stranger = callers.stranger().await;
    let mut open = Vec::new();
    for method in access::methods() {
        let code = call(&stranger, method).await;
        if !REMOTE.contains(&short(method)) {
            assert_eq!(code, Code::Unimplemented, "{}", method.path);
        } else if method.serves(Caller::Anyone) {
            assert_ne!(code, Code::PermissionDenied, "{}", method.path);
            open.push(method.method);
        } else {
            assert_eq!(code, Code::PermissionDenied, "{}", method.path);
        }
    }
    open.sort_unstable();
    assert_eq!(open, ["GetRootCACertificate", "IssueNodeCertificate", "NodeCertificateStatus"]);
    let told = "Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = \
                no client certificates in request";
    assert_eq!(refusals(&stranger).await, [told; 3]);
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_may_not_call_what_is_for_managers() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    add_worker(manager.store(), "w").await;
    let callers = machine.callers();
    let worker = callers.worker("w").await;
    for method in access::methods().iter().filter(|method| REMOTE.contains(&short(method))) {
        // What is for workers too answers something else to an empty message, or a stream.
        if !method.serves(Caller::Worker) {
            assert_eq!(call(&worker, method).await, Code::PermissionDenied, "{}", method.path);
        }
    }
    let mut dispatcher = wire::dispatcher_client::DispatcherClient::new(worker.clone());
    let session = dispatcher.session(wire::SessionRequest::default());
    assert!(in_time(session).await.is_ok(), "what is for workers is served");
    let mut control = wire::control_client::ControlClient::new(worker);
    let before = manager.store().version();
    assert_eq!(control.create_service(web("web", 1)).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(manager.store().version(), before);

    let other = callers.connect(Some(identity("m2", NodeRole::Manager))).await;
    let mut control = wire::control_client::ControlClient::new(other);
    control.list_nodes(wire::ListNodesRequest::default()).await.unwrap();
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_certificate_of_another_cluster_counts_for_nothing() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    let mut foreign = identity("m2", NodeRole::Manager);
    foreign.cluster = "theirs".into();
    let callers = machine.callers();
    let told = "Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = \
                Permission denied: remote certificate not part of organization: c";
    assert_eq!(refusals(&callers.connect(Some(foreign)).await).await, [told; 3]);
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_removed_is_refused_also_on_the_connection_that_it_has() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    add_worker(manager.store(), "w").await;
    let callers = machine.callers();
    let mut dispatcher = wire::dispatcher_client::DispatcherClient::new(callers.worker("w").await);
    dispatcher.session(wire::SessionRequest::default()).await.unwrap();

    let remove = wire::RemoveNodeRequest { node_id: "w".into(), force: true };
    manager.control().remove_node(remove).await.unwrap();
    settle().await;
    for channel in [callers.worker("w").await, callers.worker("w").await] {
        let mut dispatcher = wire::dispatcher_client::DispatcherClient::new(channel);
        let refused = dispatcher.session(wire::SessionRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("node w was removed from swarm"), "{}", refused.message());
    }
    let refused = dispatcher.session(wire::SessionRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn both_servers_say_what_is_up() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    let callers = machine.callers();
    let remote = callers.connect(Some(identity("m2", NodeRole::Manager))).await;
    for (channel, known) in [(remote, "Raft"), (manager.handle.channel(), "ControlAPI")] {
        let mut health = wire::health_client::HealthClient::new(channel);
        for (service, answer) in [("", Ok(1)), (known, Ok(1)), ("nonsense", Err(Code::NotFound))] {
            let asked = health.check(wire::HealthCheckRequest { service: service.to_owned() }).await;
            let told = asked.map(|answer| answer.into_inner().status).map_err(|status| status.code());
            assert_eq!(told, answer, "{service:?}");
        }
    }
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_attaches_its_own_containers_to_networks_and_detaches_no_others() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    let mut network = swarmkit_testing::network("front");
    std::sync::Arc::make_mut(&mut network.spec).attachable = true;
    manager.store().update(|tx| tx.create(network)).await.unwrap();
    for name in ["w1", "w2"] {
        add_worker(manager.store(), name).await;
    }
    let callers = machine.callers();
    let [mut own, mut other] = [callers.worker("w1").await, callers.worker("w2").await]
        .map(wire::resource_allocator_client::ResourceAllocatorClient::new);
    let config = wire::NetworkAttachmentConfig { target: "front".into(), ..Default::default() };
    let request = wire::AttachNetworkRequest { config: Some(config), container_id: "c1".into() };
    let attachment_id = own.attach_network(request).await.unwrap().into_inner().attachment_id;
    let stored = || manager.store().view().get::<Task>(&attachment_id.as_str().into()).cloned();
    assert_eq!(stored().unwrap().node_id, Some("w1".into()));

    let request = wire::DetachNetworkRequest { attachment_id: attachment_id.clone() };
    let refused = other.detach_network(request.clone()).await.unwrap_err();
    let told = format!("attachment {attachment_id} doesn't belong to this node");
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, told.as_str()));
    own.detach_network(request).await.unwrap();
    assert!(stored().is_none());
    manager.end().await.unwrap();
}

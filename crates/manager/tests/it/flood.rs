//! Callers that have no business here, in great number and over real TLS.

use futures_util::{StreamExt as _, stream};
use swarmkit_api::{Node, NodeRole, wire};
use swarmkit_ca::{JoinToken, KeySource as _, RootCa, SystemKeys};
use swarmkit_rpc::Channel;
use swarmkit_runtime::Env;
use tonic::Code;
use wire::{dispatcher_client::DispatcherClient, issuance_status::State, node_ca_client::NodeCaClient};

use crate::{
    gate::Place,
    world::{add_worker, identity, in_time},
};

/// Attempts of each kind, and how many of them are under way at a time.
const ATTEMPTS: usize = 100;
const AT_ONCE: usize = 16;

fn token(root: &RootCa, env: &Env) -> String {
    JoinToken::generate(root.digest(), false, env).as_str().to_owned()
}

fn request(token: &str) -> wire::IssueNodeCertificateRequest {
    let csr = SystemKeys.generate().unwrap().request().unwrap();
    wire::IssueNodeCertificateRequest { csr: csr.into(), token: token.to_owned(), ..Default::default() }
}

/// Asks for a certificate and waits for it.
async fn join(channel: Channel, token: &str) -> State {
    let mut authority = NodeCaClient::new(channel);
    let node_id = authority.issue_node_certificate(request(token)).await.unwrap().into_inner().node_id;
    let answer = authority.node_certificate_status(wire::NodeCertificateStatusRequest { node_id }).await.unwrap();
    answer.into_inner().status.unwrap().state()
}

#[tokio::test]
async fn members_go_on_and_nodes_join_while_tokens_that_do_not_count_are_tried_by_hundreds() {
    let place = Place::new().await;
    let (store, env) = (place.manager.store(), &place.machine.env);
    add_worker(store, "w").await;
    let before = store.view().count::<Node>();
    let good = store.view().cluster().unwrap().root_ca.join_tokens.clone().unwrap().worker;
    let wrong = token(&place.machine.root, env);
    let foreign = token(&RootCa::create(&SystemKeys, env).unwrap(), env);
    let member = place.connect(&identity("w", NodeRole::Worker)).await;
    let mut dispatcher = DispatcherClient::new(member);
    let mut session = dispatcher.session(wire::SessionRequest::default()).await.unwrap().into_inner();
    let session_id = session.message().await.unwrap().unwrap().session_id;

    let flood = stream::iter(0..2 * ATTEMPTS).map(async |number| {
        let token = if number % 2 == 0 { &wrong } else { &foreign };
        let mut authority = NodeCaClient::new(place.stranger().await);
        authority.issue_node_certificate(request(token)).await.unwrap_err().code()
    });
    let mut refused = flood.buffer_unordered(AT_ONCE);
    let mut heartbeats = 0;
    let disturbance = async move {
        while let Some(code) = refused.next().await {
            assert_eq!(code, Code::InvalidArgument);
        }
    };
    let life = async {
        for _ in 0..5 {
            let beat = wire::HeartbeatRequest { session_id: session_id.clone() };
            dispatcher.heartbeat(beat).await.expect("its session goes on");
            heartbeats += 1;
            assert_eq!(join(place.stranger().await, &good).await, State::Issued);
        }
    };
    in_time(async { tokio::join!(life, disturbance) }).await;
    assert_eq!(heartbeats, 5);
    assert_eq!(store.view().count::<Node>(), before + 5, "only those with the token have become nodes");
    drop(session);
    in_time(place.manager.end()).await.unwrap();
    in_time(place.callers.hang_up()).await;
}

//! Nodes that come back after their certificate has expired.

use std::time::Duration;

use swarmkit_api::{Node, NodeId, NodeRole, wire, wire::issuance_status::State};
use swarmkit_ca::NodeCertificate;
use swarmkit_rpc::Channel;
use tonic::{Code, Status};
use wire::{node_ca_client::NodeCaClient, swarmkit::ca::v1::Returning};

use super::world::{Asked, World, ask, fresh_key, outcome, settle, state};

const DAYS: Duration = Duration::from_secs(24 * 3600);

/// A worker that has joined, and what it holds.
async fn joined(world: &World) -> (NodeId, NodeCertificate) {
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    settle().await;
    let held = world.verified(&asked, &outcome(&mut authority, &asked.node).await.unwrap());
    (asked.node, held)
}

/// Asks as a node does that was away for too long, by what it holds.
async fn come_back(
    authority: &mut NodeCaClient<Channel>,
    held: &NodeCertificate,
    token: &str,
) -> Result<Asked, Status> {
    let (key, csr) = fresh_key();
    let signature = held.sign_return(&csr).unwrap().into();
    let proof = Returning { chain: held.chain_pem().into(), signature };
    send(authority, &csr, token, proof).await.map(|node| Asked::new(node, key, csr))
}

async fn send(
    authority: &mut NodeCaClient<Channel>,
    csr: &bytes::Bytes,
    token: &str,
    proof: Returning,
) -> Result<NodeId, Status> {
    let (csr, token) = (csr.clone(), token.to_owned());
    let request = wire::IssueNodeCertificateRequest { csr, token, returning: Some(proof), ..Default::default() };
    Ok(NodeId::from(authority.issue_node_certificate(request).await?.into_inner().node_id))
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_for_longer_than_its_certificate_lived_comes_back_with_its_id() {
    let world = World::new().await;
    let term = world.lead();
    let (id, held) = joined(&world).await;
    let nodes = world.store.view().count::<Node>();
    tokio::time::sleep(DAYS * 200).await;
    assert!(held.validity().not_after < world.env.now());

    let mut authority = world.stranger().await;
    let asked = come_back(&mut authority, &held, &world.tokens().worker).await.unwrap();
    assert_eq!(asked.node, id);
    settle().await;
    let answer = outcome(&mut authority, &id).await.unwrap();
    assert_eq!(state(&answer), State::Issued);
    assert_eq!(world.verified(&asked, &answer).identity(), held.identity());
    assert_eq!(world.store.view().count::<Node>(), nodes, "no node was made");

    // Whoever holds the older one is not the node any more.
    let refused = come_back(&mut authority, &held, &world.tokens().worker).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().starts_with(&format!("node {id} has a newer certificate, until ")), "{refused}");
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_promoted_while_it_was_away_needs_the_token_for_managers() {
    let world = World::new().await;
    let term = world.lead();
    let (id, held) = joined(&world).await;
    world.edit_node(&id, |node| node.role = NodeRole::Manager).await;
    tokio::time::sleep(DAYS * 200).await;
    let mut authority = world.stranger().await;
    let before = world.store.version();
    let refused = come_back(&mut authority, &held, &world.tokens().worker).await.err().unwrap();
    let told = format!("node {id} is a manager: the join token for managers is necessary");
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, told.as_str()));
    assert_eq!(world.store.version(), before, "nothing has changed");
    let asked = come_back(&mut authority, &held, &world.tokens().manager).await.unwrap();
    settle().await;
    let now = world.verified(&asked, &outcome(&mut authority, &id).await.unwrap());
    assert_eq!((&now.identity().node, now.identity().role), (&id, NodeRole::Manager));
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_has_no_token_or_proves_nothing_gets_nothing_and_changes_nothing() {
    let world = World::new().await;
    let term = world.lead();
    let (_, held) = joined(&world).await;
    tokio::time::sleep(DAYS * 200).await;
    let mut authority = world.stranger().await;
    let before = world.store.version();
    let text = "A valid join token is necessary to join this cluster";
    for token in [String::new(), "SWMTKN-1-nonsense".to_owned(), world.new_token()] {
        let refused = come_back(&mut authority, &held, &token).await.err().unwrap();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, text));
    }
    let (_, csr) = fresh_key();
    let chain = bytes::Bytes::from(held.chain_pem());
    let of_another_request = held.sign_return(b"another request").unwrap().into();
    let proofs = [
        Returning::default(),
        Returning { chain: chain.clone(), ..Default::default() },
        Returning { chain: chain.clone(), signature: of_another_request },
        Returning { chain: "garbage".into(), signature: held.sign_return(&csr).unwrap().into() },
        Returning { chain: world.root.bundle().to_owned().into(), signature: held.sign_return(&csr).unwrap().into() },
    ];
    for proof in proofs {
        let refused = send(&mut authority, &csr, &world.tokens().worker, proof).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert!(refused.message().starts_with("the old certificate does not prove which node this was: "), "{refused}");
        assert!(!refused.message().contains('\n'));
    }
    assert_eq!(world.store.version(), before);
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_is_shown_again_makes_a_certificate_that_only_the_node_can_use() {
    let world = World::new().await;
    let (id, held) = {
        let term = world.lead();
        let joined = joined(&world).await;
        term.end().await;
        joined
    };
    tokio::time::sleep(DAYS * 200).await;
    let (mut node, mut other) = (world.stranger().await, world.stranger().await);
    let asked = come_back(&mut node, &held, &world.tokens().worker).await.unwrap();
    let proof =
        Returning { chain: held.chain_pem().into(), signature: held.sign_return(asked.request()).unwrap().into() };
    // Nobody has signed yet: the same again is the same.
    assert_eq!(send(&mut other, asked.request(), &world.tokens().worker, proof).await.unwrap(), id);
    let term = world.lead();
    settle().await;
    world.verified(&asked, &outcome(&mut other, &id).await.unwrap());
    term.end().await;
}

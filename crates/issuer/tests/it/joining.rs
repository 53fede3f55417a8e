//! Machines without a certificate.

use swarmkit_api::{
    NodeId, NodeRole, wire,
    wire::{issuance_status::State, node_spec::Availability},
};
use swarmkit_ca::REQUEST_BYTES_MAX;
use tonic::Code;

use super::world::{World, ask, fresh_key, identity, outcome, settle, state};

const NO_TOKEN: &str = "A valid join token is necessary to join this cluster";

#[tokio::test(start_paused = true)]
async fn a_worker_token_makes_a_worker_that_is_pending_and_then_has_its_certificate() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    let node = world.stored(&asked.node);
    assert_eq!(node.id.as_str().len(), 25);
    assert_eq!((node.role, node.spec.desired_role()), (NodeRole::Worker, NodeRole::Worker));
    assert_eq!(node.spec.membership(), wire::node_spec::Membership::Accepted);
    assert_eq!(node.certificate.status.as_ref().unwrap().state(), State::Pending);
    assert_eq!(node.vxlan_udp_port, 4790, "the cluster's");

    let term = world.lead();
    let answer = outcome(&mut authority, &asked.node).await.unwrap();
    assert_eq!(state(&answer), State::Issued);
    let certificate = world.verified(&asked, &answer);
    assert_eq!(*certificate.identity(), identity(asked.node.as_str(), NodeRole::Worker));
    term.end().await;
}

#[tokio::test(start_paused = true)]
#[allow(deprecated, reason = "the field is read by nobody, which is what is tested")]
async fn the_role_that_a_caller_claims_counts_for_nothing_and_its_availability_is_kept() {
    let world = World::new().await;
    let (_, csr) = fresh_key();
    let request = wire::IssueNodeCertificateRequest {
        csr,
        token: world.tokens().worker,
        role: NodeRole::Manager.into(),
        availability: Availability::Drain.into(),
        returning: None,
    };
    let id = world.stranger().await.issue_node_certificate(request).await.unwrap().into_inner().node_id;
    let node = world.stored(&NodeId::from(id));
    assert_eq!((node.role, node.certificate.role()), (NodeRole::Worker, NodeRole::Worker));
    assert_eq!(node.spec.availability(), Availability::Drain);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_that_counts_nothing_is_written() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    let before = world.store.version();
    let worker = world.tokens().worker;
    let cut = &worker[..worker.len() - 1];
    for token in ["", "SWMTKN-1-nonsense", cut, &world.new_token()] {
        let refused = ask(&mut authority, token).await.err().expect("refused");
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, NO_TOKEN), "{token:?}");
    }
    assert_eq!(world.store.version(), before);
}

#[tokio::test(start_paused = true)]
async fn a_managers_token_makes_a_manager() {
    let world = World::new().await;
    let term = world.lead();
    let mut authority = world.stranger().await;
    let asked = ask(&mut authority, &world.tokens().manager).await.unwrap();
    let node = world.stored(&asked.node);
    assert_eq!((node.role, node.spec.desired_role()), (NodeRole::Manager, NodeRole::Manager));
    let certificate = world.verified(&asked, &outcome(&mut authority, &asked.node).await.unwrap());
    assert_eq!(*certificate.identity(), identity(asked.node.as_str(), NodeRole::Manager));
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_replaced_does_not_count_any_more_and_the_other_one_does() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    for role in [NodeRole::Worker, NodeRole::Manager] {
        let of = |tokens: wire::JoinTokens| match role {
            NodeRole::Worker => (tokens.worker, tokens.manager),
            NodeRole::Manager => (tokens.manager, tokens.worker),
        };
        let (old, other) = of(world.tokens());
        let new = world.new_token();
        world
            .edit_cluster(|cluster| {
                let mut root = cluster.root_ca.as_ref().clone();
                let tokens = root.join_tokens.as_mut().unwrap();
                let replaced = match role {
                    NodeRole::Worker => &mut tokens.worker,
                    NodeRole::Manager => &mut tokens.manager,
                };
                replaced.clone_from(&new);
                cluster.root_ca = root.into();
            })
            .await;
        assert_eq!(ask(&mut authority, &old).await.err().expect("refused").message(), NO_TOKEN);
        let node = ask(&mut authority, &new).await.unwrap().node;
        assert_eq!(world.stored(&node).role, role);
        ask(&mut authority, &other).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_certificate_of_another_cluster_is_as_good_as_none() {
    let world = World::new().await;
    let mut foreign = identity("w", NodeRole::Worker);
    foreign.cluster = "theirs".into();
    let mut authority = wire::node_ca_client::NodeCaClient::new(world.connect(Some(foreign)).await);
    assert_eq!(ask(&mut authority, "").await.err().expect("refused").message(), NO_TOKEN);
    let asked = ask(&mut authority, &world.tokens().worker).await.unwrap();
    assert_ne!(asked.node.as_str(), "w", "a new node, whoever it is elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_empty_or_huge_is_not_kept() {
    let world = World::new().await;
    let mut authority = world.stranger().await;
    let before = world.store.version();
    for csr in [Vec::new(), vec![b'x'; REQUEST_BYTES_MAX + 1]] {
        let token = world.tokens().worker;
        let request = wire::IssueNodeCertificateRequest { csr: csr.into(), token, ..Default::default() };
        let refused = authority.issue_node_certificate(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{}", refused.message());
    }
    assert_eq!(world.store.version(), before);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_read_fails_with_the_reason_and_a_better_one_succeeds() {
    let world = World::new().await;
    let term = world.lead();
    let mut authority = world.stranger().await;
    for csr in ["garbage".into(), vec![0xff, 0xfe]] {
        let request =
            wire::IssueNodeCertificateRequest { csr: csr.into(), token: world.tokens().worker, ..Default::default() };
        let id = NodeId::from(authority.issue_node_certificate(request).await.unwrap().into_inner().node_id);
        let answer = outcome(&mut authority, &id).await.unwrap();
        assert_eq!(state(&answer), State::Failed);
        let reason = &answer.status.as_ref().unwrap().err;
        assert!(reason.starts_with("malformed certificate signing request: "), "{reason}");
        assert!(!reason.contains('\n'), "one line: {reason}");
        assert!(answer.certificate.unwrap().certificate.is_empty());

        let mut node = world.node(&id, NodeRole::Worker).await;
        let asked = ask(&mut node, "").await.unwrap();
        settle().await;
        world.verified(&asked, &outcome(&mut node, &id).await.unwrap());
    }
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn anyone_is_told_the_roots_and_nobody_but_managers_the_unlock_key() {
    let world = World::new().await;
    let mut anyone = world.anyone().await;
    let roots = anyone.get_root_ca_certificate(wire::GetRootCaCertificateRequest {}).await.unwrap().into_inner();
    assert_eq!(roots.certificate, world.root.bundle().as_bytes());
    let refused = anyone.get_unlock_key(wire::GetUnlockKeyRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn the_unlock_key_is_told_while_managers_are_to_be_locked() {
    let world = World::new().await;
    let channel = world.connect(Some(identity("m", NodeRole::Manager))).await;
    let mut manager = wire::ca_client::CaClient::new(channel);
    let keys = |first: u8| {
        let key = |subsystem: &str, byte: u8| wire::EncryptionKey {
            subsystem: subsystem.to_owned(),
            key: vec![byte; 32].into(),
            ..Default::default()
        };
        vec![key("other", 0), key("swarm-manager", first)]
    };
    world.edit_cluster(|cluster| cluster.unlock_keys = keys(1)).await;
    let told = manager.get_unlock_key(wire::GetUnlockKeyRequest {}).await.unwrap().into_inner();
    let version = world.store.view().cluster().unwrap().meta.version;
    assert!(told.unlock_key.is_empty(), "they are not locked");
    assert_eq!(told.version, Some(version.into()));

    world
        .edit_cluster(|cluster| {
            let mut spec = cluster.spec.as_ref().clone();
            spec.encryption_config = Some(wire::EncryptionConfig { auto_lock_managers: true });
            cluster.spec = spec.into();
        })
        .await;
    let told = manager.get_unlock_key(wire::GetUnlockKeyRequest {}).await.unwrap().into_inner();
    assert_eq!(told.unlock_key, [1; 32].as_slice());
    assert!(told.version.unwrap().index > version.0);

    for byte in 2..10 {
        world.edit_cluster(|cluster| cluster.unlock_keys = keys(byte)).await;
        let told = manager.get_unlock_key(wire::GetUnlockKeyRequest {}).await.unwrap().into_inner();
        assert_eq!(told.unlock_key, [byte; 32].as_slice(), "what was committed is told at once");
        let version = world.store.view().cluster().unwrap().meta.version;
        assert_eq!(told.version, Some(version.into()));
    }

    world.edit_cluster(|cluster| cluster.unlock_keys[1].key = b"short".as_slice().into()).await;
    let refused = manager.get_unlock_key(wire::GetUnlockKeyRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "a key that is none is not passed on: {}", refused.message());
}

#[tokio::test(start_paused = true)]
async fn no_more_are_admitted_while_thousands_wait_and_the_next_ones_once_they_do_not() {
    let world = World::new().await;
    let pending = |number: usize| {
        let mut node = super::world::member(&format!("p{number}"), NodeRole::Worker);
        node.certificate.csr = b"garbage".as_slice().into();
        node.certificate.status = Some(wire::IssuanceStatus { state: State::Pending.into(), err: String::new() });
        node
    };
    world.put(|tx| (0..4094).try_for_each(|number| tx.create(pending(number)).map(drop))).await;
    let mut authority = world.stranger().await;
    for _ in 0..2 {
        ask(&mut authority, &world.tokens().worker).await.unwrap();
    }
    let version = world.store.version();
    let refused = ask(&mut authority, &world.tokens().worker).await.err().expect("refused");
    let text = "too many nodes wait for their certificates; try again later";
    assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, text));
    assert_eq!(ask(&mut authority, "").await.err().expect("refused").message(), NO_TOKEN);
    assert_eq!(world.store.version(), version);
    let mut member = world.node(&"m".into(), NodeRole::Manager).await;
    ask(&mut member, "").await.expect("a member renews all the same");

    let term = world.lead();
    let last = NodeId::from("p999");
    assert_eq!(state(&outcome(&mut authority, &last).await.unwrap()), State::Failed);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    ask(&mut authority, &world.tokens().worker).await.unwrap();
    term.end().await;
}

//! Three members over gRPC and mutual TLS, on sockets of this machine.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{ClusterId, NodeId, NodeRole, wire::swarmkit::raft::v1 as wire};
use swarmkit_ca::{Credentials, Identity, KeySource as _, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys};
use swarmkit_raft::{
    Begin, Destination, Lane, MemoryDisk, Messenger as _, RaftOptions, RaftService, RpcMessenger, SendError,
    new_raft_id,
};
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, ServerOptions, ServerRole, Services, TlsTransport, Transport as _, serve,
};
use swarmkit_runtime::{Crew, Env};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use wire::raft_transport_client::RaftTransportClient;

use crate::cluster::{Running, Site};

/// The cluster's certificates, and the crew that serves.
struct World {
    env: Env,
    root: RootCa,
    crew: Crew,
    options: RaftOptions,
}

/// A member behind a socket.
struct Served {
    running: Running,
    node: NodeId,
    addr: String,
    crew: Crew,
}

impl World {
    fn new() -> Self {
        // Times that a busy machine keeps, since these run on its clock.
        let options = RaftOptions {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_secs(1),
            ..RaftOptions::default()
        };
        let env = Env::real();
        let root = RootCa::create(&SystemKeys, &env).expect("a root is made");
        Self { env, root, crew: Crew::under(&CancellationToken::new()), options }
    }

    fn credentials(&self, node: &NodeId) -> Credentials {
        let identity = Identity::new(node.clone(), NodeRole::Manager, ClusterId::from("ours"));
        let key = SystemKeys.generate().expect("a key is made");
        let request = key.request().expect("a request is made");
        let chain = self.root.issue(&request, &identity, LEAF_VALIDITY_DEFAULT, &self.env).expect("it is signed");
        let certificate = NodeCertificate::new(&chain, key).expect("the certificate fits");
        Credentials::new(self.root.without_signer(), certificate, &self.env).expect("the certificate is trusted")
    }

    fn messenger(&self, node: &NodeId) -> RpcMessenger {
        RpcMessenger::new(Arc::new(TlsTransport::new(self.credentials(node))), self.crew.spawner())
    }

    /// A member that listens. The first one founds the group.
    async fn member(&self, name: &str, founder: Option<&Served>) -> Served {
        let node = NodeId::from(name);
        let credentials = self.credentials(&node);
        let transport = TlsTransport::new(credentials.clone());
        let listener = transport.listen("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it has an address").to_string();
        let mut site = Site::new(name, MemoryDisk::new());
        site.addr.clone_from(&addr);
        site.options = self.options.clone();
        site.messenger = Some(Arc::new(self.messenger(&node)));
        if founder.is_some() {
            site.begin = Begin::Join { raft_id: new_raft_id(&self.env) };
        }
        let running = site.start().await.expect("the member starts");
        let services = Services::new(Authority::of(&credentials));
        let services = services.with(RaftService::server(running.raft.receiver())).expect("it is in the access table");
        let crew = Crew::under(self.crew.stop());
        let serving = serve(listener, services, ServerOptions::default(), crew.spawner());
        drop(crew.spawner().spawn("server", serving));
        if let Some(founder) = founder {
            let raft_id = running.raft.raft_id();
            founder.running.raft.add_learner(raft_id, &node, &addr).await.expect("a learner is added");
            founder.running.raft.promote(raft_id).await.expect("a learner is promoted");
        }
        Served { running, node, addr, crew }
    }
}

async fn has(member: &Running, ids: &[&str]) {
    let seen = async {
        while member.ids() != ids {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), seen).await.expect("what was committed arrives");
}

#[tokio::test]
async fn a_group_works_over_mutual_tls_and_outlives_its_leader() {
    let world = World::new();
    let founder = world.member("n1", None).await;
    founder.running.lead().await;
    let second = world.member("n2", Some(&founder)).await;
    let third = world.member("n3", Some(&founder)).await;
    founder.running.write("a").await.unwrap();
    has(&second.running, &["a"]).await;
    has(&third.running, &["a"]).await;

    founder.running.kill();
    drop(founder.crew);
    let next = tokio::select! { biased;
        _ = second.running.lead() => &second,
        _ = third.running.lead() => &third,
    };
    next.running.write("b").await.unwrap();
    has(&second.running, &["a", "b"]).await;
    has(&third.running, &["a", "b"]).await;
    second.running.stop().await;
    third.running.stop().await;
}

#[tokio::test]
async fn a_snapshot_larger_than_a_message_crosses_the_network() {
    use swarmkit_api::{Config, ConfigId, wire};
    let mut world = World::new();
    world.options = RaftOptions { snapshot_interval: 20, kept_entries: 2, ..world.options };
    let founder = world.member("n1", None).await;
    founder.running.lead().await;
    let store = &founder.running.store;
    for number in 0..30 {
        let mut config = Config::new(ConfigId::from(format!("c{number:02}")));
        let data = vec![number; 300_000].into();
        let annotations = Some(wire::Annotations { name: format!("c{number}"), ..Default::default() });
        config.spec = Arc::new(wire::ConfigSpec { annotations, data, ..Default::default() });
        store.update(|tx| tx.create(config)).await.unwrap();
    }
    let late = world.member("n2", Some(&founder)).await;
    let copied = async {
        while late.running.store.version() != store.version() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), copied).await.expect("the snapshot arrives");
    let view = late.running.store.view();
    assert_eq!(view.count::<Config>(), 30);
    assert!(view.all::<Config>().eq(store.view().all::<Config>()));
    late.running.stop().await;
    founder.running.stop().await;
}

#[tokio::test]
async fn messages_of_impostors_and_to_the_wrong_node_are_refused() {
    let world = World::new();
    let founder = world.member("n1", None).await;
    founder.running.lead().await;
    let second = world.member("n2", Some(&founder)).await;
    let within = Duration::from_secs(10);
    let (first_id, second_id) = (founder.running.raft.raft_id(), second.running.raft.raft_id());
    let request = |from, to| wire::VoteRequest {
        route: Some(wire::Route { from, to }),
        vote: Some(wire::Vote { term: 99, candidate: from, granted: false }),
        last: None,
        leadership_transfer: true,
    };
    let to = |node: &NodeId, addr: &str| Destination {
        raft_id: second_id,
        node_id: node.clone(),
        addr: addr.to_owned(),
        lane: Lane::Log,
    };
    let refusal = |answer: Result<wire::VoteResponse, SendError>| answer.unwrap_err().to_string();
    has(&second.running, &[]).await;

    let stranger = world.messenger(&NodeId::from("n9"));
    let answer = stranger.vote(&to(&second.node, &second.addr), request(first_id, second_id), within).await;
    let text = refusal(answer);
    assert!(text.contains("node n9 does not run member"), "{text}");
    let answer = stranger.vote(&to(&second.node, &second.addr), request(first_id, 5), within).await;
    let text = refusal(answer);
    assert!(text.contains("the message is for member 5, this is"), "{text}");
    let answer = stranger.vote(&to(&founder.node, &second.addr), request(first_id, second_id), within).await;
    let text = refusal(answer);
    assert!(text.ends_with("is n2, not n1"), "{text}");

    founder.running.write("a").await.unwrap();
    assert!(matches!(founder.running.raft.leadership().current(), swarmkit_raft::Role::Leader { term: 1 }));
}

#[tokio::test]
async fn entries_that_leave_some_out_are_refused_and_change_nothing() {
    let world = World::new();
    let founder = world.member("n1", None).await;
    founder.running.lead().await;
    let second = world.member("n2", Some(&founder)).await;
    has(&second.running, &[]).await;
    let (from, to) = (founder.running.raft.raft_id(), second.running.raft.raft_id());
    let blank = |index| wire::Entry {
        id: Some(wire::LogId { term: 1, index }),
        payload: Some(wire::Payload { content: Some(wire::payload::Content::Blank(wire::Blank {})) }),
    };
    let request = |previous, indexes: &[u64]| wire::AppendRequest {
        route: Some(wire::Route { from, to }),
        vote: Some(wire::Vote { term: 1, candidate: from, granted: true }),
        previous,
        entries: indexes.iter().copied().map(blank).collect(),
        committed: None,
    };
    let node_id = second.node.clone();
    let to = Destination { raft_id: to, node_id, addr: second.addr.clone(), lane: Lane::Heartbeat };
    let messenger = world.messenger(&founder.node);
    for request in [request(None, &[100]), request(Some(wire::LogId { term: 1, index: 0 }), &[1, 3])] {
        let answer = messenger.append(&to, request, Duration::from_secs(10)).await;
        let text = answer.unwrap_err().to_string();
        assert!(text.contains("they must follow on each other"), "{text}");
    }

    founder.running.write("a").await.unwrap();
    has(&second.running, &["a"]).await;
}

/// A client that says whatever it is told to.
async fn client(world: &World, node: &NodeId, addr: &str) -> RaftTransportClient<Channel> {
    let transport = TlsTransport::new(world.credentials(node));
    let options = ChannelOptions::default();
    let channel = Channel::connect(&transport, addr, ServerRole::Manager, &options, &world.crew.spawner()).await;
    RaftTransportClient::new(channel.expect("the member is reached"))
}

#[tokio::test]
async fn what_is_no_whole_snapshot_is_an_invalid_argument_and_changes_nothing() {
    use wire::install_snapshot_request::Part;
    let world = World::new();
    let founder = world.member("n1", None).await;
    founder.running.lead().await;
    let second = world.member("n2", Some(&founder)).await;
    founder.running.write("a").await.unwrap();
    has(&second.running, &["a"]).await;
    let route = wire::Route { from: founder.running.raft.raft_id(), to: second.running.raft.raft_id() };
    let offer = |route| {
        let vote = wire::Vote { term: 1, candidate: route_from(&founder), granted: true };
        let last = Some(wire::LogId { term: 1, index: 1000 });
        let meta = wire::SnapshotMeta { last, ..Default::default() };
        Part::Offer(wire::SnapshotOffer { route, vote: Some(vote), meta: Some(meta), size: 10, checksum: 5 })
    };
    let chunk = || Part::Chunk(wire::SnapshotChunk { data: vec![7; 10].into() });
    let cases: [(Vec<Option<Part>>, &str); 7] = [
        (vec![], "the offer must come first"),
        (vec![None], "the offer must come first"),
        (vec![Some(chunk()), Some(offer(Some(route)))], "the offer must come first"),
        (vec![Some(offer(None)), Some(chunk())], "malformed route"),
        (vec![Some(offer(Some(route))), Some(offer(Some(route)))], "a chunk must follow"),
        (vec![Some(offer(Some(route))), None], "a chunk must follow"),
        (vec![Some(offer(Some(route))), Some(chunk())], "it is not whole"),
    ];
    let mut client = client(&world, &founder.node, &second.addr).await;
    for (parts, expected) in cases {
        let parts = parts.into_iter().map(|part| wire::InstallSnapshotRequest { part });
        let parts: Vec<_> = parts.collect();
        let refused = client.install_snapshot(futures_util::stream::iter(parts)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(expected), "{refused}");
    }
    let refused = client.vote(wire::VoteRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    founder.running.write("b").await.unwrap();
    has(&second.running, &["a", "b"]).await;
}

fn route_from(member: &Served) -> u64 {
    member.running.raft.raft_id()
}

#[tokio::test]
async fn a_message_of_half_the_limit_is_read_and_one_over_it_exhausts_a_resource() {
    let world = World::new();
    let founder = world.member("n1", None).await;
    founder.running.lead().await;
    let mut client = client(&world, &NodeId::from("n9"), &founder.addr).await;
    let mut offer = async |bytes: usize| {
        let command = wire::Command { payload: vec![7; bytes].into() };
        let entry = wire::Entry {
            id: Some(wire::LogId { term: 1, index: 1 }),
            payload: Some(wire::Payload { content: Some(wire::payload::Content::Command(command)) }),
        };
        // Whoever reads it finds that it is for somebody else.
        let route = Some(wire::Route { from: 1, to: 5 });
        let request = wire::AppendRequest { route, entries: vec![entry], ..Default::default() };
        client.append(request).await.unwrap_err().code()
    };
    assert_eq!(offer(2 << 20).await, Code::FailedPrecondition);
    assert_eq!(offer(4 << 20).await, Code::ResourceExhausted);
}

#[tokio::test]
async fn a_vote_for_whoever_is_no_member_is_not_given_while_a_leader_lives_whatever_it_claims() {
    let world = World::new();
    let founder = world.member("n1", None).await;
    founder.running.lead().await;
    let second = world.member("n2", Some(&founder)).await;
    founder.running.write("a").await.unwrap();
    has(&second.running, &["a"]).await;
    let mut leadership = founder.running.raft.leadership();
    let _ = leadership.latest();
    for voter in [&founder, &second] {
        let mut client = client(&world, &NodeId::from("n9"), &voter.addr).await;
        let request = wire::VoteRequest {
            route: Some(wire::Route { from: 4711, to: route_from(voter) }),
            vote: Some(wire::Vote { term: 99, candidate: 4711, granted: false }),
            last: Some(wire::LogId { term: 98, index: 1000 }),
            leadership_transfer: true,
        };
        assert!(!client.vote(request).await.unwrap().into_inner().granted);
    }
    founder.running.write("b").await.unwrap();
    has(&second.running, &["a", "b"]).await;
    assert!(matches!(leadership.latest(), swarmkit_raft::Role::Leader { term: 1 }));
}

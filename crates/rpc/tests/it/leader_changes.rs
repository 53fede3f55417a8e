//! Calls that are under way while leadership changes, with time in the test's hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use swarmkit_api::{NodeRole, wire, wire::node_ca_server::NodeCaServer};
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, Channels, ErrorCode, Forward, Leader, MemoryNetwork, ServerOptions,
    ServiceError, Services, Transport as _, serve,
};
use swarmkit_runtime::Crew;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, async_trait};

use crate::world::identity;

/// How a manager answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Answers,
    /// As a process that was paused.
    Hangs,
    /// It does not lead any more, and has done nothing.
    Refuses,
    /// It does not know what became of the call.
    LosesTrack,
}

#[derive(Debug, thiserror::Error)]
#[error("not the leader")]
struct NotLeader {
    undone: bool,
}

impl ServiceError for NotLeader {
    fn code(&self) -> ErrorCode {
        ErrorCode::Unavailable
    }

    fn is_undone(&self) -> bool {
        self.undone
    }
}

/// A certificate authority that counts how often it was asked.
#[derive(Clone)]
struct Office {
    name: &'static str,
    mood: Arc<Mutex<Mood>>,
    calls: Arc<AtomicUsize>,
}

impl Office {
    fn new(name: &'static str, mood: Mood) -> Self {
        Self { name, mood: Arc::new(Mutex::new(mood)), calls: Arc::default() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn answer(&self) -> Result<(), Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mood = *self.mood.lock();
        match mood {
            Mood::Answers => Ok(()),
            Mood::Hangs => std::future::pending().await,
            Mood::Refuses => Err(NotLeader { undone: true }.to_status()),
            Mood::LosesTrack => Err(NotLeader { undone: false }.to_status()),
        }
    }
}

#[async_trait]
impl wire::node_ca_server::NodeCa for Office {
    async fn issue_node_certificate(
        &self,
        request: Request<wire::IssueNodeCertificateRequest>,
    ) -> Result<Response<wire::IssueNodeCertificateResponse>, Status> {
        self.answer().await?;
        assert_eq!(request.into_inner().token, "token");
        Ok(Response::new(wire::IssueNodeCertificateResponse { node_id: self.name.to_owned(), ..Default::default() }))
    }

    async fn node_certificate_status(
        &self,
        _: Request<wire::NodeCertificateStatusRequest>,
    ) -> Result<Response<wire::NodeCertificateStatusResponse>, Status> {
        self.answer().await?;
        Ok(Response::new(wire::NodeCertificateStatusResponse::default()))
    }
}

/// Two managers that may lead and one that passes calls on, with the word on who leads in the test's hand.
struct Stage {
    network: MemoryNetwork,
    crew: Crew,
    old: Office,
    new: Office,
    leader: watch::Sender<Leader>,
    client: wire::node_ca_client::NodeCaClient<Channel>,
}

impl Stage {
    async fn new(mood: Mood) -> Self {
        let (network, crew) = (MemoryNetwork::default(), Crew::under(&CancellationToken::new()));
        let (old, new) = (Office::new("old", mood), Office::new("new", Mood::Answers));
        let (leader, word) = watch::channel(Leader::At("old".to_owned()));
        let way = Arc::new(network.transport(Some(identity("middle", NodeRole::Manager))));
        let forward = Forward::new(word, Channels::new(way, ChannelOptions::default(), crew.spawner()));
        let middle = Office::new("middle", Mood::Answers);
        let services = Services::new(Authority::fixed(identity("middle", NodeRole::Manager)))
            .with_forwarded(NodeCaServer::new(middle), &forward)
            .unwrap();
        let client = wire::node_ca_client::NodeCaClient::new(Channel::here(&services));
        let stage = Self { network, crew, old, new, leader, client };
        stage.open(&stage.old).await;
        stage.open(&stage.new).await;
        stage
    }

    async fn open(&self, office: &Office) {
        let own = identity(office.name, NodeRole::Manager);
        let listener = self.network.transport(Some(own.clone())).listen(office.name).await.unwrap();
        let services = Services::new(Authority::fixed(own)).with(NodeCaServer::new(office.clone())).unwrap();
        let spawner = self.crew.spawner();
        drop(self.crew.spawner().spawn("server", serve(listener, services, ServerOptions::default(), spawner)));
    }

    async fn issue(&self) -> Result<String, Status> {
        let request = wire::IssueNodeCertificateRequest { token: "token".to_owned(), ..Default::default() };
        self.client.clone().issue_node_certificate(request).await.map(|answer| answer.into_inner().node_id)
    }

    async fn ask(&self) -> Result<(), Status> {
        let request = wire::NodeCertificateStatusRequest { node_id: "n".to_owned() };
        self.client.clone().node_certificate_status(request).await.map(drop)
    }

    /// After a while another manager leads.
    async fn elect(&self, address: &str) {
        tokio::time::sleep(Duration::from_millis(600)).await;
        self.leader.send(Leader::At(address.to_owned())).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_old_leader_has_not_done_is_done_by_the_new_one() {
    let stage = Stage::new(Mood::Refuses).await;
    let (answer, ()) = tokio::join!(stage.issue(), stage.elect("new"));
    assert_eq!(answer.unwrap(), "new");
    assert_eq!(stage.new.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_be_reached_is_waited_out() {
    let stage = Stage::new(Mood::Answers).await;
    stage.leader.send(Leader::At("nowhere".to_owned())).unwrap();
    let (answer, ()) = tokio::join!(stage.issue(), stage.elect("new"));
    assert_eq!(answer.unwrap(), "new");
    assert_eq!((stage.old.calls(), stage.new.calls()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_done_is_never_done_again() {
    let stage = Stage::new(Mood::LosesTrack).await;
    let (answer, ()) = tokio::join!(stage.issue(), stage.elect("new"));
    assert_eq!(answer.unwrap_err().message(), "not the leader");
    assert_eq!((stage.old.calls(), stage.new.calls()), (1, 0));

    let stage = Stage::new(Mood::Hangs).await;
    let begin = Instant::now();
    let (answer, ()) = tokio::join!(stage.issue(), stage.elect("new"));
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().ends_with("its outcome is not known"), "{status}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!((stage.old.calls(), stage.new.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_question_is_asked_again_of_the_new_leader() {
    let stage = Stage::new(Mood::Hangs).await;
    let (answer, ()) = tokio::join!(stage.ask(), stage.elect("new"));
    answer.unwrap();
    assert_eq!((stage.old.calls(), stage.new.calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_for_long_calls_are_refused_at_once_and_before_that_they_wait() {
    let stage = Stage::new(Mood::Answers).await;
    stage.leader.send(Leader::unknown()).unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let begin = Instant::now();
    let status = stage.issue().await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::from_secs(6), "ten seconds without a leader");
    assert_eq!(
        status.message(),
        "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of \
         the managers are online."
    );
    let begin = Instant::now();
    assert_eq!(stage.issue().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    stage.leader.send(Leader::At("new".to_owned())).unwrap();
    assert_eq!(stage.issue().await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_never_answers_is_given_up_when_the_caller_gives_up() {
    let stage = Stage::new(Mood::Hangs).await;
    let begin = Instant::now();
    let mut request = Request::new(wire::NodeCertificateStatusRequest { node_id: "n".to_owned() });
    request.set_timeout(Duration::from_secs(3));
    let status = stage.client.clone().node_certificate_status(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(begin.elapsed(), Duration::from_secs(3));
}

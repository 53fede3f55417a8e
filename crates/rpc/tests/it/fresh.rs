//! What a manager answers that may have been replaced without having heard of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use swarmkit_api::{NodeRole, wire, wire::ca_client::CaClient};
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, Channels, Forward, Leader, MemoryNetwork, ServerOptions, ServerRole, Services,
    Transport as _, serve,
};
use swarmkit_runtime::Crew;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, async_trait};

use crate::world::identity;

/// An authority that answers reads with its name, and refuses every write for what is there.
#[derive(Clone)]
struct Office(&'static str);

#[async_trait]
impl wire::ca_server::Ca for Office {
    async fn get_root_ca_certificate(
        &self,
        _: Request<wire::GetRootCaCertificateRequest>,
    ) -> Result<Response<wire::GetRootCaCertificateResponse>, Status> {
        Ok(Response::new(wire::GetRootCaCertificateResponse { certificate: self.0.as_bytes().to_vec().into() }))
    }

    async fn get_unlock_key(
        &self,
        _: Request<wire::GetUnlockKeyRequest>,
    ) -> Result<Response<wire::GetUnlockKeyResponse>, Status> {
        Err(Status::not_found("no key"))
    }
}

#[async_trait]
impl wire::node_ca_server::NodeCa for Office {
    async fn issue_node_certificate(
        &self,
        _: Request<wire::IssueNodeCertificateRequest>,
    ) -> Result<Response<wire::IssueNodeCertificateResponse>, Status> {
        Err(Status::not_found(self.0))
    }

    async fn node_certificate_status(
        &self,
        _: Request<wire::NodeCertificateStatusRequest>,
    ) -> Result<Response<wire::NodeCertificateStatusResponse>, Status> {
        Err(Status::not_found(self.0))
    }
}

/// Managers that listen, each with its own word on who leads.
struct Stage {
    network: MemoryNetwork,
    crew: Crew,
}

impl Stage {
    fn new() -> Self {
        Self { network: MemoryNetwork::default(), crew: Crew::under(&CancellationToken::new()) }
    }

    fn forward(&self, name: &str, word: watch::Receiver<Leader>) -> Forward {
        let way = Arc::new(self.network.transport(Some(identity(name, NodeRole::Manager))));
        Forward::new(word, Channels::new(way, ChannelOptions::default(), self.crew.spawner()))
    }

    /// A manager as other managers reach it.
    async fn open(&self, name: &'static str, word: watch::Receiver<Leader>) {
        let own = identity(name, NodeRole::Manager);
        let listener = self.network.transport(Some(own.clone())).listen(name).await.unwrap();
        let service = wire::ca_server::CaServer::new(Office(name));
        let forward = self.forward(name, word);
        let services = Services::new(Authority::fixed(own)).with_passed_on(service, &forward).unwrap();
        let spawner = self.crew.spawner();
        drop(self.crew.spawner().spawn("server", serve(listener, services, ServerOptions::default(), spawner)));
    }
}

async fn ask(channel: &Channel) -> Result<String, Status> {
    let request = wire::GetRootCaCertificateRequest::default();
    let answer = CaClient::new(channel.clone()).get_root_ca_certificate(request).await?;
    Ok(String::from_utf8(answer.into_inner().certificate.to_vec()).unwrap())
}

/// A manager that leads as far as it knows, and whether it can prove it.
fn believer(stage: &Stage, word: watch::Receiver<Leader>) -> (Channel, Arc<AtomicBool>) {
    let proven = Arc::new(AtomicBool::new(false));
    let proof = proven.clone();
    let forward = stage.forward("believer", word).fresh(move || {
        let proof = proof.clone();
        async move { proof.load(Ordering::SeqCst) }
    });
    let services = Services::new(Authority::fixed(identity("believer", NodeRole::Manager)))
        .with_forwarded(wire::ca_server::CaServer::new(Office("believer")), &forward)
        .and_then(|services| {
            services.with_forwarded(wire::node_ca_server::NodeCaServer::new(Office("believer")), &forward)
        })
        .unwrap();
    (Channel::here(&services), proven)
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_prove_it_answers_no_reads_and_asks_the_next_one() {
    let stage = Stage::new();
    let (leader, word) = watch::channel(Leader::Here);
    let (channel, proven) = believer(&stage, word);
    stage.open("new", watch::channel(Leader::Here).1).await;
    proven.store(true, Ordering::SeqCst);
    assert_eq!(ask(&channel).await.unwrap(), "believer");
    proven.store(false, Ordering::SeqCst);
    let elect = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        leader.send(Leader::At("new".to_owned())).unwrap();
    };
    let (answer, ()) = tokio::join!(ask(&channel), elect);
    assert_eq!(answer.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_refused_for_what_is_there_only_by_a_leader_that_proves_to_be_one() {
    let stage = Stage::new();
    let (_leader, word) = watch::channel(Leader::Here);
    let (channel, proven) = believer(&stage, word);
    let issue = || async {
        let request = wire::IssueNodeCertificateRequest::default();
        wire::node_ca_client::NodeCaClient::new(channel.clone()).issue_node_certificate(request).await
    };
    assert_eq!(issue().await.unwrap_err().code(), Code::Unavailable);
    proven.store(true, Ordering::SeqCst);
    assert_eq!(issue().await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_question_for_a_certificate_is_a_read_and_answered_only_by_a_leader_that_proves_to_be_one() {
    let stage = Stage::new();
    let (_leader, word) = watch::channel(Leader::Here);
    let (channel, proven) = believer(&stage, word);
    let ask = || async {
        let request = wire::NodeCertificateStatusRequest::default();
        wire::node_ca_client::NodeCaClient::new(channel.clone()).node_certificate_status(request).await
    };
    let begin = tokio::time::Instant::now();
    assert_eq!(ask().await.unwrap_err().code(), Code::Unavailable);
    assert!(begin.elapsed() >= Duration::from_secs(10), "it is tried for as long as any read: {:?}", begin.elapsed());
    proven.store(true, Ordering::SeqCst);
    assert_eq!(ask().await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn what_is_passed_on_to_a_manager_that_does_not_lead_is_passed_on_to_the_one_that_does() {
    let stage = Stage::new();
    let new = Leader::At("new".to_owned());
    // It has been replaced, and the one that passes calls on has not heard of it.
    stage.open("old", watch::channel(new.clone()).1).await;
    stage.open("new", watch::channel(Leader::Here).1).await;
    let (leader, word) = watch::channel(Leader::At("old".to_owned()));
    let (channel, _) = believer(&stage, word);
    let elect = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        leader.send(new).unwrap();
    };
    let (answer, ()) = tokio::join!(ask(&channel), elect);
    assert_eq!(answer.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_a_manager_itself_is_answered_by_it() {
    let stage = Stage::new();
    stage.open("old", watch::channel(Leader::At("new".to_owned())).1).await;
    let own = identity("m3", NodeRole::Manager);
    let (way, options) = (stage.network.transport(Some(own)), ChannelOptions::default());
    let channel = Channel::connect(&way, "old", ServerRole::Manager, &options, &stage.crew.spawner()).await.unwrap();
    assert_eq!(ask(&channel).await.unwrap(), "old");
}

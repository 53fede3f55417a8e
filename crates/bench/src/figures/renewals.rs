//! What callers notice of certificates that are renewed.
//!
//! Three managers run in this process, on folders of their own, and reach each other over sockets of this machine. All nodes are
//! told every two seconds to renew, as during a change of the root. Calls go through the managers, which pass them on to the
//! leader, and come from outside, from a node that renews its certificate as often.

use std::collections::BTreeSet;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use swarmkit::CancellationToken;
use swarmkit::api::{Node as NodeObject, wire};
use swarmkit::executor::InertExecutor;
use swarmkit::node::{Node, NodeHandle};
use swarmkit::runtime::{Crew, Env, Spawner};
use swarmkit::store::Store;
use swarmkit_ca::{Credentials, KeySource as _, NodeCertificate, RootCa, SystemKeys};
use swarmkit_raft::RaftOptions;
use swarmkit_rpc::{Channel, ChannelOptions, Channels, TlsTransport};
use tempfile::TempDir;
use tonic::Status;
use wire::control_client::ControlClient;
use wire::issuance_status::State;
use wire::node_ca_client::NodeCaClient;

use crate::lab::{Lab, Stopwatch};

const MANAGERS: usize = 3;
/// How long calls are made. A build that is not optimized only shows that it works.
const MEASURED: Duration = if cfg!(debug_assertions) { Duration::from_secs(8) } else { Duration::from_secs(20) };
/// Calls begin in rounds: so many from each of four places, at each of these intervals, are 1,000 a second.
const ROUND: Duration = Duration::from_millis(20);
const CALLS_OF_A_ROUND: u64 = if cfg!(debug_assertions) { 1 } else { 5 };
/// How often all certificates are renewed.
const RENEWALS: Duration = Duration::from_secs(2);
/// How long anything else may take.
const DEADLINE: Duration = Duration::from_secs(60);
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// `ca.renew_failed_rpcs`
pub(crate) fn failed_calls(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let samples = (0..repeats).map(|_| runtime.block_on(sample()));
    samples.collect()
}

struct Team {
    nodes: Vec<NodeHandle>,
    crew: Crew,
    _dirs: Vec<TempDir>,
}

impl Team {
    async fn of(managers: usize) -> Result<Self> {
        let mut team = Self { nodes: Vec::new(), crew: Crew::under(&CancellationToken::new()), _dirs: Vec::new() };
        for number in 0..managers {
            let dir = tempfile::tempdir()?;
            let mut node =
                Node::builder(dir.path(), Arc::new(InertExecutor::new())).listen_remote("127.0.0.1:0").raft(patient());
            if let Some(first) = team.nodes.first() {
                let store = first.store().context("the first is a manager")?;
                node = node.join(first.remote_addr().context("it listens")?, Some(tokens(&store)?.manager));
            }
            let node = node.start(team.crew.stop()).await?;
            let handle = node.handle();
            team.crew.spawn("node", |stop| node.run(stop));
            handle.ready().await?;
            team.nodes.push(handle);
            team._dirs.push(dir);
            // The next one can be admitted when this one has its vote.
            eventually(async || team.managers().await == number + 1).await?;
        }
        Ok(team)
    }

    /// How many of the cluster's nodes are members of raft that answer.
    async fn managers(&self) -> usize {
        let Some(mut control) = self.nodes[0].control() else { return 0 };
        let Ok(nodes) = control.list_nodes(wire::ListNodesRequest::default()).await else { return 0 };
        let reachable = |node: &wire::Node| {
            let status = node.manager_status.as_ref();
            status.is_some_and(|status| status.reachability() == wire::raft_member_status::Reachability::Reachable)
        };
        nodes.into_inner().nodes.iter().filter(|node| reachable(node)).count()
    }

    fn leader(&self) -> Option<Store> {
        self.nodes.iter().find(|node| node.leads())?.store()
    }

    async fn end(self) -> Result<()> {
        self.crew.stop().cancel();
        self.crew.finish().await.map_err(|error| anyhow!(error))
    }
}

/// What is measured is what renewals do: a machine that is busy for a moment is not to change leaders.
fn patient() -> RaftOptions {
    let millis = Duration::from_millis;
    let (heartbeat, election_min, election_max) = (millis(150), millis(2000), millis(4000));
    RaftOptions { heartbeat, election_min, election_max, ..RaftOptions::default() }
}

fn tokens(store: &Store) -> Result<wire::JoinTokens> {
    let view = store.view();
    view.cluster().and_then(|cluster| cluster.root_ca.join_tokens.clone()).context("the cluster has tokens")
}

async fn eventually(test: impl AsyncFn() -> bool) -> Result<()> {
    let watch = Stopwatch::start();
    while !test().await {
        ensure!(watch.elapsed() < DEADLINE, "waited in vain for the managers");
        tokio::time::sleep(TRY_AGAIN).await;
    }
    Ok(())
}

/// How many calls have failed.
async fn sample() -> Result<f64> {
    let team = Team::of(MANAGERS).await?;
    let outside = Outside::join(&team).await?;
    let (made, failed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let calls = Crew::under(&CancellationToken::new());
    let spawner = calls.spawner();
    let (watch, mut due, mut number) = (Stopwatch::start(), Duration::ZERO, 0);
    let (mut seen, mut leader) = (BTreeSet::new(), 0);
    let mut rounds = tokio::time::interval(ROUND);
    while watch.elapsed() < MEASURED {
        rounds.tick().await;
        leader = team.nodes.iter().position(NodeHandle::leads).unwrap_or(leader);
        if watch.elapsed() >= due {
            due += RENEWALS;
            seen.extend(renew_all(&team).await?);
            outside.renew().await?;
        }
        for _ in 0..CALLS_OF_A_ROUND {
            number += 1;
            for (at, node) in team.nodes.iter().enumerate() {
                let control = node.control().context("a manager has a control client")?;
                count(&spawner, &made, &failed, call(control, number, at));
            }
            let control = outside.control(number, leader);
            count(&spawner, &made, &failed, async move { call(control.await?, number, MANAGERS).await });
        }
    }
    let renewed = seen.len();
    // Those that are under way still end by themselves: each has its deadline.
    calls.stop().cancel();
    calls.finish().await.map_err(|error| anyhow!(error))?;
    let (made, failed) = (made.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    eprintln!("{failed} of {made} calls failed while {renewed} certificates were in use, one after the other");
    ensure!(renewed >= MANAGERS * 2, "certificates were not renewed");
    outside.channels.close();
    team.end().await?;
    Ok(failed as f64)
}

/// Makes a call, and notes how it went.
fn count(
    spawner: &Spawner,
    made: &Arc<AtomicU64>,
    failed: &Arc<AtomicU64>,
    call: impl Future<Output = Result<(), Status>> + Send + 'static,
) {
    let (made, failed) = (made.clone(), failed.clone());
    drop(spawner.spawn("call", async move {
        made.fetch_add(1, Ordering::Relaxed);
        if let Err(status) = call.await {
            eprintln!("a call has failed: {status}");
            failed.fetch_add(1, Ordering::Relaxed);
        }
    }));
}

fn is_write(number: u64) -> bool {
    number % 4 == 3
}

/// Reads, and now and then writes.
async fn call(mut control: ControlClient<Channel>, number: u64, place: usize) -> Result<(), Status> {
    match number % 4 {
        0 => control.list_nodes(wire::ListNodesRequest::default()).await.map(drop),
        1 => control.list_clusters(wire::ListClustersRequest::default()).await.map(drop),
        2 => control.list_services(wire::ListServicesRequest::default()).await.map(drop),
        _ => {
            let annotations = Some(wire::Annotations { name: format!("s{number}-{place}"), ..Default::default() });
            let spec = Some(wire::SecretSpec { annotations, data: b"renewed".as_slice().into(), ..Default::default() });
            control.create_secret(wire::CreateSecretRequest { spec }).await.map(drop)
        }
    }
}

/// Tells all nodes to renew, and gives the certificates that they have had until now.
async fn renew_all(team: &Team) -> Result<Vec<Vec<u8>>> {
    let store = team.leader().context("nobody leads")?;
    let view = store.view();
    let nodes: Vec<_> = team.nodes.iter().filter_map(|node| view.get::<NodeObject>(node.id()).cloned()).collect();
    store
        .update(|tx| {
            nodes.iter().try_for_each(|node| {
                let rotate = wire::IssuanceStatus { state: State::Rotate.into(), err: String::new() };
                // Whoever is about to get one already is left alone.
                let is_issued = |node: &NodeObject| {
                    node.certificate.status.as_ref().is_none_or(|status| status.state() == State::Issued)
                };
                tx.edit::<NodeObject>(&node.id, |node| {
                    if is_issued(node) {
                        node.certificate.status = Some(rotate);
                    }
                })
                .map(drop)
            })
        })
        .await?;
    let certificates = nodes.iter().map(|node| node.certificate.certificate.to_vec());
    Ok(certificates.filter(|chain| !chain.is_empty()).collect())
}

/// A node that only calls.
struct Outside {
    root: RootCa,
    credentials: Credentials,
    channels: Channels,
    addresses: Vec<String>,
}

impl Outside {
    async fn join(team: &Team) -> Result<Self> {
        let store = team.leader().context("nobody leads")?;
        let (env, spawner, token) = (Env::real(), team.crew.spawner(), tokens(&store)?.manager);
        let bundle = store.view().cluster().context("a cluster")?.root_ca.ca_cert.clone();
        let root = RootCa::from_pem(std::str::from_utf8(&bundle)?, env.now())?;
        let addresses: Vec<_> = team.nodes.iter().filter_map(NodeHandle::remote_addr).collect();
        let joining = Arc::new(TlsTransport::joining(&root, &env)?);
        let strangers = Channels::new(joining, ChannelOptions::default(), spawner.clone());
        let certificate = certificate(strangers.authority(&addresses[0]).await?, &token).await?;
        strangers.close();
        let credentials = Credentials::new(root.clone(), certificate, &env)?;
        let transport = Arc::new(TlsTransport::new(credentials.clone()));
        let channels = Channels::new(transport, ChannelOptions::default(), spawner);
        Ok(Self { root, credentials, channels, addresses })
    }

    async fn renew(&self) -> Result<()> {
        let certificate = certificate(self.channels.manager(&self.addresses[0]).await?, "").await?;
        certificate.verify(&self.root, swarmkit_ca::Expiry::Enforced, Env::real().now())?;
        Ok(self.credentials.replace_certificate(certificate)?)
    }

    /// A client of one manager after the other, or of the leader for what it alone does: a manager that is called from outside
    /// passes no write on.
    fn control(
        &self,
        number: u64,
        leader: usize,
    ) -> impl Future<Output = Result<ControlClient<Channel>, Status>> + Send + 'static {
        let at = if is_write(number) { leader } else { number as usize % self.addresses.len() };
        let (channels, address) = (self.channels.clone(), self.addresses[at].clone());
        async move { Ok(ControlClient::new(channels.manager(&address).await?)) }
    }
}

/// Asks for a certificate and waits for it.
async fn certificate(channel: Channel, token: &str) -> Result<NodeCertificate> {
    let key = SystemKeys.generate()?;
    let mut authority = NodeCaClient::new(channel);
    let csr: Vec<u8> = key.request()?.into();
    let request = wire::IssueNodeCertificateRequest { csr: csr.into(), token: token.to_owned(), ..Default::default() };
    let node_id = authority.issue_node_certificate(request).await?.into_inner().node_id;
    let answer = authority.node_certificate_status(wire::NodeCertificateStatusRequest { node_id }).await?.into_inner();
    let chain = answer.certificate.context("no certificate")?.certificate;
    Ok(NodeCertificate::new(std::str::from_utf8(&chain)?, key)?)
}

//! How fast certificates are issued to nodes that join, and what it costs when those come who may not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use futures_util::future::try_join_all;
use swarmkit::CancellationToken;
use swarmkit::api::wire;
use swarmkit::runtime::{Crew, Env};
use swarmkit_ca::{Credentials, JoinToken, KeyPair, KeySource as _, NodeCertificate, RootCa, SystemKeys};
use swarmkit_rpc::{Channel, ChannelOptions, ServerRole, TlsTransport, Transport, fetch_root};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::Code;
use wire::dispatcher_client::DispatcherClient;
use wire::issuance_status::State;
use wire::node_ca_client::NodeCaClient;

use crate::daemon::Daemon;
use crate::lab::{Lab, Stopwatch};
use crate::process::usage;

/// Certificates of one sample. A build that is not optimized only shows that it works.
const CERTIFICATES: usize = if cfg!(debug_assertions) { 64 } else { 4000 };
/// Connections that they are asked for on, and requests under way on each: as many as a stranger may have.
const CONNECTIONS: usize = 8;
const UNDER_WAY: usize = 16;

/// Attempts with each of two tokens that do not count, and how many are under way.
const ATTEMPTS: usize = if cfg!(debug_assertions) { 200 } else { 10_000 };
const ATTACKERS: usize = 64;
/// Connections that say nothing.
const SILENT: usize = 500;
/// The pause between two heartbeats, joins and looks at the memory of the daemon.
const PACE: Duration = Duration::from_millis(200);
/// The pause before a question that was refused for the crowd is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long an agent waits for the answer to a heartbeat: the period that it is given.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);

/// A manager, and what one needs to join it.
struct Site {
    daemon: Daemon,
    _state: TempDir,
    crew: Crew,
    env: Env,
    root: RootCa,
    token: String,
}

impl Site {
    async fn start(lab: &Lab) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let daemon = Daemon::start(lab.swarmd()?, state.path()).await?;
        let root = daemon.cluster().await?.root_ca.context("no root")?;
        let token = root.join_tokens.context("no tokens")?.worker;
        let (env, crew) = (Env::real(), Crew::under(&CancellationToken::new()));
        let root = fetch_root(&daemon.remote, None, &env, &crew.spawner()).await?;
        Ok(Self { daemon, _state: state, crew, env, root, token })
    }

    async fn connect(&self, transport: &dyn Transport) -> Result<Channel> {
        let options = ChannelOptions::default();
        Ok(Channel::connect(transport, &self.daemon.remote, ServerRole::Authority, &options, &self.crew.spawner())
            .await?)
    }

    async fn stranger(&self) -> Result<Channel> {
        self.connect(&TlsTransport::joining(&self.root, &self.env)?).await
    }

    async fn end(self) -> Result<()> {
        self.crew.stop().cancel();
        self.daemon.stop().await
    }
}

/// `ca.issue`
pub(crate) fn issue(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    lab.block_on(async {
        let site = Site::start(lab).await?;
        let mut samples = Vec::new();
        for _ in 0..repeats {
            samples.push(issued_per_second(&site).await?);
        }
        site.end().await?;
        Ok(samples)
    })
}

async fn issued_per_second(site: &Site) -> Result<f64> {
    let each = CERTIFICATES / (CONNECTIONS * UNDER_WAY);
    let mut work = Vec::new();
    for _ in 0..CONNECTIONS {
        let channel = site.stranger().await?;
        for _ in 0..UNDER_WAY {
            let requests = (0..each.max(1)).map(|_| Ok(SystemKeys.generate()?.request()?));
            work.push((channel.clone(), requests.collect::<Result<Vec<String>>>()?));
        }
    }
    let count: usize = work.iter().map(|(_, requests)| requests.len()).sum();
    let mut crew = Crew::under(&CancellationToken::new());
    let watch = Stopwatch::start();
    for (channel, requests) in work {
        let token = site.token.clone();
        crew.spawn("joining", move |_| async move {
            for csr in requests {
                certificate(channel.clone(), &token, csr).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    crew.finish().await.map_err(|error| anyhow!(error))?;
    Ok(count as f64 / watch.seconds())
}

/// Joins as nodes do, and gives the certificate.
pub(super) async fn certificate(channel: Channel, token: &str, csr: String) -> Result<String> {
    let mut authority = NodeCaClient::new(channel);
    let request = wire::IssueNodeCertificateRequest { csr: csr.into(), token: token.to_owned(), ..Default::default() };
    let node_id = authority.issue_node_certificate(request).await?.into_inner().node_id;
    let answer = loop {
        let question = wire::NodeCertificateStatusRequest { node_id: node_id.clone() };
        match authority.node_certificate_status(question).await {
            // Those who flood the manager come from the same address here. A node asks again, too.
            Err(status) if status.code() == Code::ResourceExhausted => tokio::time::sleep(ASK_AGAIN).await,
            answer => break answer?.into_inner(),
        }
    };
    let state = answer.status.unwrap_or_default().state();
    ensure!(state == State::Issued, "a certificate is {}", state.as_str_name());
    Ok(String::from_utf8(answer.certificate.unwrap_or_default().certificate.to_vec())?)
}

/// `ca.flood`
pub(crate) fn flood(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let samples = (0..repeats).map(|_| lab.block_on(async { flooded(Site::start(lab).await?).await }));
    samples.collect()
}

/// Megabytes that the daemon grows by.
async fn flooded(site: Site) -> Result<f64> {
    let key = SystemKeys.generate()?;
    let member = member(&site, key).await?;
    let mut dispatcher = DispatcherClient::new(member);
    let mut session = dispatcher.session(wire::SessionRequest::default()).await?.into_inner();
    let session_id = session.message().await?.context("the session has ended")?.session_id;

    let resident = || Ok::<_, anyhow::Error>(usage(site.daemon.pid())?.resident_bytes);
    let before = resident()?;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(&site.daemon.remote).await?);
    }
    let other = RootCa::create(&SystemKeys, &site.env)?;
    let wrong =
        [&site.root, &other].map(|root| JoinToken::generate(root.digest(), false, &site.env).as_str().to_owned());
    let (over, left) = (AtomicBool::new(false), AtomicU64::new(2 * ATTEMPTS as u64));
    let attacker = async |number: usize| {
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            attempt(&site, &wrong[number % 2]).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let attack = async {
        let ended = try_join_all((0..ATTACKERS).map(attacker)).await;
        over.store(true, Ordering::Relaxed);
        ended.map(drop)
    };
    let life = async {
        let (mut peak, mut joined, mut slowest) = (before, 0, Duration::ZERO);
        while !over.load(Ordering::Relaxed) {
            let watch = Stopwatch::start();
            dispatcher.heartbeat(wire::HeartbeatRequest { session_id: session_id.clone() }).await?;
            slowest = slowest.max(watch.elapsed());
            certificate(site.stranger().await?, &site.token, SystemKeys.generate()?.request()?).await?;
            joined += 1;
            peak = peak.max(resident()?);
            tokio::time::sleep(PACE).await;
        }
        Ok::<_, anyhow::Error>((peak, joined, slowest))
    };
    let watch = Stopwatch::start();
    let (attacked, (peak, joined, slowest)) = {
        let (attacked, lived) = tokio::join!(attack, life);
        (attacked, lived?)
    };
    attacked?;
    let (seconds, slowest_ms) = (watch.seconds(), slowest.as_millis());
    eprintln!("{joined} nodes joined in {seconds:.1} s; the slowest heartbeat took {slowest_ms} ms");
    ensure!(joined > 0, "no node could join");
    ensure!(slowest < HEARTBEAT_LIMIT, "a heartbeat took {slowest_ms} ms");
    drop((session, silent));
    site.end().await?;
    Ok((peak - before) as f64 / 1e6)
}

/// A connection with the certificate of a new worker.
async fn member(site: &Site, key: KeyPair) -> Result<Channel> {
    let chain = certificate(site.stranger().await?, &site.token, key.request()?).await?;
    let credentials = Credentials::new(site.root.without_signer(), NodeCertificate::new(&chain, key)?, &site.env)?;
    site.connect(&TlsTransport::new(credentials)).await
}

/// One join with a token that does not count. Whoever floods may lose its connection.
async fn attempt(site: &Site, token: &str) -> Result<()> {
    let Ok(channel) = site.stranger().await else { return Ok(()) };
    let request = wire::IssueNodeCertificateRequest {
        csr: vec![b'x'; 500].into(),
        token: token.to_owned(),
        ..Default::default()
    };
    match NodeCaClient::new(channel).issue_node_certificate(request).await {
        Err(status) if matches!(status.code(), Code::InvalidArgument | Code::ResourceExhausted | Code::Unavailable) => {
            Ok(())
        }
        Err(status) => bail!("refused in another way: {status}"),
        Ok(_) => bail!("a token that does not count was taken"),
    }
}

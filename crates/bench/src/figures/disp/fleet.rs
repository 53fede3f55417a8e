//! Agents of many nodes, all in this process: each is the agent of a daemon with a certificate and a connection of its own.
//! What they have in place of a whole node: their task databases are in memory, and their tasks do nothing.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use swarmkit::{
    CancellationToken,
    agent::{Agent, AgentHandle, ClusterManagers},
    api::{NodeId, wire},
    executor::InertExecutor,
    runtime::{Crew, Env},
};
use swarmkit_ca::{Credentials, KeySource as _, NodeCertificate, RootCa, SystemKeys};
use swarmkit_rpc::{Channel, ChannelOptions, Channels, Remote, Remotes, ServerRole, TlsTransport};

use crate::figures::issuing::certificate;

/// Connections that certificates are asked for on, and requests under way on each: as many as a stranger may have.
const CONNECTIONS: usize = 8;
const UNDER_WAY: usize = 16;
/// How many agents open their first session at the same time.
const STARTING: usize = 128;

/// Agents that run.
pub(super) struct Fleet {
    pub(super) agents: Vec<AgentHandle>,
    crew: Crew,
}

/// Nodes that are members of a cluster.
pub(super) struct Members {
    certificates: Vec<Credentials>,
}

impl Members {
    /// Joins so many nodes, each with a key of its own.
    pub(super) async fn join(cluster: &wire::Cluster, address: &str, count: usize) -> Result<Self> {
        let (env, crew) = (Env::real(), Crew::under(&CancellationToken::new()));
        let trusted = cluster.root_ca.as_ref().context("the cluster has a root")?;
        let token = &trusted.join_tokens.as_ref().context("the cluster has tokens")?.worker;
        let root = RootCa::from_pem(std::str::from_utf8(&trusted.ca_cert)?, env.now())?;
        let (options, spawner) = (ChannelOptions::default(), crew.spawner());
        let stranger = TlsTransport::joining(&root, &env)?;
        let dial = async |_| Channel::connect(&stranger, address, ServerRole::Authority, &options, &spawner).await;
        let channels: Vec<Channel> = stream::iter(0..CONNECTIONS).then(dial).try_collect().await?;
        let join = async |number: usize| {
            let key = SystemKeys.generate()?;
            let chain = certificate(channels[number % CONNECTIONS].clone(), token, key.request()?).await?;
            Ok::<_, anyhow::Error>(Credentials::new(root.clone(), NodeCertificate::new(&chain, key)?, &env)?)
        };
        let joining = stream::iter(0..count).map(join).buffer_unordered(CONNECTIONS * UNDER_WAY);
        let certificates = joining.try_collect().await?;
        drop(channels);
        crew.stop().cancel();
        Ok(Self { certificates })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.certificates.iter().map(|own| own.identity().node)
    }

    /// Starts their agents, which know the managers at these addresses. Returns when each has had a session.
    pub(super) async fn start(self, managers: &[String]) -> Result<Fleet> {
        let crew = Crew::under(&CancellationToken::new());
        let start = async |own: Credentials| {
            let agent = agent(own, managers, &crew)?;
            let handle = agent.handle();
            let stop = crew.stop().clone();
            drop(crew.spawner().spawn("agent", agent.run(stop)));
            handle.ready().await?;
            Ok::<_, anyhow::Error>(handle)
        };
        let starting = stream::iter(self.certificates).map(start).buffer_unordered(STARTING);
        let agents = starting.try_collect().await?;
        Ok(Fleet { agents, crew })
    }
}

impl Fleet {
    pub(super) async fn end(self) -> Result<()> {
        self.crew.stop().cancel();
        self.crew.finish().await.map_err(|error| anyhow!(error))
    }
}

fn agent(own: Credentials, managers: &[String], crew: &Crew) -> Result<Agent> {
    // Chance of its own: agents of one machine's chance would all wait equally long.
    let env = Env::real();
    let (hostname, tls_info) = (own.identity().node.to_string(), Some(own.trust().tls_info()));
    let known = managers.iter().map(|address| Remote { node: None, address: address.clone() });
    let channels = Channels::new(Arc::new(TlsTransport::new(own)), ChannelOptions::default(), crew.spawner());
    let managers = Arc::new(ClusterManagers::new(Remotes::new(known, &env), channels));
    let (_, tls_info) = tokio::sync::watch::channel(tls_info);
    let agent = Agent::builder(env, Arc::new(InertExecutor::new()), managers, "").without_disk();
    Ok(agent.hostname(hostname).tls_info(tls_info).build()?)
}

//! A cluster of real managers on a network of their own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use swarmkit_api::wire::{self, raft_member_status::Reachability};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    member::{Begin, Member},
    network::Network,
};

/// How long a cluster may take to stand.
const FOUND_LIMIT: Duration = Duration::from_secs(180);

/// How long one question may take.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// Time between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Managers that run, and what they run on. Dropping it ends and removes everything but the directories.
#[derive(Debug)]
pub struct Cluster {
    // Before the network: processes go before what they live in.
    members: Vec<Member>,
    network: Network,
    swarmd: PathBuf,
}

impl Cluster {
    /// Starts so many managers with their state below `dir`; the first one founds the cluster, the others join it. Returns
    /// when every one of them knows all as reachable.
    ///
    /// # Errors
    ///
    /// When that does not come about.
    pub async fn found(swarmd: &Path, dir: &Path, network: Network, managers: usize) -> Result<Self> {
        let members = (0..managers).map(|index| Member::new(index, dir)).collect::<Result<_>>()?;
        let mut cluster = Self { members, network, swarmd: swarmd.to_owned() };
        cluster.start(0, &Begin::Alone)?;
        let until = Instant::now() + FOUND_LIMIT;
        let token = cluster.until(until, 0, async |cluster| cluster.manager_token(0).await).await?;
        for index in 1..managers {
            let (address, token) = (cluster.network.address(0).to_string(), token.clone());
            cluster.start(index, &Begin::Join { address, token })?;
            cluster.until(until, index, async |cluster| cluster.stands(index + 1).await.then_some(())).await?;
        }
        Ok(cluster)
    }

    /// The network between the members.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// All members, by their numbers.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One member, to do something to it.
    ///
    /// # Panics
    ///
    /// When there is none of this number.
    pub fn member_mut(&mut self, index: usize) -> &mut Member {
        &mut self.members[index]
    }

    /// Starts a member again on what it has on disk.
    ///
    /// # Errors
    ///
    /// As [`Member::start`].
    pub fn restart(&mut self, index: usize) -> Result<()> {
        self.start(index, &Begin::Alone)
    }

    fn start(&mut self, index: usize, begin: &Begin) -> Result<()> {
        self.members[index].start(&self.swarmd, &self.network, begin)
    }

    /// The number of the member that leads, as the first one says that answers and knows.
    pub async fn leader(&self) -> Option<usize> {
        for member in self.members.iter().filter(|member| member.runs()) {
            let nodes = self.nodes(member.index()).await.unwrap_or_default();
            let leader = nodes.iter().find(|node| node.manager_status.as_ref().is_some_and(|status| status.leader));
            if let Some(index) = leader.and_then(|node| self.index_of(node)) {
                return Some(index);
            }
        }
        None
    }

    /// Waits for an answer that is some.
    async fn until<T>(&mut self, until: Instant, member: usize, ask: impl AsyncFn(&Self) -> Option<T>) -> Result<T> {
        loop {
            if let Some(answer) = ask(self).await {
                return Ok(answer);
            }
            if let Some(status) = self.members[member].has_ended()? {
                bail!("member {member} ended: {status}\n{}", self.members[member].tail());
            }
            if Instant::now() > until {
                bail!("member {member} did not get ready\n{}", self.members[member].tail());
            }
            sleep(TRY_AGAIN).await;
        }
    }

    /// Whether each of the first members, asked itself, shows all of them as reachable managers.
    pub async fn stands(&self, managers: usize) -> bool {
        for index in 0..managers {
            let nodes = self.nodes(index).await.unwrap_or_default();
            let is_reachable = |node: &&wire::Node| {
                node.manager_status.as_ref().is_some_and(|status| status.reachability() == Reachability::Reachable)
            };
            if nodes.iter().filter(is_reachable).count() != managers {
                return false;
            }
        }
        true
    }

    async fn nodes(&self, member: usize) -> Option<Vec<wire::Node>> {
        let mut client = self.members[member].client();
        let ask = async { client.control().await?.list_nodes(wire::ListNodesRequest::default()).await.ok() };
        Some(timeout(ASK_LIMIT, ask).await.ok()??.into_inner().nodes)
    }

    async fn manager_token(&self, member: usize) -> Option<String> {
        let mut client = self.members[member].client();
        let ask = async { client.control().await?.list_clusters(wire::ListClustersRequest::default()).await.ok() };
        let answer = timeout(ASK_LIMIT, ask).await.ok()??.into_inner();
        Some(answer.clusters.into_iter().next()?.root_ca?.join_tokens?.manager)
    }

    /// Which member a node is, by the address that it is reached at.
    fn index_of(&self, node: &wire::Node) -> Option<usize> {
        let address = &node.manager_status.as_ref()?.addr;
        (0..self.members.len()).find(|&index| self.network.address(index).to_string() == *address)
    }

    /// Stops all members politely and at once, and waits for them.
    ///
    /// # Errors
    ///
    /// When one of them does not stop within the limit, or not cleanly.
    pub async fn stop(&mut self, limit: Duration) -> Result<()> {
        for member in &self.members {
            member.ask_to_stop().with_context(|| format!("stopping member {}", member.index()))?;
        }
        for member in &mut self.members {
            member.stopped(limit).await?;
        }
        Ok(())
    }
}

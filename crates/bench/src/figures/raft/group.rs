//! Members in this process, each with a folder of its own, that reach each other over sockets with mutual TLS.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, anyhow};
use swarmkit::{
    CancellationToken,
    api::{ClusterId, NodeId, NodeRole},
    runtime::{Crew, Env},
    store::Store,
};
use swarmkit_ca::{Credentials, Identity, KeySource as _, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys};
use swarmkit_raft::{
    Begin, LogKey, Raft, RaftConfig, RaftOptions, RaftProposer, RaftService, RealDisk, RpcMessenger, SnapshotPolicy,
    new_raft_id,
};
use swarmkit_rpc::{Authority, ServerOptions, Services, TlsTransport, Transport as _, serve};
use tempfile::TempDir;

/// Members that reach each other.
pub(in crate::figures) struct Group {
    env: Env,
    root: RootCa,
    members: Vec<Member>,
    /// Serves and dials for all of them.
    crew: Crew,
}

/// What a member is on its machine, and the member itself while it runs.
struct Member {
    folder: TempDir,
    node: NodeId,
    raft_id: u64,
    addr: String,
    credentials: Credentials,
    running: Option<Running>,
}

/// A member, and what serves it.
struct Running {
    raft: Raft,
    store: Store,
    stop: CancellationToken,
    parts: Crew,
    _serving: Crew,
}

impl Group {
    /// A group of so many, of which the first leads.
    pub(in crate::figures) async fn of(members: usize) -> Result<Self> {
        let env = Env::real();
        let root = RootCa::create(&SystemKeys, &env)?;
        let mut group = Self { env, root, members: Vec::new(), crew: Crew::under(&CancellationToken::new()) };
        for number in 0..members {
            let member = group.machine(number)?;
            group.members.push(member);
            group.start(number).await?;
            let founder = &group.running(0)?.raft;
            if number == 0 {
                founder.leadership().lead().await?;
            } else {
                let Member { raft_id, node, addr, .. } = &group.members[number];
                founder.add_learner(*raft_id, node, addr).await?;
                founder.promote(*raft_id).await?;
            }
        }
        Ok(group)
    }

    fn machine(&self, number: usize) -> Result<Member> {
        let node = NodeId::from(format!("n{number}"));
        let identity = Identity::new(node.clone(), NodeRole::Manager, ClusterId::from("ours"));
        let key = SystemKeys.generate()?;
        let chain = self.root.issue(&key.request()?, &identity, LEAF_VALIDITY_DEFAULT, &self.env)?;
        let certificate = NodeCertificate::new(&chain, key)?;
        let credentials = Credentials::new(self.root.without_signer(), certificate, &self.env)?;
        let (folder, raft_id) = (tempfile::tempdir()?, new_raft_id(&self.env));
        Ok(Member { folder, node, raft_id, addr: "127.0.0.1:0".to_owned(), credentials, running: None })
    }

    /// Starts a member.
    async fn start(&mut self, at: usize) -> Result<()> {
        let member = &mut self.members[at];
        let transport = TlsTransport::new(member.credentials.clone());
        let listener = transport.listen(&member.addr).await?;
        member.addr = listener.local_addr().context("a socket has an address")?.to_string();
        let (serving, stop) = (Crew::under(self.crew.stop()), CancellationToken::new());
        let proposer = RaftProposer::new();
        let store = Store::new(self.env.clone(), proposer.clone());
        let config = RaftConfig {
            disk: Arc::new(RealDisk::open(member.folder.path())?),
            keys: LogKey::new([7; 32]).into(),
            env: self.env.clone(),
            options: RaftOptions::default(),
            node_id: member.node.clone(),
            addr: member.addr.clone(),
            messenger: Arc::new(RpcMessenger::new(Arc::new(transport), serving.spawner())),
            begin: if at == 0 { Begin::Bootstrap } else { Begin::Join { raft_id: member.raft_id } },
        };
        let (raft, running) = Raft::start(config, &proposer, &stop).await?;
        let mut parts = Crew::under(&stop);
        parts.spawn("raft", |_| running.run());
        let services = Services::new(Authority::of(&member.credentials));
        let services = services.with(RaftService::server(raft.receiver()))?;
        let listening = serve(listener, services, ServerOptions::default(), serving.spawner());
        drop(serving.spawner().spawn("server", listening));
        member.running = Some(Running { raft, store, stop, parts, _serving: serving });
        Ok(())
    }

    /// The store of the member that leads.
    pub(in crate::figures) fn store(&self) -> Result<&Store> {
        Ok(&self.running(0)?.store)
    }

    /// The folders of all members.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.members.iter().map(|member| member.folder.path())
    }

    /// When members take snapshots from now on.
    pub(super) fn set_snapshot_interval(&self, interval: u64) -> Result<()> {
        let policy = SnapshotPolicy { interval, ..SnapshotPolicy::from(&RaftOptions::default()) };
        (0..self.members.len()).try_for_each(|at| {
            self.running(at)?.raft.set_snapshot_policy(policy);
            Ok(())
        })
    }

    fn running(&self, at: usize) -> Result<&Running> {
        self.members[at].running.as_ref().context("the member does not run")
    }

    pub(in crate::figures) async fn end(mut self) -> Result<()> {
        // Their folders go with `self`, and not before they have stopped.
        for running in self.members.iter_mut().rev().filter_map(|member| member.running.take()) {
            running.stop.cancel();
            running.parts.finish().await.map_err(|error| anyhow!(error))?;
        }
        Ok(())
    }
}

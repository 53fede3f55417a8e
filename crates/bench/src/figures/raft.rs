//! Durable writes, alone and in a group of three.
//!
//! The members run in this process, each on a folder of its own that is synced for real, and reach each other over
//! sockets of this machine with mutual TLS.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use swarmkit::{
    CancellationToken,
    api::{ClusterId, NodeId, NodeRole, Service, ServiceId, wire},
    runtime::{Crew, Env},
    store::Store,
};
use swarmkit_ca::{Credentials, Identity, KeySource as _, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys};
use swarmkit_raft::{
    Begin, LogKey, Raft, RaftConfig, RaftOptions, RaftProposer, RaftService, RealDisk, RpcMessenger, new_raft_id,
};
use swarmkit_rpc::{Authority, ServerOptions, Services, TlsTransport, Transport as _, serve};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::lab::{Lab, Stopwatch};

/// How long a load runs before it is measured, and while it is.
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);

/// What one run of writers came to.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Loads that were measured, by members and writers: rate and latency come from the same runs.
pub(crate) type Loads = BTreeMap<(usize, usize), Vec<Load>>;

/// Writes a second.
pub(crate) fn writes<const MEMBERS: usize, const WRITERS: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(loads(lab, MEMBERS, WRITERS, repeats)?.into_iter().map(|load| load.per_second).collect())
}

/// Median time of a write.
pub(crate) fn p50<const MEMBERS: usize, const WRITERS: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(loads(lab, MEMBERS, WRITERS, repeats)?.into_iter().map(|load| load.p50_ms).collect())
}

/// The time that 99 of 100 writes stay below.
pub(crate) fn p99<const MEMBERS: usize, const WRITERS: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(loads(lab, MEMBERS, WRITERS, repeats)?.into_iter().map(|load| load.p99_ms).collect())
}

fn loads(lab: &mut Lab, members: usize, writers: usize, repeats: u32) -> Result<Vec<Load>> {
    if let Some(known) = lab.loads.get(&(members, writers)) {
        return Ok(known.clone());
    }
    let runtime = runtime()?;
    let measured: Vec<Load> = runtime.block_on(async {
        let group = Group::of(members).await?;
        let store = &group.running(0)?.store;
        let mut measured = Vec::new();
        for _ in 0..repeats {
            measured.push(load(store, writers).await?);
        }
        group.end().await?;
        Ok::<_, anyhow::Error>(measured)
    })?;
    lab.loads.insert((members, writers), measured.clone());
    Ok(measured)
}

/// As programs do that say `#[tokio::main]`.
fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Lets writers write, each one after the other.
async fn load(store: &Store, writers: usize) -> Result<Load> {
    let watch = Stopwatch::start();
    let mut crew = Crew::under(&CancellationToken::new());
    let (latencies, mut gathered) = tokio::sync::mpsc::channel(writers);
    for writer in 0..writers {
        let (store, latencies) = (store.clone(), latencies.clone());
        crew.spawn("writer", move |_| async move {
            let taken = one_writer(&store, &format!("w{writer}"), watch).await?;
            latencies.send(taken).await.map_err(|error| anyhow!(error))
        });
    }
    drop(latencies);
    crew.finish().await.map_err(|error| anyhow!(error))?;
    let mut all: Vec<Duration> = Vec::new();
    while let Some(some) = gathered.recv().await {
        all.extend(some);
    }
    all.sort_unstable();
    let at = |share: f64| all.get((all.len() as f64 * share) as usize).map(|took| took.as_secs_f64() * 1000.0);
    let (p50_ms, p99_ms) = at(0.5).zip(at(0.99)).context("nothing was written")?;
    Ok(Load { per_second: all.len() as f64 / MEASURED.as_secs_f64(), p50_ms, p99_ms })
}

/// Updates one service over and over, and gives how long the writes took that began while it was measured.
async fn one_writer(store: &Store, name: &str, watch: Stopwatch) -> Result<Vec<Duration>> {
    let id = ServiceId::from(name);
    if store.view().get::<Service>(&id).is_none() {
        store.update(|tx| tx.create(service(&id, 0))).await?;
    }
    let mut taken = Vec::new();
    for round in 1.. {
        let began = watch.elapsed();
        if began > WARM_UP + MEASURED {
            break;
        }
        store.update(|tx| tx.edit::<Service>(&id, |known| known.spec = service(&id, round).spec)).await?;
        let ended = watch.elapsed();
        if began >= WARM_UP && ended <= WARM_UP + MEASURED {
            taken.push(ended.saturating_sub(began));
        }
    }
    Ok(taken)
}

fn service(id: &ServiceId, round: u64) -> Service {
    let labels = [("round".to_owned(), round.to_string())].into();
    let annotations = Some(wire::Annotations { name: id.to_string(), labels, ..Default::default() });
    Service::new(id.clone(), wire::ServiceSpec { annotations, ..Default::default() })
}

/// How long an append of 512 bytes and its sync take on the disk of these figures.
pub(crate) fn fsync(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    use std::io::Write as _;
    let folder = tempfile::tempdir()?;
    let mut file = std::fs::File::create(folder.path().join("log"))?;
    let mut samples = Vec::new();
    for _ in 0..repeats {
        let watch = Stopwatch::start();
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        samples.push(watch.seconds() * 1000.0);
    }
    Ok(samples)
}

/// Members that reach each other.
struct Group {
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
    async fn of(members: usize) -> Result<Self> {
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

    fn running(&self, at: usize) -> Result<&Running> {
        self.members[at].running.as_ref().context("the member does not run")
    }

    async fn end(self) -> Result<()> {
        for running in self.members.into_iter().rev().filter_map(|member| member.running) {
            running.stop.cancel();
            running.parts.finish().await.map_err(|error| anyhow!(error))?;
        }
        Ok(())
    }
}

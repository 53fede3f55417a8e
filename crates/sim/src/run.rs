//! One run: a world from a plan, faults, peace, and the verdict.

use std::{fmt, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use swarmkit_api::NodeId;
use swarmkit_runtime::{Crew, Env};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Trace,
    clients::{self, Client},
    clock::SimClock,
    cluster::Cluster,
    faults,
    invariants::{Broken, convergence::Replica},
    network::Network,
    oracle::{Counts, Oracle, contents},
    plan::Plan,
    site::{Site, World},
};

/// How long the founding of the group may take.
const FOUNDING: Duration = Duration::from_secs(60);

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The invariant that broke, if any.
    pub broken: Option<Broken>,
    /// How long it took in the simulated world.
    pub simulated: Duration,
    /// What was seen, in numbers.
    pub counts: Counts,
    /// How many lines the trace has, and the sum of them.
    pub trace: (u64, u64),
}

/// Simulates one world.
///
/// # Panics
///
/// When the runtime cannot be made: there is no memory.
#[must_use]
pub fn run(plan: &Plan, trace: &Trace) -> Report {
    // No sockets and no other thread: whatever happens, happens in this one, in an order that follows from the seed.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("invariant: a runtime without sockets needs only memory").block_on(simulate(plan, trace))
}

async fn simulate(plan: &Plan, trace: &Trace) -> Report {
    let start = Instant::now();
    let stop = CancellationToken::new();
    let crew = Crew::under(&stop);
    let oracle = Oracle::new(trace.clone());
    let seed = Env::seeded(plan.seed, SimClock::new());
    let network = Network::new(seed.rng("network"), trace.clone(), oracle.clone(), crew.spawner());
    let world = World {
        seed: seed.clone(),
        bug: plan.bug,
        trace: trace.clone(),
        oracle: oracle.clone(),
        network,
        outside: crew.spawner(),
        options: plan.raft.clone(),
    };
    trace.line("plan", format_args!("{plan:?}"));
    crate::panics::told_to(&oracle);
    let sites: Arc<[_]> = (1..=plan.managers)
        .map(|number| Site::new(NodeId::from(format!("n{number}")), number == 1, world.clone()))
        .collect();
    let cluster = Cluster { world, sites };
    let replicas = tokio::select! { biased; // after the first broken invariant nothing is worth seeing
        () = oracle.alarm().cancelled() => None,
        replicas = live(plan, &cluster) => replicas,
    };
    let counts = oracle.conclude(replicas.as_deref());
    crate::panics::told_to_nobody();
    Report { seed: plan.seed, broken: oracle.broken(), simulated: start.elapsed(), counts, trace: trace.sum() }
}

/// The founding, the faults, and the time after them. Gives the replicas at the end, if it comes in time.
async fn live(plan: &Plan, cluster: &Cluster) -> Option<Vec<Replica>> {
    let world = &cluster.world;
    drop(world.outside.spawn("operator", cluster.clone().operate()));
    if !reaches(FOUNDING, || cluster.is_whole()).await {
        world.oracle.late("the group was not founded");
        return None;
    }
    world.trace.line("plan", format_args!("the group is founded"));
    let clients = Crew::under(&CancellationToken::new());
    for number in 0..plan.clients {
        drop(clients.spawner().spawn("client", client(plan, cluster, number).run()));
    }
    for number in 0..plan.watchers {
        let rng = world.seed.rng(&format!("watcher {number}"));
        drop(clients.spawner().spawn("watcher", clients::watch(cluster.clone(), rng)));
    }
    faults::happen(cluster.clone(), plan.clone(), world.seed.rng("faults")).await;
    cluster.heal();
    // The clients go on for a moment, so that what happens after the faults is judged too.
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(clients);
    converge(plan, cluster).await
}

fn client(plan: &Plan, cluster: &Cluster, number: usize) -> Client {
    let keys = (0..plan.objects).map(|key| Arc::from(format!("key-{key}"))).collect();
    let rng = cluster.world.seed.rng(&format!("client {number}"));
    let (next, step) = (number as u64, plan.clients as u64 + 1);
    Client { cluster: cluster.clone(), rng, keys, next, step, known: None }
}

/// Waits until all is well: everybody votes, a write succeeds, and all replicas have it.
async fn converge(plan: &Plan, cluster: &Cluster) -> Option<Vec<Replica>> {
    let end = Instant::now() + plan.heal_within;
    let left = || end.saturating_duration_since(Instant::now());
    let late = |what| {
        cluster.world.oracle.late(what);
        None
    };
    if !reaches(left(), || cluster.is_whole()).await {
        return late("not all members are voters again");
    }
    let mut last = client(plan, cluster, plan.clients);
    last.rng = SmallRng::seed_from_u64(plan.seed);
    loop {
        if left().is_zero() {
            return late("no write succeeds");
        }
        if let Some((_, leader)) = cluster.leader()
            && last.write(&leader, &Arc::from("last"), false).await
        {
            break;
        }
        let pause = Duration::from_millis(last.rng.random_range(10..200));
        tokio::time::sleep(pause).await;
    }
    // A manager may restart even then, as an operator replaces it; versions only have to come to be equal.
    let equal = || {
        let mut versions = replicas(cluster).into_iter().map(|replica| replica.version);
        let first = versions.next().flatten();
        first.is_some() && versions.all(|version| version == first)
    };
    // Whether they do is for the invariant to say.
    reaches(left(), equal).await;
    Some(replicas(cluster))
}

fn replicas(cluster: &Cluster) -> Vec<Replica> {
    let replica = |site: &Arc<Site>| {
        let view = site.member().map(|member| member.store.view());
        let held = view.as_ref().map(|view| contents(view)).unwrap_or_default();
        Replica { name: site.name.clone(), version: view.map(|view| view.version().0), contents: held }
    };
    cluster.sites.iter().map(replica).collect()
}

/// Waits until something holds, at most so long. Tells whether it does.
async fn reaches(within: Duration, holds: impl Fn() -> bool) -> bool {
    let end = Instant::now() + within;
    while !holds() {
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { terms, versions, writes, operations, undecided } = self.counts;
        let (lines, sum) = self.trace;
        let millis = self.simulated.as_millis();
        write!(
            f,
            "seed {} simulated_ms {millis} trace {lines} {sum:016x} terms {terms} versions {versions} ",
            self.seed
        )?;
        write!(f, "writes {writes} operations {operations} undecided {undecided}")?;
        match &self.broken {
            None => f.write_str(" ok"),
            Some(broken) => write!(f, " BROKEN {broken}"),
        }
    }
}

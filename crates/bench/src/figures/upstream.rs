//! Upstream's own benchmarks of its store and its watch queue, with the same work, under names that show which they are.
//!
//! Those that the project claims something about are in the list of claims; the others are here, for information. One
//! event of upstream's queue is a commit of one node here, which is what makes an event, so the commit is part of each
//! figure. A listener that falls behind is given a snapshot, and has then received what the snapshot holds.
use anyhow::{Context as _, Result};
use swarmkit::CancellationToken;
use swarmkit::api::{Kind, Node, NodeId, Version};
use swarmkit::runtime::Crew;
use swarmkit::store::{NodeBy, Store, StoreError};

use super::store::{NODES, samples, touch, with_nodes};
use crate::figure::{Figure, Unit};
use crate::lab::{Lab, Stopwatch};

/// The most events of one sample, and how often listeners are told of one at most.
const EVENTS: usize = 1024;
const TOLD: usize = 1_000_000;

const fn figure(
    id: &'static str,
    meaning: &'static str,
    unit: Unit,
    upstream: Option<&'static str>,
    run: fn(&mut Lab, u32) -> Result<Vec<f64>>,
) -> Figure {
    Figure { id, meaning, unit, limit: None, upstream, repeats: 5, for_information: true, run }
}

const fn publish(id: &'static str, run: fn(&mut Lab, u32) -> Result<Vec<f64>>) -> Figure {
    let meaning = "a commit told to so many watchers, by so many writers at once: until all writers are through";
    figure(id, meaning, Unit::Microseconds, None, run)
}

const fn watch(id: &'static str, run: fn(&mut Lab, u32) -> Result<Vec<f64>>) -> Figure {
    let meaning = "a commit told to so many watchers, by so many writers at once: until every watcher has all";
    figure(id, meaning, Unit::Microseconds, None, run)
}

/// The figures of upstream's benchmarks that nothing is claimed about.
pub(crate) static FIGURES: &[Figure] = &[
    figure("store.update", "one of 10,000 nodes updated, all in one transaction", Unit::Microseconds, None, update),
    figure(
        "store.delete_tx",
        "a transaction that deletes one of 10,000 nodes and is then given up",
        Unit::Microseconds,
        None,
        delete_tx,
    ),
    figure(
        "store.find_by_name",
        "nodes looked for by a host name that none of 10,000 has",
        Unit::Nanoseconds,
        Some("1,050 ns"),
        find_by_name,
    ),
    publish("store.publish_10", publish_to::<10, 1>),
    publish("store.publish_100", publish_to::<100, 1>),
    publish("store.publish_1000", publish_to::<1000, 1>),
    publish("store.publish_10000", publish_to::<10_000, 1>),
    publish("store.publish_10_by_4", publish_to::<10, 4>),
    publish("store.publish_100_by_8", publish_to::<100, 8>),
    publish("store.publish_1000_by_4", publish_to::<1000, 4>),
    publish("store.publish_1000_by_64", publish_to::<1000, 64>),
    watch("store.watch_10", watch_by::<10, 1>),
    watch("store.watch_100", watch_by::<100, 1>),
    watch("store.watch_1000", watch_by::<1000, 1>),
    watch("store.watch_10000", watch_by::<10_000, 1>),
    watch("store.watch_10_by_4", watch_by::<10, 4>),
    watch("store.watch_100_by_8", watch_by::<100, 8>),
    watch("store.watch_1000_by_4", watch_by::<1000, 4>),
    watch("store.watch_1000_by_64", watch_by::<1000, 64>),
];

/// `store.update`
fn update(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    samples(lab, repeats, async || {
        let (store, ids) = with_nodes(NODES).await?;
        let watch = Stopwatch::start();
        let port = |node: &mut Node| node.vxlan_udp_port += 1;
        store.update(|tx| ids.iter().try_for_each(|id| tx.edit(id, port).map(drop))).await?;
        Ok(watch.seconds() * 1e6 / NODES as f64)
    })
}

/// `store.delete_tx`
fn delete_tx(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    samples(lab, repeats, async || {
        let (store, ids) = with_nodes(NODES).await?;
        let watch = Stopwatch::start();
        for _ in 0..NODES {
            let given_up = store.update(|tx| tx.delete::<Node>(&ids[0]).and(Err::<(), _>(StoreError::NotFound)));
            given_up.await.err().context("it was given up")?;
        }
        let microseconds = watch.seconds() * 1e6 / NODES as f64;
        (store.view().count::<Node>() == NODES).then_some(microseconds).context("a node is missing")
    })
}

/// `store.find_by_name`: nodes have a name in their annotations, as upstream's, and none as a host.
fn find_by_name(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    samples(lab, repeats, async || {
        let (store, _) = with_nodes(NODES).await?;
        let names: Vec<_> = (0..NODES).map(|number| format!("name{number}")).collect();
        let view = store.view();
        let watch = Stopwatch::start();
        let found: usize = names.iter().map(|name| view.find(NodeBy::Name(name)).count()).sum();
        let nanoseconds = watch.seconds() * 1e9 / NODES as f64;
        (found == 0).then_some(nanoseconds).context("a node has a host name")
    })
}

fn publish_to<const LISTENERS: usize, const WRITERS: usize>(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    shape(repeats, LISTENERS, WRITERS, |told| told.written)
}

fn watch_by<const LISTENERS: usize, const WRITERS: usize>(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    shape(repeats, LISTENERS, WRITERS, |told| told.heard)
}

/// What one round took, in seconds.
struct Told {
    /// Until all writers were through.
    written: f64,
    /// Until every watcher had everything.
    heard: f64,
}

fn shape(repeats: u32, listeners: usize, writers: usize, of: fn(&Told) -> f64) -> Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let each = EVENTS.min(TOLD / listeners).max(writers) / writers;
    let sample = || {
        let told = runtime.block_on(round(listeners, writers, each))?;
        Ok(of(&told) * 1e6 / (each * writers) as f64)
    };
    (0..repeats).map(|_| sample()).collect()
}

/// So many writers write one node `each` times, and so many watchers are told.
async fn round(listeners: usize, writers: usize, each: usize) -> Result<Told> {
    let (store, ids) = with_nodes(writers).await?;
    let last = Version(store.version().0 + (writers * each) as u64);
    let crew = Crew::under(&CancellationToken::new());
    let mut watchers = Vec::new();
    for _ in 0..listeners {
        let mut watch = store.watch(Kind::Node);
        watch.next().await?;
        watchers.push(crew.spawner().spawn("watcher", async move {
            while watch.next().await?.view().version() < last {}
            Ok::<_, anyhow::Error>(())
        }));
    }
    let clock = Stopwatch::start();
    let write = |id: NodeId| crew.spawner().spawn("writer", write(store.clone(), id, each));
    for writer in ids.into_iter().map(write).collect::<Vec<_>>() {
        writer.await?.context("a writer was stopped")??;
    }
    let written = clock.seconds();
    for watcher in watchers {
        watcher.await?.context("a watcher was stopped")??;
    }
    Ok(Told { written, heard: clock.seconds() })
}

async fn write(store: Store, id: NodeId, times: usize) -> Result<()> {
    for _ in 0..times {
        touch(&store, &id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What upstream calls its benchmarks, and the ids that these have here.
    const CASES: &[(&str, &str)] = &[
        ("CreateNode", "store.create"),
        ("UpdateNode", "store.update"),
        ("UpdateNodeTransaction", "store.update_tx"),
        ("DeleteNodeTransaction", "store.delete_tx"),
        ("GetNode", "store.get"),
        ("FindAllNodes", "store.list_10k_nodes"),
        ("FindNodeByName", "store.find_by_name"),
        ("NodeConcurrency", "store.concurrency"),
        ("Publish10", "store.publish_10"),
        ("Publish100", "store.publish_100"),
        ("Publish1000", "store.publish_1000"),
        ("Publish10000", "store.publish_10000"),
        ("Publish10Listeners4Publishers", "store.publish_10_by_4"),
        ("Publish100Listeners8Publishers", "store.publish_100_by_8"),
        ("Publish1000Listeners4Publishers", "store.publish_1000_by_4"),
        ("Publish1000Listeners64Publishers", "store.publish_1000_by_64"),
        ("Watch10", "store.watch_10"),
        ("Watch100", "store.watch_100"),
        ("Watch1000", "store.watch_1000"),
        ("Watch10000", "store.watch_10000"),
        ("Watch10Listeners4Publishers", "store.watch_10_by_4"),
        ("Watch100Listeners8Publishers", "store.watch_100_by_8"),
        ("Watch1000Listeners4Publishers", "store.watch_1000_by_4"),
        ("Watch1000Listeners64Publishers", "store.watch_1000_by_64"),
    ];

    #[test]
    fn upstreams_benchmarks_of_the_store_are_all_there() {
        for (upstream, id) in CASES {
            assert!(super::super::all().any(|figure| figure.id == *id), "{upstream} should be {id}");
        }
        let known = |figure: &&Figure| CASES.iter().any(|(_, id)| figure.id == *id);
        assert_eq!(FIGURES.iter().filter(known).count(), FIGURES.len(), "one that upstream does not have");
    }

    #[test]
    fn every_watcher_is_told_of_every_write_whatever_the_shape() {
        for figure in [publish_to::<10, 4>, watch_by::<10, 4>, watch_by::<100, 8>] {
            let mut lab = Lab::new(Some("nowhere".into())).expect("there is a runtime");
            let samples = figure(&mut lab, 1).expect("everybody was told");
            assert!(samples.len() == 1 && samples[0] > 0.0);
        }
    }

    #[test]
    fn the_cases_beside_claims_measure_what_they_say() {
        let mut lab = Lab::new(Some("nowhere".into())).expect("there is a runtime");
        for figure in [update, delete_tx, find_by_name] {
            assert!(figure(&mut lab, 1).expect("it measures")[0] > 0.0);
        }
    }
}

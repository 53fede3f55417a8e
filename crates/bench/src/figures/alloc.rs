//! What giving out networks, addresses and ports costs, on a store in this program.
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use swarmkit::{
    CancellationToken,
    api::{
        Kind, Network, NetworkId, Service, ServiceId,
        wire::{self, EndpointSpec, NetworkAttachmentConfig, PortConfig},
    },
    overlay_networks::OverlayNetworks,
    runtime::{Crew, Env},
    store::{Change, State, Store, StoreError, Transaction, Update, Watch},
};

use crate::{
    figure::{Figure, Unit},
    lab::{Lab, Stopwatch},
};

/// How many networks there are beside the one of the ports, and as many services, each on one of them.
const NETWORKS: usize = 10_000;
/// How many ports each service publishes. All have numbers of their own, since only 2,768 of each protocol can be chosen
/// for whoever has no wish.
const PORTS: usize = 10;
/// How many numbers of each protocol are used; one after the other belongs to the next protocol.
const PROTOCOLS: usize = 3;
/// How many objects a transaction creates.
const AT_ONCE: usize = 200;

/// The figures of the allocator.
pub(crate) static FIGURES: &[Figure] = &[
    Figure {
        id: "alloc.networks_ports",
        meaning: "allocator started on 10,000 overlay networks and 10,000 services with 100,000 published ports, to all of \
                  them recorded with subnets, VXLAN ids, 20,000 virtual addresses and ports; store without replication",
        unit: Unit::Seconds,
        limit: Some(2.0),
        upstream: None,
        repeats: 3,
        for_information: false,
        run: networks_ports,
    },
    Figure {
        id: "alloc.restore",
        meaning: "a new leader's allocator started on these, to the first endpoint that it gives to a new service",
        unit: Unit::Seconds,
        limit: None,
        upstream: None,
        repeats: 3,
        for_information: true,
        run: restore,
    },
];

/// `alloc.networks_ports`
fn networks_ports(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    measure(repeats, async || {
        let store = filled().await?;
        let mut changes = changes(&store)?;
        let watch = Stopwatch::start();
        let crew = begin(&store);
        given(&mut changes, NETWORKS + 1, NETWORKS).await?;
        let seconds = watch.seconds();
        end(crew).await?;
        check(&store.view())?;
        Ok(seconds)
    })
}

/// `alloc.restore`
fn restore(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    measure(repeats, async || {
        let store = filled().await?;
        let mut before = changes(&store)?;
        let crew = begin(&store);
        given(&mut before, NETWORKS + 1, NETWORKS).await?;
        end(crew).await?;
        let late = service(NETWORKS);
        store.update(|tx| tx.create(late).map(drop)).await.map_err(|error: StoreError| error)?;
        let mut changes = changes(&store)?;
        let watch = Stopwatch::start();
        let crew = begin(&store);
        given(&mut changes, 0, 1).await?;
        let seconds = watch.seconds();
        end(crew).await?;
        Ok(seconds)
    })
}

fn measure(repeats: u32, sample: impl AsyncFn() -> Result<f64>) -> Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    (0..repeats).map(|_| runtime.block_on(sample())).collect()
}

/// A store in which nothing is allocated yet.
async fn filled() -> Result<Store> {
    let store = Store::local(Env::real());
    create(&store, (0..NETWORKS).map(network).chain([ingress()])).await?;
    create(&store, (0..NETWORKS).map(service)).await?;
    Ok(store)
}

async fn create<O: swarmkit::store::Stored>(store: &Store, objects: impl Iterator<Item = O>) -> Result<()> {
    let mut objects = objects.peekable();
    while objects.peek().is_some() {
        let some: Vec<_> = objects.by_ref().take(AT_ONCE).collect();
        let write = |tx: &mut Transaction| some.into_iter().try_for_each(|object| tx.create(object).map(drop));
        store.update(write).await.map_err(|error: StoreError| error)?;
    }
    Ok(())
}

fn annotations(name: String) -> Option<wire::Annotations> {
    Some(wire::Annotations { name, ..Default::default() })
}

fn network(number: usize) -> Network {
    let mut network = Network::new(NetworkId::from(format!("network{number}")));
    let spec = wire::NetworkSpec { annotations: annotations(format!("network{number}")), ..Default::default() };
    network.spec = Arc::new(spec);
    network
}

/// The network of the ports, with room for an address of each service.
fn ingress() -> Network {
    let mut network = Network::new(NetworkId::from("ingress"));
    let config = wire::IpamConfig { subnet: "172.20.0.0/16".to_owned(), ..Default::default() };
    network.spec = Arc::new(wire::NetworkSpec {
        annotations: annotations("ingress".to_owned()),
        ingress: true,
        ipam: Some(wire::IpamOptions { configs: vec![config], ..Default::default() }),
        ..Default::default()
    });
    network
}

fn service(number: usize) -> Service {
    let port = |nth: usize| {
        let place = number * PORTS + nth;
        PortConfig {
            target_port: 80 + nth as u32,
            published_port: 1 + (place / PROTOCOLS) as u32,
            protocol: (place % PROTOCOLS) as i32,
            ..Default::default()
        }
    };
    let target = format!("network{}", number % NETWORKS);
    let networks = vec![NetworkAttachmentConfig { target, ..Default::default() }];
    let spec = wire::ServiceSpec {
        annotations: annotations(format!("service{number}")),
        task: Some(wire::TaskSpec { networks, ..Default::default() }),
        endpoint: Some(EndpointSpec { ports: (0..PORTS).map(port).collect(), ..Default::default() }),
        ..Default::default()
    };
    Service::new(ServiceId::from(format!("service{number}")), spec)
}

fn changes(store: &Store) -> Result<Watch> {
    let mut changes = store.watch([Kind::Network, Kind::Service]);
    changes.try_next()?.context("a watch begins with everything")?;
    Ok(changes)
}

fn begin(store: &Store) -> Crew {
    let (store, networks) = (store.clone(), Arc::new(OverlayNetworks));
    let mut crew = Crew::under(&CancellationToken::new());
    crew.spawn("allocator", |stop| swarmkit::allocator::run(Env::real(), store, networks, stop));
    crew
}

async fn end(crew: Crew) -> Result<()> {
    crew.stop().cancel();
    crew.finish().await.map_err(|error| anyhow!(error))
}

/// Waits until so many networks and endpoints have been recorded. Each is written once.
async fn given(changes: &mut Watch, networks: usize, services: usize) -> Result<()> {
    let mut left = (networks, services);
    while left != (0, 0) {
        let delta = match changes.next().await? {
            Update::Delta(delta) => delta,
            // It fell behind, and is told everything instead.
            Update::Snapshot(view) => {
                let unallocated = view.all::<Network>().filter(|network| network.driver_state.is_none()).count();
                let without = view.all::<Service>().filter(|service| service.endpoint.is_none()).count();
                left = (unallocated, without);
                continue;
            }
        };
        for change in delta.changes.iter() {
            match change {
                Change::Network(_) => left.0 = left.0.checked_sub(1).context("a network was written twice")?,
                Change::Service(_) => left.1 = left.1.checked_sub(1).context("a service was written twice")?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Nothing is missing.
fn check(view: &State) -> Result<()> {
    for network in view.all::<Network>() {
        let ipam = network.ipam.as_ref().context("a network has no pools")?;
        anyhow::ensure!(ipam.configs.len() == 1 && network.driver_state.is_some(), "{network:?}");
    }
    for service in view.all::<Service>() {
        let endpoint = service.endpoint.as_ref().context("a service has no endpoint")?;
        anyhow::ensure!((endpoint.ports.len(), endpoint.virtual_ips.len()) == (PORTS, 2), "{service:?}");
    }
    Ok(())
}

//! Random histories of services, tasks, nodes and networks, with leaders that come and go.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use proptest::prelude::*;
use swarmkit_api::{Network, NetworkId, Node, NodeId, Service, ServiceId, Task, TaskId, TaskState, wire};
use swarmkit_overlay_networks::OverlayNetworks;
use swarmkit_runtime::Crew;
use swarmkit_store::{State, Store, StoreError, Transaction};
use swarmkit_testing::{self as testing, env};
use tokio_util::sync::CancellationToken;

/// A network of four bits has 16 addresses: its ends and its gateway are nobody's.
const ADDRESSES: usize = 13;

#[derive(Clone, Debug)]
enum Event {
    Network(u8),
    Service { id: u8, networks: u8 },
    Task { id: u8, service: u8 },
    Node(u8),
    Place { task: u8, node: u8 },
    EndTask(u8),
    DeleteTask(u8),
    DeleteService(u8),
    DeleteNode(u8),
    NewLeader,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..3_u8).prop_map(Event::Network),
        3 => (0..4_u8, 0..8_u8).prop_map(|(id, networks)| Event::Service { id, networks }),
        9 => (any::<u8>(), 0..4_u8).prop_map(|(id, service)| Event::Task { id: id % 40, service }),
        1 => (0..3_u8).prop_map(Event::Node),
        5 => (any::<u8>(), 0..3_u8).prop_map(|(task, node)| Event::Place { task: task % 40, node }),
        2 => any::<u8>().prop_map(|task| Event::EndTask(task % 40)),
        2 => any::<u8>().prop_map(|task| Event::DeleteTask(task % 40)),
        1 => (0..4_u8).prop_map(Event::DeleteService),
        1 => (0..3_u8).prop_map(Event::DeleteNode),
        1 => Just(Event::NewLeader),
    ]
}

fn network_id(id: u8) -> NetworkId {
    NetworkId::from(format!("n{id}"))
}

fn service_id(id: u8) -> ServiceId {
    ServiceId::from(format!("s{id}"))
}

fn task_id(id: u8) -> TaskId {
    TaskId::from(format!("t{id}"))
}

fn node_id(id: u8) -> NodeId {
    NodeId::from(format!("node{id}"))
}

fn attached(networks: u8) -> Vec<wire::NetworkAttachmentConfig> {
    let attach = |id| wire::NetworkAttachmentConfig { target: network_id(id).to_string(), ..Default::default() };
    (0..3).filter(|bit| networks & (1 << bit) != 0).map(attach).collect()
}

impl Event {
    fn apply(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        match self {
            Self::Network(id) => tx.create(testing::network(network_id(*id).as_str())).map(drop),
            Self::Service { id, networks } => {
                if tx.get::<Service>(&service_id(*id)).is_none() {
                    tx.create(testing::service(service_id(*id).as_str()).build())?;
                }
                let put = |service: &mut Service| {
                    Arc::make_mut(&mut service.spec).task.get_or_insert_default().networks = attached(*networks);
                };
                tx.edit(&service_id(*id), put).map(drop)
            }
            Self::Task { id, service } => {
                let spec = tx.get::<Service>(&service_id(*service)).ok_or(StoreError::NotFound)?.spec.task.clone();
                let mut task = Task::new(task_id(*id), spec.unwrap_or_default());
                task.service_id = Some(service_id(*service));
                task.desired_state = TaskState::Running;
                tx.create(task).map(drop)
            }
            Self::Node(id) => tx.create(Node::new(node_id(*id))).map(drop),
            Self::Place { task, node } => {
                let is_placed =
                    tx.get::<Task>(&task_id(*task)).is_none_or(|task| task.status.state != TaskState::Pending);
                if is_placed {
                    return Ok(());
                }
                let place = |task: &mut Task| {
                    task.status.state = TaskState::Running;
                    task.node_id = Some(node_id(*node));
                };
                tx.edit(&task_id(*task), place).map(drop)
            }
            Self::EndTask(id) => {
                tx.edit(&task_id(*id), |task: &mut Task| task.status.state = TaskState::Failed).map(drop)
            }
            Self::DeleteTask(id) => tx.delete::<Task>(&task_id(*id)).map(drop),
            Self::DeleteService(id) => tx.delete::<Service>(&service_id(*id)).map(drop),
            Self::DeleteNode(id) => tx.delete::<Node>(&node_id(*id)).map(drop),
            Self::NewLeader => Ok(()),
        }
    }
}

struct Term(Crew, CancellationToken);

impl Term {
    async fn begin(store: &Store) -> Self {
        let stop = CancellationToken::new();
        let (mut crew, store) = (Crew::under(&stop), store.clone());
        crew.spawn("allocator", |stop| swarmkit_allocator::run(env(), store, Arc::new(OverlayNetworks), stop));
        settle().await;
        Self(crew, stop)
    }

    async fn end(self) {
        let Self(crew, stop) = self;
        stop.cancel();
        crew.finish().await.unwrap();
    }
}

/// Time is paused, so it only goes on when every part waits.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn happen(store: &Store, event: &Event) {
    match store.update(|tx| event.apply(tx)).await {
        Ok(_) | Err(StoreError::NotFound | StoreError::Exists | StoreError::NameConflict) => settle().await,
        Err(error) => panic!("{event:?}: {error}"),
    }
}

/// The addresses on each network, of whomever; no two are one, and none is outside or that of the gateway.
fn addresses(view: &State) -> Vec<(NetworkId, BTreeSet<IpAddr>)> {
    let mut given = Vec::new();
    for network in view.all::<Network>() {
        let Some(pool) = network.ipam.as_ref().and_then(|ipam| ipam.configs.first()) else { continue };
        let (subnet, mut taken): (IpNet, _) = (pool.subnet.parse().unwrap(), BTreeSet::new());
        let mut take = |text: &str, who: &str| {
            let address: IpNet = text.parse().expect("CIDR form");
            assert_eq!(address.trunc(), subnet, "{who}");
            assert_ne!(address.addr().to_string(), pool.gateway, "{who}");
            assert!(taken.insert(address.addr()), "{who} has {text} as well");
        };
        let on_it =
            |attachment: &&wire::NetworkAttachment| attachment.network.as_ref().unwrap().id == network.id.as_str();
        for task in view.all::<Task>().filter(|task| task.status.state <= TaskState::Running) {
            task.networks.iter().filter(on_it).flat_map(|it| &it.addresses).for_each(|it| take(it, task.id.as_str()));
        }
        for node in view.all::<Node>() {
            node.attachments
                .iter()
                .filter(on_it)
                .flat_map(|it| &it.addresses)
                .for_each(|it| take(it, node.id.as_str()));
        }
        for service in view.all::<Service>() {
            let ips = service.endpoint.iter().flat_map(|endpoint| &endpoint.virtual_ips);
            ips.filter(|ip| ip.network_id == network.id.as_str()).for_each(|ip| take(&ip.addr, service.id.as_str()));
        }
        given.push((network.id.clone(), taken));
    }
    given
}

/// Who waits for an address of a network does so because none is left.
fn nobody_waits_in_vain(view: &State) {
    for (network, taken) in addresses(view) {
        let told = format!("no address is available on network {network}");
        let waits = view.all::<Task>().any(|task| task.status.state == TaskState::New && task.status.err == told);
        assert!(!waits || taken.len() == ADDRESSES, "{} of {ADDRESSES} taken on {network}", taken.len());
    }
}

async fn history(events: &[Event]) {
    let store = testing::store("");
    let mut cluster = testing::cluster();
    (cluster.default_address_pool, cluster.subnet_size) = (vec!["10.0.0.0/26".to_owned()], 28);
    store.update(|tx| tx.create(cluster).map(drop)).await.map_err(|error: StoreError| error).unwrap();
    let mut term = Term::begin(&store).await;
    for event in events {
        if matches!(event, Event::NewLeader) {
            let before = store.version();
            term.end().await;
            term = Term::begin(&store).await;
            assert_eq!(store.version(), before, "a new leader finds nothing to do");
        }
        happen(&store, event).await;
        nobody_waits_in_vain(&store.view());
    }

    // When all are gone, all addresses can be had.
    for id in 0..40 {
        happen(&store, &Event::DeleteTask(id)).await;
    }
    for id in 0..4 {
        happen(&store, &Event::DeleteService(id)).await;
        happen(&store, &Event::DeleteNode(id)).await;
    }
    happen(&store, &Event::Network(0)).await;
    assert!(addresses(&store.view()).iter().all(|(_, taken)| taken.is_empty()));
    happen(&store, &Event::Service { id: 0, networks: 1 }).await;
    for id in 0..40 {
        happen(&store, &Event::Task { id, service: 0 }).await;
    }
    let given = addresses(&store.view());
    assert_eq!(given.iter().find(|(network, _)| *network == network_id(0)).unwrap().1.len(), ADDRESSES);
    term.end().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_address_of_an_overlay_is_given_twice_or_lost_whatever_happens(
        events in prop::collection::vec(event(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(history(&events));
    }
}

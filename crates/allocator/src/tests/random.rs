//! Random histories: whatever happens, with whichever leaders, nothing is given twice, nothing leaks, and nobody waits who
//! could go on.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt as _;
use proptest::prelude::*;
use swarmkit_api::{
    Config, ConfigId, Kind, Network, NetworkId, Node, NodeId, Object as _, Service, ServiceId, Task, TaskId, TaskState,
    Version,
    wire::{
        Driver, EndpointSpec, PortConfig,
        endpoint_spec::ResolutionMode,
        port_config::{Protocol, PublishMode},
    },
};
use swarmkit_store::{Store, StoreError, Transaction, Update, Watch};
use swarmkit_testing as testing;
use tokio::task::unconstrained;

use super::model::{self, Model, ModelAllocator};
use crate::{
    addresses::parse,
    decision::Decision,
    ports::is_ingress,
    world::{World, holds_addresses},
};

const LIMITS: Model = Model { subnets: 3, addresses: 4 };
/// More rounds than this in a row are taken for an endless loop.
const ROUNDS: usize = 50;

/// What may happen. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Event {
    CreateNetwork {
        id: u8,
        sort: u8,
    },
    DeleteNetwork(u8),
    /// Creates or changes it.
    PutService {
        id: u8,
        networks: u8,
        ports: Vec<(u8, u8)>,
        is_round_robin: bool,
        has_endpoint: bool,
    },
    DeleteService(u8),
    CreateTask {
        service: Option<u8>,
        id: u8,
        node: Option<u8>,
        asks: Option<u8>,
    },
    Advance {
        task: u8,
        state: TaskState,
    },
    Stop(u8),
    DeleteTask(u8),
    PutNode(u8),
    DeleteNode(u8),
    NewLeader,
}

/// One leader's allocator, taken apart so that others may write between its decision and its write.
struct Term {
    world: World,
    provider: ModelAllocator,
    watch: Watch,
}

impl Term {
    fn new(store: &Store) -> Self {
        let watch = store.watch([Kind::Network, Kind::Node, Kind::Service, Kind::Task]);
        let mut term = Self { world: World::default(), provider: LIMITS.empty(), watch };
        term.absorb();
        term
    }

    fn absorb(&mut self) {
        while let Some(update) = self.watch.try_next().unwrap() {
            if matches!(update, Update::Snapshot(_)) {
                self.provider = LIMITS.empty();
            }
            self.world.absorb(&update, &mut self.provider);
        }
    }

    /// Works until nothing is due. `meanwhile` happens between the first decision and its write.
    fn work(&mut self, store: &Store, meanwhile: Option<&Event>) {
        self.absorb();
        let mut meanwhile = meanwhile;
        for _ in 0..ROUNDS {
            if self.world.due.is_empty() {
                return;
            }
            let decisions = self.world.plan(&mut self.provider);
            if let Some(event) = meanwhile.take() {
                event.happen(store);
            }
            let written = unconstrained(store.write_each(&decisions, Decision::write)).now_or_never().unwrap().unwrap();
            self.absorb();
            for refused in written.refused {
                decisions[refused].put_back(&mut self.world, &mut self.provider, &store.view());
            }
        }
        panic!("{ROUNDS} rounds, and still due: {:?}", self.world.due);
    }
}

impl Event {
    /// What is no longer there, or is already, is left as it is.
    fn happen(&self, store: &Store) {
        // Ids are never used again; here a network that is gone leaves its name behind.
        let is_gone = |id: u8| store.view().get::<Config>(&ConfigId::from(network_id(id).as_str())).is_some();
        if matches!(self, Self::CreateNetwork { id, .. } if is_gone(*id)) {
            return;
        }
        let done = unconstrained(store.update(|tx| self.apply(tx))).now_or_never().unwrap();
        if let Err(error) = done {
            assert!(
                matches!(error, StoreError::NotFound | StoreError::Exists | StoreError::NameConflict),
                "{self:?}: {error}"
            );
        }
    }

    fn apply(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        match self {
            Self::CreateNetwork { id, sort } => tx.create(network(*id, *sort)).map(drop),
            Self::DeleteNetwork(id) => {
                tx.delete::<Network>(&network_id(*id))?;
                tx.create(testing::config(network_id(*id).as_str(), "gone")).map(drop)
            }
            Self::PutService { id, networks, ports, is_round_robin, has_endpoint } => {
                let id = ServiceId::from(format!("s{}", id % 4));
                let mut service = match tx.get::<Service>(&id) {
                    Some(service) => Service::clone(service),
                    None => Service::clone(&*tx.create(testing::service(id.as_str()).build())?),
                };
                let spec = std::sync::Arc::make_mut(&mut service.spec);
                let asked = (0..8_u8).filter(|bit| networks & (1 << bit) != 0).map(attach_to).collect();
                spec.task.get_or_insert_default().networks = asked;
                let mode = if *is_round_robin { ResolutionMode::Dnsrr } else { ResolutionMode::Vip };
                let ports = ports.iter().map(|(sort, number)| port(*sort, *number)).collect();
                spec.endpoint = has_endpoint.then(|| EndpointSpec { mode: mode.into(), ports });
                tx.update(service).map(drop)
            }
            Self::DeleteService(id) => tx.delete::<Service>(&ServiceId::from(format!("s{}", id % 4))).map(drop),
            Self::CreateTask { service, id, node, asks } => {
                let service = service.map(|id| ServiceId::from(format!("s{}", id % 4)));
                let spec = service.as_ref().and_then(|id| tx.get::<Service>(id)).and_then(|it| it.spec.task.clone());
                let mut task = Task::new(task_id(*id), spec.unwrap_or_default());
                if let (Some(asks), None) = (asks, &service) {
                    let mut attachment = attach_to(asks % 3);
                    attachment.addresses = vec![format!("10.1.0.{}", 2 + asks % 4)];
                    std::sync::Arc::make_mut(&mut task.spec).networks = vec![attachment];
                }
                task.service_id = service;
                task.node_id = node.map(node_id);
                task.desired_state = TaskState::Running;
                tx.create(task).map(drop)
            }
            Self::Advance { task, state } => {
                let task = tx.get::<Task>(&task_id(*task)).ok_or(StoreError::NotFound)?.clone();
                // What is new waits for the allocator, and states never move back.
                if task.status.state < TaskState::Pending || task.status.state >= *state {
                    return Ok(());
                }
                tx.edit::<Task>(&task.id, |task| {
                    task.status.state = *state;
                    task.node_id.get_or_insert_with(|| node_id(0));
                })
                .map(drop)
            }
            Self::Stop(task) => {
                tx.edit::<Task>(&task_id(*task), |task| task.desired_state = TaskState::Shutdown).map(drop)
            }
            Self::DeleteTask(task) => tx.delete::<Task>(&task_id(*task)).map(drop),
            Self::PutNode(id) => match tx.get::<Node>(&node_id(*id)) {
                Some(_) => tx.edit::<Node>(&node_id(*id), |node| node.status.message.push('.')).map(drop),
                None => tx.create(Node::new(node_id(*id))).map(drop),
            },
            Self::DeleteNode(id) => tx.delete::<Node>(&node_id(*id)).map(drop),
            Self::NewLeader => Ok(()),
        }
    }
}

fn network_id(id: u8) -> NetworkId {
    NetworkId::from(format!("n{}", id % 8))
}

fn node_id(id: u8) -> NodeId {
    NodeId::from(format!("node{}", id % 3))
}

fn task_id(id: u8) -> TaskId {
    TaskId::from(format!("t{}", id % 12))
}

fn attach_to(network: u8) -> swarmkit_api::wire::NetworkAttachmentConfig {
    swarmkit_api::wire::NetworkAttachmentConfig { target: network_id(network).to_string(), ..Default::default() }
}

fn network(id: u8, sort: u8) -> Network {
    let mut network = testing::network(network_id(id).as_str());
    let spec = std::sync::Arc::make_mut(&mut network.spec);
    match sort % 5 {
        0 => spec.ingress = true,
        1 => spec.driver_config = Some(Driver { name: "host".into(), ..Default::default() }),
        2 => spec.ipam = Some(model::ipam(1 + sort % 3)),
        _ => {}
    }
    network
}

fn port(sort: u8, number: u8) -> PortConfig {
    let published = [0, 80, 81, 30_000, 30_001][usize::from(number % 5)];
    let protocol = if sort.is_multiple_of(2) { Protocol::Tcp } else { Protocol::Udp };
    let mode = if sort.is_multiple_of(7) { PublishMode::Host } else { PublishMode::Ingress };
    PortConfig {
        target_port: u32::from(sort % 4),
        published_port: published,
        protocol: protocol.into(),
        publish_mode: mode.into(),
        ..Default::default()
    }
}

fn event() -> impl Strategy<Value = Event> {
    let state = prop::sample::select(vec![
        TaskState::Assigned,
        TaskState::Running,
        TaskState::Running,
        TaskState::Complete,
        TaskState::Failed,
    ]);
    let ports = prop::collection::vec((any::<u8>(), any::<u8>()), 0..3);
    let service = (any::<u8>(), any::<u8>(), ports, prop::bool::weighted(0.2), prop::bool::weighted(0.8));
    let task = (prop::option::weighted(0.8, any::<u8>()), any::<u8>(), prop::option::of(any::<u8>()));
    prop_oneof![
        2 => (any::<u8>(), any::<u8>()).prop_map(|(id, sort)| Event::CreateNetwork { id, sort }),
        1 => any::<u8>().prop_map(Event::DeleteNetwork),
        4 => service.prop_map(|(id, networks, ports, is_round_robin, has_endpoint)| Event::PutService {
            // Not all of them at once, as a rule.
            id, networks: networks & networks.rotate_left(3), ports, is_round_robin, has_endpoint,
        }),
        1 => any::<u8>().prop_map(Event::DeleteService),
        6 => (task, prop::option::of(any::<u8>())).prop_map(|((service, id, node), asks)| Event::CreateTask { service, id, node, asks }),
        5 => (any::<u8>(), state).prop_map(|(task, state)| Event::Advance { task, state }),
        1 => any::<u8>().prop_map(Event::Stop),
        2 => any::<u8>().prop_map(Event::DeleteTask),
        2 => any::<u8>().prop_map(Event::PutNode),
        1 => any::<u8>().prop_map(Event::DeleteNode),
        1 => Just(Event::NewLeader),
    ]
}

/// Nothing that is recorded is recorded twice.
fn check_store(store: &Store) {
    let view = store.view();
    let mut addresses = BTreeMap::new();
    let mut take = |network: &str, address: &str, holder: String| {
        // What was given on a network that is gone may be there still, until its holder is.
        if !address.is_empty() && view.get::<Network>(&NetworkId::from(network)).is_some() {
            let other = addresses.insert((network.to_owned(), parse(address).unwrap()), holder.clone());
            assert_eq!(other, None, "{holder} has {address} on {network} as well");
        }
    };
    for task in view.all::<Task>().filter(|task| holds_addresses(task)) {
        for attachment in &task.networks {
            let network = &attachment.network.as_ref().unwrap().id;
            attachment.addresses.iter().for_each(|address| take(network, address, format!("task {}", task.id)));
        }
    }
    let mut ports = BTreeSet::new();
    for service in view.all::<Service>() {
        if let Some(endpoint) = &service.endpoint {
            endpoint
                .virtual_ips
                .iter()
                .for_each(|ip| take(&ip.network_id, &ip.addr, format!("service {}", service.id)));
            for port in endpoint.ports.iter().filter(|port| is_ingress(port)) {
                assert!(ports.insert((port.protocol, port.published_port)), "{port:?} of {} is taken", service.id);
            }
        }
    }
    for node in view.all::<Node>() {
        let mut networks = BTreeSet::new();
        for attachment in &node.attachments {
            let network = &attachment.network.as_ref().unwrap().id;
            assert!(networks.insert(network.clone()), "{} is attached twice", node.id);
            attachment.addresses.iter().for_each(|address| take(network, address, format!("node {}", node.id)));
        }
    }
}

/// What the term knows is what a new leader would know, and nothing could go on that does not.
fn check_term(term: &Term, store: &Store) {
    let mut fresh = Term::new(store);
    for _ in 0..2 {
        let plan = fresh.world.plan(&mut fresh.provider);
        let is_told = |decision: &Decision| matches!(decision, Decision::Explain { .. } | Decision::Wait { .. });
        let missed: Vec<_> = plan.into_iter().filter(|decision| !is_told(decision)).collect();
        assert!(missed.is_empty(), "could go on: {missed:#?}");
    }
    assert_eq!(term.provider, fresh.provider, "the provider has more or less than is recorded");
    assert_eq!(term.world.ports, fresh.world.ports);
    assert_eq!(term.world.addresses, fresh.world.addresses);
    assert_eq!(term.world.uses, fresh.world.uses);
    assert_eq!((&term.world.bare, &term.world.lost), (&fresh.world.bare, &fresh.world.lost));
    assert_eq!(term.world.tasks.keys().collect::<Vec<_>>(), fresh.world.tasks.keys().collect::<Vec<_>>());
}

/// Whoever waits says for what, and nobody else does.
fn check_told(store: &Store) {
    let view = store.view();
    for task in view.all::<Task>().filter(|task| task.status.state < TaskState::Pending) {
        let has_service = task.service_id.as_ref().is_none_or(|id| view.get::<Service>(id).is_some());
        assert!(!has_service || !task.status.err.is_empty(), "task {} waits and does not say why", task.id);
    }
    for network in view.all::<Network>() {
        assert_eq!(network.waiting.is_some(), network.driver_state.is_none(), "network {}", network.id());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn after_any_history_what_is_known_is_what_a_new_leader_finds_and_nobody_waits_in_vain(
        events in prop::collection::vec((event(), prop::option::weighted(0.3, event())), 1..60),
    ) {
        let store = Store::local(testing::env());
        let mut term = Term::new(&store);
        for (event, meanwhile) in &events {
            event.happen(&store);
            if matches!(event, Event::NewLeader) {
                term = Term::new(&store);
            }
            term.work(&store, meanwhile.as_ref());
            check_store(&store);
            check_told(&store);
            check_term(&term, &store);
            let before = store.version();
            term.work(&store, None);
            prop_assert_eq!(store.version(), before, "nothing is written that is there already");
        }
        prop_assert!(store.version() >= Version::default());
    }
}

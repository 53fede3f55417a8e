//! Stories: a world in, allocations out.

mod conflicts;
mod endpoints;
mod model;
mod networks;
mod nodes;
mod ports;
mod random;
mod tasks;

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use swarmkit_api::{
    Network, NetworkId, Node, Service, ServiceId, Task, TaskState,
    wire::{
        Driver, EndpointSpec, NetworkAttachment, NetworkAttachmentConfig, PortConfig, ServiceSpec, TaskSpec,
        port_config::{Protocol, PublishMode},
    },
};
use swarmkit_runtime::Crew;
use swarmkit_store::{Store, StoreError, TaskBy, Transaction};
use swarmkit_testing::{self as testing, amend, describe, env};
use tokio_util::sync::CancellationToken;

use self::model::Model;
use super::*;

const SMALL: Model = Model { subnets: 2, addresses: 3 };

/// An allocator at work on a store.
struct Running {
    store: Store,
    crew: Crew,
    stop: CancellationToken,
}

impl Running {
    async fn on(store: Store, provider: impl NetworkProvider) -> Self {
        let stop = CancellationToken::new();
        let mut crew = Crew::under(&stop);
        crew.spawn("allocator", |stop| run(env(), store.clone(), Arc::new(provider), stop));
        let running = Self { store, crew, stop };
        running.settle().await;
        running
    }

    async fn with(text: &str) -> Self {
        Self::on(testing::store(text), InertNetworks).await
    }

    /// Time is paused, so it only goes on when every part waits.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn amend(&self, text: &str) {
        amend(&self.store, text);
        self.settle().await;
    }

    async fn write(&self, edit: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) {
        write(&self.store, edit);
        self.settle().await;
    }

    async fn publish(&self, service: &str, ports: &[PortConfig]) {
        self.write(|tx| asks(tx, service, ports)).await;
    }

    fn ports(&self, service: &str) -> Option<Vec<u32>> {
        let view = self.store.view();
        let service = view.get::<Service>(&ServiceId::from(service)).unwrap();
        let endpoint = service.endpoint.as_ref()?;
        assert_eq!(endpoint.spec, service.spec.endpoint);
        Some(endpoint.ports.iter().map(|port| port.published_port).collect())
    }

    /// What a network waits for, as it is recorded.
    fn waits(&self, network: &str) -> Option<String> {
        let view = self.store.view();
        let network = view.get::<Network>(&NetworkId::from(network)).unwrap();
        network.waiting.as_ref().map(|waiting| waiting.message.clone())
    }

    /// The virtual addresses of a service, as `network address`.
    fn virtual_ips(&self, service: &str) -> Vec<String> {
        let view = self.store.view();
        let service = view.get::<Service>(&ServiceId::from(service)).unwrap();
        let ips = service.endpoint.iter().flat_map(|endpoint| &endpoint.virtual_ips);
        ips.map(|ip| format!("{} {}", ip.network_id, ip.addr)).collect()
    }

    /// What the load balancer of a node is attached to, as `network address`.
    fn attachments(&self, node: &str) -> Vec<String> {
        let view = self.store.view();
        told(&view.get::<Node>(&node.into()).unwrap().attachments)
    }

    /// What a task is attached to, as `network address`.
    fn networks(&self, task: &str) -> Vec<String> {
        told(&self.task(task).networks)
    }

    /// How many writes there were but the one that `cause` is.
    async fn writes_after(&self, cause: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) -> u64 {
        let before = self.store.version().0;
        self.write(cause).await;
        self.store.version().0 - before - 1
    }

    fn task(&self, id: &str) -> Arc<Task> {
        self.store.view().get::<Task>(&id.into()).unwrap().clone()
    }

    fn tasks(&self) -> String {
        describe::<Task>(&self.store.view())
    }

    async fn end(self) {
        self.stop.cancel();
        self.crew.finish().await.unwrap();
    }
}

fn write(store: &Store, edit: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) {
    store.update(edit).now_or_never().expect("a local store commits at once").expect("the store takes it");
}

fn asks(tx: &mut Transaction, service: &str, ports: &[PortConfig]) -> Result<(), StoreError> {
    let endpoint = EndpointSpec { ports: ports.to_vec(), ..Default::default() };
    tx.edit(&service.into(), |service: &mut Service| Arc::make_mut(&mut service.spec).endpoint = Some(endpoint))
        .map(drop)
}

fn port(target: u32, published: u32) -> PortConfig {
    PortConfig { target_port: target, published_port: published, ..Default::default() }
}

fn ingress() -> Network {
    let mut network = testing::network("ingress");
    Arc::make_mut(&mut network.spec).ingress = true;
    network
}

fn told(attachments: &[NetworkAttachment]) -> Vec<String> {
    let tell = |it: &NetworkAttachment| format!("{} {}", it.network.as_ref().unwrap().id, it.addresses.join(" "));
    attachments.iter().map(|attachment| tell(attachment).trim_end().to_owned()).collect()
}

/// Changes the specification of a service.
fn respec(tx: &mut Transaction, service: &str, edit: impl FnOnce(&mut ServiceSpec)) -> Result<(), StoreError> {
    tx.edit(&service.into(), |service: &mut Service| edit(Arc::make_mut(&mut service.spec))).map(drop)
}

/// Changes the networks that the tasks of a service are attached to.
fn attach(tx: &mut Transaction, service: &str, networks: &[&str]) -> Result<(), StoreError> {
    let asked = |name: &&str| NetworkAttachmentConfig { target: (*name).to_owned(), ..Default::default() };
    respec(tx, service, |spec| spec.task.get_or_insert_default().networks = networks.iter().map(asked).collect())
}

fn advance(tx: &mut Transaction, task: &str, state: TaskState) -> Result<(), StoreError> {
    tx.edit(&task.into(), |task: &mut Task| task.status.state = state).map(drop)
}

/// A network that every node has by itself.
fn local(name: &str) -> Network {
    let mut network = testing::network(name);
    let driver = Driver { name: "host".to_owned(), ..Default::default() };
    Arc::make_mut(&mut network.spec).driver_config = Some(driver);
    network
}

/// A network that asks for the subnet with that number.
fn with_subnet(name: &str, subnet: u8) -> Network {
    let mut network = testing::network(name);
    Arc::make_mut(&mut network.spec).ipam = Some(model::ipam(subnet));
    network
}

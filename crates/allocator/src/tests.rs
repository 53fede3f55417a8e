//! Stories: a world in, allocations out.

mod model;
mod random;

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use swarmkit_api::{
    Network, NetworkId, Service, ServiceId, Task, TaskState,
    wire::{
        EndpointSpec, PortConfig,
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
    let mut network = Network::new(NetworkId::from("ingress"));
    Arc::make_mut(&mut network.spec).ingress = true;
    network
}

#[tokio::test(start_paused = true)]
async fn a_task_that_needs_nothing_becomes_pending() {
    let running = Running::with("service web; task web.1; task web.2 wants ready").await;
    assert_eq!(running.tasks(), "task web.1 pending\ntask web.2 pending wants ready\n");
    let task = running.task("web.1");
    assert_eq!((task.status.message.as_str(), task.status.err.as_str()), ("pending task scheduling", ""));
    assert!(task.status.timestamp.is_some());
    let before = running.store.version();
    running.amend("node a").await;
    assert_eq!(running.store.version().0, before.0 + 1, "nothing is written for a task that has all it needs");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_service_that_is_gone_is_left_alone() {
    let running = Running::with("task web.1").await;
    assert_eq!(running.tasks(), "task web.1 new\n");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_asked_to_stop_before_it_began_is_passed_on_to_be_stopped() {
    let running = Running::with("service web network=front; task web.1 wants shutdown; task web.2 wants remove").await;
    assert_eq!(running.tasks(), "task web.1 pending wants shutdown\ntask web.2 new wants remove\n");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_carry_a_copy_of_what_their_service_publishes() {
    let running = Running::with("service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("web", &[port(80, 0), port(443, 443)]).await;
    running.amend("task web.1").await;
    assert_eq!(running.ports("web").unwrap(), [30_000, 443]);
    let task = running.task("web.1");
    assert_eq!(task.status.state, TaskState::Pending);
    assert_eq!(task.endpoint, running.store.view().get::<Service>(&"web".into()).unwrap().endpoint);
    assert!(task.networks.is_empty(), "nobody looks into the ingress network of a cluster without networks");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_port_that_another_service_has_is_waited_for_and_the_task_says_so() {
    let running = Running::with("service api; service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("api", &[port(80, 8080)]).await;
    running.publish("web", &[port(80, 8080)]).await;
    running.amend("task api.1; task web.1").await;
    assert_eq!(running.tasks(), "task api.1 pending\ntask web.1 new\n");
    assert_eq!(running.task("web.1").status.err, "port 8080/tcp is already in use by service api (api)");
    let before = running.store.version();
    running.amend("task web.2").await;
    assert_eq!(running.store.version().0, before.0 + 2, "the new task is told, the other one knows");

    running.write(|tx| tx.delete::<Service>(&"api".into()).map(drop)).await;
    assert_eq!(running.ports("web").unwrap(), [8080]);
    assert_eq!(running.tasks(), "task api.1 pending\ntask web.1 pending\ntask web.2 pending\n");
    assert_eq!(running.task("web.1").status.err, "");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_ports_are_at_odds_waits_until_it_is_changed() {
    let running = Running::with("service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("web", &[port(80, 8080), port(81, 8080)]).await;
    assert_eq!(running.ports("web"), None);
    running.publish("web", &[port(80, 8080), port(81, 8081)]).await;
    assert_eq!(running.ports("web").unwrap(), [8080, 8081]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn changing_the_ports_of_a_service_frees_the_old_ones() {
    let running = Running::with("service api; service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("api", &[port(80, 8080)]).await;
    running.publish("web", &[port(80, 8080)]).await;
    running.publish("api", &[port(80, 9090)]).await;
    assert_eq!((running.ports("api").unwrap(), running.ports("web").unwrap()), (vec![9090], vec![8080]));
    running
        .write(|tx| {
            tx.edit(&"web".into(), |service: &mut Service| Arc::make_mut(&mut service.spec).endpoint = None).map(drop)
        })
        .await;
    assert_eq!(running.ports("web"), None);
    running.publish("api", &[port(80, 8080)]).await;
    assert_eq!(running.ports("api").unwrap(), [8080]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn host_ports_are_copied_and_need_no_ingress_network() {
    let running = Running::with("service web").await;
    let host = |published| PortConfig { publish_mode: PublishMode::Host.into(), ..port(80, published) };
    running.publish("web", &[host(80)]).await;
    assert_eq!(running.ports("web").unwrap(), [80]);
    running.publish("web", &[host(81)]).await;
    assert_eq!(running.ports("web").unwrap(), [81]);
    running.publish("web", &[port(80, 0)]).await;
    running.amend("task web.1").await;
    assert_eq!(running.task("web.1").status.err, "ingress network is missing");
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    assert_eq!((running.ports("web").unwrap(), running.task("web.1").status.state), (vec![30_000], TaskState::Pending));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_networks_a_task_that_asks_for_one_says_that_there_are_none() {
    let running =
        Running::with("network front; service web network=front; service api network=back; task web.1; task api.1")
            .await;
    assert_eq!(running.task("web.1").status.err, "network support is unavailable");
    assert_eq!(running.task("api.1").status.err, "network back does not exist");
    assert_eq!(running.tasks(), "task api.1 new\ntask web.1 new\n");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_is_attached_to_its_networks_as_soon_as_they_are_there() {
    let text = "network a; service web network=front network=late; task web.1";
    let running = Running::on(testing::store(text), SMALL).await;
    assert_eq!(running.task("web.1").status.err, "network front does not exist");
    running.amend("network front").await;
    assert_eq!(running.task("web.1").status.err, "network late does not exist");
    running.amend("network late").await;
    assert_eq!(running.task("web.1").status.err, "no subnet is available for network late");
    assert_eq!(running.waits("late").unwrap(), "no subnet is available for network late");
    running.write(|tx| tx.delete::<Network>(&"a".into()).map(drop)).await;
    assert_eq!(running.waits("late"), None);
    let task = running.task("web.1");
    assert_eq!((task.status.state, task.status.err.as_str()), (TaskState::Pending, ""));
    assert_eq!(task.networks[0].addresses, ["10.2.0.3/24"], "the service has the one before");
    assert_eq!(task.networks[1].addresses, ["10.1.0.3/24"]);
    let network = task.networks[1].network.as_ref().unwrap();
    assert_eq!(network.driver_state.as_ref().unwrap().name, "model");
    assert_eq!(network.ipam, Some(model::ipam(1)));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_address_is_free_again_when_its_task_is_over() {
    let text = "network front; service web network=front; task web.1; task web.2; task web.3";
    let running = Running::on(testing::store(text), SMALL).await;
    assert_eq!(running.tasks(), "task web.1 pending\ntask web.2 pending\ntask web.3 new\n");
    assert_eq!(running.task("web.3").status.err, "no address is available on network front");
    running
        .write(|tx| tx.edit(&"web.1".into(), |task: &mut Task| task.status.state = TaskState::Failed).map(drop))
        .await;
    assert_eq!(running.tasks(), "task web.1 failed\ntask web.2 pending\ntask web.3 pending\n");
    running.write(|tx| tx.delete::<Task>(&"web.1".into()).map(drop)).await;
    running.amend("task web.4").await;
    assert_eq!(running.task("web.4").status.state, TaskState::New, "what was freed once is not freed again");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_keeps_what_is_given_out_and_gives_none_of_it_out_again() {
    let running =
        Running::on(testing::store("network front; service web network=front; service api; task web.1"), SMALL).await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    running.publish("api", &[port(80, 8080), port(81, 0)]).await;
    let (store, before) = (running.store.clone(), running.store.version());
    let (endpoint, task) = (running.ports("api"), running.task("web.1"));
    running.end().await;

    let next = Running::on(store, SMALL).await;
    assert_eq!(next.store.version(), before, "nothing is written for what has all it needs");
    next.amend("service late; task web.2").await;
    next.publish("late", &[port(80, 8080)]).await;
    assert_eq!((next.ports("api"), next.ports("late")), (endpoint, None));
    next.publish("late", &[port(80, 0)]).await;
    assert_eq!(next.ports("late").unwrap(), [30_001]);
    assert_eq!(next.task("web.1"), task);
    assert_eq!(next.task("web.2").networks[0].addresses, ["10.1.0.4/24"]);
    next.end().await;
}

#[tokio::test(start_paused = true)]
async fn five_hundred_tasks_become_pending_in_a_few_transactions() {
    let running = Running::with("service web").await;
    let before = running.store.version().0;
    let tasks: String = (1..=500).map(|slot| format!("task web.{slot};")).collect();
    running.amend(&tasks).await;
    assert_eq!(running.store.version().0 - before, 1 + 3, "one to create them, three of at most 200 to admit them");
    assert_eq!(running.store.view().find(TaskBy::State(TaskState::Pending)).count(), 500);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn protocols_have_ports_of_their_own() {
    let running = Running::with("service web").await;
    running.write(|tx| tx.create(ingress()).map(drop)).await;
    let udp = PortConfig { protocol: Protocol::Udp.into(), ..port(53, 53) };
    running.publish("web", &[port(53, 53), udp]).await;
    assert_eq!(running.ports("web").unwrap(), [53, 53]);
    running.end().await;
}

//! What networks, tasks and nodes are given, told as stories: the provider and the allocator on a store.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{Network, Node, Task, TaskState, wire};
use swarmkit_overlay_networks::{OverlayNetworks, VXLAN_IDS};
use swarmkit_runtime::Crew;
use swarmkit_store::{Store, StoreError, Transaction};
use swarmkit_testing as testing;
use tokio_util::sync::CancellationToken;

/// Runs the allocator on a store for as long as the story lasts.
async fn with_allocator(store: &Store, story: impl AsyncFnOnce()) {
    let (env, stop) = (testing::env(), CancellationToken::new());
    let mut crew = Crew::under(&stop);
    let provider = Arc::new(OverlayNetworks);
    crew.spawn("allocator", |stop| swarmkit_allocator::run(env.clone(), store.clone(), provider, stop));
    settle().await;
    story().await;
    stop.cancel();
    crew.finish().await.unwrap();
}

/// Time is paused, so it only goes on when every part waits.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn write(store: &Store, edit: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) {
    store.update(edit).await.unwrap();
    settle().await;
}

fn network(id: &str, change: impl FnOnce(&mut wire::NetworkSpec)) -> Network {
    let mut network = Network::new(id.into());
    let annotations = Some(wire::Annotations { name: format!("the-{id}"), ..Default::default() });
    let mut spec = wire::NetworkSpec { annotations, ..Default::default() };
    change(&mut spec);
    network.spec = Arc::new(spec);
    network
}

fn pool(subnet: &str) -> Option<wire::IpamOptions> {
    let config = wire::IpamConfig { subnet: subnet.to_owned(), ..Default::default() };
    Some(wire::IpamOptions { configs: vec![config], ..Default::default() })
}

fn driver(name: &str) -> Option<wire::Driver> {
    Some(wire::Driver { name: name.to_owned(), ..Default::default() })
}

/// A task that runs on that network, on a node if one is named.
fn task(id: &str, network: &str, node: Option<&str>) -> Task {
    let attachment = wire::NetworkAttachmentConfig { target: network.to_owned(), ..Default::default() };
    let mut task = Task::new(id.into(), wire::TaskSpec { networks: vec![attachment], ..Default::default() });
    task.desired_state = TaskState::Running;
    task.node_id = node.map(Into::into);
    task
}

/// Subnet, gateway and VXLAN id that are recorded, or what is waited for.
fn recorded(store: &Store, id: &str) -> String {
    let view = store.view();
    let network = view.get::<Network>(&id.into()).unwrap();
    let Some(state) = &network.driver_state else {
        return network.waiting.as_ref().map(|waiting| waiting.message.clone()).unwrap_or_default();
    };
    let pool = network.ipam.as_ref().and_then(|ipam| ipam.configs.first()).cloned().unwrap_or_default();
    let ids = state.options.get(VXLAN_IDS).cloned().unwrap_or_default();
    format!("{} {} {} {ids}", state.name, pool.subnet, pool.gateway).trim().to_owned()
}

/// State and addresses of a task, or what it waits for.
fn standing(store: &Store, id: &str) -> String {
    let view = store.view();
    let task = view.get::<Task>(&id.into()).unwrap();
    let addresses: Vec<_> = task.networks.iter().map(|attachment| attachment.addresses.join(" ")).collect();
    format!("{:?} {addresses:?} {}", task.status.state, task.status.err).trim().to_owned()
}

#[tokio::test(start_paused = true)]
async fn networks_that_are_there_when_a_leader_begins_get_what_they_need() {
    let store = Store::local(testing::env());
    write(&store, |tx| {
        tx.create(network("a", |_| {}))?;
        tx.create(network("z", |spec| spec.ingress = true)).map(drop)
    })
    .await;
    with_allocator(&store, async || {
        let mut given = [recorded(&store, "a"), recorded(&store, "z")];
        given.sort();
        assert_eq!(given, ["overlay 10.0.0.0/24 10.0.0.1 4096", "overlay 10.0.1.0/24 10.0.1.1 4097"]);
    })
    .await;
    let version = store.version();
    with_allocator(&store, async || assert_eq!(store.version(), version, "the next leader has nothing to write")).await;
}

#[tokio::test(start_paused = true)]
async fn tasks_on_a_network_of_their_node_go_on_without_addresses() {
    let store = Store::local(testing::env());
    with_allocator(&store, async || {
        write(&store, |tx| {
            tx.create(network("host", |spec| spec.driver_config = driver("host")))?;
            tx.create(testing::node("n1").ready().build())?;
            tx.create(task("t1", "host", Some("n1"))).map(drop)
        })
        .await;
        assert_eq!(recorded(&store, "host"), "host");
        assert_eq!(standing(&store, "t1"), r#"Pending [""]"#);
        let view = store.view();
        let attached = &view.get::<Task>(&"t1".into()).unwrap().networks[0];
        assert_eq!(attached.network.as_ref().unwrap().driver_state, driver("host"), "the node needs no other source");
        assert!(view.get::<Node>(&"n1".into()).unwrap().attachments.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_overlaps_waits_with_its_tasks_until_the_other_one_is_gone() {
    let store = Store::local(testing::env());
    with_allocator(&store, async || {
        write(&store, |tx| tx.create(network("a", |spec| spec.ipam = pool("10.5.0.0/16"))).map(drop)).await;
        write(&store, |tx| {
            tx.create(network("b", |spec| spec.ipam = pool("10.5.9.0/24")))?;
            tx.create(task("t1", "b", None)).map(drop)
        })
        .await;
        let text = "subnet 10.5.9.0/24 overlaps with network the-a (a)";
        assert_eq!(recorded(&store, "b"), text);
        let waits = standing(&store, "t1");
        assert!(waits.starts_with("New []") && waits.contains(text), "{waits}");
        write(&store, |tx| tx.delete::<Network>(&"a".into()).map(drop)).await;
        assert_eq!(recorded(&store, "b"), "overlay 10.5.9.0/24 10.5.9.1 4097");
        assert_eq!(standing(&store, "t1"), r#"Pending ["10.5.9.2/24"]"#);
        assert!(store.view().get::<Network>(&"b".into()).unwrap().waiting.is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn there_is_one_ingress_network_at_a_time() {
    let store = Store::local(testing::env());
    with_allocator(&store, async || {
        write(&store, |tx| tx.create(network("a", |spec| spec.ingress = true)).map(drop)).await;
        write(&store, |tx| tx.create(network("b", |spec| spec.ingress = true)).map(drop)).await;
        assert_eq!(recorded(&store, "a"), "overlay 10.0.0.0/24 10.0.0.1 4096");
        let waits = recorded(&store, "b");
        assert!(waits.contains("the-a"), "{waits}");
        write(&store, |tx| tx.delete::<Network>(&"a".into()).map(drop)).await;
        assert_eq!(recorded(&store, "b"), "overlay 10.0.0.0/24 10.0.0.1 4097");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_has_an_address_on_each_overlay_of_its_tasks_and_what_is_over_gives_its_own_back() {
    let store = Store::local(testing::env());
    with_allocator(&store, async || {
        write(&store, |tx| {
            tx.create(network("a", |spec| spec.ipam = pool("10.5.0.0/29")))?;
            tx.create(testing::node("n1").ready().build())?;
            for id in ["t1", "t2", "t3", "t4"] {
                tx.create(task(id, "a", Some("n1")))?;
            }
            Ok(())
        })
        .await;
        let on_node = || {
            let view = store.view();
            let node = view.get::<Node>(&"n1".into()).unwrap();
            node.attachments.iter().flat_map(|attachment| attachment.addresses.clone()).collect::<Vec<_>>()
        };
        assert_eq!(on_node().len(), 1, "one, however many tasks there are");
        write(&store, |tx| tx.create(task("t5", "a", None)).map(drop)).await;
        assert_eq!(standing(&store, "t5"), "New [] no address is available on network the-a");
        write(&store, |tx| tx.edit::<Task>(&"t2".into(), |task| task.status.state = TaskState::Failed).map(drop)).await;
        assert!(standing(&store, "t5").starts_with("Pending [\"10.5.0."), "{}", standing(&store, "t5"));
        write(&store, |tx| {
            for id in ["t1", "t3", "t4", "t5"] {
                tx.delete::<Task>(&id.into())?;
            }
            Ok(())
        })
        .await;
        assert_eq!(on_node(), Vec::<String>::new());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_gives_the_first_subnet_to_the_network_that_carries_ports() {
    let store = Store::local(testing::env());
    let named = |name: &str, ingress: bool| {
        let mut network = Network::new(name.into());
        let annotations = Some(wire::Annotations { name: name.to_owned(), ..Default::default() });
        network.spec = Arc::new(wire::NetworkSpec { annotations, ingress, ..Default::default() });
        network
    };
    write(&store, |tx| tx.create(named("a", false)).and_then(|_| tx.create(named("z", true))).map(drop)).await;
    with_allocator(&store, async || {
        let view = store.view();
        let subnet =
            |id: &str| view.get::<Network>(&id.into()).unwrap().ipam.clone().unwrap().configs[0].subnet.clone();
        assert_eq!((subnet("z"), subnet("a")), ("10.0.0.0/24".to_owned(), "10.0.1.0/24".to_owned()));
    })
    .await;
}

//! Who wants logs and who has them, over a network of pipes.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{NodeId, NodeRole, wire};
use swarmkit_ca::Identity;
use swarmkit_dispatcher::LogBroker;
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, Channels, MemoryNetwork, ServerOptions, Services, Transport as _, serve,
};
use swarmkit_runtime::Crew;
use swarmkit_store::Store;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use wire::{
    log_broker_client::LogBrokerClient, log_broker_server::LogBrokerServer, logs_client::LogsClient,
    logs_server::LogsServer,
};

use crate::world::refusal;

/// Longer than anything that happens at once.
const SOON: Duration = Duration::from_millis(100);

struct World {
    store: Store,
    broker: LogBroker,
    network: MemoryNetwork,
    crew: Crew,
    term: CancellationToken,
}

impl World {
    async fn new(text: &str) -> Self {
        let store = swarmkit_testing::store(text);
        let broker = LogBroker::new(swarmkit_testing::env(), store.clone());
        let own = identity("m1", NodeRole::Manager);
        let services = Services::new(Authority::fixed(own.clone()))
            .with(LogsServer::new(broker.clone()))
            .unwrap()
            .with(LogBrokerServer::new(broker.clone()))
            .unwrap();
        let network = MemoryNetwork::default();
        let listener = network.transport(Some(own)).listen("m1:4242").await.unwrap();
        let crew = Crew::under(&CancellationToken::new());
        let spawner = crew.spawner();
        drop(spawner.spawn("server", serve(listener, services, ServerOptions::default(), spawner.clone())));
        let world = Self { store, broker, network, crew, term: CancellationToken::new() };
        world.lead().await;
        world
    }

    async fn lead(&self) {
        let (broker, stop) = (self.broker.clone(), self.term.clone());
        drop(self.crew.spawner().spawn("term", async move { broker.run(stop).await.unwrap() }));
        tokio::task::yield_now().await;
    }

    async fn channel(&self, node: &str, role: NodeRole) -> Channel {
        let transport = Arc::new(self.network.transport(Some(identity(node, role))));
        let channels = Channels::new(transport, ChannelOptions::default(), self.crew.spawner());
        channels.manager("m1:4242").await.unwrap()
    }

    async fn subscribe(
        &self,
        selector: Option<wire::LogSelector>,
        follow: bool,
    ) -> Result<Streaming<wire::SubscribeLogsMessage>, Status> {
        let options = Some(wire::LogSubscriptionOptions { follow, ..Default::default() });
        let mut client = LogsClient::new(self.channel("m1", NodeRole::Manager).await);
        client.subscribe_logs(wire::SubscribeLogsRequest { selector, options }).await.map(tonic::Response::into_inner)
    }

    async fn read(&self, selector: wire::LogSelector, follow: bool) -> Streaming<wire::SubscribeLogsMessage> {
        self.subscribe(Some(selector), follow).await.unwrap()
    }

    async fn node(&self, node: &str) -> Node {
        let mut client = LogBrokerClient::new(self.channel(node, NodeRole::Worker).await);
        let subscriptions =
            client.listen_subscriptions(wire::ListenSubscriptionsRequest {}).await.unwrap().into_inner();
        Node { name: node.into(), client, subscriptions }
    }

    fn amend(&self, text: &str) {
        swarmkit_testing::amend(&self.store, text);
    }
}

/// A node that listens.
struct Node {
    name: String,
    client: LogBrokerClient<Channel>,
    subscriptions: Streaming<wire::SubscriptionMessage>,
}

impl Node {
    async fn next(&mut self) -> wire::SubscriptionMessage {
        self.subscriptions.message().await.unwrap().expect("the stream goes on")
    }

    async fn hears_nothing(&mut self) -> bool {
        tokio::time::timeout(SOON, self.subscriptions.message()).await.is_err()
    }

    /// Publishes lines, and says that these are all.
    async fn publish(&mut self, id: &str, lines: &[&str]) -> Result<(), Status> {
        let lines = lines.iter().map(|line| line_of(&self.name, line)).collect();
        let last = wire::PublishLogsMessage { subscription_id: id.into(), close: true, ..Default::default() };
        self.send(vec![message(id, lines), last]).await
    }

    async fn send(&mut self, messages: Vec<wire::PublishLogsMessage>) -> Result<(), Status> {
        self.client.publish_logs(tokio_stream::iter(messages)).await.map(drop)
    }
}

fn identity(node: &str, role: NodeRole) -> Identity {
    Identity::new(NodeId::from(node), role, "c1".into())
}

fn message(id: &str, messages: Vec<wire::LogMessage>) -> wire::PublishLogsMessage {
    wire::PublishLogsMessage { subscription_id: id.into(), messages, close: false }
}

fn line_of(node: &str, line: &str) -> wire::LogMessage {
    let context = wire::LogContext { node_id: node.into(), ..Default::default() };
    wire::LogMessage { context: Some(context), data: line.to_owned().into(), ..Default::default() }
}

fn tasks(ids: &[&str]) -> wire::LogSelector {
    wire::LogSelector { task_ids: ids.iter().map(|id| (*id).into()).collect(), ..Default::default() }
}

fn services(ids: &[&str]) -> wire::LogSelector {
    wire::LogSelector { service_ids: ids.iter().map(|id| (*id).into()).collect(), ..Default::default() }
}

fn nodes(ids: &[&str]) -> wire::LogSelector {
    wire::LogSelector { node_ids: ids.iter().map(|id| (*id).into()).collect(), ..Default::default() }
}

/// All that comes until the stream ends, and how it ends.
async fn rest(mut reader: Streaming<wire::SubscribeLogsMessage>) -> (Vec<String>, Result<(), Status>) {
    let mut lines = Vec::new();
    loop {
        match reader.message().await {
            Ok(Some(message)) => lines.extend(texts(message)),
            Ok(None) => return (lines, Ok(())),
            Err(status) => return (lines, Err(status)),
        }
    }
}

fn texts(message: wire::SubscribeLogsMessage) -> impl Iterator<Item = String> {
    message.messages.into_iter().map(|line| String::from_utf8(line.data.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_all_nodes_have_is_given_and_then_the_stream_ends() {
    let world = World::new("service w; task w.1 on a running; task w.2 on b running").await;
    let (mut a, mut b, mut c) = (world.node("a").await, world.node("b").await, world.node("c").await);
    let reader = world.read(services(&["w"]), false).await;
    let id = a.next().await.id;
    assert_eq!(b.next().await.id, id);
    assert!(c.hears_nothing().await);
    a.publish(&id, &["one", "two"]).await.unwrap();
    b.publish(&id, &["three"]).await.unwrap();
    let (lines, end) = rest(reader).await;
    assert_eq!(lines, ["one", "two", "three"]);
    end.unwrap();
    let close = a.next().await;
    assert!(close.close && close.id == id);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_there_is_named_after_what_the_others_gave() {
    let world = World::new("service w; task w.1 on a running; task w.2 on b running; task w.3").await;
    let mut a = world.node("a").await;
    let reader = world.read(tasks(&["w.1", "w.2", "w.3"]), false).await;
    let id = a.next().await.id;
    a.publish(&id, &["one"]).await.unwrap();
    let (lines, end) = rest(reader).await;
    assert_eq!(lines, ["one"]);
    let text = "warning: incomplete log stream. some logs could not be retrieved for the following reasons: \
                node b is not available, task w.3 has not been scheduled";
    assert_eq!(refusal(end), (Code::Unknown, text.into()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_away_in_the_middle_is_named() {
    let world = World::new("service w; task w.1 on a running; task w.2 on b running").await;
    let (mut a, mut b) = (world.node("a").await, world.node("b").await);
    let reader = world.read(services(&["w"]), false).await;
    let id = a.next().await.id;
    b.next().await;
    drop(b);
    a.publish(&id, &["one"]).await.unwrap();
    let (lines, end) = rest(reader).await;
    assert_eq!(lines, ["one"]);
    assert!(refusal(end).1.ends_with("node b disconnected unexpectedly"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_listens_twice_is_there_until_it_listens_no_more() {
    let world = World::new("service w; task w.1 on a running").await;
    let (first, mut second) = (world.node("a").await, world.node("a").await);
    let reader = world.read(services(&["w"]), false).await;
    drop(first);
    let id = second.next().await.id;
    second.publish(&id, &["one"]).await.unwrap();
    let (lines, end) = rest(reader).await;
    assert_eq!(lines, ["one"]);
    end.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_named_are_waited_for() {
    let world = World::new("node a").await;
    let mut a = world.node("a").await;
    let reader = world.read(nodes(&["a"]), false).await;
    let id = a.next().await.id;
    a.publish(&id, &["one"]).await.unwrap();
    let (lines, end) = rest(reader).await;
    assert_eq!(lines, ["one"]);
    end.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_ends_at_once() {
    let world = World::new("service w").await;
    let (lines, end) = rest(world.read(services(&["w"]), false).await).await;
    assert_eq!(lines, [""; 0]);
    end.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_service_hears_of_every_node_that_gets_a_task_of_it_once() {
    let world = World::new("service w; service x").await;
    let (mut a, mut b) = (world.node("a").await, world.node("b").await);
    let mut reader = world.read(services(&["w"]), true).await;
    assert!(a.hears_nothing().await);
    world.amend("task w.1 on a assigned; task w.2 on a assigned; task x.1 on b assigned");
    let id = a.next().await.id;
    world.amend("task w.3 on a assigned");
    assert!(a.hears_nothing().await && b.hears_nothing().await);
    a.send(vec![message(&id, vec![line_of("a", "one")])]).await.unwrap();
    assert_eq!(texts(reader.message().await.unwrap().unwrap()).collect::<Vec<_>>(), ["one"]);
    world.amend("task w.4 on b assigned");
    assert_eq!(b.next().await.id, id);
    drop(reader);
    assert!(a.next().await.close);
    assert!(b.next().await.close);
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_task_waits_until_it_is_placed() {
    let world = World::new("task w.1").await;
    let (mut a, mut b) = (world.node("a").await, world.node("b").await);
    let _reader = world.read(tasks(&["w.1"]), true).await;
    assert!(a.hears_nothing().await);
    world
        .store
        .update(|tx| tx.edit::<swarmkit_api::Task>(&"w.1".into(), |t| t.node_id = Some("a".into())))
        .await
        .unwrap();
    a.next().await;
    assert!(b.hears_nothing().await);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_later_or_comes_back_hears_of_those_who_follow() {
    let world = World::new("service w; task w.1 on a running").await;
    let _reader = world.read(services(&["w"]), true).await;
    for _ in 0..3 {
        let mut a = world.node("a").await;
        assert!(!a.next().await.close);
    }
}

#[tokio::test(start_paused = true)]
async fn many_publishers_reach_one_reader() {
    let text: String = (0..20).map(|n| format!("task w.{n} on n{n} running;")).collect();
    let world = World::new(&format!("service w;{text}")).await;
    let mut readers = Vec::new();
    let mut nodes = Vec::new();
    for n in 0..20 {
        nodes.push(world.node(&format!("n{n}")).await);
    }
    readers.push(world.read(services(&["w"]), false).await);
    let publish = nodes.iter_mut().map(|node| async {
        let id = node.next().await.id;
        let lines: Vec<_> =
            (0..100).map(|n| message(&id, vec![line_of(&node.name, &format!("{}:{n}", node.name))])).collect();
        node.send(lines).await.unwrap();
    });
    let (_, (lines, end)) = tokio::join!(futures_util::future::join_all(publish), rest(readers.remove(0)));
    end.unwrap();
    assert_eq!(lines.len(), 2000);
    for n in 0..20 {
        let own: Vec<_> = lines.iter().filter(|line| line.starts_with(&format!("n{n}:"))).collect();
        assert_eq!(own, (0..100).map(|i| format!("n{n}:{i}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_holds_up_its_publishers() {
    let world = World::new("service w; task w.1 on a running").await;
    let mut a = world.node("a").await;
    let reader = world.read(services(&["w"]), false).await;
    let id = a.next().await.id;
    let (lines, queue) = mpsc::channel(1);
    let mut client = a.client.clone();
    let publish =
        world.crew.spawner().spawn("publish", async move { client.publish_logs(ReceiverStream::new(queue)).await });
    let big = "x".repeat(60_000);
    let mut sent = 0;
    while tokio::time::timeout(SOON, lines.send(message(&id, vec![line_of("a", &big)]))).await.is_ok() {
        sent += 1;
        assert!(sent < 10_000, "nothing holds the publisher up");
    }
    drop(lines);
    let (received, end) = rest(reader).await;
    end.unwrap();
    assert_eq!(received.len(), sent);
    publish.await.unwrap().unwrap().unwrap();
}

/// Publishes lines of 64 KiB until nobody takes them, and gives how many were taken and how the call ended.
async fn flood(world: &World, node: &Node, id: &str, from: u64) -> (u64, Result<(), Status>) {
    let (lines, queue) = mpsc::channel(1);
    let mut client = node.client.clone();
    let call = async move { client.publish_logs(ReceiverStream::new(queue)).await.map(drop) };
    let call = world.crew.spawner().spawn("publish", call);
    let text = "x".repeat(64 * 1024);
    let mut sent = 0;
    while lines.send(message(id, vec![stamped(&node.name, "w.1", from + sent, &text)])).await.is_ok() {
        sent += 1;
        assert!(sent < 1000, "nothing holds the publisher up");
    }
    (sent, call.await.unwrap().expect("it was not cut off"))
}

fn stamped(node: &str, task: &str, seconds: u64, line: &str) -> wire::LogMessage {
    let context = wire::LogContext { node_id: node.into(), task_id: task.into(), ..Default::default() };
    let timestamp = Some(prost_types::Timestamp { seconds: i64::try_from(seconds).unwrap(), nanos: 0 });
    wire::LogMessage { context: Some(context), timestamp, data: line.to_owned().into(), ..Default::default() }
}

fn seconds(message: &wire::SubscribeLogsMessage) -> Vec<i64> {
    message.messages.iter().map(|line| line.timestamp.unwrap().seconds).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_is_sent_away_from_a_reader_that_stalls_and_asked_for_the_rest_when_it_has_caught_up() {
    let world = World::new("service w; task w.1 on a running").await;
    let mut a = world.node("a").await;
    let mut reader = world.read(services(&["w"]), true).await;
    let id = a.next().await.id;
    let (sent, end) = flood(&world, &a, &id, 0).await;
    assert_eq!(refusal(end), (Code::ResourceExhausted, "the reader is behind".into()));
    // One mebibyte waits in the broker, as much in the window of either connection, and half of it to be sent.
    let most = (1 + 1 + 1) * 16 + 8 + 4;
    assert!(sent <= most, "{sent} of 64 KiB each are held");
    assert_eq!(a.next().await, wire::SubscriptionMessage { id, close: true, ..Default::default() });
    assert!(a.hears_nothing().await, "nothing is asked for while the reader stalls");
    let mut read = Vec::new();
    let again = loop {
        tokio::select! { biased;
            again = a.next() => break again,
            message = reader.message() => read.extend(seconds(&message.unwrap().unwrap())),
        }
    };
    let options = again.options.unwrap();
    let last = *read.last().unwrap();
    assert!(options.follow && options.tail == 0 && options.since.unwrap().seconds >= last);
    // It sends some of it again, and the reader gets each line once.
    let lines = (0..500).map(|n| message(&again.id, vec![stamped("a", "w.1", n, "x")])).collect();
    let publish = async { a.send(lines).await.unwrap() };
    let rest = async {
        while read.len() < 500 {
            read.extend(seconds(&reader.message().await.unwrap().unwrap()));
        }
    };
    tokio::join!(publish, rest);
    assert_eq!(read, (0..500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn readers_that_stall_hold_up_neither_other_readers_nor_the_calls_of_the_node() {
    let world = World::new("service w; task w.1 on a running").await;
    let mut a = world.node("a").await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let reader = world.read(services(&["w"]), true).await;
        let id = a.next().await.id;
        stalled.push((reader, id));
    }
    let mut reader = world.read(services(&["w"]), true).await;
    let id = a.next().await.id;
    let floods = stalled.iter().map(|(_, id)| flood(&world, &a, id, 0));
    let ends = futures_util::future::join_all(floods).await;
    assert!(ends.iter().all(|(_, end)| end.as_ref().is_err_and(|status| status.code() == Code::ResourceExhausted)));
    // All over one connection, whose window all of them together had filled.
    a.send(vec![message(&id, vec![stamped("a", "w.1", 1, &"x".repeat(3 << 20))])]).await.unwrap();
    assert_eq!(seconds(&reader.message().await.unwrap().unwrap()), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_goes_on_where_it_was() {
    let world = World::new("service w; task w.1 on a running").await;
    let mut a = world.node("a").await;
    let mut reader = world.read(services(&["w"]), true).await;
    let id = a.next().await.id;
    let lines = |id: &str, seconds: std::ops::Range<u64>| {
        seconds.map(|n| message(id, vec![stamped("a", "w.1", n, "x")])).collect::<Vec<_>>()
    };
    a.send(lines(&id, 0..5)).await.unwrap();
    // A second connection, while nobody knows yet that the first is broken.
    let mut back = world.node("a").await;
    let again = back.next().await;
    assert_ne!(again.id, id);
    assert_eq!(again.options.unwrap().since.unwrap().seconds, 3, "a second before what was read last");
    let late = a.send(lines(&id, 5..6)).await;
    assert_eq!(refusal(late), (Code::NotFound, "unknown subscription ID".into()), "only one of them publishes");
    back.send(lines(&again.id, 3..9)).await.unwrap();
    let mut read = Vec::new();
    while read.len() < 9 {
        read.extend(seconds(&reader.message().await.unwrap().unwrap()));
    }
    assert_eq!(read, (0..9).collect::<Vec<_>>());
    drop(reader);
    let close = back.next().await;
    assert!(close.close && close.id == again.id);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_was_asked_for_on_a_connection_that_is_gone_it_is_asked_for_on_the_other() {
    let world = World::new("service w; task w.1 on a running").await;
    let (mut first, mut second) = (world.node("a").await, world.node("a").await);
    let reader = world.read(services(&["w"]), false).await;
    second.next().await;
    assert!(first.hears_nothing().await, "one of them is asked");
    drop(second);
    let id = first.next().await.id;
    first.publish(&id, &["one"]).await.unwrap();
    let (lines, end) = rest(reader).await;
    assert_eq!(lines, ["one"]);
    end.unwrap();
}

#[tokio::test(start_paused = true)]
async fn services_tasks_and_nodes_that_are_named_together_are_one_selection() {
    let world = World::new("service w; task w.1 on a running; task x.1 on b running; node c").await;
    let (mut a, mut b, mut c) = (world.node("a").await, world.node("b").await, world.node("c").await);
    let selector = wire::LogSelector {
        service_ids: vec!["w".into()],
        task_ids: vec!["w.1".into(), "x.1".into()],
        node_ids: vec!["a".into(), "c".into()],
    };
    let reader = world.read(selector.clone(), false).await;
    for node in [&mut a, &mut b, &mut c] {
        let asked = node.next().await;
        assert_eq!(asked.selector.as_ref(), Some(&selector));
        assert!(node.hears_nothing().await, "each is asked once");
        node.publish(&asked.id, &[&node.name.clone()]).await.unwrap();
    }
    let (lines, end) = rest(reader).await;
    assert_eq!(lines, ["a", "b", "c"]);
    end.unwrap();
}

#[tokio::test(start_paused = true)]
async fn records_are_passed_on_as_they_are() {
    let world = World::new("service w; task w.1 on a running").await;
    let mut a = world.node("a").await;
    let mut reader = world.read(services(&["w"]), false).await;
    let id = a.next().await.id;
    let mut line = stamped("a", "w.1", 7, "one\n");
    line.stream = wire::LogStream::Stderr.into();
    line.attrs = vec![wire::LogAttr { key: "tag".into(), value: "x".into() }];
    a.send(vec![message(&id, vec![line.clone()])]).await.unwrap();
    assert_eq!(reader.message().await.unwrap().unwrap().messages, [line]);
}

#[tokio::test(start_paused = true)]
async fn what_is_published_must_be_wanted_and_the_nodes_own() {
    let world = World::new("service w; task w.1 on a running; node b").await;
    let (mut a, mut b) = (world.node("a").await, world.node("b").await);
    let _reader = world.read(services(&["w"]), true).await;
    let id = a.next().await.id;
    let unknown = (Code::NotFound, "unknown subscription ID".to_owned());
    assert_eq!(refusal(a.publish("x", &["one"]).await), unknown);
    assert_eq!(refusal(b.publish(&id, &["one"]).await), unknown);
    assert_eq!(refusal(a.publish("", &["one"]).await), (Code::InvalidArgument, "missing subscription ID".into()));
    let foreign = a.send(vec![message(&id, vec![line_of("b", "one")])]).await;
    assert_eq!(refusal(foreign), (Code::PermissionDenied, "invalid NodeID: b".into()));
    let changed = a.send(vec![message(&id, vec![]), message("x", vec![])]).await;
    let refused = (Code::InvalidArgument, "different subscription IDs in the same session".to_owned());
    assert_eq!(refusal(changed), refused);
}

#[tokio::test(start_paused = true)]
async fn a_selector_must_select_something() {
    let world = World::new("node a").await;
    let none = world.subscribe(None, false).await;
    assert_eq!(refusal(none), (Code::InvalidArgument, "log selector must be provided".into()));
    let empty = world.subscribe(Some(wire::LogSelector::default()), false).await;
    assert_eq!(refusal(empty), (Code::InvalidArgument, "log selector must not be empty".into()));
}

#[tokio::test(start_paused = true)]
async fn workers_may_not_read_logs() {
    let world = World::new("node a").await;
    let mut client = LogsClient::new(world.channel("a", NodeRole::Worker).await);
    let request = wire::SubscribeLogsRequest { selector: Some(nodes(&["a"])), options: None };
    assert_eq!(client.subscribe_logs(request).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stops_ends_its_streams_and_refuses_calls() {
    let world = World::new("service w; task w.1 on a running").await;
    assert_eq!(world.broker.run(CancellationToken::new()).await.unwrap_err().to_string(), "broker is already running");
    let mut a = world.node("a").await;
    let reader = world.read(services(&["w"]), true).await;
    a.next().await;
    world.term.cancel();
    assert_eq!(a.subscriptions.message().await.unwrap(), None);
    let stopped = (Code::Unknown, "broker is not running".to_owned());
    assert_eq!(refusal(rest(reader).await.1), stopped);
    assert_eq!(refusal(world.subscribe(Some(nodes(&["a"])), false).await), stopped);
}

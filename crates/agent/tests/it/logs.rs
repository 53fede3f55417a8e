//! Logs on their way from a task to whoever reads them.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{NodeRole, TaskState, wire};
use swarmkit_executor::{Behaviour, Ending, InertExecutor, LogSource, Machine};
use swarmkit_rpc::{ChannelOptions, Channels};
use tonic::{Code, Status, Streaming};
use wire::logs_client::LogsClient;

use crate::cluster::{Cluster, Running, identity};

async fn read(
    cluster: &Cluster,
    service: &str,
    options: wire::LogSubscriptionOptions,
) -> Streaming<wire::SubscribeLogsMessage> {
    let transport = Arc::new(cluster.network.transport(Some(identity("m1", NodeRole::Manager))));
    let channels = Channels::new(transport, ChannelOptions::default(), cluster.crew.spawner());
    let mut client = LogsClient::new(channels.manager("m1:4242").await.unwrap());
    let selector = Some(wire::LogSelector { service_ids: vec![service.into()], ..Default::default() });
    client.subscribe_logs(wire::SubscribeLogsRequest { selector, options: Some(options) }).await.unwrap().into_inner()
}

/// The records until the stream ends, sorted, each with its task and stream.
async fn all(mut reader: Streaming<wire::SubscribeLogsMessage>) -> (Vec<String>, Result<(), Status>) {
    let mut records = Vec::new();
    let end = loop {
        match reader.message().await {
            Ok(Some(message)) => records.extend(message.messages.iter().map(record)),
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        }
    };
    records.sort();
    (records, end)
}

fn record(message: &wire::LogMessage) -> String {
    let context = message.context.as_ref().unwrap();
    assert!(message.timestamp.is_some());
    let stream = match message.stream() {
        wire::LogStream::Stderr => "err",
        wire::LogStream::Stdout => "out",
        wire::LogStream::Unknown => "?",
    };
    format!("{}@{} {stream} {}", context.task_id, context.node_id, String::from_utf8_lossy(&message.data).trim_end())
}

/// An agent whose tasks say hello when they start.
fn start_talkative(cluster: &Cluster, node: &str) -> Running {
    let machine = Machine::new(cluster.env.clone());
    let executor = InertExecutor::on(machine).hostname(node).behaving(|task| Behaviour {
        output: vec![(LogSource::Stdout, format!("hello from {}", task.id)), (LogSource::Stderr, "oops".into())],
        ending: if task.slot == 9 { Ending::After(Duration::from_secs(1), 1) } else { Ending::Never },
        ..Behaviour::default()
    });
    cluster.start(node, executor, None)
}

/// Waits until a node listens for subscriptions, which is a moment after it has a session.
async fn listening(agent: &Running) {
    agent.handle.ready().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn what_tasks_on_all_nodes_have_written_is_read() {
    let cluster = Cluster::new(
        "node a; node b; service w; service x; task w.1 on a assigned; task w.9 on b assigned; task x.1 on a assigned",
    )
    .await;
    let (a, b) = (start_talkative(&cluster, "a"), start_talkative(&cluster, "b"));
    cluster.until_state("w.1", TaskState::Running).await;
    cluster.until_state("w.9", TaskState::Failed).await;
    listening(&a).await;
    listening(&b).await;
    let (records, end) = all(read(&cluster, "w", wire::LogSubscriptionOptions::default()).await).await;
    end.unwrap();
    let expected = ["w.1@a err oops", "w.1@a out hello from w.1", "w.9@b err oops", "w.9@b out hello from w.9"];
    assert_eq!(records, expected);
    let options =
        wire::LogSubscriptionOptions { streams: vec![wire::LogStream::Stderr.into()], tail: -2, ..Default::default() };
    let (records, end) = all(read(&cluster, "w", options).await).await;
    end.unwrap();
    assert_eq!(records, ["w.1@a err oops", "w.9@b err oops"]);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_follows_reads_what_later_tasks_write() {
    let cluster = Cluster::new("node a; service w; task w.1 on a assigned").await;
    let agent = start_talkative(&cluster, "a");
    cluster.until_state("w.1", TaskState::Running).await;
    listening(&agent).await;
    let options = wire::LogSubscriptionOptions { follow: true, ..Default::default() };
    let mut reader = read(&cluster, "w", options).await;
    let mut next = async || {
        let message = reader.message().await.unwrap().expect("the stream goes on");
        message.messages.iter().map(record).collect::<Vec<_>>()
    };
    assert_eq!(next().await, ["w.1@a out hello from w.1", "w.1@a err oops"]);
    cluster.amend("task w.2 on a assigned");
    let mut records = next().await;
    while records.len() < 2 {
        records.extend(next().await);
    }
    assert_eq!(records, ["w.2@a out hello from w.2", "w.2@a err oops"]);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_without_an_agent_is_named_after_what_the_others_had() {
    let cluster = Cluster::new("node a; node b; service w; task w.1 on a assigned; task w.2 on b running").await;
    let agent = start_talkative(&cluster, "a");
    cluster.until_state("w.1", TaskState::Running).await;
    listening(&agent).await;
    let (records, end) = all(read(&cluster, "w", wire::LogSubscriptionOptions::default()).await).await;
    assert_eq!(records.len(), 2);
    let status = end.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().ends_with("node b is not available"), "{status}");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leader_ends_readers_and_the_next_one_reads_again() {
    let mut cluster = Cluster::new("node a; service w; task w.1 on a assigned").await;
    let agent = start_talkative(&cluster, "a");
    cluster.until_state("w.1", TaskState::Running).await;
    listening(&agent).await;
    let follow = wire::LogSubscriptionOptions { follow: true, ..Default::default() };
    let reader = read(&cluster, "w", follow).await;
    cluster.resign();
    assert_eq!(all(reader).await.1.unwrap_err().message(), "broker is not running");
    cluster.lead();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (records, end) = all(read(&cluster, "w", wire::LogSubscriptionOptions::default()).await).await;
    end.unwrap();
    assert_eq!(records.len(), 2);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn readers_that_stall_cost_a_node_nothing_and_get_every_line_once_when_they_go_on() {
    let cluster = Cluster::new("node a; service w; task w.1 on a assigned").await;
    let machine = Machine::new(cluster.env.clone());
    // Three times what may wait for a reader, all of one moment.
    let lines: Vec<_> = (0..48).map(|n| format!("{n:02}{}", "x".repeat(64 * 1024))).collect();
    let output: Vec<_> = lines.iter().map(|line| (LogSource::Stdout, line.clone())).collect();
    let behaviour = Behaviour { output, ..Behaviour::default() };
    let executor = InertExecutor::on(machine).hostname("a").behaving(move |_| behaviour.clone());
    let agent = cluster.start("a", executor, None);
    cluster.until_state("w.1", TaskState::Running).await;
    listening(&agent).await;
    let follow = wire::LogSubscriptionOptions { follow: true, ..Default::default() };
    let mut stalled = Vec::new();
    for _ in 0..6 {
        stalled.push(read(&cluster, "w", follow.clone()).await);
    }
    // Heartbeats go over the connection that all of them share. Without them the node is down after 15 seconds.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let sessions = agent.handle.contact().borrow().sessions;
    assert_eq!(sessions, 1, "the node has kept its session");
    let (records, end) = all(read(&cluster, "w", wire::LogSubscriptionOptions::default()).await).await;
    end.unwrap();
    assert_eq!(records.len(), lines.len(), "another reader is served meanwhile");
    for mut reader in stalled {
        let mut read = Vec::new();
        while read.len() < lines.len() {
            let message = reader.message().await.unwrap().expect("the stream goes on");
            read.extend(message.messages.iter().map(|line| line.data[..2].to_vec()));
        }
        let expected: Vec<_> = lines.iter().map(|line| line.as_bytes()[..2].to_vec()).collect();
        assert_eq!(read, expected);
    }
    agent.stop().await;
}

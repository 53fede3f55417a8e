//! What an agent says of its node, what it is told of it, and an executor that does not answer.

use std::{future::pending, sync::Arc, time::Duration};

use parking_lot::Mutex;
use swarmkit_api::{Node, Object as _, wire};
use swarmkit_executor::{Assignment, ExecError, Executor, InertController, InertExecutor, Machine};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use wire::assignments_message::Type;

use crate::{
    cluster::eventually,
    fake::{Answer, Fake, Feed, Node as Running, session_message},
    session::assign,
};

/// Whether an executor answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Answers,
    Refuses,
    Hangs,
}

/// An executor that notes what it is told of the node, and answers or does not.
#[derive(Clone)]
struct Moody {
    inner: InertExecutor,
    mood: watch::Receiver<Mood>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Moody {
    async fn answer(&self) -> Result<(), ExecError> {
        let mood = *self.mood.borrow();
        match mood {
            Mood::Answers => Ok(()),
            Mood::Refuses => Err(ExecError::failed("not now")),
            Mood::Hangs => pending().await,
        }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().clone()
    }
}

impl Executor for Moody {
    type Controller = InertController;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        self.answer().await?;
        Executor::describe(&self.inner).await
    }

    async fn configure(&self, node: &Node) -> Result<(), ExecError> {
        self.told.lock().push(format!("node {:?}", node.spec.availability()));
        self.answer().await
    }

    async fn set_network_bootstrap_keys(&self, keys: &[wire::EncryptionKey]) -> Result<(), ExecError> {
        let times: Vec<_> = keys.iter().map(|key| key.lamport_time.to_string()).collect();
        self.told.lock().push(format!("keys {}", times.join(" ")));
        self.answer().await
    }

    async fn controller(&self, assignment: Assignment) -> Result<InertController, ExecError> {
        Executor::controller(&self.inner, assignment).await
    }
}

fn start(fake: Fake) -> (Running, Moody, watch::Sender<Mood>) {
    let env = swarmkit_testing::env();
    let machine = Machine::new(env.clone());
    let (set_mood, mood) = watch::channel(Mood::Answers);
    let executor = Moody { inner: InertExecutor::on(machine.clone()).hostname("a"), mood, told: Arc::default() };
    (fake.start_with(env, executor.clone(), machine), executor, set_mood)
}

fn keys(times: &[u64]) -> wire::SessionMessage {
    let key = |time: &u64| wire::EncryptionKey { lamport_time: *time, ..Default::default() };
    wire::SessionMessage { network_bootstrap_keys: times.iter().map(key).collect(), ..session_message("s1") }
}

fn node(availability: wire::node_spec::Availability) -> wire::SessionMessage {
    let mut node = swarmkit_testing::node("a").build();
    Arc::make_mut(&mut node.spec).set_availability(availability);
    wire::SessionMessage { node: Some(node.to_wire()), ..session_message("s1") }
}

#[tokio::test(start_paused = true)]
async fn network_keys_reach_the_executor_when_there_is_a_new_one_among_them() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_session(Answer::Give(messages));
    let (running, executor, set_mood) = start(fake);
    for times in [&[1, 2, 3][..], &[3, 2, 1], &[], &[2, 3], &[2, 3, 4]] {
        feed.send(keys(times)).await;
    }
    eventually("all keys", || executor.told().len() == 2).await;
    assert_eq!(executor.told(), ["keys 1 2 3", "keys 2 3 4"]);
    set_mood.send_replace(Mood::Refuses);
    feed.send(keys(&[4, 5])).await;
    eventually("refused ones", || executor.told().len() == 3).await;
    set_mood.send_replace(Mood::Answers);
    feed.send(keys(&[4, 5])).await;
    eventually("the same again", || executor.told().len() == 4).await;
    assert_eq!(executor.told()[2..], ["keys 4 5", "keys 4 5"]);
    assert_eq!(running.manager.calls("session").len(), 1, "an executor that refuses does not end a session");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_hangs_keeps_its_node_neither_from_heartbeats_nor_from_tasks() {
    use wire::node_spec::Availability::{Active, Drain};

    let fake = Fake::default();
    let (session, messages) = Feed::new();
    fake.next_session(Answer::Give(messages));
    let (feed, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    let (running, executor, set_mood) = start(fake);
    set_mood.send_replace(Mood::Hangs);
    let begin = Instant::now();
    session.send(node(Active)).await;
    feed.send(assign(Type::Complete, "", "1", &["w.1"])).await;
    eventually("it runs", || running.machine.running() == 1).await;
    eventually("a heartbeat", || !running.manager.calls("heartbeat").is_empty()).await;
    assert!(begin.elapsed() <= Duration::from_secs(6), "the session was not held up for long");
    running.handle.ready().await.unwrap();
    session.send(node(Drain)).await;
    eventually("the next word of managers", || executor.told().len() == 2).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(executor.told(), ["node Active", "node Drain"]);
    assert_eq!(running.handle.contact().borrow().sessions, 1);
    assert!(running.manager.calls("heartbeat").len() > 20);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_hangs_is_described_as_it_was_in_the_next_session() {
    let fake = Fake::default();
    let (session, messages) = Feed::new();
    fake.next_session(Answer::Give(messages));
    let (running, _, set_mood) = start(fake);
    session.send(session_message("s1")).await;
    running.handle.ready().await.unwrap();
    set_mood.send_replace(Mood::Hangs);
    session.fail(tonic::Status::unavailable("gone")).await;
    eventually("a second session", || running.manager.calls("session").len() == 2).await;
    assert_eq!(running.manager.calls("session"), ["session  a", "session s1 a"]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_goes_by_the_name_it_was_given_and_says_that_it_is_restricted_in_every_session() {
    let env = swarmkit_testing::env();
    let machine = Machine::new(env.clone());
    let executor = InertExecutor::on(machine.clone()).hostname("a");
    let running = Fake::default().start_as(env, executor, machine, |agent| agent.hostname("named").fips(true));
    running.handle.ready().await.unwrap();
    running.tls_info.send_replace(Some(wire::NodeTlsInfo { trust_root: "root2".into(), ..Default::default() }));
    eventually("a second session", || running.manager.calls("session").len() == 2).await;
    assert_eq!(running.manager.calls("session"), ["session  named fips", "session s1 named root2 fips"]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn containers_of_others_are_attached_and_detached_as_soon_as_there_is_a_session() {
    let fake = Fake::default();
    fake.next_session(Answer::Hang);
    let running = fake.start();
    let config = |target: &str| wire::NetworkAttachmentConfig { target: target.into(), ..Default::default() };
    let begin = Instant::now();
    assert_eq!(running.handle.attach_network(config("blue"), "c1").await.unwrap(), "at1");
    assert!(begin.elapsed() >= Duration::from_secs(5), "the first session was not opened");
    let refused = running.handle.attach_network(config("none"), "c1").await.unwrap_err();
    assert!(refused.to_string().ends_with("network none not found"), "{refused}");
    running.handle.detach_network("at1").await.unwrap();
    let calls = [running.manager.calls("attach"), running.manager.calls("detach")].concat();
    assert_eq!(calls, ["attach c1 to blue", "attach c1 to none", "detach at1"]);
    let handle = running.handle.clone();
    running.end().await;
    assert_eq!(handle.detach_network("at1").await.unwrap_err().to_string(), "agent: closed");
}

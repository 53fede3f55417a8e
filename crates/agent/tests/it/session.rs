//! Sessions with a manager that does what a test says.

use std::time::Duration;

use swarmkit_agent::Experience;
use swarmkit_api::{Object as _, Task, TaskState, wire};
use swarmkit_executor::{Assignment, ExecError, Executor, InertController, InertExecutor, Machine};
use tokio::time::{Instant, sleep};
use tonic::Status;
use wire::{assignment::Item, assignment_change::AssignmentAction, assignments_message::Type};

use crate::{
    cluster::eventually,
    fake::{Answer, Fake, Feed, session_message},
};

fn task(id: &str, desired: TaskState) -> wire::Task {
    swarmkit_testing::task(id).on("a").state(TaskState::Assigned).desired(desired).build().to_wire()
}

pub(crate) fn assign(kind: Type, applies_to: &str, results_in: &str, tasks: &[&str]) -> wire::AssignmentsMessage {
    let changes = tasks.iter().map(|word| {
        let (action, id) = match word.strip_prefix('-') {
            Some(id) => (AssignmentAction::Remove, id),
            None => (AssignmentAction::Update, *word),
        };
        let item = Some(Item::Task(task(id, TaskState::Running)));
        wire::AssignmentChange { assignment: Some(wire::Assignment { item }), action: action.into() }
    });
    wire::AssignmentsMessage {
        r#type: kind.into(),
        applies_to: applies_to.into(),
        results_in: results_in.into(),
        changes: changes.collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_heartbeat_comes_at_once_and_the_next_after_the_given_period() {
    let fake = Fake::default();
    fake.next_heartbeat(Answer::Give(Duration::from_secs(7)));
    let node = fake.start();
    node.handle.ready().await.unwrap();
    let begin = Instant::now();
    eventually("a second heartbeat", || node.manager.calls("heartbeat").len() == 2).await;
    assert_eq!(begin.elapsed().as_secs(), 7);
    assert_eq!(node.manager.calls("session"), ["session  a"]);
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_is_opened_again_under_its_id_whatever_ended_it() {
    let ended: [fn(&Fake); 6] = [
        |fake| fake.next_heartbeat(Answer::Refuse(Status::not_found("node not registered"))),
        |fake| fake.next_heartbeat(Answer::Hang),
        |fake| fake.next_assignments(Answer::Refuse(Status::unavailable("no"))),
        |fake| fake.next_assignments(Answer::Hang),
        |fake| fake.next_assignments(Answer::Give(Feed::new().1)),
        |fake| {
            fake.next_session(Answer::Give(futures_util::StreamExt::boxed(futures_util::stream::iter([Ok(
                session_message("s1"),
            )]))))
        },
    ];
    for (n, end) in ended.into_iter().enumerate() {
        let fake = Fake::default();
        end(&fake);
        let node = fake.start();
        eventually("a second session", || node.manager.calls("session").len() == 2).await;
        assert_eq!(node.manager.calls("session"), ["session  a", "session s1 a"], "case {n}");
        assert_eq!(node.manager.closed(), [Experience::Bad], "case {n}");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(node.handle.contact().borrow().sessions, 2, "case {n}");
        node.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_open_the_session_is_given_up_in_time() {
    let fake = Fake::default();
    fake.next_session(Answer::Hang);
    fake.next_session(Answer::Give(Feed::new().1));
    fake.next_session(Answer::Refuse(Status::aborted("dispatcher is stopped")));
    let node = fake.start();
    let begin = Instant::now();
    let mut contact = node.handle.contact();
    contact.wait_for(|contact| contact.failures == 1).await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 5);
    assert_eq!(contact.borrow().error.as_ref().unwrap().to_string(), "session initiation timed out");
    contact.wait_for(|contact| contact.failures == 3).await.unwrap();
    assert!(contact.borrow().error.as_ref().unwrap().to_string().ends_with("dispatcher is stopped"));
    contact.wait_for(|contact| contact.established).await.unwrap();
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_assignments_is_mended_by_asking_for_all_of_them() {
    let fake = Fake::default();
    let (first, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    let (second, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    let node = fake.start();
    first.send(assign(Type::Complete, "", "1", &["w.1"])).await;
    eventually("one runs", || node.machine.running() == 1).await;
    first.send(assign(Type::Incremental, "2", "3", &["w.9"])).await;
    first.abandoned().await;
    second.send(assign(Type::Complete, "", "1", &["w.1", "w.2"])).await;
    second.send(assign(Type::Incremental, "1", "2", &["w.3"])).await;
    eventually("three run", || node.machine.running() == 3).await;
    assert_eq!(node.manager.calls("assignments").len(), 2);
    assert_eq!(node.manager.calls("session").len(), 1);
    assert!(node.manager.calls("status").iter().all(|call| !call.contains("w.9")), "what came after the gap was taken");
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_keeps_leaving_out_assignments_is_given_up() {
    let fake = Fake::default();
    let feeds: Vec<_> = (0..4)
        .map(|_| {
            let (feed, messages) = Feed::new();
            fake.next_assignments(Answer::Give(messages));
            feed
        })
        .collect();
    let node = fake.start();
    for feed in feeds {
        feed.send(assign(Type::Complete, "", "1", &["w.1"])).await;
        feed.send(assign(Type::Incremental, "7", "8", &["w.9"])).await;
        feed.abandoned().await;
    }
    let mut contact = node.handle.contact();
    contact.wait_for(|contact| contact.sessions == 2).await.unwrap();
    assert_eq!(node.manager.closed(), [Experience::Bad]);
    assert_eq!(node.manager.calls("assignments").len(), 5);
    assert_eq!(node.machine.running(), 1, "and what it had said before goes on");
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_complete_set_replaces_and_an_incremental_one_amends() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    let node = fake.start();
    feed.send(assign(Type::Complete, "", "1", &["w.1", "w.2", "-w.3"])).await;
    eventually("two run", || node.machine.running() == 2).await;
    feed.send(assign(Type::Incremental, "1", "2", &["w.3", "-w.1", "-unknown"])).await;
    eventually("w.1 went", || node.manager.calls("status").iter().any(|call| call.contains("w.3 RUNNING"))).await;
    eventually("two run", || node.machine.running() == 2).await;
    feed.send(assign(Type::Complete, "2", "3", &["w.3"])).await;
    eventually("one runs", || node.machine.running() == 1).await;
    feed.send(assign(Type::Complete, "3", "4", &[])).await;
    eventually("none runs", || node.machine.running() == 0).await;
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_assigned_anew_while_it_goes_away_begins_again_afterwards() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    let env = swarmkit_testing::env();
    let machine = Machine::new(env.clone());
    let executor = InertExecutor::on(machine.clone())
        .behaving(|_| swarmkit_executor::Behaviour { ignores_stop: true, ..Default::default() });
    let node = fake.start_with(env, executor, machine);
    feed.send(assign(Type::Complete, "", "1", &["w.1"])).await;
    eventually("it runs", || node.manager.calls("status").iter().any(|call| call.contains("RUNNING"))).await;
    let before = node.manager.calls("status").len();
    feed.send(assign(Type::Incremental, "1", "2", &["-w.1"])).await;
    feed.send(assign(Type::Incremental, "2", "3", &["w.1"])).await;
    let begin = Instant::now();
    eventually("it runs again", || {
        node.manager.calls("status").iter().skip(before).any(|call| call.contains("RUNNING"))
    })
    .await;
    assert_eq!(begin.elapsed().as_secs(), 10, "the old one had its grace");
    assert_eq!(node.machine.running(), 1);
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_knows_no_assignments_is_asked_for_tasks() {
    let fake = Fake::default();
    fake.next_assignments(Answer::Refuse(Status::unimplemented("unknown method")));
    let (feed, messages) = Feed::new();
    fake.next_tasks(Answer::Give(messages));
    let node = fake.start();
    feed.send(wire::TasksMessage { tasks: vec![task("w.1", TaskState::Running), task("w.2", TaskState::Running)] })
        .await;
    eventually("two run", || node.machine.running() == 2).await;
    feed.send(wire::TasksMessage { tasks: vec![task("w.2", TaskState::Running)] }).await;
    eventually("one runs", || node.machine.running() == 1).await;
    assert_eq!(node.handle.contact().borrow().sessions, 1);
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_is_told_until_it_is_taken() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    for _ in 0..3 {
        fake.next_status(Answer::Refuse(Status::unavailable("not the leader")));
    }
    let node = fake.start();
    feed.send(assign(Type::Complete, "", "1", &["w.1"])).await;
    let mut contact = node.handle.contact();
    contact.wait_for(|contact| contact.sessions == 4).await.unwrap();
    eventually("told", || node.manager.calls("status").len() == 4).await;
    assert_eq!(node.manager.calls("status")[3], "status w.1 RUNNING");
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_that_was_under_way_when_the_session_ended_is_told_in_the_next_one() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    fake.next_status(Answer::Hang);
    let node = fake.start();
    feed.send(assign(Type::Complete, "", "1", &["w.1"])).await;
    eventually("a report hangs", || node.manager.calls("status").len() == 1).await;
    sleep(Duration::from_secs(1)).await;
    feed.fail(Status::unavailable("gone")).await;
    eventually("told", || node.manager.calls("status").len() == 2).await;
    assert_eq!(node.manager.calls("status")[1], "status w.1 RUNNING");
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_the_manager_refuses_does_not_hold_up_the_others() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    let refused = || Answer::Refuse(Status::permission_denied("cannot update a task not assigned this node"));
    fake.next_status(Answer::Hang);
    let node = fake.start();
    feed.send(assign(Type::Complete, "", "1", &["w.1", "w.2"])).await;
    eventually("a report hangs", || node.manager.calls("status").len() == 1).await;
    node.manager.next_status(refused());
    node.manager.next_status(refused());
    let mut contact = node.handle.contact();
    contact.wait_for(|contact| contact.sessions == 2).await.unwrap();
    eventually("told one by one", || node.manager.calls("status").len() == 4).await;
    let calls = node.manager.calls("status");
    assert_eq!(&calls[1..], ["status w.1 RUNNING, w.2 RUNNING", "status w.1 RUNNING", "status w.2 RUNNING"]);
    assert_eq!(contact.borrow().sessions, 2);
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_managers_say_is_handed_on_and_only_news_of_it() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_session(Answer::Give(messages));
    let node = fake.start();
    let peer = |node: &str, addr: &str| wire::WeightedPeer {
        peer: Some(wire::Peer { node_id: node.into(), addr: addr.into() }),
        weight: 10,
    };
    let object = |role: wire::NodeRole, state: i32| {
        let mut node = swarmkit_testing::node("a").build();
        std::sync::Arc::make_mut(&mut node.spec).desired_role = role.into();
        node.status.state = state;
        node.to_wire()
    };
    feed.send(wire::SessionMessage {
        node: Some(object(wire::NodeRole::Worker, 2)),
        managers: vec![peer("m1", "m1:1"), peer("m2", "")],
        root_ca: "root".into(),
        network_bootstrap_keys: vec![wire::EncryptionKey { lamport_time: 1, ..Default::default() }],
        ..session_message("s1")
    })
    .await;
    node.handle.ready().await.unwrap();
    let mut membership = node.handle.membership();
    let known = membership.borrow_and_update().clone();
    assert_eq!(known.root_ca, "root");
    assert_eq!(known.network_keys.len(), 1);
    assert_eq!(node.manager.learned().len(), 2);

    // Reported status, no managers, no keys, no root: nothing new.
    feed.send(wire::SessionMessage { node: Some(object(wire::NodeRole::Worker, 1)), ..session_message("s1") }).await;
    feed.send(wire::SessionMessage { managers: vec![peer("m2", "")], ..session_message("s1") }).await;
    sleep(Duration::from_millis(10)).await;
    assert!(!membership.has_changed().unwrap());
    assert_eq!(node.manager.learned().len(), 2, "a list without addresses says nothing");

    feed.send(wire::SessionMessage { node: Some(object(wire::NodeRole::Manager, 1)), ..session_message("s1") }).await;
    membership.changed().await.unwrap();
    let role = membership.borrow().node.as_ref().unwrap().spec.desired_role();
    assert_eq!(role, wire::NodeRole::Manager);
    feed.send(wire::SessionMessage { root_ca: "new".into(), ..session_message("s1") }).await;
    membership.changed().await.unwrap();
    assert_eq!(membership.borrow().root_ca, "new");
    assert_eq!(node.handle.contact().borrow().sessions, 1);
    feed.fail(Status::unavailable("gone")).await;
    node.handle.contact().wait_for(|contact| contact.sessions == 2).await.unwrap();
    assert!(!membership.has_changed().unwrap());
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_changed_says_so_in_a_new_session_without_blaming_the_manager() {
    let node = Fake::default().start();
    node.handle.ready().await.unwrap();
    sleep(Duration::from_secs(100)).await;
    assert_eq!(node.manager.calls("session").len(), 1);
    let begin = Instant::now();
    node.tls_info.send_replace(Some(wire::NodeTlsInfo { trust_root: "root2".into(), ..Default::default() }));
    eventually("a second session", || node.manager.calls("session").len() == 2).await;
    assert_eq!(node.manager.calls("session")[1], "session s1 a root2");
    assert!(begin.elapsed() < Duration::from_millis(10));
    assert_eq!(node.manager.closed(), [Experience::Neutral]);
    node.tls_info.send_replace(Some(wire::NodeTlsInfo { trust_root: "root2".into(), ..Default::default() }));
    sleep(Duration::from_secs(100)).await;
    assert_eq!(node.manager.calls("session").len(), 2, "the same certificate is no news");
    node.end().await;
}

/// An executor that describes itself by a host name that a test changes, or not at all.
struct Renamed {
    inner: InertExecutor,
    hostname: tokio::sync::watch::Receiver<Option<&'static str>>,
}

impl Executor for Renamed {
    type Controller = InertController;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        let hostname = self.hostname.borrow().ok_or_else(|| ExecError::temporary("no engine"))?;
        Ok(wire::NodeDescription { hostname: hostname.into(), ..Default::default() })
    }

    async fn controller(&self, assignment: Assignment) -> Result<InertController, ExecError> {
        Executor::controller(&self.inner, assignment).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_executor_is_asked_now_and_then_what_the_node_is() {
    let env = swarmkit_testing::env();
    let machine = Machine::new(env.clone());
    let (hostname, receiver) = tokio::sync::watch::channel(Some("a"));
    let executor = Renamed { inner: InertExecutor::on(machine.clone()), hostname: receiver };
    let node = Fake::default().start_with(env, executor, machine);
    node.handle.ready().await.unwrap();
    hostname.send_replace(None);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(node.manager.calls("session").len(), 1, "who cannot say has said nothing new");
    hostname.send_replace(Some("b"));
    let begin = Instant::now();
    eventually("a second session", || node.manager.calls("session").len() == 2).await;
    assert_eq!(node.manager.calls("session")[1], "session s1 b");
    assert!(begin.elapsed() <= Duration::from_secs(21));
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_shall_not_be_here_is_reported_gone() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    let node = fake.start();
    let item = Some(Item::Volume(wire::VolumeAssignment { id: "v".into(), ..Default::default() }));
    let change =
        wire::AssignmentChange { assignment: Some(wire::Assignment { item }), action: AssignmentAction::Remove.into() };
    feed.send(wire::AssignmentsMessage { changes: vec![change], ..assign(Type::Complete, "", "1", &[]) }).await;
    eventually("told", || node.manager.calls("volumes") == ["volumes v"]).await;
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_state_below_the_present_one_is_not_wished_back() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    let node = fake.start();
    let send = async |n: u64, desired: TaskState| {
        let mut message = assign(Type::Incremental, &n.to_string(), &(n + 1).to_string(), &["w.1"]);
        if n == 0 {
            message = assign(Type::Complete, "", "1", &["w.1"]);
        }
        let task = Task::from_wire(task("w.1", desired)).unwrap();
        message.changes[0].assignment = Some(wire::Assignment { item: Some(Item::Task(task.to_wire())) });
        feed.send(message).await;
    };
    send(0, TaskState::Running).await;
    eventually("it runs", || node.machine.running() == 1).await;
    send(1, TaskState::Shutdown).await;
    eventually("it stops", || node.machine.running() == 0).await;
    send(2, TaskState::Running).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(node.machine.running(), 0);
    assert!(node.manager.calls("status").last().unwrap().contains("w.1 SHUTDOWN"));
    node.end().await;
}

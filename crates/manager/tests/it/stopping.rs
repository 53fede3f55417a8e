//! A manager that is stopped has stopped wholly.

use std::time::Duration;

use swarmkit_api::{NodeRole, wire};
use swarmkit_ca::{KeySource as _, SystemKeys};
use tokio::{runtime::Handle, time::Instant};
use tonic::Request;

use crate::world::{Machine, add_worker, identity, in_time, settle, web};

fn futures_alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_after_a_stop_and_the_same_disk_can_be_used_at_once() {
    let machine = Machine::new(swarmkit_testing::env());
    assert_eq!(futures_alive(), 0);
    machine.found().await.end().await.unwrap();
    for _ in 0..3 {
        let manager = machine.start_again().await;
        manager.control().create_service(web(&format!("web-{}", machine.env.new_id()), 2)).await.unwrap();
        assert!(futures_alive() > 0);
        manager.end().await.unwrap();
        assert_eq!(futures_alive(), 0);
        assert!(!machine.socket().exists());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_after_a_manager_is_dropped_that_was_never_run() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = swarmkit_manager::Manager::start(machine.config(machine.first())).await.unwrap();
    settle().await;
    drop(manager);
    settle().await;
    assert_eq!(futures_alive(), 0);
    assert!(!machine.socket().exists());
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_do_not_hold_up_a_stop() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    add_worker(manager.store(), "w").await;
    let callers = machine.callers();

    let mut dispatcher = wire::dispatcher_client::DispatcherClient::new(callers.worker("w").await);
    let mut session = dispatcher.session(wire::SessionRequest::default()).await.unwrap().into_inner();
    let session_id = session.message().await.unwrap().unwrap().session_id;
    let assignments = dispatcher.assignments(wire::AssignmentsRequest { session_id }).await.unwrap();
    let mut broker = wire::log_broker_client::LogBrokerClient::new(callers.worker("w").await);
    let logs = broker.listen_subscriptions(wire::ListenSubscriptionsRequest {}).await.unwrap();
    let mut watch =
        wire::watch_client::WatchClient::new(callers.connect(Some(identity("m2", NodeRole::Manager))).await);
    let entry = wire::watch_request::WatchEntry { kind: "service".into(), action: 1, filters: Vec::new() };
    let watched = watch.watch(wire::WatchRequest { entries: vec![entry], ..Default::default() }).await.unwrap();

    let begin = Instant::now();
    manager.end().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    drop((session, assignments, logs, watched));
    drop((dispatcher, broker, watch));
    callers.hang_up().await;
    settle().await;
    assert_eq!(futures_alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_for_a_certificate_does_not_hold_up_a_stop() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    // Nobody signs for a node that is not accepted.
    let mut node = swarmkit_testing::node("w").spec(|spec| spec.membership = 0).build();
    node.certificate.csr = SystemKeys.generate().unwrap().request().unwrap().into();
    node.certificate.status = Some(wire::IssuanceStatus { state: 2, err: String::new() });
    manager.store().update(|tx| tx.create(node)).await.unwrap();
    let callers = machine.callers();
    let mut authority = wire::node_ca_client::NodeCaClient::new(callers.stranger().await);
    let mut question = Request::new(wire::NodeCertificateStatusRequest { node_id: "w".into() });
    question.set_timeout(Duration::from_secs(3600));
    let begin = Instant::now();
    let stop = async {
        settle().await;
        manager.end().await
    };
    let (answer, ended) = in_time(async { tokio::join!(authority.node_certificate_status(question), stop) }).await;
    ended.unwrap();
    assert_eq!(answer.unwrap_err().code(), tonic::Code::Aborted);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

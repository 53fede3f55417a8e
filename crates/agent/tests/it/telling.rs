//! What an agent tells managers of its tasks: the last word on each, however often that fails.

use std::{collections::BTreeSet, time::Duration};

use swarmkit_api::wire;
use swarmkit_executor::{Behaviour, Ending, InertExecutor, Machine};
use tokio::time::{Instant, sleep};
use tonic::Status;
use wire::assignments_message::Type;

use crate::{
    cluster::eventually,
    fake::{Answer, Fake, Feed},
    session::assign,
};

#[tokio::test(start_paused = true)]
async fn a_hundred_tasks_of_many_states_end_with_the_last_one_though_one_report_in_ten_fails() {
    let fake = Fake::default();
    for n in 0..1_000 {
        let fails = n % 10 == 3;
        fake.next_status(if fails { Answer::Refuse(Status::unavailable("no quorum")) } else { Answer::Give(()) });
    }
    let ids: Vec<_> = (0..100).map(|n| format!("w.{n}")).collect();
    let words: Vec<_> = ids.iter().map(String::as_str).collect();
    // Each new session is sent everything again.
    for _ in 0..200 {
        let (feed, messages) = Feed::new();
        feed.send(assign(Type::Complete, "", "1", &words)).await;
        fake.next_assignments(Answer::Give(futures_util::StreamExt::boxed(futures_util::StreamExt::chain(
            messages,
            futures_util::stream::pending(),
        ))));
    }
    let env = swarmkit_testing::env();
    let machine = Machine::new(env.clone());
    let executor = InertExecutor::on(machine.clone()).behaving(|task| {
        let n: u64 = task.id.as_str()[2..].parse().unwrap();
        let millis = |times: u64| Duration::from_millis(n % 7 * times);
        let ending = Ending::After(Duration::from_millis(50 + n), i32::from(n.is_multiple_of(3)));
        Behaviour { prepare: millis(11), start: millis(13), ending, ..Behaviour::default() }
    });
    let node = fake.start_with(env, executor, machine);
    let expected = |n: u64| if n.is_multiple_of(3) { "FAILED" } else { "COMPLETE" };
    eventually("the last word on each task", || {
        let taken = node.manager.taken();
        taken.len() == 100 && (0..100).all(|n| taken[&format!("w.{n}")] == expected(n))
    })
    .await;
    sleep(Duration::from_secs(30)).await;
    assert!((0..100).all(|n| node.manager.taken()[&format!("w.{n}")] == expected(n)), "and it stays the last");
    let told: BTreeSet<_> = node.manager.calls("status").iter().flat_map(|call| states(call)).collect();
    assert!(told.len() > 2, "states on the way were told too: {told:?}");
    assert!(node.handle.contact().borrow().sessions > 1, "some reports have failed");
    node.end().await;
}

fn states(call: &str) -> Vec<String> {
    let updates = call.trim_start_matches("status ").split(", ");
    updates.filter_map(|update| update.split_once(' ')).map(|(_, state)| state.to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ends_tells_its_last_statuses_first() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    fake.next_status(Answer::Hang);
    let node = fake.start();
    feed.send(assign(Type::Complete, "", "1", &["w.1"])).await;
    eventually("it runs", || node.machine.running() == 1).await;
    eventually("a report hangs", || node.manager.calls("status").len() == 1).await;
    let manager = node.manager.clone();
    assert!(manager.taken().is_empty());
    node.end().await;
    assert_eq!(manager.taken()["w.1"], "RUNNING");
    let told = manager.calls("status").len();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(manager.calls("status").len(), told, "nothing is told by an agent that has ended");
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_listen_does_not_hold_up_an_agent_that_ends() {
    let fake = Fake::default();
    let (feed, messages) = Feed::new();
    fake.next_assignments(Answer::Give(messages));
    fake.next_status(Answer::Hang);
    fake.next_status(Answer::Hang);
    let node = fake.start();
    feed.send(assign(Type::Complete, "", "1", &["w.1"])).await;
    eventually("a report hangs", || node.manager.calls("status").len() == 1).await;
    let begin = Instant::now();
    node.end().await;
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
}

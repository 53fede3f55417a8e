//! Whole lives: nodes join and return, and tasks move.

use std::time::{Duration, SystemTime};

use swarmkit_api::{TaskState, wire, wire::node_status::State};
use swarmkit_store::TaskBy;

use super::stage::{Casting, Stage};
use crate::{SETTLING, book::BACK_OFF};

const MINUTE: Duration = Duration::from_secs(60);

/// No more than `limit` moves in any minute.
#[track_caller]
pub(super) fn assert_rate(moves: &[SystemTime], limit: usize) {
    for window in moves.windows(limit + 1) {
        assert!(window[limit].duration_since(window[0]).unwrap() >= MINUTE, "{limit} at most: {moves:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_move_to_a_node_that_joins_one_after_the_other() {
    let mut stage = Stage::open("node a; service web replicas=6 rebalance parallelism=1").await;
    assert_eq!(stage.told("web"), "a 6");
    stage.fewest.clear();
    stage.amend("node b").await;
    stage.pass(SETTLING - Duration::from_millis(500)).await;
    assert_eq!(stage.told("web"), "a 6", "it has to settle first");
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.told("web"), "a 3, b 3");
    assert_eq!(stage.fewest["web"], 5);
    assert_eq!(stage.moves("web").len(), 3);
    let view = stage.store.view();
    let told: Vec<_> =
        view.find(TaskBy::Node(Some(&"b".into()))).map(|task| &task.origin.as_ref().unwrap().message).collect();
    assert!(
        told.iter().any(|m| *m == "moved from node a, which has 6 tasks of this service, to even out 6 and 0"),
        "{told:?}"
    );
    let before = stage.store.version();
    stage.pass(MINUTE * 60).await;
    assert_eq!(stage.store.version(), before, "an even service is left alone, and nothing is written");
}

#[tokio::test(start_paused = true)]
async fn tasks_come_back_to_a_node_that_was_down() {
    let mut stage = Stage::open("node a; node b; service web replicas=4 rebalance").await;
    assert_eq!(stage.told("web"), "a 2, b 2");
    stage.set_node("b", State::Down).await;
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.told("web"), "a 4");
    stage.set_node("b", State::Ready).await;
    stage.pass(Duration::from_secs(9)).await;
    assert_eq!(stage.told("web"), "a 4");
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.told("web"), "a 2, b 2");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_and_goes_is_given_nothing() {
    let mut stage = Stage::open("node a; node b down; service web replicas=4 rebalance").await;
    for _ in 0..100 {
        stage.set_node("b", State::Ready).await;
        stage.pass(SETTLING / 2).await;
        stage.set_node("b", State::Down).await;
        stage.pass(Duration::from_secs(1)).await;
    }
    assert!(stage.all_moves().is_empty());
    assert_eq!(stage.told("web"), "a 4");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_starts_first_never_has_fewer_tasks_than_it_shall() {
    let mut stage = Stage::open("node a; service web replicas=6 rebalance start-first").await;
    stage.fewest.clear();
    stage.amend("node b").await;
    stage.pass(MINUTE).await;
    assert_eq!(stage.told("web"), "a 3, b 3");
    assert_eq!(stage.fewest["web"], 6);
    let service = stage.store.view().service_by_name("web").unwrap().clone();
    assert_eq!(service.update_status, None, "a move is no rollout");
}

#[tokio::test(start_paused = true)]
async fn a_new_task_that_fails_costs_a_service_that_starts_first_nothing() {
    let mut stage = Stage::open("node a; service web replicas=4 rebalance start-first parallelism=1").await;
    stage.casting.insert("b".into(), Casting::Fails);
    stage.fewest.clear();
    stage.amend("node b").await;
    stage.pass(MINUTE).await;
    assert_eq!((stage.told("web"), stage.fewest["web"]), ("a 4".to_owned(), 4));
    assert_eq!(stage.moves("web").len(), 1, "the node is avoided for a while");
    stage.casting.clear();
    stage.pass(BACK_OFF).await;
    assert_eq!(stage.told("web"), "a 2, b 2");
}

#[tokio::test(start_paused = true)]
async fn a_new_task_that_never_starts_leaves_the_old_one_and_stops_further_moves() {
    let mut stage = Stage::open("node a; service web replicas=4 rebalance start-first parallelism=1").await;
    stage.casting.insert("b".into(), Casting::NeverStarts);
    stage.fewest.clear();
    stage.amend("node b").await;
    stage.pass(MINUTE * 10).await;
    assert_eq!((stage.told("web"), stage.fewest["web"], stage.moves("web").len()), ("a 4".to_owned(), 4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_new_task_that_fails_in_a_service_that_stops_first_is_restarted_and_no_other_follows() {
    let mut stage = Stage::open("node a; service web replicas=4 rebalance parallelism=1").await;
    stage.casting.insert("b".into(), Casting::Fails);
    stage.fewest.clear();
    stage.amend("node b").await;
    stage.pass(MINUTE).await;
    assert_eq!(stage.moves("web").len(), 1);
    assert_eq!(stage.told("web"), "a 4", "the scheduler gives up on the node after five failures");
    assert_eq!(stage.fewest["web"], 3);
}

#[tokio::test(start_paused = true)]
async fn no_more_are_moved_in_a_minute_than_the_service_says() {
    let mut stage = Stage::open("node a; service web replicas=20 rebalance=3").await;
    stage.amend("node b").await;
    stage.pass(SETTLING + Duration::from_secs(5)).await;
    assert_eq!(stage.told("web"), "a 17, b 3");
    stage.pass(MINUTE * 5).await;
    assert_eq!(stage.told("web"), "a 10, b 10");
    assert_eq!(stage.moves("web").len(), 10);
    assert_rate(&stage.moves("web"), 3);
}

#[tokio::test(start_paused = true)]
async fn no_more_are_moved_in_a_minute_in_all_than_the_cluster_says_and_services_have_their_turns() {
    let services: String = ["x", "y", "z"].map(|name| format!("; service {name} replicas=8 rebalance=100")).concat();
    let mut stage = Stage::open(&format!("node a{services}")).await;
    stage.amend("node b").await;
    stage.pass(SETTLING + Duration::from_secs(30)).await;
    assert_eq!(stage.all_moves().len(), 10, "which is what a cluster allows that does not say");
    assert!(["x", "y", "z"].iter().all(|service| stage.moves(service).len() >= 3));
    stage.pass(MINUTE * 2).await;
    assert_eq!(["x", "y", "z"].map(|service| stage.told(service)), ["a 4, b 4", "a 4, b 4", "a 4, b 4"]);
    assert_rate(&stage.all_moves(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_rate_holds_over_a_change_of_leader() {
    let mut stage = Stage::open("node a; service web replicas=20 rebalance=3").await;
    stage.amend("node b").await;
    stage.pass(SETTLING + Duration::from_secs(2)).await;
    assert_eq!(stage.moves("web").len(), 3);
    let first = stage.moves("web")[0];
    let (env, store) = stage.close().await;
    let mut stage = Stage::on(env, store).await;
    stage.pass(SETTLING + Duration::from_secs(30)).await;
    assert_eq!(stage.moves("web").len(), 3);
    stage.pass(MINUTE * 5).await;
    assert_eq!(stage.told("web"), "a 10, b 10");
    assert_eq!(stage.moves("web")[0], first);
    assert_rate(&stage.moves("web"), 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_moves_during_a_rollout_and_it_goes_on_afterwards() {
    let mut stage = Stage::open("node a; service web replicas=4 rebalance parallelism=1").await;
    stage.amend("node b drain").await;
    stage
        .update("web", |spec| {
            spec.task = Some(swarmkit_testing::container("new"));
            let delay = Some(Duration::from_secs(10).try_into().unwrap());
            spec.update = Some(wire::UpdateConfig { parallelism: 1, delay, ..Default::default() });
        })
        .await;
    stage.write(|tx| {
        tx.edit(&"b".into(), |node: &mut swarmkit_api::Node| {
            std::sync::Arc::make_mut(&mut node.spec).set_availability(wire::node_spec::Availability::Active);
        })
        .map(drop)
    });
    stage.pass(Duration::from_secs(35)).await;
    assert!(stage.all_moves().is_empty(), "the rollout is under way");
    stage.pass(MINUTE * 3).await;
    let state = stage.store.view().service_by_name("web").unwrap().update_status.as_ref().unwrap().state();
    assert_eq!(state, wire::update_status::UpdateState::Completed);
    assert_eq!(stage.told("web"), "a 2, b 2");
}

#[tokio::test(start_paused = true)]
async fn the_delay_of_the_update_policy_lies_between_moves() {
    let mut stage = Stage::open("node a; service web replicas=8 rebalance=100").await;
    stage
        .update("web", |spec| {
            let delay = Some(Duration::from_secs(20).try_into().unwrap());
            spec.update = Some(wire::UpdateConfig { parallelism: 1, delay, ..Default::default() });
        })
        .await;
    stage.amend("node b").await;
    stage.pass(MINUTE * 3).await;
    assert_eq!(stage.told("web"), "a 4, b 4");
    let moves = stage.moves("web");
    assert!(
        moves.windows(2).all(|pair| pair[1].duration_since(pair[0]).unwrap() >= Duration::from_secs(20)),
        "{moves:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_it_later_is_served_then_and_who_takes_it_back_is_left_alone() {
    let mut stage = Stage::open("node a; service web replicas=4; service db replicas=4").await;
    stage.amend("node b").await;
    stage.pass(MINUTE).await;
    assert!(stage.all_moves().is_empty());
    use wire::swarmkit::orchestration::v1::{Rebalance, rebalance::Mode};
    let ask = |mode: Mode| {
        move |spec: &mut wire::ServiceSpec| {
            spec.rebalance = Some(Rebalance { mode: mode.into(), moves_per_minute: 1 });
        }
    };
    stage.update("web", ask(Mode::On)).await;
    stage.pass(SETTLING + Duration::from_secs(5)).await;
    assert_eq!((stage.told("web"), stage.told("db")), ("a 3, b 1".to_owned(), "a 4".to_owned()));
    stage.update("web", ask(Mode::Off)).await;
    stage.pass(MINUTE * 5).await;
    assert_eq!(stage.told("web"), "a 3, b 1");
}

#[tokio::test(start_paused = true)]
async fn constraints_are_kept_and_what_has_no_place_elsewhere_costs_nothing() {
    let mut stage =
        Stage::open("node a label:z=1; node b; service web replicas=4 rebalance constraint=node.labels.z==1").await;
    stage.pass(MINUTE).await;
    let before = stage.store.version();
    stage.pass(MINUTE * 60).await;
    assert_eq!((stage.store.version(), stage.told("web").as_str()), (before, "a 4"));
    stage.amend("node c label:z=1").await;
    stage.pass(MINUTE).await;
    assert_eq!(stage.told("web"), "a 2, c 2");
}

#[tokio::test(start_paused = true)]
async fn several_tasks_move_at_a_time_if_the_update_policy_allows_it_and_still_end_evenly() {
    let mut stage = Stage::open("node a; service web replicas=12 rebalance=100 parallelism=4").await;
    stage.fewest.clear();
    stage.amend("node b; node c").await;
    stage.pass(MINUTE * 2).await;
    assert_eq!(stage.told("web"), "a 4, b 4, c 4");
    assert_eq!(stage.moves("web").len(), 8, "no move is undone");
    assert!(stage.fewest["web"] >= 8);
    assert!(
        stage.tasks().iter().filter(|task| task.origin.is_some()).all(|task| task.status.state == TaskState::Running)
    );
}

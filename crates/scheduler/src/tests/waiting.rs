//! What waits, what it is told, and what wakes it.

use swarmkit_api::{Task, TaskState};

use super::*;

/// Commits a plan and gives the deltas to the world, as the loop does; then what is decided next.
pub(super) struct Rounds {
    pub(super) store: Store,
    updates: swarmkit_store::Watch,
    pub(super) world: World,
}

impl Rounds {
    pub(super) fn start(text: &str) -> Self {
        let store = testing::store(text);
        let updates = store.watch(swarmkit_store::Interest::all());
        Self { store, updates, world: World::default() }
    }

    /// Takes over what has happened, decides, and writes the decisions.
    pub(super) fn round(&mut self) -> Vec<String> {
        self.absorb();
        let due = std::mem::take(&mut self.world.due);
        let plan = self.world.plan(&due, env().now());
        write(&self.store, |tx| plan.decisions.iter().try_for_each(|decision| decision.write(tx).map(drop)));
        let told = told(&plan);
        self.world.note(plan.blocked);
        told
    }

    pub(super) fn absorb(&mut self) {
        while let Some(update) = self.updates.try_next().unwrap() {
            self.world.absorb(&update, env().now());
        }
    }

    pub(super) fn amend(&mut self, text: &str) -> Vec<String> {
        testing::amend(&self.store, text);
        self.round()
    }

    pub(super) fn edit_task(&mut self, id: &str, change: impl FnOnce(&mut Task)) -> Vec<String> {
        write(&self.store, |tx| tx.edit(&id.into(), change).map(drop));
        self.round()
    }

    pub(super) fn edit_node(&mut self, id: &str, change: impl FnOnce(&mut swarmkit_api::Node)) -> Vec<String> {
        write(&self.store, |tx| tx.edit(&id.into(), change).map(drop));
        self.round()
    }
}

#[test]
fn tasks_below_pending_and_beyond_running_are_left_alone() {
    check("node a; service web; task web.1 new; task web.2 failed; task web.3 complete", &[]);
}

#[test]
fn a_task_that_is_asked_to_stop_before_it_was_placed_is_stopped() {
    check(
        "node a; service web; task web.1 pending wants shutdown; task web.2 pending wants remove",
        &["web.1 is stopped"],
    );
}

#[test]
fn a_reason_is_told_once() {
    let mut rounds = Rounds::start("service web; task web.1 pending");
    assert_eq!(rounds.round(), ["web.1 waits: no suitable node"]);
    assert_eq!(rounds.round(), [""; 0]);
    assert_eq!(rounds.amend("node a drain"), ["web.1 waits: no suitable node (1 node not available for new tasks)"]);
    assert_eq!(rounds.amend("service other"), [""; 0]);
    assert_eq!(rounds.amend("node b"), ["web.1 goes to b"]);
    assert_eq!(rounds.round(), [""; 0]);
    let view = rounds.store.view();
    let task = view.get::<Task>(&"web.1".into()).unwrap();
    assert_eq!((task.status.state, task.status.err.as_str()), (TaskState::Assigned, ""));
    assert_eq!(task.status.message, "scheduler assigned task to node");
    assert!(task.status.timestamp.is_some());
}

#[test]
fn a_task_that_joins_a_group_that_waits_is_told_the_same() {
    let mut rounds = Rounds::start("node a down; service web; task web.1 pending");
    rounds.round();
    assert_eq!(
        rounds.amend("task web.2 pending"),
        ["web.2 waits: no suitable node (1 node not available for new tasks)"]
    );
}

#[test]
fn what_a_task_leaves_free_is_taken_by_one_that_waits() {
    let mut rounds = Rounds::start(
        "node a memory=1GiB; service web memory=1GiB; task web.1 on a running; task web.2 pending; task web.3 pending",
    );
    assert_eq!(rounds.round().len(), 2);
    assert_eq!(rounds.edit_task("web.1", |task| task.desired_state = TaskState::Shutdown), [""; 0], "it still runs");
    assert_eq!(rounds.edit_task("web.1", |task| task.status.state = TaskState::Shutdown), ["web.2 goes to a"]);
    assert_eq!(rounds.round(), [""; 0]);
}

#[test]
fn a_node_that_turns_ready_gets_what_waits() {
    let mut rounds =
        Rounds::start("node a down; service web; service all global; task web.1 pending; task all.a pending");
    assert_eq!(rounds.round().len(), 2);
    let ready = |node: &mut swarmkit_api::Node| node.status.set_state(wire::node_status::State::Ready);
    assert_eq!(rounds.edit_node("a", ready), ["all.a goes to a", "web.1 goes to a"]);
}

#[test]
fn a_node_that_is_written_without_a_difference_disturbs_nothing() {
    let mut rounds = Rounds::start("node a down; service web; task web.1 pending");
    rounds.round();
    write(&rounds.store, |tx| {
        tx.edit(&"a".into(), |node: &mut swarmkit_api::Node| node.status.message = "hm".into()).map(drop)
    });
    rounds.absorb();
    assert!(rounds.world.due.is_empty());
}

#[test]
fn a_task_that_is_deleted_makes_its_node_the_least_loaded() {
    let mut rounds = Rounds::start("node a; node b; service web; task web.1 on a; task web.2 on a; task web.3 on b");
    rounds.round();
    write(&rounds.store, |tx| {
        tx.delete::<Task>(&"web.1".into())?;
        tx.delete::<Task>(&"web.2".into()).map(drop)
    });
    assert_eq!(rounds.amend("task web.4 pending"), ["web.4 goes to a"]);
}

#[test]
fn a_decision_on_a_node_that_was_drained_meanwhile_is_not_written() {
    let mut rounds = Rounds::start("node a; service web; task web.1 pending");
    rounds.absorb();
    let plan = rounds.world.plan(&rounds.world.due, env().now());
    assert_eq!(told(&plan), ["web.1 goes to a"]);
    write(&rounds.store, |tx| {
        tx.edit(&"a".into(), |node: &mut swarmkit_api::Node| {
            std::sync::Arc::make_mut(&mut node.spec).set_availability(wire::node_spec::Availability::Drain);
        })?;
        assert!(!plan.decisions[0].write(tx)?, "the decision no longer holds");
        Ok(())
    });
    assert_eq!(rounds.round(), ["web.1 waits: no suitable node (1 node not available for new tasks)"]);
}

#[test]
fn a_decision_on_a_task_that_was_stopped_meanwhile_is_not_written() {
    let mut rounds = Rounds::start("node a; service web; task web.1 pending");
    rounds.absorb();
    let plan = rounds.world.plan(&rounds.world.due, env().now());
    write(&rounds.store, |tx| {
        tx.edit(&"web.1".into(), |task: &mut Task| task.desired_state = TaskState::Shutdown)?;
        assert!(!plan.decisions[0].write(tx)?, "the decision no longer holds");
        Ok(())
    });
}

#[test]
fn a_task_of_a_service_that_is_gone_is_tried_once_and_told_nothing() {
    let mut rounds = Rounds::start("node a down; task web.1 pending");
    assert_eq!(rounds.round(), [""; 0]);
    assert_eq!(rounds.amend("node b"), [""; 0]);
}

#[test]
fn a_task_of_a_version_that_its_service_has_left_is_told_nothing() {
    check("node a down; service web version=2; task web.1 pending version=1", &[]);
    check("node a; service web version=2; task web.1 pending version=1", &["web.1 goes to a"]);
}

#[test]
fn the_books_survive_a_node_that_is_deleted_and_made_again() {
    let mut rounds = Rounds::start("node a memory=1GiB; service web memory=1GiB; task web.1 on a; task web.2 pending");
    rounds.round();
    write(&rounds.store, |tx| tx.delete::<swarmkit_api::Node>(&"a".into()).map(drop));
    assert_eq!(rounds.round(), ["web.2 waits: no suitable node"]);
    assert_eq!(
        rounds.amend("node a memory=1GiB"),
        ["web.2 waits: no suitable node (insufficient resources on 1 node)"]
    );
}

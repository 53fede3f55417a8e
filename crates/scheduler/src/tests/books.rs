//! What is booked on a node, as tasks and nodes change.

use std::sync::Arc;

use swarmkit_api::{Node, NodeId, Task, TaskId, TaskState};
use swarmkit_store::{Interest, Watch};

use super::*;

/// A cluster, and the books that are told of its changes.
struct Kept {
    store: Store,
    updates: Watch,
    world: World,
}

impl Kept {
    fn of(text: &str) -> Self {
        let store = testing::store(text);
        let updates = store.watch(Interest::all());
        let mut kept = Self { store, updates, world: World::default() };
        kept.absorb();
        kept
    }

    fn absorb(&mut self) {
        while let Some(update) = self.updates.try_next().unwrap() {
            self.world.absorb(&update, env().now());
        }
    }

    /// Changes something, and checks that nobody could tell the books from those made anew.
    fn change(&mut self, edit: impl FnOnce(&mut swarmkit_store::Transaction) -> Result<(), StoreError>) {
        write(&self.store, edit);
        self.absorb();
        assert!(self.world.books == learned(&self.store.view()).0.books, "books kept up differ from books made anew");
    }

    fn task(&mut self, id: &str, edit: impl FnOnce(&mut Task)) {
        self.change(|tx| tx.edit(&TaskId::from(id), edit).map(drop));
    }

    fn node(&mut self, id: &str, edit: impl FnOnce(&mut Node)) {
        self.change(|tx| tx.edit(&NodeId::from(id), edit).map(drop));
    }

    /// What would be decided about one more task of a service.
    fn next(&self, id: &str) -> Vec<String> {
        let view = self.store.view();
        let more = testing::store("");
        write(&more, |tx| {
            view.all::<Node>().try_for_each(|node| tx.create(Node::clone(node)).map(drop))?;
            view.all::<Service>().try_for_each(|service| tx.create(Service::clone(service)).map(drop))?;
            view.all::<Task>().try_for_each(|task| tx.create(Task::clone(task)).map(drop))
        });
        testing::amend(&more, &format!("task {id} pending"));
        decisions(&more.view())
    }
}

#[test]
fn a_task_that_comes_and_goes_leaves_the_books_as_they_were() {
    let mut kept = Kept::of("node a cpus=2 memory=1GiB generic:gpu=2; service web memory=512MiB; task web.1 on a");
    let before = kept.world.books.clone();
    kept.change(|tx| {
        let task = tx.get::<Task>(&"web.1".into()).map(|task| Task::clone(task)).unwrap();
        tx.create(Task { id: "web.2".into(), slot: 2, ..task }).map(drop)
    });
    assert!(kept.world.books != before);
    kept.change(|tx| tx.delete::<Task>(&"web.2".into()).map(drop));
    assert!(kept.world.books == before);
}

#[test]
fn a_task_that_is_written_again_is_booked_once() {
    let mut kept = Kept::of("node a memory=1GiB; service web memory=512MiB; task web.1 on a starting");
    let before = kept.world.books.clone();
    kept.task("web.1", |task| task.status.message = "said something".to_owned());
    kept.task("web.1", |task| task.status.state = TaskState::Running);
    assert!(kept.world.books == before);
}

#[test]
fn a_task_that_is_told_to_stop_no_longer_counts_and_keeps_what_it_reserves_until_it_is_over() {
    let text = "node a memory=1GiB; node b memory=1GiB; service web memory=1GiB; service other; task web.1 on a";
    let mut kept = Kept::of(text);
    kept.task("web.1", |task| task.desired_state = TaskState::Complete);
    assert_eq!(kept.next("other.1"), ["other.1 goes to b"], "a task that is to complete counts");
    kept.task("web.1", |task| task.desired_state = TaskState::Shutdown);
    assert_eq!(kept.next("other.1"), ["other.1 goes to a"]);
    assert_eq!(kept.next("web.2"), ["web.2 goes to b"]);
    kept.task("web.1", |task| task.status.state = TaskState::Shutdown);
    assert_eq!(kept.next("web.2"), ["web.2 goes to a"]);
}

#[test]
fn what_was_never_on_a_node_is_no_loss_to_the_books() {
    let mut kept = Kept::of("node a; service web; task web.1 new; task web.2 on a failed; task web.3 on gone");
    let before = kept.world.books.clone();
    kept.change(|tx| tx.delete::<Task>(&"web.1".into()).map(drop));
    kept.change(|tx| tx.delete::<Task>(&"web.2".into()).map(drop));
    assert!(kept.world.books == before);
}

#[test]
fn a_node_that_shrinks_below_what_is_reserved_takes_more_when_it_has_grown() {
    let mut kept = Kept::of("node a memory=2GiB; service web memory=1GiB; task web.1 on a");
    let memory = |bytes: i64| {
        move |node: &mut Node| {
            let description = Arc::make_mut(node.description.as_mut().unwrap());
            description.resources.as_mut().unwrap().memory_bytes = bytes;
        }
    };
    kept.node("a", memory(1 << 20));
    let waits = ["web.2 waits: no suitable node (insufficient resources on 1 node)"];
    assert_eq!(kept.next("web.2"), waits);
    kept.node("a", memory(2 << 30));
    assert_eq!(kept.next("web.2"), ["web.2 goes to a"]);
    kept.node("a", |node| node.description = None);
    assert_eq!(kept.next("web.2"), waits, "a node that has not said what it has, has nothing");
}

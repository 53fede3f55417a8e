//! Whole stories about volumes, and what holds for all of them.

mod choice;
mod freeing;
mod properties;
mod waiting;

use swarmkit_api::{Task, TaskState, Volume, wire::volume_spec::VolumeAvailability};
use swarmkit_store::{State, Store};
use swarmkit_testing::describe;

use super::Volumes;
use crate::{tests::write, world::is_placed};

/// The table of a state.
pub(super) fn known(state: &State) -> Volumes {
    let mut volumes = Volumes::default();
    state.all::<Volume>().for_each(|volume| volumes.set(&volume.id, Some(volume)));
    state.all::<Task>().filter(|task| is_placed(task)).for_each(|task| volumes.add(task));
    volumes
}

/// A task as it is now: where, and with which volumes.
fn told(store: &Store, task: &str) -> String {
    let view = store.view();
    let task = view.get::<Task>(&task.into()).expect("the task is there");
    let node = task.node_id.as_ref().map_or("nowhere", |node| node.as_str());
    task.volumes.iter().fold(node.to_owned(), |told, given| told + " with " + &given.id)
}

/// All volumes, in the words of stories.
fn volumes(store: &Store) -> Vec<String> {
    describe::<Volume>(&store.view()).lines().map(|line| line.trim_start_matches("volume ").to_owned()).collect()
}

fn end(store: &Store, task: &str, state: TaskState) {
    write(store, |tx| tx.edit(&task.into(), |task: &mut Task| task.status.state = state).map(drop));
}

fn edit(store: &Store, volume: &str, change: impl FnOnce(&mut Volume)) {
    write(store, |tx| tx.edit(&volume.into(), change).map(drop));
}

fn turn(store: &Store, volume: &str, availability: VolumeAvailability) {
    edit(store, volume, |volume| std::sync::Arc::make_mut(&mut volume.spec).set_availability(availability));
}

//! How many tasks were moved of late.
//!
//! The moves of the last minute are the tasks with an origin that were made in it, so a new leader counts them, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use swarmkit_api::{ServiceId, Task, TaskId};

use crate::times::made_at;

/// The time in which moves are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// How long a moved task is waited for to be given a node before others are moved: until then the books of the nodes do
/// not have it. It takes no time, unless there is no room for it any more.
const PLACING: Duration = Duration::from_secs(5);

/// The moves of the last minute, and those whose task has no node yet.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    recent: BTreeMap<(SystemTime, TaskId), ServiceId>,
    by_service: BTreeMap<ServiceId, BTreeSet<(SystemTime, TaskId)>>,
    unplaced: BTreeMap<TaskId, SystemTime>,
}

impl Moves {
    /// Takes note of a task, if it was moved.
    pub(crate) fn note(&mut self, task: &Task, now: SystemTime) {
        let (Some(service), Some(_)) = (&task.service_id, &task.origin) else { return };
        let key = (made_at(task, now), task.id.clone());
        if task.node_id.is_none() && crate::book::is_live(task) {
            self.unplaced.insert(task.id.clone(), key.0);
        } else {
            self.unplaced.remove(&task.id);
        }
        if key.0 + MINUTE > now && !self.recent.contains_key(&key) {
            self.by_service.entry(service.clone()).or_default().insert(key.clone());
            self.recent.insert(key, service.clone());
        }
    }

    /// A task is gone. The move is counted all the same.
    pub(crate) fn forget(&mut self, task: &TaskId) {
        self.unplaced.remove(task);
    }

    /// Drops what is over, so that the record cannot grow.
    pub(crate) fn sweep(&mut self, now: SystemTime) {
        while let Some(entry) = self.recent.first_entry().filter(|entry| entry.key().0 + MINUTE <= now) {
            let (key, service) = entry.remove_entry();
            if let Some(moves) = self.by_service.get_mut(&service) {
                moves.remove(&key);
                if moves.is_empty() {
                    self.by_service.remove(&service);
                }
            }
        }
    }

    /// When any task may be moved again, if not now.
    pub(crate) fn held_until(&self, limit: usize, now: SystemTime) -> Option<SystemTime> {
        let placing = self.unplaced.values().max().map(|made| *made + PLACING);
        let full = free_at(self.recent.keys().rev(), limit);
        placing.into_iter().chain(full).filter(|at| *at > now).max()
    }

    /// When a task of a service may be moved again, if not now.
    pub(crate) fn service_held_until(&self, service: &ServiceId, limit: usize, now: SystemTime) -> Option<SystemTime> {
        let moves = self.by_service.get(service)?;
        free_at(moves.iter().rev(), limit).filter(|at| *at > now)
    }
}

/// When one more move makes no more than `limit` in a minute, given those that were, the latest first.
fn free_at<'m>(mut latest_first: impl Iterator<Item = &'m (SystemTime, TaskId)>, limit: usize) -> Option<SystemTime> {
    latest_first.nth(limit.saturating_sub(1)).map(|(at, _)| *at + MINUTE)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmkit_api::Origin;
    use swarmkit_testing::{env, task};

    use super::*;

    fn moved(id: &str, at: SystemTime) -> Task {
        let made = move |task: &mut Task| {
            task.origin = Some(Arc::new(Origin::default()));
            task.meta.created_at = Some(at.into());
        };
        task(id).on("a").with(made).build()
    }

    #[test]
    fn no_more_are_moved_in_any_minute_than_the_limits_say() {
        let start = env().now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut moves = Moves::default();
        for (id, seconds) in [("web.1", 0), ("web.2", 10), ("db.1", 20)] {
            moves.note(&moved(id, at(seconds)), at(20));
            moves.note(&moved(id, at(seconds)), at(20));
        }
        assert_eq!(moves.held_until(4, at(20)), None);
        assert_eq!(moves.held_until(3, at(20)), Some(at(60)));
        assert_eq!(moves.held_until(1, at(20)), Some(at(80)));
        assert_eq!(moves.held_until(3, at(60)), None);
        let (web, db) = (ServiceId::from("web"), ServiceId::from("db"));
        assert_eq!(moves.service_held_until(&web, 2, at(20)), Some(at(60)));
        assert_eq!(moves.service_held_until(&web, 3, at(20)), None);
        assert_eq!(moves.service_held_until(&db, 1, at(20)), Some(at(80)));
        moves.sweep(at(70));
        assert_eq!((moves.recent.len(), moves.by_service.len()), (1, 1));
    }

    #[test]
    fn a_move_counts_also_when_its_task_is_gone() {
        let now = env().now();
        let mut moves = Moves::default();
        moves.note(&moved("web.1", now), now);
        moves.forget(&"web.1".into());
        assert!(moves.held_until(1, now).is_some());
    }

    #[test]
    fn a_moved_task_without_a_node_is_waited_for_but_not_for_ever() {
        let now = env().now();
        let mut moves = Moves::default();
        let mut task = moved("web.1", now);
        task.node_id = None;
        moves.note(&task, now);
        assert_eq!(moves.held_until(10, now), Some(now + PLACING));
        assert_eq!(moves.held_until(10, now + PLACING), None);
        moves.note(&moved("web.1", now), now);
        assert_eq!(moves.held_until(10, now), None);
    }

    #[test]
    fn a_clock_that_was_ahead_holds_nothing_back_for_longer_than_a_minute() {
        let now = env().now();
        let mut moves = Moves::default();
        moves.note(&moved("web.1", now + Duration::from_secs(9999)), now);
        assert_eq!(moves.held_until(1, now), Some(now + MINUTE));
    }
}

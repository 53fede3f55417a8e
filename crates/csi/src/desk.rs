//! What lies on the desk of the volume manager: which volumes have work, and when it is tried next.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use swarmkit_api::{Node, Volume, VolumeId};
use swarmkit_store::{Change, Edit, State, Update};
use tokio::time::Instant;

use crate::{request, work::Work};

/// How many volumes of one plugin are worked on at a time: a plugin that is slow keeps nobody waiting but its own volumes.
pub const VOLUMES_AT_ONCE: usize = 4;

/// The delay after the first failure is twice this, and doubles with each further one. As upstream.
const RETRY_BASE: Duration = Duration::from_millis(100);

/// No delay is longer. As upstream.
const RETRY_MAX: Duration = Duration::from_secs(10 * 60);

/// Work on one volume.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    driver: String,
    /// How often it has failed, without anything new in between.
    failures: u32,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// Waits for its time.
    Waits(Instant),
    /// Is being done. `again`: there is more to do than was known when it was begun.
    Runs { again: bool },
}

/// All work that there is, by volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desk {
    entries: BTreeMap<VolumeId, Entry>,
    /// Those that wait, the first to be tried first.
    queue: BTreeSet<(Instant, VolumeId)>,
    /// How many volumes of each plugin are being worked on.
    running: BTreeMap<String, usize>,
}

/// How long to wait after so many failures: 200 ms, 400 ms, … 10 minutes.
pub(crate) fn delay(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        // Beyond this the limit holds in any case.
        failures => RETRY_BASE.saturating_mul(1 << failures.min(16)).min(RETRY_MAX),
    }
}

impl Desk {
    /// Takes over what has changed. A snapshot is looked at whole; of a delta, what gave volumes more to do.
    pub(crate) fn absorb(&mut self, update: &Update, now: Instant) {
        match update {
            Update::Snapshot(view) => {
                let waiting: Vec<_> = self.entries.keys().filter(|id| !self.runs(id)).cloned().collect();
                waiting.iter().for_each(|id| self.forget(id));
                view.all::<Volume>()
                    .filter(|volume| Work::on(volume, view).is_some())
                    .for_each(|volume| self.put(volume, now));
            }
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    match change {
                        Change::Volume(Edit { before, after }) => {
                            self.absorb_volume(before.as_deref(), after.as_deref(), &delta.view, now);
                        }
                        Change::Node(Edit { before, after }) => {
                            self.absorb_node(before.as_deref(), after.as_deref(), &delta.view, now);
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn absorb_volume(&mut self, before: Option<&Volume>, after: Option<&Volume>, state: &State, now: Instant) {
        let Some(id) = after.or(before).map(|volume| volume.id.clone()) else { return };
        let had = before.and_then(|volume| Work::on(volume, state));
        match after.and_then(|volume| Some((volume, Work::on(volume, state)?))) {
            Some((volume, work)) if work.goes_beyond(had.as_ref()) || is_given_up(before, volume) => {
                self.put(volume, now)
            }
            Some(_) => {}
            None if !self.runs(&id) => self.forget(&id),
            None => {}
        }
    }

    /// A node that says anew what plugins it has may be one that volumes wait for; one that is gone no longer has to say that
    /// it has unmounted any.
    fn absorb_node(&mut self, before: Option<&Node>, after: Option<&Node>, state: &State, now: Instant) {
        let says = |node: Option<&Node>| node.and_then(|node| Some(node.description.as_ref()?.csi_info.clone()));
        let is_gone = after.is_none();
        if !is_gone && says(before) == says(after) {
            return;
        }
        let Some(id) = after.or(before).map(|node| node.id.clone()) else { return };
        let is_there = |volume: &Volume| volume.publish_status.iter().any(|status| status.node_id == id.as_str());
        if is_gone {
            let there = state.all::<Volume>().filter(|volume| is_there(volume) && Work::on(volume, state).is_some());
            there.for_each(|volume| self.put(volume, now));
        } else {
            let waiting =
                self.entries.keys().filter_map(|id| state.get::<Volume>(id)).filter(|volume| is_there(volume));
            let waiting: Vec<_> = waiting.cloned().collect();
            waiting.iter().for_each(|volume| self.put(volume, now));
        }
    }

    /// Puts a volume on the desk, to be worked on at once.
    fn put(&mut self, volume: &Volume, now: Instant) {
        if let Some(Entry { stage: Stage::Runs { again }, .. }) = self.entries.get_mut(&volume.id) {
            *again = true;
            return;
        }
        self.forget(&volume.id);
        self.wait(volume.id.clone(), request::driver(volume).to_owned(), 0, now);
    }

    /// Takes the next volume that it is time for and whose plugin has a hand free.
    pub(crate) fn take(&mut self, now: Instant) -> Option<VolumeId> {
        let due = self.queue.iter().take_while(|(at, _)| *at <= now);
        let free = |id: &VolumeId| {
            let driver = self.entries.get(id).map(|entry| &entry.driver);
            driver.and_then(|driver| self.running.get(driver)).is_none_or(|running| *running < VOLUMES_AT_ONCE)
        };
        let next = due.map(|(_, id)| id).find(|id| free(id)).cloned()?;
        let entry = self.entries.get_mut(&next)?;
        if let Stage::Waits(at) = std::mem::replace(&mut entry.stage, Stage::Runs { again: false }) {
            self.queue.remove(&(at, next.clone()));
        }
        *self.running.entry(entry.driver.clone()).or_default() += 1;
        Some(next)
    }

    /// Notes that the work on a volume was done, or has to be tried again.
    pub(crate) fn done(&mut self, id: &VolumeId, success: bool, now: Instant) {
        let Some(Entry { driver, failures, stage }) = self.entries.remove(id) else { return };
        if let Some(running) = self.running.get_mut(&driver) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&driver);
            }
        }
        match stage {
            Stage::Runs { again: true } => self.wait(id.clone(), driver, 0, now),
            _ if success => {}
            _ => self.wait(id.clone(), driver, failures.saturating_add(1), now),
        }
    }

    /// When there is something to be begun that waits for its time.
    pub(crate) fn next_time(&self, now: Instant) -> Option<Instant> {
        self.queue.iter().map(|(at, _)| *at).find(|at| *at > now)
    }

    fn wait(&mut self, id: VolumeId, driver: String, failures: u32, now: Instant) {
        let at = now + delay(failures);
        self.queue.insert((at, id.clone()));
        self.entries.insert(id, Entry { driver, failures, stage: Stage::Waits(at) });
    }

    fn forget(&mut self, id: &VolumeId) {
        if let Some(Entry { stage: Stage::Waits(at), .. }) = self.entries.remove(id) {
            self.queue.remove(&(at, id.clone()));
        }
    }

    fn runs(&self, id: &VolumeId) -> bool {
        matches!(self.entries.get(id), Some(Entry { stage: Stage::Runs { .. }, .. }))
    }
}

/// Whether a volume is now to be deleted that was not before.
fn is_given_up(before: Option<&Volume>, after: &Volume) -> bool {
    after.pending_delete && before.is_some_and(|before| !before.pending_delete)
}

//! The slots of a rollout, turn by turn: which are finished, and with which it begins.

use std::sync::Arc;

use swarmkit_api::{
    Service, Task, TaskState, constraint,
    wire::{update_config::UpdateOrder, update_status::UpdateState},
};

use crate::{
    decide::Draft,
    fate::Fate,
    plan::{Action, Step},
    policy::{Rolling, Shape},
    rollout::Verdict,
    slot::{Slot, SlotKey},
    template::Template,
    world::Due,
};

/// Between what a rollout is said to be doing and why it does not go on.
const STANDS_STILL: &str = "; it stands still: ";

/// What to do in one slot of a rollout.
#[derive(Clone, Debug, PartialEq)]
enum Turn {
    /// Nothing is as it shall be: stop these, and make a task, which is on hold if it may only start after them.
    Replace { stop: Vec<Arc<Task>>, on_hold: bool },
    /// One task is as it shall be: stop the others.
    Finish { stop: Vec<Arc<Task>> },
    /// One task is as it shall be, but the others go on until it runs.
    Wait,
}

impl Draft<'_> {
    /// Brings slots to what the service asks for now, as many at a time as it says.
    pub(crate) fn roll(&mut self, service: &Arc<Service>, template: &Arc<Template>, due: &Due) {
        let book = self.book;
        let next = book.rollout.next(service, book.dirty().filter(|key| self.rolls(key)), self.now);
        if let Some(at) = next.alarm {
            self.plan.alarms.push((at, self.id.clone(), None));
        }
        // What is being replaced anyway does not make a rollout.
        let is_open = || book.dirty().any(|key| self.rolls(key) && !self.touched.contains(key));
        let verdict = next.verdict.filter(|verdict| *verdict != Verdict::Begin || is_open());
        // What it says comes before what it does.
        let place = self.plan.steps.len();
        let is_blocked = next.goes_on && self.take_turns(service, template, next.room, due);
        let action = match verdict {
            Some(Verdict::Begin) => report(service, UpdateState::Updating, "update in progress".to_owned()),
            Some(Verdict::Report(state, message)) => report(service, state, message),
            Some(Verdict::RollBack(message)) => Some(Action::RollBack { service: service.clone(), message }),
            Some(Verdict::StandStill(why)) => explain(service, Some(&why)),
            None if next.goes_on => {
                let why = "as many slots as may be are without a task that runs";
                explain(service, (is_blocked && next.is_idle).then_some(why))
            }
            None => None,
        };
        if let Some(action) = action {
            self.plan.steps.insert(place, Step { service: self.id.clone(), slot: None, actions: vec![action] });
        }
    }

    /// Finishes in slots that were begun, if something happened there, and begins with as many as there is room for. Gives
    /// whether there was room for one that may not be begun since too many are without a task that runs.
    fn take_turns(&mut self, service: &Service, template: &Arc<Template>, mut room: usize, due: &Due) -> bool {
        let (book, rolling) = (self.book, Rolling::of(service));
        let begun: Vec<_> = match due.whole {
            true => book.crowded.iter().collect(),
            false => book.crowded.intersection(&due.slots).collect(),
        };
        for key in begun {
            if let Some(Turn::Finish { stop }) = self.turn(key, rolling.order) {
                self.step(key, stop.into_iter().map(stopped).collect());
            }
        }
        let mut spare = self.spare(&rolling);
        // Where nothing runs anyway nothing is lost, so these come first if that is counted.
        let counts = spare.is_some();
        let idle = counts.then(|| book.idle.intersection(&book.waiting)).into_iter().flatten();
        let others = book.waiting.iter().filter(|key| !counts || !book.idle.contains(key));
        for (key, costs) in idle.map(|key| (key, false)).chain(others.map(|key| (key, true))) {
            if room == 0 {
                break;
            }
            let Some(Turn::Replace { stop, on_hold }) = self.turn(key, rolling.order) else { continue };
            if costs && spare == Some(0) {
                return true;
            }
            if costs && rolling.order == UpdateOrder::StopFirst {
                spare = spare.map(|spare| spare - 1);
            }
            room -= 1;
            let desired = if on_hold { TaskState::Ready } else { template.goal() };
            self.create(template, key.clone(), desired, stop.into_iter().map(stopped).collect());
        }
        false
    }

    /// What to do in a slot, if a rollout may touch it and nothing else is done there.
    fn turn(&self, key: &SlotKey, order: UpdateOrder) -> Option<Turn> {
        let slot = self.book.slots.get(key).filter(|_| self.rolls(key) && !self.touched.contains(key))?;
        Some(turn(slot, order, |task| self.book.is_dirty(task, &self.world.nodes)))
    }

    /// How many slots more may cease to have a task that runs. `None` is without limit.
    fn spare(&self, rolling: &Rolling) -> Option<usize> {
        let most = rolling.max_unavailable?;
        let unavailable = match self.book.shape {
            // Those that are yet to be made have none, either.
            Some(Shape::Replicated { replicas }) => {
                usize::try_from(replicas).unwrap_or(usize::MAX).saturating_sub(self.book.up.len())
            }
            _ => self.book.idle.len(),
        };
        Some(most.saturating_sub(unavailable))
    }

    /// Whether a rollout may touch a slot: nodes that are paused keep what they have.
    fn rolls(&self, key: &SlotKey) -> bool {
        key.node().is_none_or(|id| {
            let node = self.world.nodes.get(id).map(AsRef::as_ref);
            Fate::of(node) == Fate::Fine && node.is_some_and(|node| constraint::all_match(&self.book.constraints, node))
        })
    }
}

/// What to do in a slot that is not as it shall be.
fn turn(slot: &Slot, order: UpdateOrder, is_dirty: impl Fn(&Task) -> bool) -> Turn {
    let live: Vec<_> = slot.live().collect();
    let rank = |task: &Task| (task.desired_state, task.status.state == TaskState::Running);
    // The oldest of the best, since it has come furthest.
    let kept = live.iter().filter(|task| !is_dirty(task)).rev().max_by_key(|task| rank(task));
    let Some(kept) = kept else {
        // What runs goes on until the new task does, if that starts first; what does not run yet is not waited for.
        let goes = |task: &&&Arc<Task>| order == UpdateOrder::StopFirst || task.status.state != TaskState::Running;
        let stop: Vec<_> = live.iter().filter(goes).map(|task| Arc::clone(task)).collect();
        return Turn::Replace { on_hold: order == UpdateOrder::StopFirst && !stop.is_empty(), stop };
    };
    let others = live.iter().filter(|task| task.id != kept.id);
    let stop: Vec<_> = others.clone().map(|task| Arc::clone(task)).collect();
    let runs = kept.status.state == TaskState::Running;
    if order == UpdateOrder::StopFirst || runs || others.clone().all(|task| !is_dirty(task)) {
        Turn::Finish { stop }
    } else {
        Turn::Wait
    }
}

fn stopped(task: Arc<Task>) -> Action {
    Action::Want { task, state: TaskState::Shutdown }
}

/// Says how far a rollout has come, unless that is what was said last.
fn report(service: &Arc<Service>, state: UpdateState, message: String) -> Option<Action> {
    let said = service.update_status.as_ref().map(|status| (status.state(), &status.message));
    (said != Some((state, &message))).then(|| Action::Report { service: service.clone(), state, message })
}

/// Says why a rollout does not go on, after what it is doing; or, without a reason, that alone.
fn explain(service: &Arc<Service>, why: Option<&str>) -> Option<Action> {
    let status = service.update_status.as_ref()?;
    let doing = status.message.split_once(STANDS_STILL).map_or(status.message.as_str(), |(doing, _)| doing);
    let message = why.map_or_else(|| doing.to_owned(), |why| format!("{doing}{STANDS_STILL}{why}"));
    matches!(status.state(), UpdateState::Updating | UpdateState::RollbackStarted)
        .then(|| report(service, status.state(), message))
        .flatten()
}

//! What many tasks have in common lies in memory once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use swarmkit_api::{
    AnyObject, Endpoint, ServiceId, Task, Version,
    wire::{Annotations, TaskSpec},
};

/// How many entries are tolerated before the dead ones are looked for the first time.
const FIRST_SWEEP: usize = 64;

/// What the tasks of one service share, by the service and the version of its specification that they were made from.
///
/// It keeps none of it alive: what no task has any more is gone.
#[derive(Default)]
pub struct Specs(Mutex<Known>);

#[derive(Default)]
struct Known {
    shared: BTreeMap<(ServiceId, Version), Shared>,
    /// How many entries there may be before the dead ones are removed.
    sweep_at: usize,
}

#[derive(Default)]
struct Shared {
    spec: Weak<TaskSpec>,
    annotations: Weak<Annotations>,
    endpoint: Weak<Endpoint>,
}

impl Specs {
    /// Makes a task share with the others what is equal in them.
    pub(crate) fn intern(&self, task: &mut Task) {
        let (Some(service), Some(version)) = (&task.service_id, task.spec_version) else { return };
        let mut known = self.0.lock();
        known.sweep();
        let entry = known.shared.entry((service.clone(), version));
        task.service_id = Some(entry.key().0.clone());
        let shared = entry.or_default();
        share(&mut shared.spec, &mut task.spec);
        share(&mut shared.annotations, &mut task.service_annotations);
        if let Some(endpoint) = &mut task.endpoint {
            share(&mut shared.endpoint, endpoint);
        }
    }

    /// The same for an object of any kind that nobody else has yet.
    pub(crate) fn intern_any(&self, mut object: AnyObject) -> AnyObject {
        if let AnyObject::Task(task) = &mut object
            && let Some(task) = Arc::get_mut(task)
        {
            self.intern(task);
        }
        object
    }
}

impl Known {
    fn sweep(&mut self) {
        if self.shared.len() >= self.sweep_at.max(FIRST_SWEEP) {
            self.shared.retain(|_, shared| shared.spec.strong_count() > 0);
            self.sweep_at = self.shared.len() * 2;
        }
    }
}

/// Makes `own` the known one if it is equal, and else the known one of the future.
fn share<T: PartialEq>(known: &mut Weak<T>, own: &mut Arc<T>) {
    match known.upgrade() {
        Some(same) if Arc::ptr_eq(&same, own) => {}
        Some(same) if same == *own => *own = same,
        Some(_) | None => *known = Arc::downgrade(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, service: &str) -> Task {
        let mut task = Task::new(id.into(), TaskSpec { force_update: 1, ..Default::default() });
        task.service_id = Some(service.into());
        task.spec_version = Some(Version(1));
        task.service_annotations = Arc::new(Annotations { name: service.to_owned(), ..Default::default() });
        task.endpoint = Some(Arc::default());
        task
    }

    #[test]
    fn equal_parts_of_one_service_are_shared_and_different_ones_are_not() {
        let specs = Specs::default();
        let [mut one, mut two, mut other] = [task("1", "web"), task("2", "web"), task("3", "web")];
        other.spec = Arc::new(TaskSpec { force_update: 2, ..Default::default() });
        [&mut one, &mut two, &mut other].into_iter().for_each(|task| specs.intern(task));
        assert!(Arc::ptr_eq(&one.spec, &two.spec) && !Arc::ptr_eq(&one.spec, &other.spec));
        assert!(Arc::ptr_eq(&one.service_annotations, &other.service_annotations));
        assert_eq!(
            one.endpoint.map(|endpoint| Arc::as_ptr(&endpoint)),
            two.endpoint.map(|endpoint| Arc::as_ptr(&endpoint))
        );
    }

    #[test]
    fn what_no_task_has_any_more_is_forgotten() {
        let specs = Specs::default();
        let mut kept = task("kept", "kept");
        specs.intern(&mut kept);
        for number in 0..10 * FIRST_SWEEP {
            specs.intern(&mut task("gone", &number.to_string()));
        }
        assert!(specs.0.lock().shared.len() <= FIRST_SWEEP);
        assert!(specs.0.lock().shared.contains_key(&("kept".into(), Version(1))));
    }
}

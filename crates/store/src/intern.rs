//! All tasks that one service made from one specification share it in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use swarmkit_api::{AnyObject, ServiceId, Task, Version, wire::TaskSpec};

/// How many entries are tolerated before the dead ones are looked for the first time.
const FIRST_SWEEP: usize = 64;

/// The specifications that are alive, by the service and the version that they were taken from.
///
/// It holds none of them: what no task has any more is gone.
#[derive(Default)]
pub struct Specs(Mutex<Known>);

#[derive(Default)]
struct Known {
    specs: BTreeMap<(ServiceId, Version), Weak<TaskSpec>>,
    /// How many entries there may be before the dead ones are removed.
    sweep_at: usize,
}

impl Specs {
    /// Makes a task share its specification with those that have the same.
    pub(crate) fn intern(&self, task: &mut Task) {
        let (Some(service), Some(version)) = (&task.service_id, task.spec_version) else { return };
        let key = (service.clone(), version);
        let mut known = self.0.lock();
        match known.specs.get(&key).and_then(Weak::upgrade) {
            Some(spec) if Arc::ptr_eq(&spec, &task.spec) => {}
            Some(spec) if spec == task.spec => task.spec = spec,
            Some(_) | None => known.insert(key, &task.spec),
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
    fn insert(&mut self, key: (ServiceId, Version), spec: &Arc<TaskSpec>) {
        if self.specs.len() >= self.sweep_at.max(FIRST_SWEEP) {
            self.specs.retain(|_, spec| spec.strong_count() > 0);
            self.sweep_at = self.specs.len() * 2;
        }
        self.specs.insert(key, Arc::downgrade(spec));
    }
}

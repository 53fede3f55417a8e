//! What changes, one line each: for logs, pipes and machines without a terminal.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use swarmkit_api::TaskState;

use super::world::World;
use crate::output::task_name;

/// Remembers what was told, and tells what is new.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    told: BTreeMap<String, (TaskState, String)>,
    /// What each service waits for.
    waits: BTreeMap<String, String>,
}

impl Plain {
    /// Writes a line for every task that is in a new state, and for every service that waits for something else.
    ///
    /// # Errors
    ///
    /// When nobody reads.
    pub(crate) fn tell(&mut self, world: &World, elapsed: Duration, out: &mut impl Write) -> io::Result<()> {
        let names = world.names();
        let mut lines = Vec::new();
        for task in world.tasks() {
            let status = task.status.clone().unwrap_or_default();
            let state = (status.state(), status.err.clone());
            if self.told.get(&task.id) == Some(&state) {
                continue;
            }
            let node = match names.node(&task.node_id) {
                "" => String::new(),
                node => format!(" on {node}"),
            };
            let note = if state.1.is_empty() { String::new() } else { format!(": {}", state.1) };
            let name = task_name(task, &names);
            lines.push((name.clone(), format!("{name} is {}{node}{note}", state.0.as_str_name())));
            self.told.insert(task.id.clone(), state);
        }
        self.told.retain(|id, _| world.task(id).is_some());
        let waits: BTreeMap<_, _> =
            world.waiting().map(|(service, waiting)| (service.to_owned(), waiting.message.clone())).collect();
        for (service, message) in &waits {
            if self.waits.get(service) != Some(message) {
                lines.push((service.clone(), format!("service {service} {message}")));
            }
        }
        self.waits = waits;
        lines.sort();
        for (_, line) in lines {
            writeln!(out, "{:>7.1}s  {line}", elapsed.as_secs_f32())?;
        }
        out.flush()
    }
}

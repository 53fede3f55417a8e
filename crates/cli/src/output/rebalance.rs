//! Whether tasks are moved to nodes that have fewer, and those that were.

use swarmkit_api::wire::{
    self,
    swarmkit::orchestration::v1::{Rebalance, rebalance},
};

use super::{Names, task_name};

/// Whether, and how many. Empty when nothing is said; `unset` is what it means to leave that open.
pub(super) fn rebalancing(wanted: Option<&Rebalance>, unset: &str) -> String {
    let Some(wanted) = wanted else { return String::new() };
    let rate = moves_per_minute(wanted);
    match wanted.mode() {
        rebalance::Mode::On => format!("on, at most {rate} moves a minute"),
        rebalance::Mode::Off => "off".to_owned(),
        rebalance::Mode::Unset => format!("{unset}, at most {rate} moves a minute"),
    }
}

/// How many moves that are in any minute.
pub(super) fn moves_per_minute(wanted: &Rebalance) -> u32 {
    if wanted.moves_per_minute == 0 { swarmkit_rebalancer::MOVES_PER_MINUTE } else { wanted.moves_per_minute }
}

/// Why tasks are where they are, for those of which that is known: a line for each.
pub(super) fn origins(tasks: &[wire::Task], names: &Names) -> String {
    let of_task = |task: &wire::Task| {
        let origin = task.origin.as_ref()?;
        Some(format!("  {} ({}): {}\n", task.id, task_name(task, names), origin.message))
    };
    let lines: String = tasks.iter().filter_map(of_task).collect();
    if lines.is_empty() { lines } else { format!("\nMoved tasks:\n{lines}") }
}

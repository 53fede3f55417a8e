//! How objects are shown: tables, the layouts of `inspect`, and JSON.
//!
//! Everything here turns wire messages into text and decides nothing else. What is printed is an interface: scripts
//! read it, so columns, labels and field names stay.

mod blob;
mod cluster;
mod columns;
mod explanation;
mod job;
pub mod json;
mod log_lines;
mod names;
mod network;
mod node;
mod placement;
mod priority;
mod rebalance;
mod rollout;
mod rotation;
mod service;
mod spec;
mod start;
mod stats;
mod task;
mod time;
mod volume;

pub use blob::{inspect_config, inspect_secret, list_configs, list_secrets};
pub use cluster::{inspect_cluster, list_clusters, unlock_key};
pub use columns::Columns;
pub use explanation::{
    WaitingTasks, explanation_section, is_waiting, plan, waiting_by_service, waiting_section, waiting_tasks,
};
pub use job::next_run;
pub use log_lines::{LogLayout, LogLines, LogWriter};
pub use names::Names;
pub use network::{inspect_network, list_networks};
pub use node::{inspect_node, list_nodes, manager_status};
pub(crate) use placement::preferences;
pub use rotation::rotation_line;
pub use service::{inspect_service, list_services, replicas, running_on_live_nodes};
pub use stats::{Sample, Stats, stats_table};
pub use task::{inspect_task, is_current, list_tasks, task_name, task_table};
pub use time::{absolute, relative, since};
pub use volume::{inspect_volume, list_volumes};

#[cfg(test)]
mod tests;

//! What tasks use: the samples that nodes have told, and their table.

use std::collections::BTreeMap;

use swarmkit_api::wire::{self, swarmkit::exec::v1 as exec};

use super::{Columns, Names, task_name};
use crate::units::format_memory;

/// The latest samples of every node, or why there are none.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    nodes: BTreeMap<String, Told>,
}

/// What one node has told last.
#[derive(Clone, Debug, Default)]
struct Told {
    /// By task id.
    tasks: BTreeMap<String, Sample>,
    samples: u32,
    /// Why it tells nothing.
    failure: Option<String>,
}

/// What one task uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The amounts.
    pub usage: exec::TaskUsage,
    /// How many processors it kept busy since the sample before. `None` without one.
    pub cpus: Option<f64>,
}

impl Stats {
    /// Takes what a node tells of its tasks.
    pub fn absorb(&mut self, node: &str, usage: exec::Usage) {
        let told = self.nodes.entry(node.to_owned()).or_default();
        let mut before = std::mem::take(&mut told.tasks);
        let samples = usage.tasks.into_iter().map(|usage| {
            let cpus = before.remove(&usage.task_id).and_then(|before| cpus_between(&before.usage, &usage));
            (usage.task_id.clone(), Sample { usage, cpus })
        });
        told.tasks = samples.collect();
        told.samples = told.samples.saturating_add(1);
        told.failure = None;
    }

    /// Takes note of why a node tells nothing.
    pub fn fail(&mut self, node: &str, reason: &str) {
        *self.nodes.entry(node.to_owned()).or_default() = Told { failure: Some(reason.to_owned()), ..Told::default() };
    }

    /// How often a node has told of its tasks since it last failed to.
    #[must_use]
    pub fn samples(&self, node: &str) -> u32 {
        self.nodes.get(node).map_or(0, |told| told.samples)
    }

    /// Why a node tells nothing.
    #[must_use]
    pub fn failure(&self, node: &str) -> Option<&str> {
        self.nodes.get(node)?.failure.as_deref()
    }

    /// What is known of a task.
    #[must_use]
    pub fn sample(&self, task: &wire::Task) -> Option<&Sample> {
        self.nodes.get(&task.node_id)?.tasks.get(&task.id)
    }
}

/// How many processors were busy between two samples of one task.
fn cpus_between(before: &exec::TaskUsage, now: &exec::TaskUsage) -> Option<f64> {
    let nanos = |usage: &exec::TaskUsage| {
        let at = usage.at?;
        Some(i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos))
    };
    let passed = nanos(now)? - nanos(before)?;
    let used = now.cpu_nanos?.saturating_sub(before.cpu_nanos?);
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let cpus = used as f64 / passed as f64;
    (passed > 0).then_some(cpus)
}

/// The table of what tasks use, and below it the nodes that tell nothing.
#[must_use]
pub fn stats_table(tasks: &[wire::Task], stats: &Stats, names: &Names) -> String {
    let titles = ["ID", "Task", "Node", "CPU", "Memory", "Limit", "PIDs", "Read", "Written", "Received", "Sent"];
    let mut columns = Columns::spaced(2).titled(&titles);
    for task in tasks {
        let sample = stats.sample(task);
        let usage = sample.map(|sample| &sample.usage);
        let bytes = |of: fn(&exec::TaskUsage) -> Option<u64>| usage.and_then(of).map_or_else(unknown, size);
        columns.row([
            task.id.clone(),
            task_name(task, names),
            names.node(&task.node_id).to_owned(),
            sample.and_then(|sample| sample.cpus).map_or_else(unknown, |cpus| format!("{:.1}%", cpus * 100.0)),
            bytes(|usage| usage.memory_bytes),
            bytes(|usage| usage.memory_limit_bytes),
            usage.and_then(|usage| usage.processes).map_or_else(unknown, |pids| pids.to_string()),
            bytes(|usage| usage.read_bytes),
            bytes(|usage| usage.written_bytes),
            bytes(|usage| usage.received_bytes),
            bytes(|usage| usage.sent_bytes),
        ]);
    }
    let silent = stats.nodes.values().filter_map(|told| told.failure.as_ref());
    let notes: Vec<String> = silent.map(|reason| format!("{reason}\n")).collect();
    let gap = if notes.is_empty() { "" } else { "\n" };
    format!("{columns}{gap}{}", notes.concat())
}

fn unknown() -> String {
    "-".to_owned()
}

fn size(bytes: u64) -> String {
    format_memory(i64::try_from(bytes).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{super::json, *};

    fn task(id: &str, slot: u64, node: &str) -> wire::Task {
        let annotations = wire::Annotations { name: "web".into(), ..Default::default() };
        let service_annotations = Some(annotations);
        wire::Task { id: id.into(), slot, node_id: node.into(), service_annotations, ..Default::default() }
    }

    fn usage(id: &str, seconds: i64, cpu_millis: u64) -> exec::TaskUsage {
        exec::TaskUsage {
            task_id: id.into(),
            at: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            cpu_nanos: Some(cpu_millis * 1_000_000),
            memory_bytes: Some(7 << 20),
            processes: Some(3),
            ..Default::default()
        }
    }

    fn told(tasks: Vec<exec::TaskUsage>) -> exec::Usage {
        exec::Usage { tasks }
    }

    fn two_nodes() -> Stats {
        let mut stats = Stats::default();
        stats.absorb("n1", told(vec![usage("t1", 10, 1000), usage("t2", 10, 0)]));
        stats.absorb("n1", told(vec![usage("t1", 12, 2500)]));
        stats.fail("n2", "node n2 takes no calls");
        stats
    }

    #[test]
    fn a_rate_takes_two_samples_of_the_same_task() {
        let stats = two_nodes();
        assert_eq!(stats.sample(&task("t1", 1, "n1")).unwrap().cpus, Some(0.75));
        assert_eq!(stats.sample(&task("t2", 2, "n1")), None, "it has ended");
        assert_eq!((stats.samples("n1"), stats.samples("n2"), stats.samples("n3")), (2, 0, 0));
        assert_eq!(cpus_between(&usage("t1", 10, 0), &usage("t1", 10, 9)), None, "no time has passed");
        assert_eq!(cpus_between(&usage("t1", 10, 9), &usage("t1", 11, 3)), Some(0.0));
    }

    #[test]
    fn a_node_that_tells_nothing_is_named_below_the_others() {
        let tasks = [task("t1", 1, "n1"), task("t3", 3, "n2")];
        let text = stats_table(&tasks, &two_nodes(), &Names::ids_only());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
        assert_eq!(lines[2][0], "t1");
        assert_eq!(lines[2][2..], ["n1", "75.0%", "7.0", "MiB", "-", "3", "-", "-", "-", "-"]);
        assert_eq!(lines[3][2..], ["n2", "-", "-", "-", "-", "-", "-", "-", "-"]);
        assert_eq!(text.lines().last(), Some("node n2 takes no calls"));
    }

    #[test]
    fn programs_are_told_amounts_and_why_there_are_none() {
        let stats = two_nodes();
        let line = |task: &wire::Task| {
            let object = json::TaskStats::new(task, &stats, &Names::ids_only());
            serde_json::from_str::<serde_json::Value>(&json::line(&object)).unwrap()
        };
        let known = line(&task("t1", 1, "n1"));
        assert_eq!((&known["cpus"], &known["cpu_seconds"]), (&0.75.into(), &2.5.into()));
        assert_eq!((&known["memory_bytes"], &known["pids"]), (&(7 << 20).into(), &3.into()));
        assert_eq!((&known["at"], &known["error"]), (&"1970-01-01T00:00:12Z".into(), &serde_json::Value::Null));
        assert_eq!(known["memory_limit_bytes"], serde_json::Value::Null);
        let unknown = line(&task("t3", 3, "n2"));
        assert_eq!((&unknown["error"], &unknown["pids"]), (&"node n2 takes no calls".into(), &serde_json::Value::Null));
    }
}

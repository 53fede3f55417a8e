//! What the tasks of a node use, measured when somebody asks for metrics.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};
use swarmkit_executor::Usage;
use swarmkit_node::TaskUsage;
use tokio::time::Instant;

/// Of how many tasks a node tells what they use. Each has a line in each of the metrics below, and a store of metrics
/// keeps every line that it ever saw.
pub(super) const TASKS_MAX: usize = 500;

/// What was measured so recently is told again.
const FRESH: Duration = Duration::from_secs(1);

/// Measures the tasks of this node.
pub(super) type Measure = Arc<dyn Fn() -> BoxFuture<'static, Vec<TaskUsage>> + Send + Sync>;

/// The last measurement, and how to make one. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Measurement(Arc<Inner>);

#[derive(Default)]
struct Inner {
    measure: Mutex<Option<Measure>>,
    told: Mutex<Vec<TaskUsage>>,
    /// When. Held while measuring, so that who asks meanwhile waits for the same.
    at: tokio::sync::Mutex<Option<Instant>>,
}

/// Which task a line is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    task_id: String,
    task_name: String,
    service_name: String,
}

/// One metric: its name and help, and where its value is.
struct Metric {
    name: &'static str,
    help: &'static str,
    value: Value,
}

enum Value {
    /// Goes up only. In seconds, or a number.
    Total(fn(&Usage) -> Option<f64>),
    Now(fn(&Usage) -> Option<u64>),
}

const METRICS: [Metric; 9] = [
    Metric {
        name: "swarm_task_cpu_seconds",
        help: "Processor time that a task of this node has used",
        value: Value::Total(|usage| Some(usage.cpu?.as_secs_f64())),
    },
    Metric {
        name: "swarm_task_memory_bytes",
        help: "Memory that a task of this node holds, without files that are only cached",
        value: Value::Now(|usage| usage.memory),
    },
    Metric {
        name: "swarm_task_memory_limit_bytes",
        help: "How much memory a task of this node may hold, where something limits it",
        value: Value::Now(|usage| usage.memory_limit),
    },
    Metric {
        name: "swarm_task_pids",
        help: "Processes and threads of a task of this node",
        value: Value::Now(|usage| usage.pids),
    },
    Metric {
        name: "swarm_task_pids_limit",
        help: "How many processes and threads a task of this node may have, where something limits it",
        value: Value::Now(|usage| usage.pids_limit),
    },
    Metric {
        name: "swarm_task_block_read_bytes",
        help: "Bytes read from block devices for a task of this node",
        value: Value::Total(|usage| bytes(usage.block_read)),
    },
    Metric {
        name: "swarm_task_block_written_bytes",
        help: "Bytes written to block devices for a task of this node",
        value: Value::Total(|usage| bytes(usage.block_written)),
    },
    Metric {
        name: "swarm_task_network_received_bytes",
        help: "Bytes that a task of this node has received on network interfaces of its own",
        value: Value::Total(|usage| bytes(usage.network_received)),
    },
    Metric {
        name: "swarm_task_network_sent_bytes",
        help: "Bytes that a task of this node has sent on network interfaces of its own",
        value: Value::Total(|usage| bytes(usage.network_sent)),
    },
];

#[allow(clippy::cast_precision_loss, reason = "metrics are such numbers, and exact up to eight petabytes")]
fn bytes(bytes: Option<u64>) -> Option<f64> {
    bytes.map(|bytes| bytes as f64)
}

impl Measurement {
    /// How to measure from now on; `None` for a node that is over, of which nothing is told.
    pub(super) fn set(&self, measure: Option<Measure>) {
        if measure.is_none() {
            self.0.told.lock().clear();
        }
        *self.0.measure.lock() = measure;
    }

    /// Measures, unless that was done just before `now`.
    pub(super) async fn refresh(&self, now: Instant) {
        let mut at = self.0.at.lock().await;
        let measure = self.0.measure.lock().clone();
        let Some(measure) = measure else { return };
        if at.is_some_and(|at| now.duration_since(at) < FRESH) {
            return;
        }
        let told = measure().await;
        *self.0.told.lock() = told;
        *at = Some(now);
    }
}

impl Collector for Measurement {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let told = self.0.told.lock();
        let labels: Vec<_> = told.iter().map(Label::of).collect();
        for Metric { name, help, value } in &METRICS {
            let kind = match value {
                Value::Total(_) => MetricType::Counter,
                Value::Now(_) => MetricType::Gauge,
            };
            let mut lines = encoder.encode_descriptor(name, help, None, kind)?;
            for (label, TaskUsage { usage, .. }) in labels.iter().zip(told.iter()) {
                match value {
                    Value::Total(of) => {
                        if let Some(total) = of(usage) {
                            lines.encode_family(label)?.encode_counter::<NoLabelSet, f64, u64>(&total, None)?;
                        }
                    }
                    Value::Now(of) => {
                        if let Some(now) = of(usage) {
                            lines.encode_family(label)?.encode_gauge(&now)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Label {
    fn of(TaskUsage { task, .. }: &TaskUsage) -> Self {
        Self {
            task_id: task.id.to_string(),
            task_name: task.name(),
            service_name: task.service_annotations.name.clone(),
        }
    }
}

impl fmt::Debug for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measurement").field("tasks", &self.0.told.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::SystemTime,
    };

    use swarmkit_api::{Task, TaskId, wire};

    use super::{super::Registry, *};

    fn task(slot: u64, usage: Usage) -> TaskUsage {
        let annotations = wire::Annotations { name: "web".into(), ..Default::default() };
        let task = Task::new(TaskId::from(format!("t{slot}")), wire::TaskSpec::default());
        let service_id = Some("s1".into());
        let task = Task { slot, service_id, service_annotations: Arc::new(annotations), ..task };
        TaskUsage { task: Arc::new(task), usage }
    }

    /// A source that counts how often it was asked.
    fn source(asked: &Arc<AtomicUsize>) -> Measure {
        let asked = Arc::clone(asked);
        Arc::new(move || {
            let times = asked.fetch_add(1, Ordering::Relaxed) + 1;
            let cpu = Some(Duration::from_millis(500) * u32::try_from(times).unwrap());
            let known = Usage { cpu, memory: Some(4096), pids: Some(2), ..Usage::at(SystemTime::UNIX_EPOCH) };
            let told = vec![task(1, known), task(2, Usage::at(SystemTime::UNIX_EPOCH))];
            Box::pin(std::future::ready(told))
        })
    }

    #[tokio::test]
    async fn tasks_are_told_by_id_name_and_service_and_what_is_unknown_is_not_there() {
        let registry = Registry::new();
        registry.measured().set(Some(source(&Arc::default())));
        registry.measured().refresh(Instant::now()).await;
        let text = registry.text().unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("swarm_task_")).collect();
        let label = "{task_id=\"t1\",task_name=\"web.1.t1\",service_name=\"web\"}";
        let expected = [
            format!("swarm_task_cpu_seconds_total{label} 0.5"),
            format!("swarm_task_memory_bytes{label} 4096"),
            format!("swarm_task_pids{label} 2"),
        ];
        assert_eq!(lines, expected);
        assert!(text.contains("# TYPE swarm_task_network_sent_bytes counter"), "{text}");
    }

    #[tokio::test]
    async fn whoever_asks_more_often_than_each_second_gets_the_same() {
        let (registry, asked) = (Registry::new(), Arc::default());
        registry.measured().set(Some(source(&asked)));
        let mut now = Instant::now();
        for (pause, times) in [(0, 1), (999, 1), (1, 2), (0, 2), (5000, 3)] {
            now += Duration::from_millis(pause);
            registry.measured().refresh(now).await;
            assert_eq!(asked.load(Ordering::Relaxed), times);
        }
        registry.measured().set(None);
        registry.measured().refresh(now + FRESH).await;
        assert!(!registry.text().unwrap().lines().any(|line| line.starts_with("swarm_task_")), "the node is over");
    }
}

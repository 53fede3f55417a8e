//! What kind of thing a task is, and how nodes say which kinds they run.
//!
//! A task that is a process of the machine is a container specification whose image is the reserved [`PROCESS_IMAGE`].
//! Nodes list the kinds that they run as plugins of the type [`EXECUTOR_PLUGIN`]; a node that lists none is an engine
//! that knows nothing of this, and runs containers.

use std::time::Duration;

use swarmkit_api::wire::{
    ContainerSpec, EngineDescription, NodeDescription, Platform, PluginDescription, TaskSpec, task_spec::Runtime,
};

/// The image of a task that is a process and needs no image. Its registry cannot exist, so whoever does not know the
/// name finds nothing to run in its place.
pub const PROCESS_IMAGE: &str = "swarmkit.process/host";

/// The beginning of the image of a task that is a process with a root file system of its own. What follows names that
/// among what its node has: a name, and perhaps a tag or a digest.
pub const PROCESS_IMAGES: &str = "swarmkit.process/image/";

/// The type of the plugin entries in which a node lists the kinds of task that it runs.
pub const EXECUTOR_PLUGIN: &str = "Executor";

/// How long a task may take to stop before it is killed, unless its specification says otherwise. As upstream.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(10);

/// What a task is, as far as placing it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// An image, run by a container engine.
    Container,
    /// A plain process of the machine.
    Process,
    /// A process in a root file system of its own, which the node has under that name. Nodes run it that can isolate.
    ProcessImage,
}

impl Workload {
    /// The name of the kind in a node's plugin list.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Process => "process",
            Self::ProcessImage => "process-image",
        }
    }

    /// What a task is. `None` for what no executor runs: network attachments and generic runtimes.
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Option<Self> {
        let image = &container_spec(spec)?.image;
        Some(match image.strip_prefix(PROCESS_IMAGES) {
            Some(_) => Self::ProcessImage,
            None if is_process_image(image) => Self::Process,
            None => Self::Container,
        })
    }

    /// The plugin entry by which a node says that it runs this kind.
    #[must_use]
    pub fn plugin(self) -> PluginDescription {
        PluginDescription { r#type: EXECUTOR_PLUGIN.into(), name: self.name().into() }
    }

    /// Whether a node runs this kind.
    #[must_use]
    pub fn runs_on(self, node: &NodeDescription) -> bool {
        let plugins = node.engine.iter().flat_map(|EngineDescription { plugins, .. }| plugins);
        let mut kinds = plugins.filter(|plugin| plugin.r#type == EXECUTOR_PLUGIN).peekable();
        match kinds.peek() {
            None => self == Self::Container,
            Some(_) => kinds.any(|plugin| plugin.name == self.name()),
        }
    }
}

/// Clients complete a bare name with a tag, so the tag and digest do not matter.
fn is_process_image(image: &str) -> bool {
    image.strip_prefix(PROCESS_IMAGE).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
}

/// The container specification of a task, if it has one.
#[must_use]
pub fn container_spec(spec: &TaskSpec) -> Option<&ContainerSpec> {
    match spec.runtime.as_ref()? {
        Runtime::Container(container) => Some(container),
        Runtime::Attachment(_) | Runtime::Generic(_) => None,
    }
}

/// How long a task may take to stop before it is killed.
#[must_use]
pub fn stop_grace(spec: &TaskSpec) -> Duration {
    container_spec(spec)
        .and_then(|container| container.stop_grace_period)
        .and_then(|period| Duration::try_from(period).ok())
        .unwrap_or(DEFAULT_STOP_GRACE)
}

/// The platform that this program was built for, in the words that engines use.
#[must_use]
pub fn platform() -> Platform {
    Platform { architecture: std::env::consts::ARCH.into(), os: std::env::consts::OS.into() }
}

/// A node of this program's platform that runs these kinds of task, and says nothing more. A start for
/// [`crate::Executor::describe`].
#[must_use]
pub fn describe_node(hostname: impl Into<String>, kinds: &[Workload]) -> NodeDescription {
    let plugins = kinds.iter().map(|kind| kind.plugin()).collect();
    NodeDescription {
        hostname: hostname.into(),
        platform: Some(platform()),
        engine: Some(EngineDescription { plugins, ..Default::default() }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(image: &str) -> TaskSpec {
        let container = ContainerSpec { image: image.into(), ..Default::default() };
        TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }
    }

    fn node(kinds: &[Workload]) -> NodeDescription {
        describe_node("n1", kinds)
    }

    #[test]
    fn the_reserved_image_with_or_without_a_tag_is_a_process() {
        for image in ["swarmkit.process/host", "swarmkit.process/host:latest", "swarmkit.process/host@sha256:00"] {
            assert_eq!(Workload::of(&task(image)), Some(Workload::Process), "{image}");
        }
        for image in ["swarmkit.process/image/web", "swarmkit.process/image/team/web:1.2"] {
            assert_eq!(Workload::of(&task(image)), Some(Workload::ProcessImage), "{image}");
        }
        for image in ["nginx", "swarmkit.process/hosts", "docker.io/swarmkit.process/host", ""] {
            assert_eq!(Workload::of(&task(image)), Some(Workload::Container), "{image}");
        }
        assert_eq!(Workload::of(&TaskSpec::default()), None);
    }

    #[test]
    fn a_node_that_lists_no_kind_runs_containers() {
        let engine = node(&[]);
        assert!(Workload::Container.runs_on(&engine) && !Workload::Process.runs_on(&engine));
        let processes = node(&[Workload::Process]);
        assert!(Workload::Process.runs_on(&processes) && !Workload::Container.runs_on(&processes));
        let both = node(&[Workload::Container, Workload::Process]);
        assert!(Workload::Process.runs_on(&both) && Workload::Container.runs_on(&both));
    }

    #[test]
    fn the_grace_is_the_one_of_the_specification_or_ten_seconds() {
        let mut spec = task("nginx");
        assert_eq!(stop_grace(&spec), Duration::from_secs(10));
        let Some(Runtime::Container(container)) = &mut spec.runtime else { panic!("a container") };
        container.stop_grace_period = Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 });
        assert_eq!(stop_grace(&spec), Duration::from_millis(2500));
    }
}

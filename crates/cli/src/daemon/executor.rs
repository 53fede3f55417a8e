//! What runs the tasks of a node, as the flags choose it.

use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::ValueEnum;
use swarmkit_api::wire::{self, GenericResource};
use swarmkit_executor::{Device, Devices, DynExecutor, InertExecutor};
use swarmkit_executor_docker::{DockerExecutor, PullPolicy};
use swarmkit_executor_process::{IsolationMode, ProcessExecutor};
use swarmkit_runtime::Env;

use crate::units::GenericResources;

/// Where the process executor keeps its tasks, within the state directory.
const PROCESS_DIR: &str = "executor";
/// Where the docker executor keeps its name, within the state directory.
const DOCKER_DIR: &str = "executor-docker";

/// What runs the tasks of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExecutorKind {
    /// Processes of this machine
    #[default]
    Process,
    /// Containers of a Docker Engine
    Docker,
    /// Nothing: tasks exist and do not run, for tests of everything else
    Inert,
}

/// The flags that choose an executor and say how it shall be.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExecutorFlags {
    /// What runs the tasks
    #[arg(long, value_enum, default_value_t)]
    executor: ExecutorKind,

    /// An option of the executor, as KEY=VALUE; may be given again
    ///
    /// process and docker: label=NAME=VALUE (a label of the node's engine). process: isolation=auto|always|never (mounts,
    /// processes and a host name of their own for tasks; default auto: for those that ask for it), images=DIR (root file
    /// systems and image layouts by name; default executor/images in the state directory). docker: socket=PATH (of the
    /// engine; default /run/docker.sock), pull=always|missing|never (when images are fetched; default always),
    /// pull-tries=N (how often a fetch is tried before the task is rejected; default 5). docs/process-executor.md and
    /// docs/docker-executor.md say more.
    #[arg(long = "executor-option", value_name = "KEY=VALUE")]
    options: Vec<String>,

    /// Generic resources that the node has to give, such as fpga=2,gpu=UUID1,gpu=UUID2
    #[arg(long, value_name = "KIND=VALUE,...")]
    generic_node_resources: Option<GenericResources>,

    /// A device that the node has to give, as KIND=PATH[:PERMISSIONS][,PATH[:PERMISSIONS]]; may be given again
    ///
    /// It is offered as a generic resource of that kind under the name of its first path, while all its paths are there,
    /// and handed to the task that is given it; docs/devices.md says more. PERMISSIONS are some of rwm, as of docker run.
    #[arg(long = "device", value_name = "KIND=PATH")]
    devices: Vec<Device>,
}

/// Why there is no executor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecutorError {
    /// The flag cannot be understood.
    #[error("--executor-option {option:?}: {reason}")]
    Option { option: String, reason: String },
    /// What the node is to give cannot be given.
    #[error("{0}")]
    Devices(String),
    /// The executor cannot run tasks here.
    #[error("cannot run tasks: {}{}", .0, because(.0.as_ref()))]
    Open(Box<dyn Error + Send + Sync>),
}

/// The reason, which the error itself leaves out.
fn because(error: &dyn Error) -> String {
    error.source().map(|source| format!(": {source}")).unwrap_or_default()
}

/// The options of an executor, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    labels: BTreeMap<String, String>,
    socket: Option<String>,
    pull: PullPolicy,
    pull_tries: Option<u32>,
    isolation: IsolationMode,
    images: Option<PathBuf>,
}

impl ExecutorFlags {
    /// Opens the executor of a node.
    pub(crate) async fn open(&self, state_dir: &Path, env: &Env) -> Result<Arc<dyn DynExecutor>, ExecutorError> {
        let Options { labels, socket, pull, pull_tries, isolation, images } = self.options()?;
        let (generic, devices) = self.to_give()?;
        for missing in devices.missing() {
            tracing::warn!(device = missing, "is not there, and is not offered until it is");
        }
        let failed = |error: Box<dyn Error + Send + Sync>| ExecutorError::Open(error);
        Ok(match self.executor {
            ExecutorKind::Process => {
                let builder = ProcessExecutor::builder(state_dir.join(PROCESS_DIR)).env(env.clone()).labels(labels);
                let builder = builder.generic_resources(generic).devices(devices).isolation(isolation);
                let builder = match images {
                    Some(images) => builder.images(images),
                    None => builder,
                };
                Arc::new(Box::pin(builder.open()).await.map_err(|error| failed(error.into()))?)
            }
            ExecutorKind::Docker => {
                let builder = DockerExecutor::builder(state_dir.join(DOCKER_DIR));
                let builder = builder.env(env.clone()).labels(labels).pull(pull);
                let builder = builder.generic_resources(generic).devices(devices);
                let builder = match socket {
                    Some(socket) => builder.socket(socket),
                    None => builder,
                };
                let builder = match pull_tries {
                    Some(tries) => builder.pull_tries(tries),
                    None => builder,
                };
                Arc::new(Box::pin(builder.open()).await.map_err(|error| failed(error.into()))?)
            }
            ExecutorKind::Inert => {
                Arc::new(InertExecutor::new().resources(wire::Resources { generic, ..Default::default() }))
            }
        })
    }

    /// What the node has to give beside what its machine is. No kind is given in both ways.
    fn to_give(&self) -> Result<(Vec<GenericResource>, Devices), ExecutorError> {
        let generic = self.generic_node_resources.clone().unwrap_or_default();
        let devices = Devices::new(self.devices.iter().cloned()).map_err(ExecutorError::Devices)?;
        if self.executor == ExecutorKind::Inert && !devices.is_empty() {
            return Err(ExecutorError::Devices("the inert executor hands over no devices".to_owned()));
        }
        if let Some(kind) = generic.kinds().find(|kind| devices.has_kind(kind)) {
            let text = format!("{kind} is said with --generic-node-resources and with --device");
            return Err(ExecutorError::Devices(text));
        }
        Ok((generic.into_vec(), devices))
    }

    /// Understands the options. One that the executor does not have is refused.
    fn options(&self) -> Result<Options, ExecutorError> {
        let known: &[&str] = match self.executor {
            ExecutorKind::Process => &["label", "isolation", "images"],
            ExecutorKind::Docker => &["label", "socket", "pull", "pull-tries"],
            ExecutorKind::Inert => &[],
        };
        let mut options = Options::default();
        for option in &self.options {
            let refuse = |reason: String| ExecutorError::Option { option: option.clone(), reason };
            let (key, value) = option.split_once('=').ok_or_else(|| refuse("it is not KEY=VALUE".to_owned()))?;
            if !known.contains(&key) {
                return Err(refuse(unknown(self.executor, known)));
            }
            match key {
                "socket" => options.socket = Some(value.strip_prefix("unix://").unwrap_or(value).to_owned()),
                "pull" => options.pull = policy(value).ok_or_else(|| refuse("always, missing or never".to_owned()))?,
                "pull-tries" => {
                    let tries = value.parse().ok().filter(|tries| *tries > 0);
                    options.pull_tries = Some(tries.ok_or_else(|| refuse("a number from 1".to_owned()))?);
                }
                "isolation" => {
                    options.isolation = mode(value).ok_or_else(|| refuse("auto, always or never".to_owned()))?;
                }
                "images" if !Path::new(value).is_absolute() => {
                    return Err(refuse("the directory is not absolute".to_owned()));
                }
                "images" => options.images = Some(value.into()),
                _ => {
                    let label = value.split_once('=').filter(|(name, _)| !name.is_empty());
                    let (name, value) = label.ok_or_else(|| refuse("a label is NAME=VALUE".to_owned()))?;
                    options.labels.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        Ok(options)
    }
}

fn unknown(kind: ExecutorKind, known: &[&str]) -> String {
    let kind = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    match known {
        [] => format!("the {kind} executor has no options"),
        known => format!("the {kind} executor has {}", known.join(", ")),
    }
}

fn policy(word: &str) -> Option<PullPolicy> {
    match word {
        "always" => Some(PullPolicy::Always),
        "missing" => Some(PullPolicy::Missing),
        "never" => Some(PullPolicy::Never),
        _ => None,
    }
}

fn mode(word: &str) -> Option<IsolationMode> {
    match word {
        "auto" => Some(IsolationMode::Auto),
        "always" => Some(IsolationMode::Always),
        "never" => Some(IsolationMode::Never),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(executor: ExecutorKind, options: &[&str]) -> Result<Options, String> {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let flags = ExecutorFlags { executor, options, generic_node_resources: None, devices: Vec::new() };
        flags.options().map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_those_of_the_executor() {
        let given = ["socket=unix:///tmp/d.sock", "pull=never", "pull-tries=1", "label=zone=a=b", "label=disk="];
        let read = options(ExecutorKind::Docker, &given).unwrap();
        assert_eq!((read.socket.as_deref(), read.pull), (Some("/tmp/d.sock"), PullPolicy::Never));
        assert_eq!(read.pull_tries, Some(1));
        let labels: Vec<_> = read.labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        assert_eq!(labels, ["disk:", "zone:a=b"]);
        assert_eq!(options(ExecutorKind::Process, &["label=a=b"]).unwrap().labels.len(), 1);
        let process = options(ExecutorKind::Process, &["isolation=always", "images=/srv/images"]).unwrap();
        assert_eq!((process.isolation, process.images), (IsolationMode::Always, Some("/srv/images".into())));
        assert_eq!(options(ExecutorKind::Process, &[]).unwrap().isolation, IsolationMode::Auto);
        assert_eq!(options(ExecutorKind::Inert, &[]).unwrap(), Options::default());
    }

    #[test]
    fn an_option_that_has_no_effect_is_refused() {
        let refusal = |kind, option| options(kind, &[option]).unwrap_err();
        let text = "--executor-option \"pull=never\": the process executor has label, isolation, images";
        assert_eq!(refusal(ExecutorKind::Process, "pull=never"), text);
        let text = "--executor-option \"label=a=b\": the inert executor has no options";
        assert_eq!(refusal(ExecutorKind::Inert, "label=a=b"), text);
        assert!(refusal(ExecutorKind::Docker, "pull").ends_with("it is not KEY=VALUE"));
        assert!(refusal(ExecutorKind::Docker, "pull=often").ends_with("always, missing or never"));
        assert!(refusal(ExecutorKind::Docker, "pull-tries=0").ends_with("a number from 1"));
        assert!(refusal(ExecutorKind::Process, "isolation=some").ends_with("auto, always or never"));
        assert!(refusal(ExecutorKind::Process, "images=here").ends_with("the directory is not absolute"));
        assert!(refusal(ExecutorKind::Docker, "label=zone").ends_with("a label is NAME=VALUE"));
    }

    #[test]
    fn what_a_node_has_to_give_is_said_once_and_can_be_handed_over() {
        let told = |executor, generic: &str, devices: &[&str]| {
            let devices = devices.iter().map(|device| device.parse().unwrap()).collect();
            let generic_node_resources = Some(generic.parse().unwrap());
            let flags = ExecutorFlags { executor, options: Vec::new(), generic_node_resources, devices };
            let given = flags.to_give().map_err(|error| error.to_string());
            given.map(|(generic, devices)| (generic.len(), devices.present().len()))
        };
        let (process, inert) = (ExecutorKind::Process, ExecutorKind::Inert);
        assert_eq!(told(process, "fpga=2,gpu=a,gpu=b", &["dev=/dev/null", "dev=/dev/zero"]), Ok((3, 2)));
        assert_eq!(told(inert, "fpga=2", &[]), Ok((1, 0)));
        let refusal = |executor, generic, devices| told(executor, generic, devices).unwrap_err();
        assert_eq!(refusal(inert, "", &["dev=/dev/null"]), "the inert executor hands over no devices");
        assert_eq!(refusal(process, "", &["dev=/dev/null", "dev=/dev/null"]), "device dev=/dev/null is said twice");
        let text = "dev is said with --generic-node-resources and with --device";
        assert_eq!(refusal(process, "dev=2", &["dev=/dev/null"]), text);
    }
}

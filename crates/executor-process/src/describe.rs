//! What this machine is and has to give.

use std::{collections::BTreeMap, io, num::NonZero};

use swarmkit_api::wire;
use swarmkit_executor::{Workload, platform};

use crate::logs::LOG_DRIVERS;

/// What this executor can do, by type and name: run processes, also with an image if it can isolate them, and keep their
/// output in files.
fn plugins(isolates: bool) -> Vec<wire::PluginDescription> {
    let logs = LOG_DRIVERS.map(|name| wire::PluginDescription { r#type: "Log".to_owned(), name: name.to_owned() });
    let images = isolates.then(|| Workload::ProcessImage.plugin());
    [Workload::Process.plugin()].into_iter().chain(images).chain(logs).collect()
}

/// Describes the machine, as an engine would.
pub(crate) fn describe(
    labels: &BTreeMap<String, String>,
    generic: &[wire::GenericResource],
    isolates: bool,
) -> io::Result<wire::NodeDescription> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let memory = rustix::system::sysinfo();
    let bytes = u128::from(memory.totalram) * u128::from(memory.mem_unit);
    Ok(wire::NodeDescription {
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        platform: Some(platform()),
        resources: Some(wire::Resources {
            nano_cpus: i64::try_from(processors).unwrap_or(i64::MAX).saturating_mul(1_000_000_000),
            memory_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            generic: generic.to_vec(),
        }),
        engine: Some(wire::EngineDescription {
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: labels.clone(),
            plugins: plugins(isolates),
        }),
        ..Default::default()
    })
}

//! What this machine is and has to give.

use std::{collections::BTreeMap, io, num::NonZero};

use swarmkit_api::wire;
use swarmkit_executor::{Workload, platform};

/// Describes the machine, as an engine would.
pub(crate) fn describe(
    labels: &BTreeMap<String, String>,
    generic: &[wire::GenericResource],
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
            plugins: vec![Workload::Process.plugin()],
        }),
        ..Default::default()
    })
}

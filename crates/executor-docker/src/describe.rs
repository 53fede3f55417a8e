//! The node, as its engine describes it.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{Plugin, SystemInfo};
use swarmkit_api::wire::{EngineDescription, GenericResource, NodeDescription, Platform, PluginDescription, Resources};
use swarmkit_executor::Workload;

use crate::request::OVERLAY;

/// What plugins that were installed into the engine begin the names of their interfaces with.
const INTERFACE: &str = "docker.";

/// Describes the node. `labels` and `generic` are what its operator adds.
pub(crate) fn describe(
    info: SystemInfo,
    installed: &[Plugin],
    labels: &BTreeMap<String, String>,
    generic: &[GenericResource],
) -> NodeDescription {
    let mut all = BTreeMap::new();
    let pairs = info.labels.iter().flatten().filter_map(|label| label.split_once('='));
    all.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    all.extend(labels.clone());
    let plugins = plugins(&info, installed);
    NodeDescription {
        hostname: info.name.unwrap_or_default(),
        platform: Some(Platform {
            architecture: info.architecture.unwrap_or_default(),
            os: info.os_type.unwrap_or_default(),
        }),
        resources: Some(Resources {
            nano_cpus: info.ncpu.unwrap_or_default().saturating_mul(1_000_000_000),
            memory_bytes: info.mem_total.unwrap_or_default(),
            generic: generic.to_vec(),
        }),
        engine: Some(EngineDescription {
            engine_version: info.server_version.unwrap_or_default(),
            labels: all,
            plugins,
        }),
        ..Default::default()
    }
}

/// What the engine can do, by type and name, each once and in order.
fn plugins(info: &SystemInfo, installed: &[Plugin]) -> Vec<PluginDescription> {
    let own = info.plugins.clone().unwrap_or_default();
    let kinds =
        [("Volume", own.volume), ("Network", own.network), ("Authorization", own.authorization), ("Log", own.log)];
    let mut all = BTreeSet::new();
    for (kind, names) in kinds {
        // Each engine has the driver of networks that span nodes, and carries those of its own swarm alone.
        let names = names.into_iter().flatten().filter(|name| kind != "Network" || name != OVERLAY);
        all.extend(names.map(|name| (kind.to_owned(), name)));
    }
    for plugin in installed.iter().filter(|plugin| plugin.enabled) {
        for interface in &plugin.config.interface.types {
            // `docker.volumedriver/1.0`
            let Some(capability) = interface.strip_prefix(INTERFACE).and_then(|rest| rest.split('/').next()) else {
                continue;
            };
            let kind = match capability {
                "volumedriver" => "Volume",
                "networkdriver" => "Network",
                "logdriver" => "Log",
                other => other,
            };
            all.insert((kind.to_owned(), plugin.name.clone()));
        }
    }
    let runs = Workload::Container.plugin();
    all.insert((runs.r#type, runs.name));
    all.into_iter().map(|(r#type, name)| PluginDescription { r#type, name }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn info() -> SystemInfo {
        let info = json!({
            "Name": "n1", "Architecture": "x86_64", "OSType": "linux", "NCPU": 2, "MemTotal": 4096,
            "ServerVersion": "20.10.24", "Labels": ["zone=a=b", "bare", "disk=hdd"],
            "Plugins": { "Volume": ["local"], "Network": ["host", "bridge", "overlay"], "Log": ["json-file"] },
        });
        serde_json::from_value(info).unwrap()
    }

    #[test]
    fn a_node_is_what_its_engine_says() {
        let own = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
        let described = describe(info(), &[], &own, &[]);
        assert_eq!(described.hostname, "n1");
        let resources = described.resources.unwrap();
        assert_eq!((resources.nano_cpus, resources.memory_bytes), (2_000_000_000, 4096));
        let engine = described.engine.unwrap();
        let labels: Vec<_> = engine.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(labels, ["disk=ssd", "zone=a=b"], "a label without a value is none, and the operator's come first");
    }

    #[test]
    fn plugins_of_both_kinds_are_listed_once_and_in_order() {
        let plugin = |name: &str, enabled, interface: &str| -> Plugin {
            let config = json!({
                "Description": "", "Documentation": "", "Interface": { "Types": [interface], "Socket": "" },
                "Entrypoint": [], "WorkDir": "", "Network": { "Type": "" }, "Linux": { "Capabilities": [],
                "AllowAllDevices": false, "Devices": [] }, "PropagatedMount": "", "IpcHost": false, "PidHost": false,
                "Mounts": [], "Env": [], "Args": { "Name": "", "Description": "", "Settable": [], "Value": [] },
            });
            let settings = json!({ "Mounts": [], "Env": [], "Args": [], "Devices": [] });
            let plugin = json!({ "Name": name, "Enabled": enabled, "Settings": settings, "Config": config });
            serde_json::from_value(plugin).unwrap()
        };
        let installed = [
            plugin("nfs:latest", true, "docker.volumedriver/1.0"),
            plugin("off:latest", false, "docker.volumedriver/1.0"),
            plugin("csi:latest", true, "docker.csinode/1.0"),
        ];
        let engine = describe(info(), &installed, &BTreeMap::new(), &[]).engine.unwrap();
        let told: Vec<_> = engine.plugins.iter().map(|plugin| format!("{}/{}", plugin.r#type, plugin.name)).collect();
        let expected = [
            "Executor/container",
            "Log/json-file",
            "Network/bridge",
            "Network/host",
            "Volume/local",
            "Volume/nfs:latest",
            "csinode/csi:latest",
        ];
        assert_eq!(told, expected);
    }
}

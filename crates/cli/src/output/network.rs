//! Networks.

use std::time::SystemTime;

use swarmkit_api::wire;

use super::{Columns, relative};

/// The table of `network ls`, in the order given.
#[must_use]
pub fn list_networks(networks: &[wire::Network]) -> Columns {
    let mut columns = Columns::spaced(2).titled(&["ID", "Name", "Driver", "Subnets"]);
    for network in networks {
        let driver = network.driver_state.clone().unwrap_or_default().name;
        columns.row([network.id.clone(), name(network).to_owned(), driver, subnets(network)]);
    }
    columns
}

/// The subnets that a network was given, or that it has yet to be given any.
fn subnets(network: &wire::Network) -> String {
    if network.waiting.is_some() {
        return "(waiting)".to_owned();
    }
    let pools = network.ipam.iter().flat_map(|ipam| &ipam.configs).map(|pool| pool.subnet.as_str());
    pools.collect::<Vec<_>>().join(", ")
}

/// The layout of `network inspect`.
#[must_use]
pub fn inspect_network(network: &wire::Network, now: SystemTime) -> Columns {
    let spec = network.spec.clone().unwrap_or_default();
    let mut columns = Columns::labelled();
    columns.field("ID", &network.id);
    columns.field("Name", name(network));
    if let Some(waiting) = &network.waiting {
        columns.section("Waiting");
        columns.field_if_any(" Since", relative(waiting.since.as_ref(), now));
        columns.field_if_any(" Message", &waiting.message);
    }
    if network.pending_delete {
        columns.field("Removing", "when nobody uses it any more");
    }
    columns.section("Spec");
    let labels = spec.annotations.unwrap_or_default().labels;
    if !labels.is_empty() {
        columns.section("  Labels");
        for (key, value) in &labels {
            columns.field(&format!("    {key}"), value);
        }
    }
    columns.field("  IPv6Enabled", spec.ipv6_enabled);
    columns.field("  Internal", spec.internal);
    columns.field("  Attachable", spec.attachable);
    columns.field("  Ingress", spec.ingress);
    if let Some(driver) = &network.driver_state {
        columns.section("Driver");
        columns.field("  Name", &driver.name);
        options(&mut columns, &driver.options);
    }
    if let Some(ipam) = &network.ipam {
        columns.section("IPAM");
        let driver = ipam.driver.clone().unwrap_or_default();
        columns.field_if_any("  Driver", &driver.name);
        options(&mut columns, &driver.options);
        for pool in &ipam.configs {
            columns.section("  IPAM Config");
            columns.field("    Family", pool.family().as_str_name());
            columns.field("    Subnet", &pool.subnet);
            columns.field_if_any("    Range", &pool.range);
            columns.field("    Gateway", &pool.gateway);
            for (name, address) in &pool.reserved {
                columns.field(&format!("    Reserved {name}"), address);
            }
        }
    }
    columns
}

fn options(columns: &mut Columns, options: &std::collections::BTreeMap<String, String>) {
    if !options.is_empty() {
        columns.section("  Options");
        for (key, value) in options {
            columns.field(&format!("    {key}"), value);
        }
    }
}

fn name(network: &wire::Network) -> &str {
    let annotations = network.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
    annotations.map(|annotations| annotations.name.as_str()).unwrap_or_default()
}

//! Names in place of ids.

use std::collections::BTreeMap;

use swarmkit_api::wire;

/// What is known of the names behind ids. Where nothing is known, or nothing is wanted, the id itself is shown.
#[derive(Clone, Debug, Default)]
pub struct Names {
    resolve: bool,
    nodes: BTreeMap<String, String>,
}

impl Names {
    /// Shows ids only.
    #[must_use]
    pub fn ids_only() -> Self {
        Self::default()
    }

    /// Shows nodes by their host names, and services by theirs.
    #[must_use]
    pub fn of<'a>(nodes: impl IntoIterator<Item = &'a wire::Node>) -> Self {
        let hostname = |node: &wire::Node| node.description.as_ref().map(|description| description.hostname.clone());
        let nodes = nodes.into_iter().filter_map(|node| Some((node.id.clone(), hostname(node)?)));
        Self { resolve: true, nodes: nodes.filter(|(_, name)| !name.is_empty()).collect() }
    }

    /// A node.
    #[must_use]
    pub fn node<'a>(&'a self, id: &'a str) -> &'a str {
        self.nodes.get(id).map_or(id, String::as_str)
    }

    /// The service of a task, which carries its name along.
    #[must_use]
    pub fn service<'a>(&self, task: &'a wire::Task) -> &'a str {
        let name = task.service_annotations.as_ref().map(|annotations| annotations.name.as_str());
        name.filter(|name| self.resolve && !name.is_empty()).unwrap_or(&task.service_id)
    }
}

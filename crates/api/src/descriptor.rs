//! What placement calls the properties of a node by which it tells nodes apart.

use std::fmt;

use crate::{Node, constraint::Label};

/// A property of a node that is a text: what constraints compare, and preferences spread over.
///
/// ```
/// use swarmkit_api::{Descriptor, Node, NodeId};
///
/// let zone = Descriptor::parse("node.labels.zone").expect("a label");
/// let node = Node::new(NodeId::from("n1"));
/// assert_eq!(zone.of(&node), "");
/// assert_eq!(Descriptor::parse("node.id").expect("the id").of(&node), "n1");
/// assert_eq!(Descriptor::parse("node.labels."), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Descriptor {
    /// `node.id`: every node on its own.
    Id,
    /// `node.hostname`, as its agent told it.
    Hostname,
    /// `node.role`: `WORKER` or `MANAGER`, what it is now.
    Role,
    /// `node.platform.os`, such as `linux`.
    Os,
    /// `node.platform.arch`, such as `x86_64`, in the words of its agent.
    Architecture,
    /// A label.
    Label(Label),
}

impl Descriptor {
    /// Reads a key: without case, but for labels themselves. `None` for a key that names no such property.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let fixed = [Self::Id, Self::Hostname, Self::Role, Self::Os, Self::Architecture];
        let named = fixed.into_iter().find(|descriptor| key.eq_ignore_ascii_case(descriptor.name()));
        named.or_else(|| Label::parse(key).map(Self::Label))
    }

    /// Its value on a node, empty when the node lacks it.
    #[must_use]
    pub fn of<'n>(&self, node: &'n Node) -> &'n str {
        let platform = || node.description.as_deref().and_then(|description| description.platform.as_ref());
        match self {
            Self::Id => node.id.as_str(),
            Self::Hostname => node.hostname(),
            Self::Role => node.role.as_str_name(),
            Self::Os => platform().map_or("", |platform| &platform.os),
            Self::Architecture => platform().map_or("", |platform| &platform.architecture),
            Self::Label(label) => label.of(node),
        }
    }

    /// The key, but for what a label adds.
    fn name(&self) -> &'static str {
        match self {
            Self::Id => "node.id",
            Self::Hostname => "node.hostname",
            Self::Role => "node.role",
            Self::Os => "node.platform.os",
            Self::Architecture => "node.platform.arch",
            Self::Label(label) => label.prefix(),
        }
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => label.fmt(f),
            other => f.write_str(other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::{NodeId, NodeRole, wire};

    #[test]
    fn every_property_is_read_by_its_key_and_tells_its_key() {
        let mut node = Node::new(NodeId::from("n1"));
        node.role = NodeRole::Manager;
        node.spec = Arc::new(wire::NodeSpec {
            annotations: Some(wire::Annotations {
                labels: BTreeMap::from([("Zone".into(), "a".into())]),
                ..Default::default()
            }),
            ..Default::default()
        });
        node.description = Some(Arc::new(wire::NodeDescription {
            hostname: "alpha".into(),
            platform: Some(wire::Platform { os: "linux".into(), architecture: "amd64".into() }),
            ..Default::default()
        }));
        for (key, told, value) in [
            ("NODE.ID", "node.id", "n1"),
            ("node.Hostname", "node.hostname", "alpha"),
            ("node.role", "node.role", "MANAGER"),
            ("node.platform.os", "node.platform.os", "linux"),
            ("node.platform.arch", "node.platform.arch", "amd64"),
            ("Node.Labels.Zone", "node.labels.Zone", "a"),
            ("node.labels.zone", "node.labels.zone", ""),
            ("Engine.labels.Zone", "engine.labels.Zone", ""),
        ] {
            let descriptor = Descriptor::parse(key).unwrap();
            assert_eq!((descriptor.to_string().as_str(), descriptor.of(&node)), (told, value), "{key}");
        }
        for key in ["", "node", "node.ip", "node.labels.", "node.platform", "zone"] {
            assert_eq!(Descriptor::parse(key), None, "{key}");
        }
        let bare = Node::new(NodeId::from("n2"));
        for key in ["node.hostname", "node.platform.os", "node.platform.arch", "engine.labels.a"] {
            assert_eq!(Descriptor::parse(key).unwrap().of(&bare), "", "{key}");
        }
    }
}

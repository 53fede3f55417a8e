//! Platforms: the operating system and the architecture that a task can run on, and whether a node is of one of them.
//!
//! ```
//! use swarmkit_api::{Node, NodeId, platform, wire::Platform};
//!
//! let node = Node::new(NodeId::from("a"));
//! assert!(platform::any_matches(&[], &node), "no list, no condition");
//! let linux = Platform { os: "linux".into(), ..Default::default() };
//! assert!(!platform::any_matches(&[linux], &node), "what a node does not say, it is not");
//! ```

use crate::{Node, wire::Platform};

/// Whether a node is of one of the listed platforms. An empty list asks for nothing.
#[must_use]
pub fn any_matches(wanted: &[Platform], node: &Node) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| matches(wanted, node))
}

/// Whether a node is of a platform. What the platform leaves out matches anything.
#[must_use]
pub fn matches(wanted: &Platform, node: &Node) -> bool {
    let description = node.description.as_deref();
    let Some(actual) = description.and_then(|description| description.platform.as_ref()) else { return false };
    (wanted.os.is_empty() || wanted.os == actual.os)
        && (wanted.architecture.is_empty() || common(&wanted.architecture) == common(&actual.architecture))
}

/// Kernels and engines have different words for the same architecture.
fn common(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{NodeId, wire::NodeDescription};

    fn platform(architecture: &str, os: &str) -> Platform {
        Platform { architecture: architecture.into(), os: os.into() }
    }

    #[test]
    fn architectures_are_compared_under_one_name_and_what_is_left_out_matches_anything() {
        let mut node = Node::new(NodeId::from("a"));
        let description = NodeDescription { platform: Some(platform("x86_64", "linux")), ..Default::default() };
        node.description = Some(Arc::new(description));
        assert!(matches(&platform("amd64", "linux"), &node));
        assert!(matches(&platform("", "linux"), &node));
        assert!(matches(&platform("amd64", ""), &node));
        assert!(!matches(&platform("arm64", "linux"), &node));
        assert!(!matches(&platform("amd64", "windows"), &node));
        assert!(any_matches(&[platform("arm64", ""), platform("amd64", "")], &node));
        assert!(!any_matches(&[platform("arm64", "")], &node));
    }
}

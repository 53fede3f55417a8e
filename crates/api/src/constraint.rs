//! Placement constraints: which nodes a task may run on.
//!
//! A constraint is `key == value` or `key != value`. All constraints of a task must hold.
//!
//! ```
//! use swarmkit_api::{Node, NodeId, NodeRole, constraint};
//!
//! let constraints = constraint::parse_all(["node.role == manager", "node.labels.disk != tape"])?;
//! let mut node = Node::new(NodeId::from("n1"));
//! assert!(!constraint::all_match(&constraints, &node));
//! node.role = NodeRole::Manager;
//! assert!(constraint::all_match(&constraints, &node));
//! # Ok::<(), constraint::ConstraintError>(())
//! ```

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use crate::{Descriptor, Node};

const IP: &str = "node.ip";
const NODE_LABEL: &str = "node.labels.";
const ENGINE_LABEL: &str = "engine.labels.";

/// Why an expression is no constraint. The texts reach clients, some of which match on them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// It holds neither `==` nor `!=`.
    #[error("constraint expected one operator from ==, !=")]
    NoOperator,
    /// A key starts with a letter or underscore, and goes on with one or more of letters, digits, `-`, `_` and `.`.
    #[error("key '{0}' is invalid")]
    Key(String),
    /// A value is one or more letters, digits, white space, or one of ``:-_.*()?+[]\^$|/``.
    #[error("value '{0}' is invalid")]
    Value(String),
}

/// One parsed constraint.
///
/// Values compare whole and without case. Where a node lacks what is asked for, `==` fails and `!=` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    subject: Subject,
    equal: bool,
    value: String,
}

/// What of a node a constraint looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Ip,
    Property(Descriptor),
    /// A key that names nothing: no node satisfies it, whatever the operator.
    Unknown(String),
}

/// A label of a node, or of its engine, as constraints and placement preferences name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Given to the node by the operator: `node.labels.<label>`.
    Node(String),
    /// Reported by the node's engine: `engine.labels.<label>`.
    Engine(String),
}

/// Reads a list of expressions.
///
/// # Errors
///
/// The first error among them: one bad expression fails the list.
pub fn parse_all<T: AsRef<str>>(expressions: impl IntoIterator<Item = T>) -> Result<Vec<Constraint>, ConstraintError> {
    expressions.into_iter().map(|expression| Constraint::parse(expression.as_ref())).collect()
}

/// Whether a node satisfies all of them. Every node satisfies an empty list.
#[must_use]
pub fn all_match(constraints: &[Constraint], node: &Node) -> bool {
    constraints.iter().all(|constraint| constraint.matches(node))
}

// === impl Constraint ===

impl Constraint {
    /// Reads one expression, which is split at its first `==`, or, when it has none, at its first `!=`.
    ///
    /// # Errors
    ///
    /// When there is no operator, or a side of it has characters that it must not have.
    pub fn parse(expression: &str) -> Result<Self, ConstraintError> {
        let (key, equal, value) = match (expression.split_once("=="), expression.split_once("!=")) {
            (Some((key, value)), _) => (key.trim(), true, value.trim()),
            (None, Some((key, value))) => (key.trim(), false, value.trim()),
            (None, None) => return Err(ConstraintError::NoOperator),
        };
        if !is_key(key) {
            return Err(ConstraintError::Key(key.to_owned()));
        }
        if !is_value(value) {
            return Err(ConstraintError::Value(value.to_owned()));
        }
        Ok(Self { subject: Subject::of(key), equal, value: value.to_owned() })
    }

    /// Whether a node satisfies it.
    #[must_use]
    pub fn matches(&self, node: &Node) -> bool {
        match &self.subject {
            Subject::Ip => self.compare_address(&node.status.addr),
            Subject::Property(descriptor) => self.compare(descriptor.of(node)),
            Subject::Unknown(_) => false,
        }
    }

    fn compare(&self, actual: &str) -> bool {
        self.value.eq_ignore_ascii_case(actual) == self.equal
    }

    /// The value is an address or a network. One that is neither matches nothing, whatever the operator.
    fn compare_address(&self, actual: &str) -> bool {
        let actual = actual.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let within = match (self.value.parse::<IpAddr>(), self.value.parse::<IpNet>()) {
            (Ok(wanted), _) => actual == Some(wanted.to_canonical()),
            (_, Ok(network)) => actual.is_some_and(|actual| network.contains(&actual)),
            (Err(_), Err(_)) => return false,
        };
        within == self.equal
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = if self.equal { "==" } else { "!=" };
        match &self.subject {
            Subject::Ip => write!(f, "{IP} {operator} {}", self.value),
            Subject::Property(descriptor) => write!(f, "{descriptor} {operator} {}", self.value),
            Subject::Unknown(key) => write!(f, "{key} {operator} {}", self.value),
        }
    }
}

// === impl Subject ===

impl Subject {
    fn of(key: &str) -> Self {
        if key.eq_ignore_ascii_case(IP) {
            return Self::Ip;
        }
        Descriptor::parse(key).map_or_else(|| Self::Unknown(key.to_owned()), Self::Property)
    }
}

// === impl Label ===

impl Label {
    /// Reads a key that names a label: the prefix without case, the label itself with. `None` for any other key.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let after = |prefix: &str| {
            let (head, label) = key.split_at_checked(prefix.len())?;
            (head.eq_ignore_ascii_case(prefix) && !label.is_empty()).then(|| label.to_owned())
        };
        after(NODE_LABEL).map(Self::Node).or_else(|| after(ENGINE_LABEL).map(Self::Engine))
    }

    /// Its value on a node, empty when the node lacks it.
    #[must_use]
    pub fn of<'n>(&self, node: &'n Node) -> &'n str {
        let value = match self {
            Self::Node(label) => node.spec.annotations.as_ref().and_then(|annotations| annotations.labels.get(label)),
            Self::Engine(label) => {
                let engine = node.description.as_ref().and_then(|description| description.engine.as_ref());
                engine.and_then(|engine| engine.labels.get(label))
            }
        };
        value.map_or("", String::as_str)
    }

    /// What its key begins with.
    pub(crate) fn prefix(&self) -> &'static str {
        match self {
            Self::Node(_) => NODE_LABEL,
            Self::Engine(_) => ENGINE_LABEL,
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Node(label) | Self::Engine(label)) = self;
        write!(f, "{}{label}", self.prefix())
    }
}

fn is_key(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && key.len() >= 2
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn is_value(value: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || br":-_.*()?+[]\^$|/".contains(&byte);
    !value.is_empty() && value.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::{NodeId, NodeRole, wire};

    fn labels(label: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(label.to_owned(), value.to_owned())])
    }

    fn node() -> Node {
        let mut node = Node::new(NodeId::from("n1"));
        node.spec = Arc::new(wire::NodeSpec {
            annotations: Some(wire::Annotations { labels: labels("Disk", "SSD"), ..Default::default() }),
            ..Default::default()
        });
        node.description = Some(Arc::new(wire::NodeDescription {
            hostname: "Alpha".into(),
            platform: Some(wire::Platform { os: "linux".into(), architecture: "amd64".into() }),
            engine: Some(wire::EngineDescription { labels: labels("storage", "zfs"), ..Default::default() }),
            ..Default::default()
        }));
        node.status.addr = "186.17.9.41".into();
        node
    }

    #[track_caller]
    fn check(node: &Node, expressions: &[(&str, bool)]) {
        for (expression, expected) in expressions {
            let constraint = Constraint::parse(expression).unwrap();
            assert_eq!(constraint.matches(node), *expected, "{expression}");
        }
    }

    #[test]
    fn what_is_no_constraint_is_refused_with_the_first_error() {
        for (expression, error) in [
            ("", "constraint expected one operator from ==, !="),
            (" ", "constraint expected one operator from ==, !="),
            ("node.role", "constraint expected one operator from ==, !="),
            ("node.role ~ worker", "constraint expected one operator from ==, !="),
            ("== worker", "key '' is invalid"),
            ("a == b", "key 'a' is invalid"),
            ("1node == a2", "key '1node' is invalid"),
            ("no de == a2", "key 'no de' is invalid"),
            ("no$de == a2", "key 'no$de' is invalid"),
            ("no*de == a2", "key 'no*de' is invalid"),
            ("node ==", "value '' is invalid"),
            ("node ==  ", "value '' is invalid"),
            ("node == a&b", "value 'a&b' is invalid"),
            ("node == größe", "value 'größe' is invalid"),
        ] {
            assert_eq!(Constraint::parse(expression).unwrap_err().to_string(), error, "{expression:?}");
        }
        let error = parse_all(["node.id == x", "node.id", "1 == 2"]).unwrap_err();
        assert_eq!(error, ConstraintError::NoOperator);
    }

    #[test]
    fn blanks_cases_dots_and_literal_punctuation_are_accepted() {
        for (expression, parsed) in [
            ("  node.id==b1  ", "node.id == b1"),
            ("NODE.ID == B1", "node.id == B1"),
            ("_node1 != b1", "_node1 != b1"),
            ("Node.Labels.Disk==a b", "node.labels.Disk == a b"),
            (r"engine.labels.x == [a]\(b)/c*?+^$|:", r"engine.labels.x == [a]\(b)/c*?+^$|:"),
        ] {
            assert_eq!(Constraint::parse(expression).unwrap().to_string(), parsed);
        }
    }

    #[test]
    fn an_expression_with_both_operators_splits_at_the_first_equality() {
        assert_eq!(Constraint::parse("a!=b==c"), Err(ConstraintError::Key("a!=b".into())));
    }

    #[test]
    fn values_compare_whole_and_without_case() {
        check(
            &node(),
            &[
                ("node.id == N1", true),
                ("node.id == n12", false),
                ("node.id == n", false),
                ("node.id != n", true),
                ("node.hostname == alpha", true),
                ("node.hostname != ALPHA", false),
                ("node.hostname == al*", false),
                ("node.platform.os == Linux", true),
                ("node.platform.arch == amd64", true),
                ("node.platform.arch == x86_64", false),
                ("node.role == worker", true),
                ("node.role == boss", false),
                ("node.role != boss", true),
            ],
        );
        let mut manager = node();
        manager.role = NodeRole::Manager;
        check(&manager, &[("node.role == manager", true), ("NODE.role != Worker", true)]);
    }

    #[test]
    fn labels_of_the_node_and_of_its_engine_are_apart_and_their_keys_have_case() {
        check(
            &node(),
            &[
                ("node.labels.Disk == ssd", true),
                ("NODE.LABELS.Disk == ssd", true),
                ("node.labels.disk == ssd", false),
                ("engine.labels.Disk == ssd", false),
                ("engine.labels.storage == zfs", true),
                ("node.labels.storage == zfs", false),
                ("node.labels. == ssd", false),
                ("node.labels. != ssd", false),
            ],
        );
    }

    #[test]
    fn what_a_node_lacks_fails_equality_and_satisfies_inequality() {
        let bare = Node::new(NodeId::from("n1"));
        for key in ["node.hostname", "node.platform.os", "node.platform.arch", "node.labels.a", "engine.labels.a"] {
            check(&bare, &[(&format!("{key} == x"), false), (&format!("{key} != x"), true)]);
        }
        check(&bare, &[("node.ip == 10.0.0.1", false), ("node.ip != 10.0.0.1", true), ("node.ip != 10.0.0.0/8", true)]);
    }

    #[test]
    fn all_constraints_have_to_hold_and_what_else_a_node_has_does_not_matter() {
        let holds = |expressions: &[&str]| all_match(&parse_all(expressions).unwrap(), &node());
        assert!(holds(&[]) && holds(&["node.labels.Disk == ssd", "engine.labels.storage == zfs", "node.id != n2"]));
        assert!(!holds(&["node.labels.Disk == ssd", "engine.labels.storage == ext4"]));
        let mut more = node();
        Arc::make_mut(&mut more.spec).annotations.as_mut().unwrap().labels.insert("disk".into(), "tape".into());
        check(&more, &[("node.labels.Disk == ssd", true), ("node.labels.disk == ssd", false)]);
    }

    #[test]
    fn a_key_that_names_nothing_matches_no_node() {
        check(&node(), &[("node.colour == red", false), ("node.colour != red", false)]);
    }

    #[test]
    fn addresses_compare_by_value_and_networks_by_membership() {
        check(
            &node(),
            &[
                ("node.ip == 186.17.9.41", true),
                ("node.ip != 186.17.9.41", false),
                ("node.ip == ::ffff:186.17.9.41", true),
                ("node.ip == 186.17.9.4/24", true),
                ("node.ip != 186.17.9.4/24", false),
                ("node.ip == 186.17.8.0/24", false),
                ("node.ip == 0.0.0.0/0", true),
                ("node.ip == 186.17.9.41/32", true),
                ("node.ip == 186.17.9.0/33", false),
                ("node.ip != 186.17.9.0/33", false),
                ("node.ip == 186.17.9", false),
                ("node.ip != 186.17.9", false),
                ("node.ip == 2001:db8::/32", false),
            ],
        );
        let mut six = node();
        six.status.addr = "2001:db8::2".into();
        check(
            &six,
            &[
                ("node.ip == 2001:0db8:0:0::2", true),
                ("node.ip == 2001:db8::/64", true),
                ("node.ip != 2001:db8::/64", false),
                ("node.ip == 2001:db9::/64", false),
                ("node.ip == ::/0", true),
                ("node.ip == 10.0.0.0/8", false),
            ],
        );
    }
}

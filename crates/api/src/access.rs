//! Who may call what: one row for every method of every service.
//!
//! The rows come from the option `.swarmkit.access` in `proto/`, so the table cannot miss a method. Servers refuse
//! what has no row: a service that is not in `proto/` cannot be mounted.
//!
//! ```
//! use swarmkit_api::access::{self, Caller};
//!
//! let method = access::method("/docker.swarmkit.v1.Dispatcher/Heartbeat").expect("a method of the wire");
//! assert!(method.serves(Caller::Worker));
//! assert!(!method.serves(Caller::Anyone));
//! assert!(access::method("/docker.swarmkit.v1.Dispatcher/Reboot").is_none());
//! ```
use std::fmt;

mod generated {
    use super::{Caller, Method};

    include!("generated/access.rs");
}

/// A kind of caller, as proved by its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// Whoever reaches the port, with or without a certificate.
    Anyone,
    /// A node whose certificate names the organizational unit `swarm-worker`.
    Worker,
    /// A node whose certificate names the organizational unit `swarm-manager`.
    Manager,
}

impl Caller {
    /// The organizational unit of the certificate that proves this caller; none for [`Caller::Anyone`].
    pub fn organizational_unit(self) -> Option<&'static str> {
        match self {
            Self::Anyone => None,
            Self::Worker => Some("swarm-worker"),
            Self::Manager => Some("swarm-manager"),
        }
    }

    /// The caller that a certificate with this organizational unit proves; none for a unit that is not a role.
    pub fn from_organizational_unit(unit: &str) -> Option<Self> {
        [Self::Worker, Self::Manager].into_iter().find(|caller| caller.organizational_unit() == Some(unit))
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.organizational_unit().unwrap_or("anyone"))
    }
}

/// One method of one service, and whom it serves.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// Full name of the service, like `docker.swarmkit.v1.Control`.
    pub service: &'static str,
    /// Name of the method, like `GetNode`.
    pub method: &'static str,
    /// Path of the HTTP/2 request, like `/docker.swarmkit.v1.Control/GetNode`.
    pub path: &'static str,
    /// The callers that are served. One that lists [`Caller::Anyone`] asks for no certificate.
    pub callers: &'static [Caller],
    /// The client sends a stream of messages.
    pub client_streaming: bool,
    /// The server answers with a stream of messages.
    pub server_streaming: bool,
}

impl Method {
    /// Whether this caller is served. A method for anyone serves also those with a certificate.
    pub fn serves(&self, caller: Caller) -> bool {
        self.callers.contains(&caller) || self.callers.contains(&Caller::Anyone)
    }
}

/// The method of a request path; none if `proto/` has no such method.
pub fn method(path: &str) -> Option<&'static Method> {
    let found = generated::METHODS.binary_search_by(|method| method.path.cmp(path)).ok()?;
    Some(&generated::METHODS[found])
}

/// The methods of a service, by its full name, in order of their names; nothing if `proto/` has no such service.
pub fn methods_of(service: &str) -> &'static [Method] {
    let start = generated::METHODS.partition_point(|method| method.service < service);
    let rest = &generated::METHODS[start..];
    &rest[..rest.partition_point(|method| method.service == service)]
}

/// Every method, in order of its path.
pub fn methods() -> &'static [Method] {
    generated::METHODS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_found_by_their_path() {
        assert!(methods().is_sorted_by(|a, b| (a.service, a.path) < (b.service, b.path)));
        assert!(methods().is_sorted_by(|a, b| a.path < b.path));
        for row in methods() {
            assert_eq!(method(row.path), Some(row));
            assert_eq!(row.path, format!("/{}/{}", row.service, row.method));
        }
    }

    #[test]
    fn a_service_has_its_own_methods_and_no_others() {
        let names: Vec<_> = methods_of("docker.swarmkit.v1.Raft").iter().map(|row| row.method).collect();
        assert_eq!(names, ["ProcessRaftMessage", "ResolveAddress", "StreamRaftMessage"]);
        assert!(methods_of("docker.swarmkit.v1.Raf").is_empty());
        assert!(methods_of("zzz").is_empty());
    }

    #[test]
    fn every_method_serves_somebody_and_no_method_mixes_anyone_with_roles() {
        for row in methods() {
            assert!(!row.callers.is_empty(), "{} serves nobody", row.path);
            assert!(!row.callers.contains(&Caller::Anyone) || row.callers == [Caller::Anyone], "{}", row.path);
        }
    }

    #[test]
    fn a_role_and_its_organizational_unit_name_each_other() {
        assert_eq!(Caller::from_organizational_unit("swarm-worker"), Some(Caller::Worker));
        assert_eq!(Caller::from_organizational_unit("swarm-manager"), Some(Caller::Manager));
        assert_eq!(Caller::from_organizational_unit("swarm-admin"), None);
        assert_eq!(Caller::from_organizational_unit(""), None);
    }
}

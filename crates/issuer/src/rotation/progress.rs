//! How far a replacement of the root has got, as anybody can tell who sees the cluster and its nodes.

use swarmkit_api::{wire, wire::node_status::State};

use super::{has_certificate_of, next_issuer};

/// How far a replacement of the root has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many nodes have a certificate of the next root, and have told so.
    pub converged: usize,
    /// Those that have not, in the order of the list.
    pub waiting: Vec<Laggard>,
    /// Those that have not and cannot, because they are down. They have to come back, or to be removed.
    pub down: Vec<Laggard>,
}

/// A node that a replacement waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laggard {
    /// Its id.
    pub id: String,
    /// The name of its machine, empty if it has never told.
    pub hostname: String,
}

impl Progress {
    /// Reads it off a cluster and all of its nodes. `None` when the root is not being replaced.
    #[must_use]
    pub fn of(cluster: &wire::Cluster, nodes: &[wire::Node]) -> Option<Self> {
        let root = cluster.root_ca.as_ref().filter(|root| root.root_rotation.is_some())?;
        // Of a root that cannot be read nobody has a certificate.
        let issuer = next_issuer(root).ok().flatten();
        let mut progress = Self::default();
        for node in nodes {
            let description = node.description.as_ref();
            if issuer.as_ref().is_some_and(|issuer| has_certificate_of(issuer, description)) {
                progress.converged += 1;
                continue;
            }
            let hostname = description.map(|description| description.hostname.clone()).unwrap_or_default();
            let laggard = Laggard { id: node.id.clone(), hostname };
            match node.status.as_ref().map_or(State::Unknown, wire::NodeStatus::state) {
                State::Down | State::Disconnected => progress.down.push(laggard),
                State::Ready | State::Unknown => progress.waiting.push(laggard),
            }
        }
        Some(progress)
    }

    /// How many nodes there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.converged + self.waiting.len() + self.down.len()
    }
}

impl Laggard {
    /// What to call it: its machine's name, or else its id.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.hostname.is_empty() { &self.id } else { &self.hostname }
    }
}

#[cfg(test)]
mod tests {
    use swarmkit_ca::{RootCa, SystemKeys};

    use super::*;

    fn node(id: &str, root: Option<&RootCa>, state: State) -> wire::Node {
        let tls_info = root.map(|root| wire::NodeTlsInfo {
            cert_issuer_subject: root.issuer_info().subject.clone().into(),
            cert_issuer_public_key: root.issuer_info().public_key.clone().into(),
            ..Default::default()
        });
        let description =
            root.map(|_| wire::NodeDescription { hostname: format!("host-{id}"), tls_info, ..Default::default() });
        let status = Some(wire::NodeStatus { state: state.into(), ..Default::default() });
        wire::Node { id: id.into(), description, status, ..Default::default() }
    }

    #[test]
    fn it_says_who_has_turned_and_by_name_who_has_not_and_who_cannot() {
        let env = swarmkit_testing::env();
        let [old, new] = [0, 1].map(|_| RootCa::create(&SystemKeys, &env).unwrap());
        let root_rotation = Some(wire::RootRotation { ca_cert: new.bundle().to_owned().into(), ..Default::default() });
        let root_ca = wire::RootCa { ca_cert: old.bundle().to_owned().into(), root_rotation, ..Default::default() };
        let cluster = wire::Cluster { root_ca: Some(root_ca.clone()), ..Default::default() };
        let nodes = [
            node("turned", Some(&new), State::Ready),
            node("turned-and-gone", Some(&new), State::Down),
            node("old", Some(&old), State::Ready),
            node("new-here", None, State::Unknown),
            node("gone", Some(&old), State::Down),
            node("lost", Some(&old), State::Disconnected),
        ];
        let progress = Progress::of(&cluster, &nodes).unwrap();
        let names = |of: &[Laggard]| of.iter().map(|laggard| laggard.name().to_owned()).collect::<Vec<_>>();
        assert_eq!((progress.converged, progress.total()), (2, 6));
        assert_eq!(names(&progress.waiting), ["host-old", "new-here"]);
        assert_eq!(names(&progress.down), ["host-gone", "host-lost"]);

        let over = wire::RootCa { root_rotation: None, ..root_ca };
        assert_eq!(Progress::of(&wire::Cluster { root_ca: Some(over), ..Default::default() }, &nodes), None);
        assert_eq!(Progress::of(&wire::Cluster::default(), &nodes), None);
    }
}

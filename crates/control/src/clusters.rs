//! The cluster: its settings, tokens and keys.

use std::sync::Arc;

use prost_types::Timestamp;
use swarmkit_api::{Cluster, ClusterId, Object, Version, wire};
use swarmkit_store::{ClusterBy, StoreError};

use crate::{
    ControlApi, ControlError,
    ca_rotation::{Current, Facts, Stop, Wish, answer, decide},
    filter,
    request::{missing, name_of, required},
    unlock_keys, validate,
};

/// The name of the only cluster there is.
const DEFAULT_NAME: &str = "default";

/// How long a removed node stays listed after its certificate has expired, for clocks that are wrong.
const BLACKLIST_KEPT_SECONDS: i64 = 7 * 24 * 3600;

/// The shortest life of a certificate that may be asked for, in nanoseconds: an hour.
const NODE_CERT_EXPIRY_MIN: i128 = 3600 * 1_000_000_000;

/// What is shown for address settings that were never made.
const SHOWN_POOL: &str = "10.0.0.0/8";
const SHOWN_SUBNET_SIZE: u32 = 24;
const SHOWN_VXLAN_PORT: u32 = 4789;

impl ControlApi {
    pub(crate) fn get_cluster(
        &self,
        request: wire::GetClusterRequest,
    ) -> Result<wire::GetClusterResponse, ControlError> {
        let id = required::<ClusterId>(request.cluster_id)?;
        let view = self.store.view();
        let cluster = view.get::<Cluster>(&id).ok_or_else(|| missing("cluster", &id))?;
        Ok(wire::GetClusterResponse { cluster: Some(redacted(cluster)) })
    }

    pub(crate) fn list_clusters(&self, request: wire::ListClustersRequest) -> wire::ListClustersResponse {
        let filters = request.filters.unwrap_or_default();
        let view = self.store.view();
        let candidates = if !filters.names.is_empty() {
            filter::union(filters.names.iter().flat_map(|name| view.find(ClusterBy::Name(name))))
        } else if !filters.name_prefixes.is_empty() {
            filter::union(filters.name_prefixes.iter().flat_map(|prefix| view.find(ClusterBy::NamePrefix(prefix))))
        } else if !filters.id_prefixes.is_empty() {
            filter::union(filters.id_prefixes.iter().flat_map(|prefix| view.find(ClusterBy::IdPrefix(prefix))))
        } else {
            view.all::<Cluster>().cloned().collect()
        };
        let name = |cluster: &Cluster| name_of(&cluster.spec.annotations).to_owned();
        let [a, b, c] = filter::by_identity(&filters.names, &filters.name_prefixes, &filters.id_prefixes, name);
        let tests = [a, b, c, filter::by_labels(&filters.labels)];
        let clusters =
            candidates.iter().filter(|cluster| filter::all_pass(&tests, cluster)).map(|c| redacted(c)).collect();
        wire::ListClustersResponse { clusters }
    }

    pub(crate) async fn update_cluster(
        &self,
        request: wire::UpdateClusterRequest,
    ) -> Result<wire::UpdateClusterResponse, ControlError> {
        let id = required::<ClusterId>(request.cluster_id)?;
        let version = request.cluster_version.ok_or_else(ControlError::missing_argument)?.into();
        let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
        check(&spec)?;
        let rotation = request.rotation.unwrap_or_default();
        let locked = spec.encryption_config.is_some_and(|config| config.auto_lock_managers);
        let now = self.timestamp();
        let wish = Wish::read(spec.ca_config.as_ref(), &self.env);
        let facts = self.learn(&id, version, &wish, &spec).await?;
        let updated = self
            .store
            .update(|tx| {
                let stored = tx.get::<Cluster>(&id).ok_or_else(|| missing("cluster", &id))?;
                let mut cluster = stored.as_ref().clone();
                cluster.meta.version = version;
                cluster.spec = Arc::new(without_keys(spec));
                prune_blacklist(&mut cluster, now);
                self.rotate_tokens(&mut cluster, rotation)?;
                match decide(&Current::read(&cluster.root_ca, &self.env)?, &wish, &facts, &self.env) {
                    Ok(Some(root)) => cluster.root_ca = Arc::new(root),
                    Ok(None) => {}
                    Err(Stop::Refuse(refusal)) => return Err(refusal),
                    // What was found out is about another root than that of now.
                    Err(Stop::Ask(_)) => return Err(StoreError::OutOfSequence.into()),
                }
                unlock_keys::follow(&mut cluster.unlock_keys, locked, rotation.manager_unlock_key, &self.env);
                tx.update(cluster).map_err(ControlError::from)
            })
            .await?;
        Ok(wire::UpdateClusterResponse { cluster: Some(redacted(&updated.value)) })
    }

    /// Finds out what the decision about the root depends on: before the transaction, for it may take as long as nobody
    /// answers who is asked. The version of the cluster is what makes sure that it is still true in the transaction.
    async fn learn(
        &self,
        id: &ClusterId,
        version: Version,
        wish: &Wish,
        spec: &wire::ClusterSpec,
    ) -> Result<Facts, ControlError> {
        let cluster = self.store.view().get::<Cluster>(id).ok_or_else(|| missing("cluster", id))?.clone();
        let current = Current::read(&cluster.root_ca, &self.env)?;
        let known = spec.ca_config.as_ref().map(|config| config.external_cas.as_slice()).unwrap_or_default();
        let mut facts = Facts::default();
        loop {
            let question = match decide(&current, wish, &facts, &self.env) {
                Ok(_) => return Ok(facts),
                Err(Stop::Refuse(refusal)) => return Err(refusal),
                Err(Stop::Ask(_)) if cluster.meta.version != version => return Err(StoreError::OutOfSequence.into()),
                Err(Stop::Ask(question)) => question,
            };
            answer(question, &current, known, &*self.external_ca, &mut facts, &self.env).await?;
        }
    }

    /// Replaces the join tokens that are to be replaced.
    fn rotate_tokens(&self, cluster: &mut Cluster, rotation: wire::KeyRotation) -> Result<(), ControlError> {
        if !rotation.worker_join_token && !rotation.manager_join_token {
            return Ok(());
        }
        let mut root_ca = cluster.root_ca.as_ref().clone();
        let tokens = root_ca.join_tokens.get_or_insert_default();
        for (wanted, token) in
            [(rotation.worker_join_token, &mut tokens.worker), (rotation.manager_join_token, &mut tokens.manager)]
        {
            if wanted {
                *token = (self.new_join_token)(cluster).map_err(ControlError::Authority)?;
            }
        }
        cluster.root_ca = Arc::new(root_ca);
        Ok(())
    }
}

/// The settings as they are kept. The root that was wanted is with the other one now, or will never be; its key is kept in
/// one place only.
fn without_keys(mut spec: wire::ClusterSpec) -> wire::ClusterSpec {
    if let Some(config) = &mut spec.ca_config {
        config.signing_ca_cert.clear();
        config.signing_ca_key.clear();
    }
    spec
}

/// Rules for a cluster's settings.
#[allow(deprecated, reason = "still validated for old clients")]
fn check(spec: &wire::ClusterSpec) -> Result<(), ControlError> {
    let expiry = spec.ca_config.as_ref().and_then(|config| config.node_cert_expiry.as_ref());
    if validate::duration("node certificate expiry", expiry)?.is_some_and(|expiry| expiry < NODE_CERT_EXPIRY_MIN) {
        return Err(ControlError::invalid("minimum certificate expiry time is: 1h0m0s"));
    }
    let secrets =
        spec.acceptance_policy.iter().flat_map(|policy| &policy.policies).filter_map(|policy| policy.secret.as_ref());
    for secret in secrets {
        if !secret.alg.eq_ignore_ascii_case("bcrypt") {
            return Err(ControlError::invalid(format!("hashing algorithm is not supported: {}", secret.alg)));
        }
    }
    let heartbeat = spec.dispatcher.as_ref().and_then(|dispatcher| dispatcher.heartbeat_period.as_ref());
    if validate::duration("heartbeat period", heartbeat)?.is_some_and(|period| period < 0) {
        return Err(ControlError::invalid("heartbeat time period cannot be a negative duration"));
    }
    let rebalance = spec.orchestration.as_ref().and_then(|orchestration| orchestration.rebalance.as_ref());
    rebalance.map_or(Ok(()), validate::rebalance_mode)?;
    spec.scheduling.map_or(Ok(()), |scheduling| validate::strategy(scheduling.strategy))?;
    if name_of(&spec.annotations) != DEFAULT_NAME {
        return Err(ControlError::invalid("modification of cluster name is not allowed"));
    }
    Ok(())
}

/// Forgets removed nodes whose certificates can no longer be used.
pub(crate) fn prune_blacklist(cluster: &mut Cluster, now: Timestamp) {
    cluster
        .blacklisted_certificates
        .retain(|_, entry| entry.expiry.is_none_or(|expiry| expiry.seconds + BLACKLIST_KEPT_SECONDS > now.seconds));
}

/// The cluster as clients see it: without its keys.
fn redacted(cluster: &Cluster) -> wire::Cluster {
    let mut shown = Cluster::new(cluster.id.clone());
    shown.meta = cluster.meta;
    shown.spec = Arc::new(without_keys(cluster.spec.as_ref().clone()));
    let mut root_ca = cluster.root_ca.as_ref().clone();
    root_ca.ca_key.clear();
    if let Some(rotation) = &mut root_ca.root_rotation {
        rotation.ca_key.clear();
    }
    shown.root_ca = Arc::new(root_ca);
    shown.blacklisted_certificates.clone_from(&cluster.blacklisted_certificates);
    shown.fips = cluster.fips;
    shown.default_address_pool = if cluster.default_address_pool.is_empty() {
        vec![SHOWN_POOL.to_owned()]
    } else {
        cluster.default_address_pool.clone()
    };
    let or = |value: u32, default: u32| if value == 0 { default } else { value };
    shown.subnet_size = or(cluster.subnet_size, SHOWN_SUBNET_SIZE);
    shown.vxlan_udp_port = or(cluster.vxlan_udp_port, SHOWN_VXLAN_PORT);
    shown.to_wire()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_shown() {
        let mut cluster = Cluster::new(ClusterId::from("c"));
        cluster.root_ca = Arc::new(wire::RootCa {
            ca_key: b"key".as_slice().into(),
            ca_cert: b"cert".as_slice().into(),
            root_rotation: Some(wire::RootRotation { ca_key: b"next".as_slice().into(), ..Default::default() }),
            ..Default::default()
        });
        cluster.unlock_keys = vec![wire::EncryptionKey { key: b"unlock".as_slice().into(), ..Default::default() }];
        cluster.network_bootstrap_keys = cluster.unlock_keys.clone();
        let shown = redacted(&cluster);
        let root = shown.root_ca.unwrap();
        assert!(root.ca_key.is_empty() && root.root_rotation.unwrap().ca_key.is_empty());
        assert_eq!(root.ca_cert, b"cert".as_slice());
        assert!(shown.unlock_keys.is_empty() && shown.network_bootstrap_keys.is_empty());
        assert_eq!((shown.default_address_pool, shown.subnet_size), (vec!["10.0.0.0/8".to_owned()], 24));
    }

    #[test]
    fn a_removed_node_is_forgotten_a_week_after_its_certificate() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let mut cluster = Cluster::new(ClusterId::from("c"));
        for (node, expiry) in [("old", at(0)), ("recent", at(1000)), ("unknown", None)] {
            cluster.blacklisted_certificates.insert(node.to_owned(), wire::BlacklistedCertificate { expiry });
        }
        prune_blacklist(&mut cluster, Timestamp { seconds: BLACKLIST_KEPT_SECONDS + 500, nanos: 0 });
        assert_eq!(cluster.blacklisted_certificates.keys().collect::<Vec<_>>(), ["recent", "unknown"]);
    }
}

//! What each member itself has, asked over the network with its own certificate: a member answers reads from its own copy.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use prost::Message as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use swarmkit_api::wire::{self, control_client::ControlClient};
use swarmkit_ca::{Credentials, KeyStore};
use swarmkit_rpc::{Channel, ChannelOptions, ServerRole, TlsTransport};
use swarmkit_runtime::{Crew, Env};
use tokio::runtime;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;

/// How long the listing of one member may take.
const LIST_LIMIT: Duration = Duration::from_secs(20);

/// Room for lists of some ten thousand objects.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// The objects of one member: what they are, by kind and id, as bytes.
pub(crate) type Copy = BTreeMap<(&'static str, String), Vec<u8>>;

/// Lists what a member has.
///
/// # Errors
///
/// When it does not answer.
pub(crate) fn copy(cluster: &Cluster, member: usize) -> Result<Copy> {
    let namespace = cluster.network().namespace(member);
    let address = cluster.network().address(member).to_string();
    let state = cluster.members()[member].state_dir();
    // A thread of its own, since it moves to where the member lives and cannot come back.
    let listing = std::thread::scope(|scope| {
        let list = || {
            if let Some(namespace) = &namespace {
                let namespace = std::fs::File::open(namespace).context("opening the namespace")?;
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network).context("entering it")?;
            }
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { tokio::time::timeout(LIST_LIMIT, list(&address, &state)).await })?
        };
        scope.spawn(list).join()
    });
    match listing {
        Ok(copy) => copy.with_context(|| format!("listing what member {member} has")),
        Err(_) => bail!("the thread that lists what member {member} has panicked"),
    }
}

async fn list(address: &str, state: &Path) -> Result<Copy> {
    let env = Env::real();
    let keys = KeyStore::new(state, &env);
    let credentials = Credentials::new(keys.load_root()?, keys.load_node()?, &env)?;
    let transport = Arc::new(TlsTransport::new(credentials));
    let crew = Crew::under(&CancellationToken::new());
    let options = ChannelOptions::default();
    let channel = Channel::connect(&*transport, address, ServerRole::Manager, &options, &crew.spawner()).await?;
    let mut control = ControlClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut copy = Copy::new();
    for config in control.list_configs(wire::ListConfigsRequest::default()).await?.into_inner().configs {
        copy.insert(("config", config.id.clone()), in_order(config.encode_to_vec()));
    }
    for secret in control.list_secrets(wire::ListSecretsRequest::default()).await?.into_inner().secrets {
        copy.insert(("secret", secret.id.clone()), in_order(secret.encode_to_vec()));
    }
    for cluster in control.list_clusters(wire::ListClustersRequest::default()).await?.into_inner().clusters {
        copy.insert(("cluster", cluster.id.clone()), in_order(cluster.encode_to_vec()));
    }
    for service in control.list_services(wire::ListServicesRequest::default()).await?.into_inner().services {
        copy.insert(("service", service.id.clone()), in_order(service.encode_to_vec()));
    }
    for network in control.list_networks(wire::ListNetworksRequest::default()).await?.into_inner().networks {
        copy.insert(("network", network.id.clone()), in_order(network.encode_to_vec()));
    }
    for mut node in control.list_nodes(wire::ListNodesRequest::default()).await?.into_inner().nodes {
        // Who is reachable is each member's own view, and is no part of what is stored.
        node.manager_status = None;
        copy.insert(("node", node.id.clone()), in_order(node.encode_to_vec()));
    }
    drop((control, channel));
    crew.join().await;
    Ok(copy)
}

/// Maps have no order on the wire, so two encodings of one object need not be the same; their bytes as a set are.
fn in_order(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.sort_unstable();
    bytes
}

/// What is not the same on all members, in words.
pub(crate) fn differences(copies: &[Copy]) -> Vec<String> {
    let Some((first, others)) = copies.split_first() else { return Vec::new() };
    let mut faults = Vec::new();
    for (member, other) in (1..).zip(others) {
        for (kind, id) in first.keys().chain(other.keys().filter(|key| !first.contains_key(key))) {
            let key = &(*kind, id.clone());
            if first.get(key) != other.get(key) {
                let has = |copy: &Copy| if copy.contains_key(key) { "has" } else { "has not" };
                let (zero, one) = (has(first), has(other));
                faults.push(format!("{kind} {id}: member 0 {zero} it, member {member} {one} it, and not the same"));
            }
        }
    }
    faults
}

/// What was there before a cold start and is not after it, in words. Nobody wrote to these kinds meanwhile.
pub(crate) fn lost(before: &[Copy], after: &[Copy]) -> Vec<String> {
    let (Some(before), Some(after)) = (before.first(), after.first()) else { return Vec::new() };
    let kept = |kind: &str| matches!(kind, "config" | "secret" | "service" | "network");
    let missing =
        before.iter().filter(|((kind, _), _)| kept(kind)).filter(|(key, bytes)| after.get(key) != Some(bytes));
    missing.map(|((kind, id), _)| format!("{kind} {id} is not what it was before the cold start")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(objects: &[(&str, &str)]) -> Copy {
        objects.iter().map(|(id, bytes)| (("config", (*id).to_owned()), bytes.as_bytes().to_vec())).collect()
    }

    #[test]
    fn members_with_the_same_objects_do_not_differ() {
        let one = copy(&[("a", "1"), ("b", "2")]);
        assert!(differences(&[one.clone(), one.clone(), one]).is_empty());
    }

    #[test]
    fn an_object_that_a_cold_start_loses_is_told_and_one_that_is_new_is_not() {
        let before = [copy(&[("a", "1"), ("b", "2")])];
        assert!(lost(&before, &[copy(&[("a", "1"), ("b", "2"), ("c", "3")])]).is_empty());
        assert_eq!(lost(&before, &[copy(&[("a", "1")])]), ["config b is not what it was before the cold start"]);
    }

    #[test]
    fn an_object_that_one_has_and_another_has_not_or_otherwise_is_told() {
        let one = copy(&[("a", "1"), ("b", "2")]);
        let told = differences(&[one, copy(&[("a", "1")]), copy(&[("a", "9"), ("b", "2"), ("c", "3")])]);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("config b: member 0 has it, member 1 has not"));
    }
}

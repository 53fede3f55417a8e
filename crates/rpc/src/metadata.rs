//! What managers tell each other about a caller in the headers of a request. Nothing above this crate sees them.

use http::{HeaderMap, HeaderName, HeaderValue};
use swarmkit_ca::role_name;
use tonic::{Status, metadata::MetadataValue};

use crate::{authorize::Vouched, peer::Peer};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded_cert");
const FORWARDED_NODE: HeaderName = HeaderName::from_static("forwarded_cert_cn");
const FORWARDED_CLUSTER: HeaderName = HeaderName::from_static("forwarded_cert_org");
const FORWARDED_ROLE: HeaderName = HeaderName::from_static("forwarded_cert_ou");
const REMOTE_ADDR: HeaderName = HeaderName::from_static("remote_addr");
/// Set in an answer by whoever has done nothing of a call since it does not lead: another manager may do it.
const UNDONE: &str = "swarmkit-undone";
/// Set by whoever passes a call on: a call is passed on once.
const REDIRECT: HeaderName = HeaderName::from_static("redirect");

/// Reads whom the sender vouches for, if it says that it passes the call on.
pub(crate) fn vouched(headers: &HeaderMap) -> Option<Vouched> {
    let mut said = headers.get_all(FORWARDED).iter();
    if said.next()?.as_bytes() != b"true" || said.next().is_some() {
        return None;
    }
    let first = |name: HeaderName| headers.get(name).map(text).unwrap_or_default();
    Some(Vouched {
        node: first(FORWARDED_NODE),
        cluster: first(FORWARDED_CLUSTER),
        roles: headers.get_all(FORWARDED_ROLE).iter().map(text).filter(|role| !role.is_empty()).collect(),
        addr: first(REMOTE_ADDR).parse().ok(),
    })
}

/// Who passed the call on already, if somebody did.
pub(crate) fn redirected_from(headers: &HeaderMap) -> Option<String> {
    headers.get(REDIRECT).map(text)
}

/// Marks a refusal: nothing was done, and it can be asked of the leader.
pub(crate) fn undone(mut status: Status) -> Status {
    status.metadata_mut().insert(UNDONE, MetadataValue::from_static("true"));
    status
}

/// Whether an answer is a refusal of that kind.
pub(crate) fn is_undone(headers: &HeaderMap) -> bool {
    headers.contains_key(UNDONE)
}

/// Makes the headers of a call into those under which this node passes it on: with its caller's identity, or as its
/// own when the caller came through the local socket. What the caller itself claimed is dropped.
pub(crate) fn vouch(headers: &mut HeaderMap, peer: &Peer) -> Result<(), Status> {
    for name in [FORWARDED, FORWARDED_NODE, FORWARDED_CLUSTER, FORWARDED_ROLE, REMOTE_ADDR, REDIRECT] {
        headers.remove(name);
    }
    let addr = peer.addr.map(|addr| addr.to_string()).unwrap_or_default();
    headers.insert(REDIRECT, value(&addr)?);
    if peer.local {
        return Ok(());
    }
    // Who has shown no certificate is vouched for as nobody, lest it inherit this node's rights.
    let (node, cluster, role) = match &peer.identity {
        Some(identity) => (identity.node.as_str(), identity.cluster.as_str(), role_name(identity.role)),
        None => ("", "", ""),
    };
    headers.insert(FORWARDED, HeaderValue::from_static("true"));
    headers.insert(FORWARDED_NODE, value(node)?);
    headers.insert(FORWARDED_CLUSTER, value(cluster)?);
    headers.insert(FORWARDED_ROLE, value(role)?);
    headers.insert(REMOTE_ADDR, value(&addr)?);
    Ok(())
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn value(text: &str) -> Result<HeaderValue, Status> {
    HeaderValue::from_str(text).map_err(|_| Status::internal("the caller's identity cannot be passed on"))
}

#[cfg(test)]
mod tests {
    use swarmkit_api::NodeRole;
    use swarmkit_ca::Identity;

    use super::*;

    fn peer(identity: Option<Identity>, local: bool) -> Peer {
        Peer { identity, addr: Some("10.0.0.1:4242".parse().unwrap()), local, forwarded_by: None }
    }

    fn worker() -> Identity {
        Identity::new("node1".into(), NodeRole::Worker, "cluster1".into())
    }

    #[test]
    fn what_one_manager_writes_another_reads() {
        let mut headers = HeaderMap::new();
        vouch(&mut headers, &peer(Some(worker()), false)).unwrap();
        let vouched = vouched(&headers).unwrap();
        assert_eq!((vouched.node.as_str(), vouched.cluster.as_str()), ("node1", "cluster1"));
        assert_eq!(vouched.roles, ["swarm-worker"]);
        assert_eq!(vouched.addr, Some("10.0.0.1:4242".parse().unwrap()));
        assert_eq!(redirected_from(&headers).as_deref(), Some("10.0.0.1:4242"));
    }

    #[test]
    fn what_the_caller_claimed_itself_is_dropped() {
        let mut headers = HeaderMap::new();
        vouch(&mut headers, &peer(Some(worker()), false)).unwrap();
        vouch(&mut headers, &peer(None, false)).unwrap();
        let nobody = vouched(&headers).unwrap();
        assert_eq!((nobody.node.as_str(), nobody.cluster.as_str(), nobody.roles.len()), ("", "", 0));
        vouch(&mut headers, &peer(Some(worker()), true)).unwrap();
        assert_eq!(vouched(&headers), None);
        assert!(redirected_from(&headers).is_some());
    }

    #[test]
    fn only_one_clear_word_counts_as_forwarded() {
        let mut headers = HeaderMap::new();
        assert_eq!(vouched(&headers), None);
        headers.insert(FORWARDED, HeaderValue::from_static("yes"));
        assert_eq!(vouched(&headers), None);
        headers.insert(FORWARDED, HeaderValue::from_static("true"));
        assert!(vouched(&headers).is_some());
        headers.append(FORWARDED, HeaderValue::from_static("true"));
        assert_eq!(vouched(&headers), None);
    }
}

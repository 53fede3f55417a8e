//! Who gets through, told in one line each.

use swarmkit_api::access;

use super::*;

const HEARTBEAT: &str = "/docker.swarmkit.v1.Dispatcher/Heartbeat";
const LIST_NODES: &str = "/docker.swarmkit.v1.Control/ListNodes";
const ISSUE: &str = "/docker.swarmkit.v1.NodeCA/IssueNodeCertificate";

fn identity(node: &str, role: NodeRole, cluster: &str) -> Identity {
    Identity::new(node.into(), role, cluster.into())
}

fn worker() -> Identity {
    identity("w", NodeRole::Worker, "ours")
}

fn manager() -> Identity {
    identity("m", NodeRole::Manager, "ours")
}

fn vouched(node: &str, role: &str, cluster: &str) -> Vouched {
    let roles = [role].into_iter().filter(|role| !role.is_empty()).map(str::to_owned).collect();
    Vouched { node: node.to_owned(), cluster: cluster.to_owned(), roles, addr: Some(addr()) }
}

fn addr() -> SocketAddr {
    "10.1.2.3:4".parse().unwrap()
}

/// Decides with node `gone` removed.
fn decide(path: &str, caller: Option<Identity>, vouched: Option<Vouched>) -> Result<Peer, String> {
    let authority = Authority::fixed(identity("self", NodeRole::Manager, "ours"));
    authority.set_removed(BTreeSet::from(["gone".into()]));
    let origin = Origin::Remote { identity: caller, addr: None };
    authority.decide(access::method(path).unwrap(), &origin, vouched.as_ref()).map_err(|denied| denied.to_string())
}

fn refusal(path: &str, caller: Option<Identity>, vouched: Option<Vouched>) -> String {
    decide(path, caller, vouched).unwrap_err()
}

#[test]
fn a_role_that_the_table_lists_gets_through() {
    for caller in [worker(), manager()] {
        assert_eq!(decide(HEARTBEAT, Some(caller.clone()), None).unwrap().identity, Some(caller));
    }
    assert!(decide(LIST_NODES, Some(manager()), None).unwrap().is_manager());
}

#[test]
fn a_role_that_the_table_does_not_list_is_refused_in_upstreams_words() {
    assert_eq!(
        refusal(LIST_NODES, Some(worker()), None),
        "Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = \
         Permission denied: remote certificate not part of OUs: [swarm-manager]"
    );
}

#[test]
fn without_a_certificate_only_what_is_open_to_anyone_is_served() {
    assert_eq!(
        refusal(HEARTBEAT, None, None),
        "Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = \
         no client certificates in request"
    );
    assert_eq!(decide(ISSUE, None, None).unwrap().identity, None);
}

#[test]
fn another_cluster_and_removed_nodes_are_refused_and_are_nobody_where_anyone_may_call() {
    let stranger = identity("w", NodeRole::Worker, "theirs");
    let gone = identity("gone", NodeRole::Manager, "ours");
    assert!(refusal(HEARTBEAT, Some(stranger.clone()), None).ends_with("not part of organization: ours"));
    assert!(refusal(HEARTBEAT, Some(gone.clone()), None).ends_with("node gone was removed from swarm"));
    for caller in [stranger, gone] {
        assert_eq!(decide(ISSUE, Some(caller), None).unwrap().identity, None);
    }
    assert_eq!(decide(ISSUE, Some(worker()), None).unwrap().identity, Some(worker()));
}

#[test]
fn a_node_can_tell_from_a_refusal_that_it_was_removed() {
    let gone = || Some(identity("gone", NodeRole::Manager, "ours"));
    let is_told = |said: String, node: &str| is_removed(&Status::permission_denied(said), &node.into());
    assert!(is_told(refusal(HEARTBEAT, gone(), None), "gone"));
    let passed_on = || Some(vouched("gone", "swarm-worker", "ours"));
    assert!(is_told(refusal(HEARTBEAT, Some(manager()), passed_on()), "gone"));
    // It is not the caller that was removed, but the manager between.
    let between = || refusal(HEARTBEAT, gone(), Some(vouched("w", "swarm-worker", "ours")));
    assert!(!is_told(between(), "w"));
    assert!(!is_told(refusal(LIST_NODES, Some(worker()), None), "w"));
    assert!(!is_removed(&Status::unavailable(between()), &"gone".into()), "not a refusal");
}

#[test]
fn a_manager_passes_on_whom_it_vouches_for() {
    let peer = decide(HEARTBEAT, Some(manager()), Some(vouched("w", "swarm-worker", "ours"))).unwrap();
    assert_eq!(peer.identity, Some(worker()));
    assert_eq!(peer.forwarded_by, Some("m".into()));
    assert_eq!(peer.addr, Some(addr()));
}

#[test]
fn only_a_manager_of_this_cluster_may_vouch() {
    let claim = || Some(vouched("m", "swarm-manager", "ours"));
    for forger in [Some(worker()), None, Some(identity("x", NodeRole::Manager, "theirs"))] {
        let said = refusal(LIST_NODES, forger.clone(), claim());
        assert!(said.starts_with("Permission denied: unauthorized forwarder role: "), "{said}");
        let said = refusal(ISSUE, forger, claim());
        assert!(said.starts_with("Permission denied: unauthorized forwarder role: "), "{said}");
    }
}

#[test]
fn whom_a_manager_vouches_for_must_be_allowed_itself() {
    let said = |vouched| refusal(LIST_NODES, Some(manager()), Some(vouched));
    let nobody = "Permission denied: missing information in forwarded request";
    assert_eq!(said(vouched("", "", "")), nobody);
    assert_eq!(said(vouched("m2", "swarm-manager", "")), nobody);
    assert_eq!(
        said(vouched("w", "swarm-worker", "ours")),
        "Permission denied: unauthorized forwarded role, expecting: [swarm-manager]"
    );
    assert_eq!(
        said(vouched("m2", "swarm-manager", "theirs")),
        "Permission denied: organization mismatch, expecting: ours"
    );
    assert_eq!(said(vouched("gone", "swarm-manager", "ours")), "Permission denied: node gone was removed from swarm");
}

#[test]
fn a_caller_without_certificate_stays_nobody_when_passed_on() {
    let peer = decide(ISSUE, Some(manager()), Some(vouched("", "", ""))).unwrap();
    assert_eq!((peer.identity, peer.forwarded_by), (None, Some("m".into())));
}

#[test]
fn the_local_socket_is_this_node_whatever_it_claims() {
    let authority = Authority::fixed(manager());
    let claim = vouched("w", "swarm-worker", "ours");
    let peer = authority.decide(access::method(LIST_NODES).unwrap(), &Origin::Local, Some(&claim)).unwrap();
    assert_eq!(peer, Peer { identity: Some(manager()), addr: None, local: true, forwarded_by: None });
    let authority = authority.reached_at(Some(addr()));
    let peer = authority.decide(access::method(LIST_NODES).unwrap(), &Origin::Local, None).unwrap();
    assert_eq!(peer.addr, Some(addr()));
}

#[test]
fn every_method_answers_every_caller_as_its_row_says() {
    for method in access::methods() {
        for (caller, role) in [(Caller::Worker, NodeRole::Worker), (Caller::Manager, NodeRole::Manager)] {
            let served = decide(method.path, Some(identity("n", role, "ours")), None).is_ok();
            assert_eq!(served, method.serves(caller), "{} by {caller}", method.path);
        }
        assert_eq!(decide(method.path, None, None).is_ok(), method.serves(Caller::Anyone), "{}", method.path);
    }
}

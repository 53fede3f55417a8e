//! Nodes: what is shown of them, and what may be done to them.

use std::collections::BTreeMap;

use swarmkit_api::{
    Node, NodeId, NodeRole, Task, TaskState,
    wire::{self, ManagerStatus, UpdateNodeRequest, node_spec::Availability, raft_member_status::Reachability},
};
use swarmkit_testing::{node, task};
use tonic::Code;

use crate::world::{Refusal, World, annotations, no_argument, not_found};

impl World {
    fn node_update(&self, id: &str) -> UpdateNodeRequest {
        let node = self.view().get::<Node>(&NodeId::from(id)).unwrap().clone();
        UpdateNodeRequest {
            node_id: id.to_owned(),
            node_version: Some(node.meta.version.into()),
            spec: Some(wire::NodeSpec::clone(&node.spec)),
        }
    }

    async fn wish_role(&self, id: &str, role: NodeRole) -> Result<wire::Node, Refusal> {
        let mut request = self.node_update(id);
        request.spec.as_mut().unwrap().desired_role = role.into();
        let before = self.store.version();
        match self.control().update_node(request).await {
            Ok(answer) => Ok(answer.into_inner().node.unwrap()),
            Err(status) => {
                assert_eq!(self.store.version(), before);
                Err((status.code(), status.message().to_owned()))
            }
        }
    }

    async fn remove(&self, id: &str, force: bool) -> Result<(), Refusal> {
        let request = wire::RemoveNodeRequest { node_id: id.into(), force };
        let before = self.store.version();
        self.control().remove_node(request).await.map(drop).map_err(|status| {
            assert_eq!(self.store.version(), before);
            (status.code(), status.message().to_owned())
        })
    }

    /// Says which managers agree on what is stored, and which of them answer.
    fn members(&self, reachable: &[(&str, bool)]) {
        let status = |(index, &(id, reachable)): (usize, &(&str, bool))| {
            let reachability = if reachable { Reachability::Reachable } else { Reachability::Unreachable };
            let status = ManagerStatus {
                raft_id: index as u64 + 1,
                leader: index == 0,
                reachability: reachability.into(),
                ..Default::default()
            };
            (NodeId::from(id), status)
        };
        self.members.set(reachable.iter().enumerate().map(status).collect());
    }
}

async fn with_nodes(nodes: impl IntoIterator<Item = swarmkit_testing::NodeBuilder>) -> World {
    let world = World::with_cluster().await;
    let nodes: Vec<Node> = nodes.into_iter().map(Into::into).collect();
    world.put(|tx| nodes.into_iter().try_for_each(|node| tx.create(node).map(drop))).await;
    world
}

#[tokio::test]
async fn a_node_is_shown_with_its_place_among_the_managers() {
    let world = with_nodes([node("m").manager(), node("w")]).await;
    world.members(&[("m", true)]);
    let get = |id: &str| wire::GetNodeRequest { node_id: id.into() };
    assert_eq!(world.refused(world.control().get_node(get(""))).await, no_argument());
    assert_eq!(world.refused(world.control().get_node(get("x"))).await, not_found("node x not found"));
    let manager = world.control().get_node(get("m")).await.unwrap().into_inner().node.unwrap();
    assert!(manager.manager_status.unwrap().leader);
    let worker = world.control().get_node(get("w")).await.unwrap().into_inner().node.unwrap();
    assert!(worker.manager_status.is_none());

    world.members(&[("m", false)]);
    let nodes = world.control().list_nodes(wire::ListNodesRequest::default()).await.unwrap().into_inner().nodes;
    let status = nodes.iter().find(|node| node.id == "m").unwrap().manager_status.as_ref().unwrap();
    assert_eq!(status.reachability(), Reachability::Unreachable);
}

#[tokio::test]
async fn an_update_needs_an_id_a_version_and_a_specification() {
    let world = with_nodes([node("w")]).await;
    let good = world.node_update("w");
    for bad in [
        UpdateNodeRequest { node_id: String::new(), ..good.clone() },
        UpdateNodeRequest { node_version: None, ..good.clone() },
        UpdateNodeRequest { spec: None, ..good.clone() },
    ] {
        assert_eq!(world.refused(world.control().update_node(bad)).await, no_argument());
    }
    let unknown = UpdateNodeRequest { node_id: "x".into(), ..good.clone() };
    assert_eq!(world.refused(world.control().update_node(unknown)).await, not_found("node x not found"));
    world.control().update_node(good.clone()).await.unwrap();
    let (_, text) = world.refused(world.control().update_node(good)).await;
    assert_eq!(text, "update out of sequence");
}

#[tokio::test]
async fn availability_labels_and_name_are_kept() {
    let world = with_nodes([node("w")]).await;
    let mut request = world.node_update("w");
    let spec = request.spec.as_mut().unwrap();
    spec.availability = Availability::Drain.into();
    spec.annotations = annotations("front");
    spec.annotations.as_mut().unwrap().labels = BTreeMap::from([("tier".to_owned(), "front".to_owned())]);
    let answer = world.control().update_node(request.clone()).await.unwrap().into_inner().node.unwrap();
    assert_eq!(answer.spec, request.spec);
    assert_eq!(*world.view().get::<Node>(&"w".into()).unwrap().spec, request.spec.unwrap());
}

#[tokio::test]
async fn the_last_manager_stays_one() {
    let world = with_nodes([node("m").manager(), node("w")]).await;
    world.members(&[("m", true)]);
    let refusal = world.wish_role("m", NodeRole::Worker).await.unwrap_err();
    assert_eq!(refusal, (Code::FailedPrecondition, "attempting to demote the last manager of the swarm".to_owned()));
}

#[tokio::test]
async fn a_manager_is_demoted_if_the_rest_can_still_agree() {
    let world = with_nodes(["a", "b", "c"].map(|id| node(id).manager())).await;
    world.members(&[("a", true), ("b", true), ("c", false)]);
    let (code, text) = world.wish_role("a", NodeRole::Worker).await.unwrap_err();
    assert_eq!(code, Code::FailedPrecondition);
    assert!(text.contains("quorum"), "{text}");
    world.members(&[("a", true), ("b", true), ("c", true)]);
    let demoted = world.wish_role("a", NodeRole::Worker).await.unwrap();
    assert_eq!(demoted.spec.unwrap().desired_role, i32::from(NodeRole::Worker));
    assert_eq!(demoted.role, i32::from(NodeRole::Manager), "what it is follows later");

    world.members(&[("b", true)]);
    let unknown = world.wish_role("c", NodeRole::Worker).await.unwrap_err();
    assert_eq!(unknown, not_found("can't find manager in raft memberlist"));
}

#[tokio::test]
async fn a_promotion_changes_what_is_wanted_and_what_the_node_is_follows_later() {
    let world = with_nodes([node("m").manager(), node("w")]).await;
    world.members(&[("m", true)]);
    let promoted = world.wish_role("w", NodeRole::Manager).await.unwrap();
    assert_eq!(promoted.spec.unwrap().desired_role, i32::from(NodeRole::Manager));
    assert_eq!(promoted.role, i32::from(NodeRole::Worker));
}

#[tokio::test]
async fn managers_are_demoted_down_to_one_which_stays_one() {
    let world = with_nodes(["a", "b", "c"].map(|id| node(id).manager())).await;
    world.members(&[("a", true), ("b", true), ("c", true)]);
    world.wish_role("a", NodeRole::Worker).await.unwrap();
    world.wish_role("b", NodeRole::Worker).await.unwrap();
    // Nothing has come of it yet, and it is what will.
    let refusal = world.wish_role("c", NodeRole::Worker).await.unwrap_err();
    let last = (Code::FailedPrecondition, "attempting to demote the last manager of the swarm".to_owned());
    assert_eq!(refusal, last);
    world.wish_role("a", NodeRole::Manager).await.unwrap();
    world.wish_role("c", NodeRole::Worker).await.unwrap();
    assert_eq!(world.wish_role("a", NodeRole::Worker).await.unwrap_err(), last);
}

#[tokio::test]
async fn a_demotion_is_possible_again_when_the_member_that_was_away_has_returned() {
    let world = with_nodes(["a", "b", "c"].map(|id| node(id).manager())).await;
    world.members(&[("a", true), ("b", false), ("c", true)]);
    assert_eq!(world.wish_role("c", NodeRole::Worker).await.unwrap_err().0, Code::FailedPrecondition);
    world.members(&[("a", true), ("b", true), ("c", true)]);
    world.wish_role("c", NodeRole::Worker).await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_up_stays_and_one_that_is_down_leaves_orphans() {
    let with_certificate = |node: &mut Node| node.certificate.certificate = b"4000000000".as_slice().into();
    let world = with_nodes([node("up").ready().with(with_certificate), node("down").down(), node("new")]).await;
    world
        .put(|tx| {
            for (id, state) in [("running", TaskState::Running), ("done", TaskState::Complete)] {
                tx.create(task(id).on("up").state(state).build())?;
            }
            Ok(())
        })
        .await;
    assert_eq!(world.remove("", false).await.unwrap_err(), no_argument());
    assert_eq!(world.remove("x", true).await.unwrap_err(), not_found("node x not found"));
    let text = "node up is not down and can't be removed";
    assert_eq!(world.remove("up", false).await.unwrap_err(), (Code::FailedPrecondition, text.to_owned()));
    world.remove("down", false).await.unwrap();
    world.remove("new", false).await.unwrap();
    world.remove("up", true).await.unwrap();
    assert_eq!(world.remove("up", true).await.unwrap_err().0, Code::NotFound);

    let view = world.view();
    assert_eq!(view.count::<Node>(), 0);
    let running = view.get::<Task>(&"running".into()).unwrap();
    assert_eq!(running.status.state, TaskState::Orphaned);
    assert_eq!(running.status.message, "Task belonged to a node that has been deleted");
    assert!(running.status.timestamp.is_some());
    assert_eq!(view.get::<Task>(&"done".into()).unwrap().status.state, TaskState::Complete);
    let removed = &view.cluster().unwrap().blacklisted_certificates;
    assert_eq!(removed.keys().collect::<Vec<_>>(), ["down", "new", "up"]);
    assert_eq!(removed["up"].expiry.unwrap().seconds, 4_000_000_000, "as its certificate says");
    assert!(removed["down"].expiry.is_none(), "it had none");
}

#[tokio::test]
async fn a_manager_must_be_demoted_before_it_is_removed() {
    let world = with_nodes([node("m").manager().down()]).await;
    world.members(&[("m", false)]);
    for force in [false, true] {
        let (code, text) = world.remove("m", force).await.unwrap_err();
        assert_eq!(code, Code::FailedPrecondition);
        assert!(text.ends_with("It must be demoted to worker before removal"), "{text}");
    }
    world.members(&[]);
    world.remove("m", false).await.unwrap();
}

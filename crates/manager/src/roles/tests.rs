//! Who is promoted, demoted and removed, and in which order.

use swarmkit_raft::Member;
use swarmkit_testing::world;

use super::*;

/// The plan of manager `a`, which leads, for these nodes and these members of raft.
fn check(nodes: &str, members: &[&str], expected: &[&str]) {
    let view = world(nodes);
    let mut unsettled = Unsettled::default();
    unsettled.absorb(&Update::Snapshot(view.clone()));
    let members: Vec<_> = members.iter().enumerate().map(|(index, node)| member(node, index as u64 + 1)).collect();
    let told: Vec<_> = unsettled.plan(&view, &members, 1).iter().map(tell).collect();
    assert_eq!(told, expected, "{nodes}");
}

fn member(node: &str, raft_id: u64) -> MemberStatus {
    let member = Member { raft_id, node_id: node.into(), addr: format!("{node}:1"), voter: true };
    MemberStatus { member, leader: raft_id == 1, reachable: Some(true) }
}

fn tell(step: &Step) -> String {
    match step {
        Step::SetRole { node, role } => format!("{node} becomes {role:?}"),
        Step::Remove { node, raft_id } => format!("{node} leaves as {raft_id}"),
        Step::HandOver { raft_id } => format!("{raft_id} hands over"),
    }
}

#[test]
fn where_everybody_is_what_they_shall_be_nothing_is_done() {
    check("node a manager; node b manager; node w", &["a", "b"], &[]);
}

#[test]
fn a_worker_that_is_promoted_may_be_a_manager_before_it_has_joined() {
    check("node a manager; node w promoted", &["a"], &["w becomes Manager"]);
    check("node a manager; node w manager", &["a"], &[]);
}

#[test]
fn a_manager_that_is_demoted_leaves_raft_first_and_is_a_worker_only_then() {
    check("node a manager; node b demoted; node c manager", &["a", "b", "c"], &["b leaves as 2"]);
    check("node a manager; node b demoted; node c manager", &["a", "c"], &["b becomes Worker"]);
    check("node a manager; node b; node c manager", &["a", "c"], &[]);
}

#[test]
fn a_manager_that_is_promoted_again_before_it_has_left_just_stays() {
    check("node a manager; node b manager", &["a", "b"], &[]);
    check("node a manager; node b promoted", &["a"], &["b becomes Manager"]);
}

#[test]
fn a_member_whose_node_is_gone_leaves() {
    check("node a manager; node c manager", &["a", "b", "c"], &["b leaves as 2"]);
}

#[test]
fn a_worker_that_has_joined_at_the_last_moment_leaves_again() {
    check("node a manager; node b", &["a", "b"], &["b leaves as 2"]);
}

#[test]
fn every_member_of_a_node_that_has_come_back_under_another_raft_id_leaves_with_it() {
    check("node a manager; node b demoted", &["a", "b", "b"], &["b leaves as 2", "b leaves as 3"]);
}

#[test]
fn the_leader_sees_to_the_others_and_hands_over_at_last() {
    check(
        "node a demoted; node b demoted; node c manager; node d promoted",
        &["a", "b", "c"],
        &["d becomes Manager", "b leaves as 2", "1 hands over"],
    );
    check("node b manager; node c manager", &["a", "b", "c"], &["1 hands over"]);
}

#[tokio::test]
async fn changes_are_followed_as_well_as_a_snapshot() {
    let store = swarmkit_testing::store("node a manager; node b");
    let mut updates = store.watch(swarmkit_store::Interest::all());
    let mut unsettled = Unsettled::default();
    unsettled.absorb(&updates.next().await.unwrap());
    let mut follow = async |desired: Option<NodeRole>| {
        let write = store.update(|tx| match desired {
            Some(role) => tx
                .edit::<Node>(&"b".into(), |node| {
                    std::sync::Arc::make_mut(&mut node.spec).desired_role = role.into();
                })
                .map(drop),
            None => tx.delete::<Node>(&"b".into()).map(drop),
        });
        write.await.unwrap();
        unsettled.absorb(&updates.next().await.unwrap());
        unsettled.plan(&store.view(), &[member("a", 1)], 1).iter().map(tell).collect::<Vec<_>>()
    };
    assert_eq!(follow(Some(NodeRole::Manager)).await, ["b becomes Manager"]);
    assert!(follow(Some(NodeRole::Worker)).await.is_empty());
    assert_eq!(follow(Some(NodeRole::Manager)).await, ["b becomes Manager"]);
    assert!(follow(None).await.is_empty());
}

//! Who takes part: what may be changed, what may not, and who hears of it.

use std::time::Duration;

use swarmkit_raft::{MemberStatus, RaftError, RaftOptions};

use crate::group::{Place, has, leader, listed, three, write};

fn ids(places: &[Place]) -> Vec<u64> {
    places.iter().map(|place| place.member().raft.raft_id()).collect()
}

/// Lets the leader find out who does not answer.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn members_are_removed_one_at_a_time_as_long_as_a_quorum_answers() {
    let mut places = three(RaftOptions::default()).await;
    let ids = ids(&places);
    let leader = places[0].member();
    assert!(matches!(leader.raft.remove(12345).await, Err(RaftError::UnknownMember)));
    assert!(matches!(places[1].member().raft.remove(ids[2]).await, Err(RaftError::NotLeader { .. })));

    // One of three is down: it may go, a healthy one may not.
    places[2].kill();
    a_while().await;
    let leader = places[0].member();
    assert!(matches!(leader.raft.remove(ids[1]).await, Err(RaftError::QuorumAtRisk)));
    leader.raft.remove(ids[2]).await.unwrap();
    assert_eq!(leader.raft.members().len(), 2);
    leader.write("a").await.unwrap();

    // With two, both are needed; and nobody removes the last one.
    leader.write("b").await.unwrap();
    leader.raft.remove(ids[1]).await.unwrap();
    assert!(matches!(leader.raft.remove(ids[0]).await, Err(RaftError::QuorumAtRisk)));
    leader.write("c").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_two_of_three_down_nobody_is_removed_and_with_all_up_anybody_may_go() {
    let mut places = three(RaftOptions::default()).await;
    let all = ids(&places);
    places[1].kill();
    places[2].kill();
    a_while().await;
    for &id in &all {
        let refused = places[0].member().raft.remove(id).await;
        assert!(matches!(refused, Err(RaftError::QuorumAtRisk | RaftError::NotLeader { .. })), "{refused:?}");
    }
    assert_eq!(listed(&places[0]).len(), 3);
    for gone in [1, 2, 0] {
        let mut places = three(RaftOptions::default()).await;
        let all = ids(&places);
        a_while().await;
        places[0].member().raft.remove(all[gone]).await.unwrap();
        places.remove(gone);
        write(&places, "a").await;
        assert_eq!(listed(&places[leader(&places).await]).len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn members_are_added_given_a_vote_and_removed_and_what_contradicts_itself_is_refused() {
    let places = three(RaftOptions::default()).await;
    let first = &places[0].member().raft;
    let known = ids(&places);
    let before = listed(&places[0]);
    // One that is there already stays as it is.
    first.add_learner(known[1], &"n9".into(), "elsewhere:1").await.unwrap();
    assert_eq!(listed(&places[0]), before);
    for refused in [first.remove(77).await, first.set_address(77, "a:1").await, first.promote(77).await] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, RaftError::UnknownMember), "{refused}");
        assert_eq!(refused.to_string(), "raft: member unknown");
    }
    first.add_learner(77, &"n9".into(), "n9:1").await.unwrap();
    let learner = listed(&places[0]).into_iter().find(|member| member.raft_id == 77).unwrap();
    assert_eq!((learner.addr.as_str(), learner.voter), ("n9:1", false));
    first.remove(77).await.unwrap();
    assert!(matches!(first.remove(77).await, Err(RaftError::UnknownMember)));
    assert_eq!(listed(&places[0]), before);
    for change in [
        places[1].member().raft.add_learner(78, &"n9".into(), "n9:1").await,
        places[1].member().raft.promote(known[0]).await,
        places[1].member().raft.set_address(known[0], "b:1").await,
    ] {
        let refused = change.unwrap_err();
        assert!(matches!(refused, RaftError::NotLeader { .. }), "{refused}");
        assert_eq!(refused.to_string(), "raft: failed to process the request: node lost leader status");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_the_members_hears_of_each_change_with_the_whole_list_and_of_nothing_else() {
    let places = three(RaftOptions::default()).await;
    has(places[2].member(), &[]).await;
    let raft = &places[0].member().raft;
    let known = ids(&places);
    a_while().await;
    let mut watch = places[2].member().raft.watch_members();
    let _ = watch.latest();
    let addresses = |members: &[MemberStatus]| members.iter().map(|it| it.member.addr.clone()).collect::<Vec<_>>();
    let quiet = async |watch: &mut swarmkit_raft::MemberWatch| {
        let changed = tokio::time::timeout(Duration::from_secs(60), watch.changed()).await;
        assert!(changed.is_err(), "{changed:?}");
    };
    quiet(&mut watch).await;
    raft.set_address(known[1], "elsewhere:1").await.unwrap();
    let told = watch.changed().await.unwrap();
    assert_eq!(told.len(), 3, "the list is complete");
    assert!(addresses(&told).contains(&"elsewhere:1".to_owned()));
    // The same again is no change.
    raft.set_address(known[1], "elsewhere:1").await.unwrap();
    raft.add_learner(known[1], &"n2".into(), "elsewhere:1").await.unwrap();
    quiet(&mut watch).await;
    raft.add_learner(77, &"n9".into(), "n9:1").await.unwrap();
    assert_eq!(watch.changed().await.unwrap().len(), 4);
    raft.remove(77).await.unwrap();
    while watch.latest().len() != 3 {
        watch.changed().await.unwrap();
    }
    quiet(&mut watch).await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_raft_id_does_not_come_back_with_a_replayed_log_or_an_old_message() {
    let mut places = three(RaftOptions::default()).await;
    let removed = places[2].member().raft.raft_id();
    places[0].member().raft.remove(removed).await.unwrap();
    assert!(places[0].member().raft.has_removed(removed).await.unwrap());
    write(&places[..2], "a").await;
    // It does not know, and asks for votes for a long time.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(places[2].member().ids().is_empty(), "nobody sends it anything any more");
    for place in &mut places[..2] {
        place.kill();
    }
    for place in &mut places[..2] {
        place.restart().await;
    }
    write(&places[..2], "b").await;
    let first = leader(&places[..2]).await;
    assert_eq!(listed(&places[first]).len(), 2);
    assert!(places[first].member().raft.has_removed(removed).await.unwrap());
    let other = places[1 - first].member().raft.has_removed(removed).await;
    assert!(matches!(other, Err(RaftError::NotLeader { .. })), "{other:?}");
}

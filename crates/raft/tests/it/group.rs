//! Groups of three, on paused time.

use std::time::Duration;

use swarmkit_raft::{Begin, Crash, Member, MemoryDisk, RaftOptions, Role, new_raft_id};
use swarmkit_runtime::Env;
use swarmkit_store::{ProposeError, StoreError};

use crate::cluster::{Running, Site};

/// A member that can be killed and started again.
pub(crate) struct Place {
    pub(crate) site: Site,
    pub(crate) disk: MemoryDisk,
    pub(crate) running: Option<Running>,
}

impl Place {
    pub(crate) fn member(&self) -> &Running {
        self.running.as_ref().expect("the member runs")
    }

    pub(crate) fn kill(&mut self) {
        self.site.exchange.remove(&self.site.node);
        self.running.take().expect("the member runs").kill();
        self.disk.crash(Crash::LoseAll);
    }

    pub(crate) async fn restart(&mut self) {
        self.running = Some(self.site.start().await.expect("a member starts again"));
    }

    pub(crate) fn cut_off(&self, cut: bool) {
        self.site.exchange.cut_off(&self.site.node, cut);
    }
}

/// Three voters, of which the first leads.
pub(crate) async fn three(options: RaftOptions) -> Vec<Place> {
    let disk = MemoryDisk::new();
    let mut site = Site::new("n1", disk.clone());
    site.options = options.clone();
    let running = site.start().await.expect("a member starts");
    running.lead().await;
    let mut places = vec![Place { site, disk, running: Some(running) }];
    for name in ["n2", "n3"] {
        let newcomer = join(&places, name, &options).await;
        places.push(newcomer);
    }
    places
}

/// A new voter of the group that the first of these leads.
pub(crate) async fn join(places: &[Place], name: &str, options: &RaftOptions) -> Place {
    let leader = places[0].member();
    let disk = MemoryDisk::new();
    let mut site = Site::new(name, disk.clone());
    let raft_id = new_raft_id(&Env::real());
    site.options = options.clone();
    site.begin = Begin::Join { raft_id };
    site.exchange = places[0].site.exchange.clone();
    let running = site.start().await.expect("a member starts");
    leader.raft.add_learner(raft_id, &site.node, &site.addr).await.expect("a learner is added");
    leader.raft.promote(raft_id).await.expect("a learner is promoted");
    Place { site, disk, running: Some(running) }
}

/// Waits until a member has these nodes, in whatever time.
pub(crate) async fn has(member: &Running, ids: &[&str]) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while member.ids() != ids {
        assert!(tokio::time::Instant::now() < deadline, "{:?} has {:?}, not {ids:?}", member.raft, member.ids());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn within<T>(wait: impl AsyncFnOnce() -> T) -> T {
    tokio::time::timeout(Duration::from_secs(60), wait()).await.expect("it happens within a minute")
}

/// Whichever of these leads first.
pub(crate) async fn leader(places: &[Place]) -> usize {
    within(async || {
        loop {
            for (at, place) in places.iter().enumerate() {
                if let Some(running) = &place.running
                    && matches!(running.raft.leadership().current(), Role::Leader { .. })
                {
                    return at;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Writes wherever somebody leads, again after an outcome that is not known, until it is known to be there.
pub(crate) async fn write(places: &[Place], id: &str) {
    let written = async {
        loop {
            let member = places[leader(places).await].member();
            if member.write(id).await.is_ok() || member.ids().iter().any(|known| known == id) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), written).await.expect("the group takes writes");
}

/// The member list of a place, without what only the leader knows.
pub(crate) fn listed(place: &Place) -> Vec<Member> {
    place.member().raft.members().into_iter().map(|status| status.member).collect()
}

#[tokio::test(start_paused = true)]
async fn what_the_leader_commits_reaches_everybody() {
    let places = three(RaftOptions::default()).await;
    for id in ["a", "b", "c"] {
        places[0].member().write(id).await.unwrap();
    }
    for place in &places {
        has(place.member(), &["a", "b", "c"]).await;
    }
    let status = places[0].member().raft.members();
    assert_eq!(status.len(), 3);
    assert!(status.iter().all(|status| status.member.voter && status.reachable == Some(true)), "{status:?}");
    assert_eq!(status.iter().filter(|status| status.leader).count(), 1);
    for place in &places[1..] {
        within(async || {
            while listed(place) != listed(&places[0]) || !place.member().raft.members().iter().any(|it| it.leader) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let named = place.member().raft.members().into_iter().find(|status| status.leader).unwrap();
        assert_eq!(named.member.raft_id, places[0].member().raft.raft_id(), "all agree on the leader");
    }
    for place in places {
        place.running.unwrap().stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_refuses_writes_and_names_the_leader() {
    let places = three(RaftOptions::default()).await;
    let error = within(async || {
        loop {
            match places[1].member().write("a").await.unwrap_err() {
                StoreError::Propose(ProposeError::NotLeader { leader: None }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                error => return error,
            }
        }
    })
    .await;
    assert_eq!(error, StoreError::Propose(ProposeError::NotLeader { leader: Some("n1:2377".to_owned()) }));
}

#[tokio::test(start_paused = true)]
async fn another_member_leads_when_the_leader_dies_and_nothing_is_lost() {
    let mut places = three(RaftOptions::default()).await;
    places[0].member().write("a").await.unwrap();
    places[0].kill();
    let next = leader(&places).await;
    assert_eq!(places[next].member().ids(), ["a"]);
    places[next].member().write("b").await.unwrap();
    assert_eq!(listed(&places[next]).len(), 3, "it is down, and a member nevertheless");

    places[0].restart().await;
    has(places[0].member(), &["a", "b"]).await;
    assert_eq!(leader(&places).await, next, "a member that comes back takes leadership from nobody");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_leading_before_another_one_begins() {
    let places = three(RaftOptions::default()).await;
    let old = places[0].member();
    old.write("a").await.unwrap();
    places[0].cut_off(true);
    let cut_at = tokio::time::Instant::now();
    let lost = old.write("lost").await.unwrap_err();
    assert_eq!(lost, StoreError::Propose(ProposeError::Unknown));
    assert!(cut_at.elapsed() <= RaftOptions::default().election_max + Duration::from_millis(10));
    assert_eq!(old.raft.leadership().current(), Role::Follower { leader: None });
    assert!(places[1..].iter().all(|place| !matches!(place.member().raft.leadership().current(), Role::Leader { .. })));

    let next = leader(&places).await;
    assert_ne!(next, 0);
    places[next].member().write("b").await.unwrap();
    places[0].cut_off(false);
    for place in &places {
        has(place.member(), &["a", "b"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_away_for_long_gets_a_snapshot() {
    let options = RaftOptions { snapshot_interval: 20, kept_entries: 5, ..RaftOptions::default() };
    let mut places = three(options).await;
    places[2].kill();
    let ids: Vec<String> = (0..200).map(|n| format!("n{n:03}")).collect();
    for id in &ids {
        places[0].member().write(id).await.unwrap();
    }
    places[2].restart().await;
    has(places[2].member(), &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let names = swarmkit_raft::Disk::list(&places[2].disk).await.unwrap();
    assert_eq!(names.iter().filter(|name| name.ends_with(".snap")).count(), 1, "{names:?}");

    // What came as a snapshot is durable.
    places[2].kill();
    places[2].restart().await;
    places[0].member().write("z").await.unwrap();
    let all: Vec<&str> = ids.iter().map(String::as_str).chain(["z"]).collect();
    has(places[2].member(), &all).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_was_stopped_starts_again() {
    let mut places = three(RaftOptions::default()).await;
    places[0].member().write("a").await.unwrap();
    for place in &mut places {
        place.running.take().unwrap().stop().await;
    }
    for place in &mut places {
        place.restart().await;
    }
    let leader = leader(&places).await;
    assert_eq!(places[leader].member().ids(), ["a"]);
    places[leader].member().write("b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_follower_stops_while_its_leader_goes_on() {
    let mut places = three(RaftOptions::default()).await;
    places[0].member().write("a").await.unwrap();
    let mut leadership = places[0].member().raft.leadership();
    let _ = leadership.latest();
    within(async || places[1].running.take().unwrap().stop().await).await;
    for id in ["b", "c", "d"] {
        places[0].member().write(id).await.unwrap();
    }
    has(places[2].member(), &["a", "b", "c", "d"]).await;
    let lost = tokio::time::timeout(Duration::from_secs(60), leadership.changed()).await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(listed(&places[0]).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn leadership_is_handed_over_at_once() {
    let places = three(RaftOptions::default()).await;
    let successor = places[1].member();
    let started = tokio::time::Instant::now();
    places[0].member().raft.transfer_leadership(Some(successor.raft.raft_id())).await.unwrap();
    successor.lead().await;
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    successor.write("a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_leader_notices_who_does_not_answer_and_who_is_back() {
    let mut places = three(RaftOptions::default()).await;
    let lost = places[2].member().raft.raft_id();
    let mut watch = places[0].member().raft.watch_members();
    let mut wait_for = async |reachable| {
        within(async || {
            let mut members = watch.latest();
            while !members.iter().any(|status| status.member.raft_id == lost && status.reachable == Some(reachable)) {
                members = watch.changed().await.unwrap();
            }
        })
        .await;
    };
    wait_for(true).await;
    places[2].kill();
    wait_for(false).await;
    places[2].restart().await;
    wait_for(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_learner_that_never_answers_costs_the_founder_nothing() {
    let founder = Site::new("n1", MemoryDisk::new()).start().await.unwrap();
    founder.lead().await;
    founder.raft.add_learner(77, &"n9".into(), "n9:2377").await.unwrap();
    let mut leadership = founder.raft.leadership();
    let _ = leadership.latest();
    let lost = tokio::time::timeout(Duration::from_secs(10), leadership.changed()).await;
    assert!(lost.is_err(), "{lost:?}");
    founder.write("a").await.unwrap();
    founder.raft.remove(77).await.unwrap();
    assert_eq!(founder.raft.members().len(), 1);
    founder.stop().await;
}

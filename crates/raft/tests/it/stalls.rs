//! Leaders that live and get nothing done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use swarmkit_api::wire::swarmkit::raft::v1 as wire;
use swarmkit_raft::{Answer, Answers, Destination, DirectMessenger, MemoryDisk, Messenger, RaftOptions, Role};
use tokio::time::Instant;

use crate::{
    cluster::Site,
    group::{Place, has, join, leader, three, write},
};

/// A way on which small messages arrive and entries do not, as where large packets are dropped.
struct Narrow {
    way: DirectMessenger,
    is_narrow: Arc<AtomicBool>,
}

impl Messenger for Narrow {
    fn append_stream(
        &self,
        to: &Destination,
        requests: futures_util::stream::BoxStream<'static, wire::AppendRequest>,
    ) -> Answer<Answers<wire::AppendResponse>> {
        use futures_util::StreamExt as _;
        let is_narrow = self.is_narrow.clone();
        let fits = move |_: &wire::AppendRequest| {
            let fits = !is_narrow.load(Ordering::Relaxed);
            async move {
                if !fits {
                    std::future::pending::<()>().await;
                }
                true
            }
        };
        self.way.append_stream(to, requests.filter(fits).boxed())
    }

    fn append(&self, to: &Destination, request: wire::AppendRequest, within: Duration) -> Answer<wire::AppendResponse> {
        self.way.append(to, request, within)
    }

    fn vote(&self, to: &Destination, request: wire::VoteRequest, within: Duration) -> Answer<wire::VoteResponse> {
        self.way.vote(to, request, within)
    }

    fn pre_vote(&self, to: &Destination, request: wire::VoteRequest, within: Duration) -> Answer<wire::VoteResponse> {
        self.way.pre_vote(to, request, within)
    }

    fn transfer_leader(
        &self,
        to: &Destination,
        request: wire::TransferLeaderRequest,
        within: Duration,
    ) -> Answer<wire::TransferLeaderResponse> {
        self.way.transfer_leader(to, request, within)
    }

    fn install_snapshot(
        &self,
        to: &Destination,
        parts: futures_util::stream::BoxStream<'static, wire::InstallSnapshotRequest>,
    ) -> Answer<wire::InstallSnapshotResponse> {
        self.way.install_snapshot(to, parts)
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_heartbeats_arrive_and_whose_entries_do_not_hands_over_within_seconds() {
    let disk = MemoryDisk::new();
    let mut site = Site::new("n1", disk.clone());
    let is_narrow = Arc::<AtomicBool>::default();
    let way = site.exchange.messenger(site.node.clone());
    site.messenger = Some(Arc::new(Narrow { way, is_narrow: is_narrow.clone() }));
    let running = site.start().await.unwrap();
    running.lead().await;
    let mut places = vec![Place { site, disk, running: Some(running) }];
    for name in ["n2", "n3"] {
        let newcomer = join(&places, name, &RaftOptions::default()).await;
        places.push(newcomer);
    }
    write(&places, "a").await;
    is_narrow.store(true, Ordering::Relaxed);
    let (begin, old) = (Instant::now(), places[0].member());
    let mut leadership = old.raft.leadership();
    assert!(matches!(leadership.latest(), Role::Leader { .. }));
    assert!(old.write("b").await.is_err(), "its fate is unknown, and is told at last");
    assert!(begin.elapsed() >= Duration::from_secs(10), "only a long silence counts: {:?}", begin.elapsed());
    write(&places, "c").await;
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert_ne!(leader(&places).await, 0);
    let all = places[1].member().ids();
    for place in &places {
        has(place.member(), &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_disk_hangs_holds_nobody_up_while_the_others_are_a_quorum() {
    let places = three(RaftOptions::default()).await;
    places[0].member().write("a").await.unwrap();
    places[0].disk.delay_syncs(Duration::from_secs(1_000_000));
    for id in ["b", "c", "d"] {
        let begin = Instant::now();
        write(&places, id).await;
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    }
    for place in &places[1..] {
        has(place.member(), &["a", "b", "c", "d"]).await;
    }
}

//! The store's own suite for proposers.

use swarmkit_raft::{Crash, MemoryDisk, RaftOptions};
use swarmkit_store::{Store, conformance};

use crate::{
    cluster::{Running, Site},
    group::{Place, three},
};

/// A group of one, which cannot lose leadership but can crash.
struct Alone {
    site: Site,
    disk: MemoryDisk,
    running: Running,
}

impl conformance::Subject for Alone {
    fn store(&self) -> &Store {
        &self.running.store
    }

    async fn restart(self) -> Option<Self> {
        self.running.kill();
        self.disk.crash(Crash::LoseAll);
        let running = self.site.start().await.expect("a member starts again");
        running.lead().await;
        Some(Self { running, ..self })
    }
}

#[tokio::test]
async fn a_group_of_one_keeps_the_obligations_of_a_proposer() {
    conformance::all(async || {
        let disk = MemoryDisk::new();
        let site = Site::new("n1", disk.clone());
        let running = site.start().await.expect("a member starts");
        running.lead().await;
        Alone { site, disk, running }
    })
    .await;
}

/// A group of three, whose leader can be cut off.
struct Three(Vec<Place>);

impl conformance::Subject for Three {
    fn store(&self) -> &Store {
        &self.0[0].member().store
    }

    async fn fail(&self) -> bool {
        self.0[0].site.exchange.cut_off(&self.0[0].site.node, true);
        true
    }

    async fn recover(&self) {
        self.0[0].site.exchange.cut_off(&self.0[0].site.node, false);
        let first = self.0[0].member();
        let id = first.raft.raft_id();
        while first.raft.leadership().current() == (swarmkit_raft::Role::Follower { leader: None }) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        for place in &self.0[1..] {
            // Whoever does not lead refuses.
            let _ = place.member().raft.transfer_leadership(Some(id)).await;
        }
        first.lead().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_of_three_keeps_the_obligations_of_a_proposer() {
    conformance::all(async || Three(three(RaftOptions::default()).await)).await;
}

//! The suite passes for good proposers, and sees what bad ones do.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use swarmkit_runtime::Crew;
use swarmkit_store::{
    Applier, Proposal, ProposeError, Proposer, Store,
    conformance::{self, Subject},
};
use swarmkit_testing::env;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

struct Local(Store);

impl Subject for Local {
    fn store(&self) -> &Store {
        &self.0
    }
}

#[tokio::test]
async fn the_local_proposer_conforms() {
    conformance::all(async || Local(Store::local(env()))).await;
}

/// What is wrong with a proposer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing.
    None,
    /// It commits the newest first when two are waiting.
    Reorders,
    /// It calls failed what it commits later.
    Lies,
    /// It drops the first one under way when it fails, says nothing of it, and commits the others.
    Skips,
    /// It acknowledges before the log has it.
    Forgets,
}

/// A log in memory with a part that commits one entry at a time, as a leader does while followers answer.
#[derive(Clone)]
struct Leader(Arc<Shared>);

struct Shared {
    fault: Fault,
    applier: OnceLock<Applier>,
    wake: Notify,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    deposed: bool,
    queue: VecDeque<Proposal>,
    /// Handed to other replicas when leadership was lost.
    elsewhere: Vec<Bytes>,
    log: Vec<Bytes>,
}

impl Proposer for Leader {
    fn attach(&self, applier: Applier) {
        self.0.applier.set(applier).ok();
    }

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        let mut inner = self.0.inner.lock();
        if inner.deposed {
            return Err(ProposeError::NotLeader { leader: Some("elsewhere".into()) });
        }
        inner.queue.push_back(proposal);
        drop(inner);
        self.0.wake.notify_one();
        Ok(())
    }
}

impl Leader {
    fn applier(&self) -> &Applier {
        self.0.applier.get().expect("a store was made on it")
    }

    async fn commit_what_is_proposed(self, stop: CancellationToken) -> Result<(), ProposeError> {
        loop {
            tokio::select! { biased;
                () = stop.cancelled() => return Ok(()),
                () = self.0.wake.notified() => {}
            }
            loop {
                tokio::task::yield_now().await;
                let mut inner = self.0.inner.lock();
                let reorders = self.0.fault == Fault::Reorders && inner.queue.len() > 1;
                let next = if reorders { inner.queue.pop_back() } else { inner.queue.pop_front() };
                let Some(proposal) = next else { break };
                if self.0.fault != Fault::Forgets || inner.log.len() % 4 != 3 {
                    inner.log.push(proposal.payload.clone());
                }
                drop(inner);
                self.applier().apply(&proposal.payload).expect("the store wrote it");
            }
        }
    }
}

/// A store on such a leader.
struct Replicated {
    store: Store,
    leader: Leader,
    _crew: Crew,
}

impl Replicated {
    fn start(fault: Fault, log: Vec<Bytes>) -> Self {
        let leader = Leader(Arc::new(Shared {
            fault,
            applier: OnceLock::new(),
            wake: Notify::new(),
            inner: Mutex::new(Inner { log: log.clone(), ..Inner::default() }),
        }));
        let store = Store::new(env(), leader.clone());
        for entry in log {
            leader.applier().apply(&entry).expect("the store wrote it");
        }
        let mut crew = Crew::under(&CancellationToken::new());
        let part = leader.clone();
        crew.spawn("leader", move |stop| part.commit_what_is_proposed(stop));
        Self { store, leader, _crew: crew }
    }
}

impl Subject for Replicated {
    fn store(&self) -> &Store {
        &self.store
    }

    async fn fail(&self) -> bool {
        tokio::task::yield_now().await;
        let mut inner = self.leader.0.inner.lock();
        inner.deposed = true;
        let mut lost: Vec<_> = inner.queue.drain(..).map(|proposal| proposal.payload).collect();
        if self.leader.0.fault == Fault::Skips {
            lost.remove(0);
        } else {
            lost.truncate(lost.len() / 2);
        }
        inner.elsewhere = lost;
        drop(inner);
        let error = match self.leader.0.fault {
            Fault::Lies => ProposeError::Failed("surely".into()),
            _ => ProposeError::Unknown,
        };
        self.leader.applier().abandon(&error);
        true
    }

    async fn recover(&self) {
        let committed = std::mem::take(&mut self.leader.0.inner.lock().elsewhere);
        for entry in committed {
            self.leader.0.inner.lock().log.push(entry.clone());
            self.leader.applier().apply(&entry).expect("the store wrote it");
        }
        self.leader.0.inner.lock().deposed = false;
    }

    async fn restart(self) -> Option<Self> {
        let log = self.leader.0.inner.lock().log.clone();
        Some(Self::start(self.leader.0.fault, log))
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_loses_and_regains_its_followers_conforms() {
    conformance::all(async || Replicated::start(Fault::None, Vec::new())).await;
}

#[tokio::test(start_paused = true)]
async fn entries_that_were_skipped_in_the_log_are_no_harm_since_replicas_skip_what_follows() {
    conformance::all(async || Replicated::start(Fault::Skips, Vec::new())).await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_proposer_is_found_out() {
    for fault in [Fault::Reorders, Fault::Lies, Fault::Forgets] {
        let suite = conformance::all(async || Replicated::start(fault, Vec::new()));
        assert!(AssertUnwindSafe(suite).catch_unwind().await.is_err(), "{fault:?} was not seen");
    }
}

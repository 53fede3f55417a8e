//! Finding out that this member was removed while it could not hear of it.
//!
//! A member that is removed gets no more messages, and so it never learns from raft why nobody leads it. It asks the other
//! managers that it knows. Only the word of a leader counts, which asks a quorum before it denies anybody: a follower, or
//! a leader that was deposed, may not know of this member yet.

use std::time::Duration;

use swarmkit_api::wire::swarmkit::raft::v1::{DescribeRequest, raft_member_client::RaftMemberClient};
use swarmkit_raft::{Raft, RaftError, Role};
use swarmkit_rpc::Channels;
use swarmkit_runtime::{Backoff, Env};
use tokio_util::sync::CancellationToken;
use tonic::Request;

/// How long a leader is missed before anybody is asked: in less, another one is elected.
const SILENCE: Duration = Duration::from_secs(1);
/// How long one manager may take to answer, the way to it included.
const ANSWER: Duration = Duration::from_secs(2);
/// The shortest and the longest pause after everybody was asked.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Who asks, and over which connections.
pub(crate) struct Standing {
    pub(crate) env: Env,
    pub(crate) raft: Raft,
    /// Where this member is reached.
    pub(crate) addr: String,
    pub(crate) channels: Channels,
    /// Addresses of managers beside those that the log knows.
    pub(crate) hints: Vec<String>,
    /// Cancelled when it turns out that this member was removed.
    pub(crate) removed: CancellationToken,
}

impl Standing {
    /// Runs until this member turns out to be removed, or until told to stop.
    ///
    /// # Errors
    ///
    /// When raft has ended.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), RaftError> {
        let gone = tokio::select! { biased; // stopping comes first
            () = stop.cancelled() => return Ok(()),
            gone = self.is_removed() => gone,
        };
        gone?;
        self.removed.cancel();
        Ok(())
    }

    /// Resolves when this member is none any more.
    async fn is_removed(&self) -> Result<(), RaftError> {
        let mut leadership = self.raft.leadership();
        let mut retry = Backoff::new(RETRY.0, RETRY.1, self.env.rng("standing"));
        let mut pause = SILENCE;
        loop {
            if !is_lost(&leadership.latest()) {
                retry.reset();
                pause = SILENCE;
                leadership.changed().await?;
                continue;
            }
            tokio::select! { biased; // with a leader there is nothing to ask
                changed = leadership.changed() => { changed?; }
                () = self.env.sleep(pause) => {
                    if self.anybody_says_so().await {
                        return Ok(());
                    }
                    pause = retry.next_delay();
                }
            }
        }
    }

    async fn anybody_says_so(&self) -> bool {
        let own = self.raft.raft_id();
        let members = self.raft.members().into_iter().map(|status| status.member);
        let others = members.filter(|member| member.raft_id != own).map(|member| member.addr);
        let mut known: Vec<String> = others.chain(self.hints.iter().cloned()).filter(|at| *at != self.addr).collect();
        known.sort_unstable();
        known.dedup();
        for address in known {
            match tokio::time::timeout(ANSWER, self.ask(&address)).await {
                Ok(Ok(true)) => return true,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::debug!(address, error, "a manager cannot say whether this is a member"),
                Err(_) => tracing::debug!(address, "a manager does not answer"),
            }
        }
        false
    }

    /// Whether a leader is found there that has no such member.
    async fn ask(&self, address: &str) -> Result<bool, String> {
        let channel = self.channels.manager(address).await.map_err(|error| error.to_string())?;
        let mut request = Request::new(DescribeRequest { raft_id: self.raft.raft_id() });
        request.set_timeout(ANSWER);
        let answer = RaftMemberClient::new(channel).describe(request).await;
        let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
        Ok(answer.leads && !answer.is_member)
    }
}

fn is_lost(role: &Role) -> bool {
    matches!(role, Role::Follower { leader: None })
}

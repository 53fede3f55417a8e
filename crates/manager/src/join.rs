//! Asking to be admitted to the group of the cluster's managers.

use std::time::Duration;

use swarmkit_api::wire::{JoinRequest, raft_membership_client::RaftMembershipClient};
use swarmkit_ca::Identity;
use swarmkit_rpc::{Channels, OBSERVATION_DEFAULT, Remote, Remotes};
use swarmkit_runtime::{Backoff, Env};
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::Error;

/// How long one request may take: as long as upstream allows a change of its log.
const REQUEST_WAIT: Duration = Duration::from_secs(25);
/// The shortest and the longest pause between attempts. The longest as upstream.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// After how long a manager that is not admitted gives up: long enough for the others to elect a leader many times over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who asks, and whom.
pub(crate) struct Applicant<'a> {
    pub(crate) env: &'a Env,
    pub(crate) own: &'a Identity,
    /// Where other managers reach it.
    pub(crate) addr: &'a str,
    pub(crate) managers: &'a Remotes,
    pub(crate) channels: &'a Channels,
}

/// An attempt that has failed.
struct Failed {
    error: Error,
    /// The next one may succeed.
    transient: bool,
}

impl Applicant<'_> {
    /// Asks until it is admitted, and gives the raft id.
    ///
    /// # Errors
    ///
    /// It was refused, or nobody has answered for a minute.
    pub(crate) async fn admission(&self) -> Result<u64, Error> {
        let begin = Instant::now();
        let mut retry = Backoff::new(RETRY.0, RETRY.1, self.env.rng("joining"));
        loop {
            match self.ask().await {
                Ok(raft_id) => return Ok(raft_id),
                Err(Failed { error, transient: true }) if begin.elapsed() < PATIENCE => {
                    let pause = retry.next_delay();
                    tracing::warn!(%error, ?pause, "not admitted yet");
                    self.env.sleep(pause).await;
                }
                Err(Failed { error, .. }) => return Err(error),
            }
        }
    }

    async fn ask(&self) -> Result<u64, Failed> {
        let own = [self.own.node.as_str(), self.addr];
        let remote = self.managers.select(&own).map_err(|_| Failed { error: Error::NoManager, transient: false })?;
        let asked = self.ask_at(&remote).await;
        let observation = if asked.is_ok() { OBSERVATION_DEFAULT } else { -OBSERVATION_DEFAULT };
        self.managers.observe_if_known(&remote, observation);
        asked
    }

    async fn ask_at(&self, remote: &Remote) -> Result<u64, Failed> {
        let address = &remote.address;
        let failed = |reason: String, transient| {
            Err(Failed { error: Error::NotAdmitted { address: address.clone(), reason }, transient })
        };
        let channel = match self.channels.manager(address).await {
            Ok(channel) => channel,
            Err(error) => return failed(error.to_string(), error.is_transient()),
        };
        let mut request = Request::new(JoinRequest { addr: self.addr.to_owned() });
        request.set_timeout(REQUEST_WAIT);
        match RaftMembershipClient::new(channel).join(request).await {
            Ok(answer) => Ok(answer.into_inner().raft_id),
            Err(status) => failed(status.message().to_owned(), is_transient(status.code())),
        }
    }
}

/// Whether a refusal can turn into an admission without anybody mending anything.
fn is_transient(code: Code) -> bool {
    match code {
        // No leader, or another one by now; too few members answer; the node is not known there yet.
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Cancelled
        | Code::ResourceExhausted
        | Code::FailedPrecondition => true,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

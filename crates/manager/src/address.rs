//! Telling the group where this member is reached, when the log says something else: it was started with another address.

use std::time::Duration;

use swarmkit_api::wire::{JoinRequest, raft_membership_client::RaftMembershipClient};
use swarmkit_raft::{MemberStatus, Raft, RaftError, Role};
use swarmkit_rpc::Channels;
use swarmkit_runtime::{Backoff, Env};
use tokio_util::sync::CancellationToken;
use tonic::Request;

/// How long one manager may take to pass the word on to the leader.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// The shortest and the longest pause between attempts.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What is told, and over which connections.
pub(crate) struct OwnAddress {
    pub(crate) env: Env,
    pub(crate) raft: Raft,
    /// Where this member is reached.
    pub(crate) addr: String,
    pub(crate) channels: Channels,
    /// Addresses of managers beside those that the log knows.
    pub(crate) hints: Vec<String>,
}

impl OwnAddress {
    /// Makes the log say the truth, whenever it does not, until told to stop.
    ///
    /// # Errors
    ///
    /// When raft has ended.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), RaftError> {
        let mut watch = self.raft.watch_members();
        let mut retry = Backoff::new(RETRY.0, RETRY.1, self.env.rng("own address"));
        loop {
            let members = watch.latest();
            if self.is_true(&members) {
                retry.reset();
                tokio::select! { biased; // stopping comes first
                    () = stop.cancelled() => return Ok(()),
                    changed = watch.changed() => drop(changed?),
                }
                continue;
            }
            let told = async {
                self.tell(&members).await;
                self.env.sleep(retry.next_delay()).await;
            };
            tokio::select! { biased; // stopping need not wait for others
                () = stop.cancelled() => return Ok(()),
                () = told => {}
            }
        }
    }

    /// Whether the log knows where this member is, or does not know the member (yet).
    fn is_true(&self, members: &[MemberStatus]) -> bool {
        let own = members.iter().find(|status| status.member.raft_id == self.raft.raft_id());
        own.is_none_or(|own| is_same(&self.addr, &own.member.addr))
    }

    async fn tell(&self, members: &[MemberStatus]) {
        if let Role::Leader { .. } = self.raft.leadership().current() {
            if let Err(error) = self.raft.set_address(self.raft.raft_id(), &self.addr).await {
                tracing::warn!(%error, addr = self.addr, "this manager's new address is not known to others yet");
            }
            return;
        }
        let others = members.iter().filter(|status| status.member.raft_id != self.raft.raft_id());
        let known = others.map(|status| &status.member.addr).chain(&self.hints);
        for address in known {
            match self.tell_at(address).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(address, error, addr = self.addr, "this manager's new address was not taken there");
                }
            }
        }
    }

    async fn tell_at(&self, address: &str) -> Result<(), String> {
        let channel = self.channels.manager(address).await.map_err(|error| error.to_string())?;
        let mut request = Request::new(JoinRequest { addr: self.addr.clone() });
        request.set_timeout(REQUEST_WAIT);
        let answer = RaftMembershipClient::new(channel).join(request).await;
        answer.map(drop).map_err(|status| status.message().to_owned())
    }
}

/// Whether the log has taken over an address. One that means every address of this machine is replaced by the leader.
pub(crate) fn is_same(own: &str, known: &str) -> bool {
    let unspecified = own.parse::<std::net::SocketAddr>().is_ok_and(|addr| addr.ip().is_unspecified());
    let port = |addr: &str| addr.rsplit_once(':').map(|(_, port)| port.to_owned());
    own == known || (unspecified && port(own) == port(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_leader_has_put_in_the_place_of_every_address_is_the_same_address() {
        assert!(is_same("10.0.0.1:4242", "10.0.0.1:4242"));
        assert!(!is_same("10.0.0.1:4242", "10.0.0.1:4243"));
        assert!(is_same("0.0.0.0:4242", "10.0.0.1:4242"));
        assert!(!is_same("0.0.0.0:4242", "10.0.0.1:4243"));
    }
}

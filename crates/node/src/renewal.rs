//! Renewing this node's certificate before it expires, or when the cluster asks for it.

use std::time::Duration;

use swarmkit_agent::Membership;
use swarmkit_api::wire::{IssuanceStatus, issuance_status::State};
use swarmkit_ca::{Credentials, KeyStore, renewal_delay};
use swarmkit_rpc::{Channels, OBSERVATION_DEFAULT, Remotes};
use swarmkit_runtime::{Backoff, Env};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{JoinError, NodeError, join};

/// The shortest and the longest pause after a renewal that failed, as upstream.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));

/// What a renewal needs.
pub(crate) struct Renewal {
    pub(crate) env: Env,
    pub(crate) credentials: Credentials,
    pub(crate) keys: KeyStore,
    pub(crate) remotes: Remotes,
    pub(crate) channels: Channels,
    pub(crate) membership: watch::Receiver<Membership>,
}

impl Renewal {
    /// Renews in time, until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), NodeError> {
        let mut rng = self.env.rng("certificate renewal");
        let mut retry = Backoff::new(RETRY.0, RETRY.1, self.env.rng("certificate renewal retry"));
        let mut due = renewal_delay(self.credentials.trust().certificate().validity(), self.env.now(), &mut rng);
        loop {
            let asked = async {
                self.membership.wait_for(wants_renewal).await.is_err().then_some(std::future::pending::<()>())
            };
            tokio::select! { biased; // stopping comes first; an answered wish is cleared by the renewal itself
                () = stop.cancelled() => return Ok(()),
                () = self.env.sleep(due) => {}
                never = asked => if let Some(never) = never {
                    tokio::select! { biased; // no wish will come any more
                        () = stop.cancelled() => return Ok(()),
                        () = self.env.sleep(due) => {}
                        () = never => {}
                    }
                },
            }
            due = match self.renew().await {
                Ok(()) => {
                    retry.reset();
                    renewal_delay(self.credentials.trust().certificate().validity(), self.env.now(), &mut rng)
                }
                Err(error) => {
                    let pause = retry.next_delay();
                    tracing::warn!(%error, ?pause, "cannot renew the certificate");
                    tokio::select! { biased; // stopping comes first
                        () = stop.cancelled() => return Ok(()),
                        () = self.env.sleep(pause) => Duration::ZERO,
                    }
                }
            };
        }
    }

    async fn renew(&self) -> Result<(), NodeError> {
        let remote = self.remotes.select(&[]).map_err(|_| JoinError::NoManager)?;
        let channel = self.channels.manager(&remote.address).await.map_err(JoinError::from);
        let asked = match channel {
            Ok(channel) => join::request(channel, self.credentials.trust().root(), "", &self.env).await,
            Err(error) => Err(error),
        };
        let observation = if asked.is_ok() { OBSERVATION_DEFAULT } else { -OBSERVATION_DEFAULT };
        self.remotes.observe_if_known(&remote, observation);
        let certificate = asked?;
        self.keys.save_node(&certificate)?;
        self.credentials.replace_certificate(certificate)?;
        tracing::info!("the certificate was renewed");
        Ok(())
    }
}

/// Does the cluster want this node to have another certificate?
fn wants_renewal(membership: &Membership) -> bool {
    let status = membership.node.as_ref().and_then(|node| node.certificate.status.as_ref());
    status.map(IssuanceStatus::state) == Some(State::Rotate)
}

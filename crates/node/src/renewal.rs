//! Renewing this node's certificate before it expires, or when the cluster asks for it.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use rand::rngs::SmallRng;
use swarmkit_agent::Membership;
use swarmkit_api::wire::{IssuanceStatus, issuance_status::State};
use swarmkit_ca::{Credentials, KeyStore, renewal_time};
use swarmkit_rpc::{Channels, OBSERVATION_DEFAULT, Remotes};
use swarmkit_runtime::{Backoff, Env};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{JoinError, NodeError, request, state_dir::blocking};

/// The shortest and the longest pause after a renewal that failed, as upstream.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// The pause between a wish and the renewal, as upstream. Wishes that come in a row are one.
const WISH_PAUSE: Duration = Duration::from_millis(500);
/// How long at most until the clock is looked at again: it may be set, and stands still for a machine that sleeps.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

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
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), NodeError> {
        tokio::select! { biased; // a renewal that is cut off has changed nothing, and the next start begins anew
            () = stop.cancelled() => Ok(()),
            never = self.keep_valid() => match never {},
        }
    }

    async fn keep_valid(mut self) -> Infallible {
        let mut rng = self.env.rng("certificate renewal");
        let mut retry = Backoff::new(RETRY.0, RETRY.1, self.env.rng("certificate renewal retry"));
        loop {
            self.due(&mut rng).await;
            while let Err(error) = self.renew().await {
                let pause = retry.next_delay();
                tracing::warn!(%error, ?pause, "cannot renew the certificate");
                self.env.sleep(pause).await;
            }
            retry.reset();
        }
    }

    /// Waits until the certificate is old enough, or the cluster wishes another one.
    async fn due(&mut self, rng: &mut SmallRng) {
        let old_enough = renewal_time(self.credentials.trust().certificate().validity(), rng);
        tokio::select! { biased; // a wish that is there is answered by this renewal, whatever the clock says
            () = wish(&self.env, &mut self.membership) => {}
            () = until(&self.env, old_enough) => {}
        }
    }

    async fn renew(&mut self) -> Result<(), NodeError> {
        // Whatever the cluster has wished so far is what this attempt is for.
        self.membership.mark_unchanged();
        let remote = self.remotes.select(&[]).map_err(|_| JoinError::NoManager)?;
        let asked = async {
            let channel = self.channels.manager(&remote.address).await?;
            let asked = request::ask(channel.clone(), "").await?;
            request::outcome(channel, &asked, self.credentials.trust().root(), &self.env).await
        };
        let asked = asked.await;
        let observation = if asked.is_ok() { OBSERVATION_DEFAULT } else { -OBSERVATION_DEFAULT };
        self.remotes.observe_if_known(&remote, observation);
        let certificate = asked?;
        let (keys, kept) = (self.keys.clone(), certificate.clone());
        blocking(move || Ok(keys.save_node(&kept)?)).await?;
        self.credentials.replace_certificate(certificate)?;
        tracing::info!("the certificate was renewed");
        Ok(())
    }
}

/// Waits for news in which the cluster wants this node to have another certificate.
async fn wish(env: &Env, membership: &mut watch::Receiver<Membership>) {
    while membership.changed().await.is_ok() {
        if wants_renewal(&membership.borrow_and_update()) {
            env.sleep(WISH_PAUSE).await;
            return;
        }
    }
    // The agent has ended, and this node is about to.
    std::future::pending().await
}

fn wants_renewal(membership: &Membership) -> bool {
    let status = membership.node.as_ref().and_then(|node| node.certificate.status.as_ref());
    status.map(IssuanceStatus::state) == Some(State::Rotate)
}

/// Waits until that time of day.
async fn until(env: &Env, at: SystemTime) {
    while let Ok(left) = at.duration_since(env.now())
        && !left.is_zero()
    {
        env.sleep(left.min(LOOK_AGAIN)).await;
    }
}

#[cfg(test)]
mod tests;

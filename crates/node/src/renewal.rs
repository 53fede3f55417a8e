//! Renewing this node's certificate before it expires, when the cluster asks for it, or when the node has another role.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rand::rngs::SmallRng;
use swarmkit_agent::Membership;
use swarmkit_api::{
    NodeRole,
    wire::{IssuanceStatus, issuance_status::State},
};
use swarmkit_ca::{Credentials, Error as CaError, Expiry, KeyStore, ManagerLock, NodeCertificate, renewal_time};
use swarmkit_rpc::{Channel, ChannelOptions, Channels, OBSERVATION_DEFAULT, Remotes, Transport};
use swarmkit_runtime::{Backoff, Env, Spawner};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{JoinError, NodeError, request, roots, state_dir::blocking, unlock};

/// The shortest and the longest pause after a renewal that failed, as upstream.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// The pause between a wish and the renewal, as upstream. Wishes that come in a row are one.
const WISH_PAUSE: Duration = Duration::from_millis(500);
/// How many managers one attempt turns to at most, as upstream.
const MANAGERS_ASKED: u32 = 5;
/// How long at most until the clock is looked at again: it may be set, and stands still for a machine that sleeps.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// What a renewal needs.
pub(crate) struct Renewal {
    pub(crate) env: Env,
    pub(crate) credentials: Credentials,
    pub(crate) keys: KeyStore,
    pub(crate) remotes: Remotes,
    pub(crate) channels: Channels,
    /// The manager of this node, while one runs.
    pub(crate) here: watch::Receiver<Option<Channel>>,
    /// Told when the key has been locked: it had been on the disk in clear until then.
    pub(crate) locked: Arc<Notify>,
    pub(crate) spawner: Spawner,
    /// How a node is reached that shows other credentials than ours.
    pub(crate) as_manager: Box<dyn Fn(Credentials) -> Arc<dyn Transport> + Send + Sync>,
    pub(crate) membership: watch::Receiver<Membership>,
    /// This node itself has a reason to ask.
    pub(crate) asked: Arc<Notify>,
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
        self.finish_last_time().await;
        let mut rng = self.env.rng("certificate renewal");
        let mut retry = Backoff::new(RETRY.0, RETRY.1, self.env.rng("certificate renewal retry"));
        loop {
            self.due(&mut rng).await;
            while let Err(error) = self.renew().await {
                let pause = retry.next_delay();
                if self.has_expired() {
                    tracing::error!(
                        %error, ?pause,
                        "the certificate has expired and cannot be renewed: if that lasts, start this node again with a \
                         join token of its role"
                    );
                } else {
                    tracing::warn!(%error, ?pause, "cannot renew the certificate");
                }
                tokio::select! { biased; // news mean that a manager is there again: the pause may have grown to an hour
                    () = self.wish() => {}
                    () = self.env.sleep(pause) => {}
                }
            }
            retry.reset();
        }
    }

    /// Other nodes do not talk to whoever shows a certificate whose time is over.
    fn has_expired(&self) -> bool {
        self.credentials.trust().certificate().validity().not_after < self.env.now()
    }

    /// A key that was to be replaced when this node was stopped is replaced now.
    async fn finish_last_time(&self) {
        let keys = self.keys.clone();
        if blocking(move || Ok(keys.needs_renewal()?)).await.unwrap_or(false) {
            self.locked.notify_one();
        }
    }

    /// Waits until the certificate is old enough, or the cluster wishes another one.
    async fn due(&mut self, rng: &mut SmallRng) {
        let old_enough = renewal_time(self.credentials.trust().certificate().validity(), rng);
        tokio::select! { biased; // a wish that is there is answered by this renewal, whatever the clock says
            () = self.wish() => {}
            () = until(&self.env, old_enough) => {}
        }
    }

    /// Waits until this node is to have another certificate: its cluster says so, the key of the present one has been on
    /// the disk in clear, or the node wants to know what it is to be.
    async fn wish(&self) {
        tokio::select! { biased; // each is answered by the same renewal
            () = self.asked.notified() => {}
            () = self.locked.notified() => self.env.sleep(WISH_PAUSE).await,
            () = self.news() => {}
        }
    }

    /// Waits for news in which the cluster wants this node to have another certificate.
    async fn news(&self) {
        let mut membership = self.membership.clone();
        while membership.changed().await.is_ok() {
            if wants_renewal(&membership.borrow_and_update(), self.credentials.identity().role) {
                self.env.sleep(WISH_PAUSE).await;
                return;
            }
        }
        // The agent has ended, and this node is about to.
        std::future::pending().await
    }

    async fn renew(&mut self) -> Result<(), NodeError> {
        // Whatever the cluster has wished so far is what this attempt is for.
        self.membership.mark_unchanged();
        let (certificate, lock) = self.new_certificate().await?;
        let (keys, kept) = (self.keys.clone(), certificate.clone());
        let save = move || match lock {
            Some(lock) => Ok(keys.save_manager(&kept, &lock)?),
            None => Ok(keys.save_node(&kept)?),
        };
        blocking(save).await?;
        let role = certificate.identity().role;
        self.credentials.replace_certificate(certificate)?;
        tracing::info!(?role, "the certificate was renewed");
        Ok(())
    }

    /// Asks the managers that are known, and then the one of this node, if it runs one: that takes no connection, and so it
    /// works also where the certificate is out of time and nobody else is left.
    async fn new_certificate(&self) -> Result<(NodeCertificate, Option<ManagerLock>), JoinError> {
        let told = self.ask_around().await;
        let here = self.here.borrow().clone();
        match (told, here) {
            (Err(error), Some(here)) => {
                tracing::debug!(%error, "this manager is asked for the certificate");
                Ok((self.ask_at(here).await?, None))
            }
            (told, _) => told,
        }
    }

    /// Asks one manager after the other, at once: one of them may just be the one that has gone.
    async fn ask_around(&self) -> Result<(NodeCertificate, Option<ManagerLock>), JoinError> {
        let mut asked = 1;
        loop {
            match self.ask().await {
                Err(error) if error.is_transient() && asked < MANAGERS_ASKED => {
                    tracing::debug!(%error, "another manager is asked for the certificate");
                    asked += 1;
                }
                result => return result,
            }
        }
    }

    async fn ask(&self) -> Result<(NodeCertificate, Option<ManagerLock>), JoinError> {
        let remote = self.remotes.select(&[]).map_err(|_| JoinError::NoManager)?;
        let asked = async {
            let certificate = self.ask_at(self.channels.manager(&remote.address).await?).await?;
            let promoted = self.credentials.identity().role == NodeRole::Worker
                && certificate.identity().role == NodeRole::Manager;
            let lock = if promoted { Some(self.lock(&remote.address, &certificate).await?) } else { None };
            Ok((certificate, lock))
        };
        let asked = asked.await;
        let observation = if asked.is_ok() { OBSERVATION_DEFAULT } else { -OBSERVATION_DEFAULT };
        self.remotes.observe_if_known(&remote, observation);
        asked
    }

    async fn ask_at(&self, channel: Channel) -> Result<NodeCertificate, JoinError> {
        let asked = request::ask(channel.clone(), "", None, &self.env).await?;
        let certificate = request::unverified_outcome(channel.clone(), &asked, &self.env).await?;
        let unusable = |source| JoinError::Unusable { address: channel.address().to_owned(), source };
        match self.verify(&certificate) {
            // The root was replaced while this node was away. A manager is told of the next one by the cluster itself.
            Err(CaError::UnknownAuthority) if certificate.identity().role == NodeRole::Worker => {
                roots::download(&self.env, &self.credentials, &self.keys, channel.clone()).await;
                self.verify(&certificate).map_err(unusable)?;
            }
            verified => verified.map_err(unusable)?,
        }
        Ok(certificate)
    }

    fn verify(&self, certificate: &NodeCertificate) -> Result<(), CaError> {
        certificate.verify(self.credentials.trust().root(), Expiry::Enforced, self.env.now()).map(drop)
    }

    /// What locks managers, which only a manager is told: one that shows the certificate that this node has just been given.
    async fn lock(&self, address: &str, certificate: &NodeCertificate) -> Result<ManagerLock, JoinError> {
        let unusable = |source| JoinError::Unusable { address: address.to_owned(), source };
        let root = self.credentials.trust().root().without_signer();
        let shown = Credentials::new(root, certificate.clone(), &self.env).map_err(unusable)?;
        let channels = Channels::new((self.as_manager)(shown), ChannelOptions::default(), self.spawner.clone());
        let lock = async { unlock::ask(channels.manager(address).await?).await }.await;
        channels.close();
        lock
    }
}

/// Whether the node shall have another certificate than that of its present role. The role that counts is the observed
/// one, which the next certificate is made for: the desired one precedes it, by as long as a demotion takes.
fn wants_renewal(membership: &Membership, role: NodeRole) -> bool {
    let Some(node) = &membership.node else { return false };
    let state = node.certificate.status.as_ref().map(IssuanceStatus::state);
    state == Some(State::Rotate) || node.role != role
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

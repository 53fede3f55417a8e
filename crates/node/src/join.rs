//! Joining a cluster, or coming back to it: learning its roots, and getting a certificate with a token.

use std::{sync::Arc, time::Duration};

use swarmkit_api::NodeRole;
use swarmkit_ca::{Credentials, Error as CaError, JoinToken, ManagerLock, NodeCertificate, RootCa, RootDigest, Trust};
use swarmkit_rpc::{
    ChannelOptions, Channels, ClockReading, OBSERVATION_DEFAULT, Remote, Remotes, TlsTransport, introduce,
};
use swarmkit_runtime::{Backoff, Env, Spawner};
use zeroize::Zeroizing;

use crate::{JoinError, request, unlock};

/// How often a step of joining is attempted before it is given up, as upstream.
const ATTEMPTS: u32 = 5;
/// The pause between attempts, as upstream.
const PAUSE: Duration = Duration::from_secs(2);
/// How often a step is attempted where a manager has too many callers, with pauses that grow up to this: five minutes in all.
const CROWDED_ATTEMPTS: u32 = 14;
const CROWDED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The cluster that a node wants to join. Its token is wiped when dropped, and there is no form that shows it.
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) token: Option<Zeroizing<String>>,
}

/// What a node has after it has joined.
pub(crate) struct Joined {
    pub(crate) root: RootCa,
    pub(crate) node: NodeCertificate,
    /// What locks the cluster's managers, if the node has just become one.
    pub(crate) lock: Option<ManagerLock>,
}

/// Whom to ask: the manager that was named, or those that are remembered.
struct Managers {
    known: Remotes,
    env: Env,
    spawner: Spawner,
}

/// Asks a manager for the roots of its cluster. Without a token whoever answers is believed.
pub(crate) async fn learn_root(target: &Target, env: &Env, spawner: &Spawner) -> Result<RootCa, JoinError> {
    let token = target.token.as_deref().map(|token| parse(token)).transpose()?;
    Ok(Managers::named(target, env, spawner)?.fetch_root(token.map(|token| token.digest())).await?.0)
}

/// Joins a cluster: gets its roots, unless they are known already, and a certificate. Roots that the token does not pin are
/// those of another cluster, or old, and are not used.
pub(crate) async fn join(
    target: &Target,
    known: Option<RootCa>,
    env: &Env,
    spawner: &Spawner,
) -> Result<Joined, JoinError> {
    let token = target.token.as_deref().ok_or(JoinError::NoToken)?;
    let managers = Managers::named(target, env, spawner)?;
    managers.obtain(token, known, None).await
}

/// Comes back to a cluster with a certificate whose time is over, and a token. A manager that does not know how nodes come
/// back makes a new node: the certificate says so.
pub(crate) async fn come_back(
    managers: &[Remote],
    token: &str,
    own: &Trust,
    env: &Env,
    spawner: &Spawner,
) -> Result<Joined, JoinError> {
    if let Some(wrong) = managers.iter().find(|remote| !is_address(&remote.address)) {
        return Err(JoinError::Address { address: wrong.address.clone() });
    }
    let known = Remotes::new(managers.iter().cloned(), env);
    let managers = Managers { known, env: env.clone(), spawner: spawner.clone() };
    managers.obtain(token, Some(own.root().without_signer()), Some(own.certificate())).await
}

/// Tells of a clock that is wrong, and does no harm yet.
pub(crate) fn warn_of(clock: Option<&ClockReading>) {
    if let Some(clock) = clock.filter(|clock| clock.is_wrong()) {
        tracing::warn!("{clock}: set it, for example with NTP");
    }
}

/// Names the clock as the cause of what has to do with time, if it is wrong.
fn blame(error: JoinError, clock: Option<ClockReading>) -> JoinError {
    match clock.filter(ClockReading::is_wrong) {
        Some(clock) if error.is_of_time() => JoinError::Clock { clock, source: Box::new(error) },
        _ => error,
    }
}

impl Managers {
    fn named(target: &Target, env: &Env, spawner: &Spawner) -> Result<Self, JoinError> {
        if !is_address(&target.address) {
            return Err(JoinError::Address { address: target.address.clone() });
        }
        let known = Remotes::new([Remote { node: None, address: target.address.clone() }], env);
        Ok(Self { known, env: env.clone(), spawner: spawner.clone() })
    }

    /// The roots, and what the manager's clock says.
    async fn fetch_root(&self, pin: Option<RootDigest>) -> Result<(RootCa, Option<ClockReading>), JoinError> {
        let told = self.persist(async |address: &str| Ok(introduce(address, &self.env, &self.spawner).await?)).await?;
        warn_of(told.clock.as_ref());
        match told.root(pin, self.env.now()) {
            Ok(root) => Ok((root, told.clock)),
            Err(error) => Err(blame(error.into(), told.clock)),
        }
    }

    /// Gets a certificate by a token: a first one, or another one for who the node was.
    async fn obtain(
        &self,
        token: &str,
        known: Option<RootCa>,
        was: Option<&NodeCertificate>,
    ) -> Result<Joined, JoinError> {
        let pin = parse(token)?.digest();
        let (root, mut clock) = match known {
            Some(root) if root.digest() == pin => (root, None),
            Some(_) | None => self.fetch_root(Some(pin)).await?,
        };
        match self.certify(root, token, was).await {
            Err(error) if error.is_of_time() => {
                if clock.is_none()
                    && let Ok(manager) = self.known.select(&[])
                {
                    let told = introduce(&manager.address, &self.env, &self.spawner).await;
                    clock = told.ok().and_then(|told| told.clock);
                }
                Err(blame(error, clock))
            }
            joined => joined,
        }
    }

    /// Gets a certificate of the cluster with these roots.
    async fn certify(&self, root: RootCa, token: &str, was: Option<&NodeCertificate>) -> Result<Joined, JoinError> {
        let transport = TlsTransport::joining(&root, &self.env).map_err(|source| self.unusable(source))?;
        let channels = Channels::new(Arc::new(transport), ChannelOptions::default(), self.spawner.clone());
        let node = self.admission(&channels, &root, token, was).await?;
        channels.close();
        let becomes_manager = node.identity().role == NodeRole::Manager
            && was.is_none_or(|was| {
                was.identity().role == NodeRole::Worker || was.identity().node != node.identity().node
            });
        let lock = if becomes_manager { Some(self.lock(&root, &node).await?) } else { None };
        Ok(Joined { root, node, lock })
    }

    /// Gets a certificate. What a token asks for makes a node, so it is asked for once; when the connection is lost while
    /// the outcome is waited for, that is asked for again, of whichever manager.
    async fn admission(
        &self,
        channels: &Channels,
        root: &RootCa,
        token: &str,
        was: Option<&NodeCertificate>,
    ) -> Result<NodeCertificate, JoinError> {
        let ask = async |address: &str| request::ask(channels.authority(address).await?, token, was, &self.env).await;
        let asked = self.persist(ask).await?;
        let outcome =
            async |address: &str| request::outcome(channels.authority(address).await?, &asked, root, &self.env).await;
        self.persist(outcome).await
    }

    /// What locks managers, which only a manager is told: one that shows the certificate that this node has just been given.
    async fn lock(&self, root: &RootCa, node: &NodeCertificate) -> Result<ManagerLock, JoinError> {
        let credentials = Credentials::new(root.without_signer(), node.clone(), &self.env);
        let transport = TlsTransport::new(credentials.map_err(|source| self.unusable(source))?);
        let channels = Channels::new(Arc::new(transport), ChannelOptions::default(), self.spawner.clone());
        let lock = self.persist(async |address: &str| unlock::ask(channels.manager(address).await?).await).await?;
        channels.close();
        Ok(lock)
    }

    /// Asks one of the managers, and again, with pauses, what can get better by itself. Whoever could not answer is less
    /// likely to be the next.
    async fn persist<T>(&self, attempt: impl AsyncFn(&str) -> Result<T, JoinError>) -> Result<T, JoinError> {
        let attempt = async || {
            let manager = self.known.select(&[]).map_err(|_| JoinError::NoManager)?;
            let result = attempt(&manager.address).await;
            let observation = if result.is_ok() { OBSERVATION_DEFAULT } else { -OBSERVATION_DEFAULT };
            self.known.observe_if_known(&manager, observation);
            result
        };
        persist(&self.env, attempt).await
    }

    /// What was told cannot be used. Where there are several managers, they are all of one cluster.
    fn unusable(&self, source: CaError) -> JoinError {
        let address = self.known.list().into_iter().next().map(|remote| remote.address).unwrap_or_default();
        JoinError::Unusable { address, source }
    }
}

/// Reads a token that this node can join with.
fn parse(token: &str) -> Result<JoinToken, JoinError> {
    let token = JoinToken::parse(token).map_err(JoinError::Token)?;
    if token.requires_fips() { Err(JoinError::Fips) } else { Ok(token) }
}

/// Could that be the `host:port` of somebody?
fn is_address(address: &str) -> bool {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    address.rsplit_once(':').is_some_and(|(host, after)| !host.is_empty() && port(after))
}

/// Tries again, with pauses, what can get better by itself.
async fn persist<T>(env: &Env, attempt: impl AsyncFn() -> Result<T, JoinError>) -> Result<T, JoinError> {
    let (mut attempts, mut crowded) = (1, 0);
    let mut retry = Backoff::new(PAUSE, CROWDED_PAUSE_MAX, env.rng("join retry"));
    loop {
        match attempt().await {
            // A crowd that was sent away together must not come back together.
            Err(error) if error.is_crowded() && crowded < CROWDED_ATTEMPTS => {
                let pause = retry.next_delay();
                tracing::warn!("{error}; trying again in {} ms", pause.as_millis());
                crowded += 1;
                env.sleep(pause).await;
            }
            Err(error) if error.is_transient() && !error.is_crowded() && attempts < ATTEMPTS => {
                tracing::warn!("{error}; trying again in {} s ({attempts} of {ATTEMPTS})", PAUSE.as_secs());
                attempts += 1;
                env.sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;

//! Joining a cluster: learning its roots, and getting the first certificate with a token.

use std::{sync::Arc, time::Duration};

use swarmkit_api::NodeRole;
use swarmkit_ca::{Credentials, JoinToken, ManagerLock, NodeCertificate, RootCa, RootDigest};
use swarmkit_rpc::{ChannelOptions, Channels, ClockReading, TlsTransport, introduce};
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
    /// What locks the cluster's managers, if the node is one.
    pub(crate) lock: Option<ManagerLock>,
}

/// Asks a manager for the roots of its cluster. Without a token whoever answers is believed.
pub(crate) async fn learn_root(target: &Target, env: &Env, spawner: &Spawner) -> Result<RootCa, JoinError> {
    let token = target.token.as_deref().map(|token| parse(token)).transpose()?;
    if !is_address(&target.address) {
        return Err(JoinError::Address { address: target.address.clone() });
    }
    Ok(fetch(target, token.map(|token| token.digest()), env, spawner).await?.0)
}

/// The roots, and what the manager's clock says.
async fn fetch(
    target: &Target,
    pin: Option<RootDigest>,
    env: &Env,
    spawner: &Spawner,
) -> Result<(RootCa, Option<ClockReading>), JoinError> {
    let told = persist(env, async || Ok(introduce(&target.address, env, spawner).await?)).await?;
    warn_of(told.clock.as_ref());
    match told.root(pin, env.now()) {
        Ok(root) => Ok((root, told.clock)),
        Err(error) => Err(blame(error.into(), told.clock)),
    }
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
    if !is_address(&target.address) {
        return Err(JoinError::Address { address: target.address.clone() });
    }
    let pin = parse(token)?.digest();
    let (root, mut clock) = match known {
        Some(root) if root.digest() == pin => (root, None),
        Some(_) | None => fetch(target, Some(pin), env, spawner).await?,
    };
    let joined = certify(target, root, token, env, spawner).await;
    match joined {
        Err(error) if error.is_of_time() => {
            if clock.is_none() {
                clock = introduce(&target.address, env, spawner).await.ok().and_then(|told| told.clock);
            }
            Err(blame(error, clock))
        }
        joined => joined,
    }
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

/// Gets a certificate of the cluster with these roots.
async fn certify(
    target: &Target,
    root: RootCa,
    token: &str,
    env: &Env,
    spawner: &Spawner,
) -> Result<Joined, JoinError> {
    let unusable = |source| JoinError::Unusable { address: target.address.clone(), source };
    let transport = TlsTransport::joining(&root, env).map_err(unusable)?;
    let channels = Channels::new(Arc::new(transport), ChannelOptions::default(), spawner.clone());
    let node = admission(&channels, &target.address, &root, token, env).await?;
    let lock = match node.identity().role {
        NodeRole::Worker => None,
        NodeRole::Manager => {
            let credentials = Credentials::new(root.without_signer(), node.clone(), env).map_err(unusable)?;
            let transport = Arc::new(TlsTransport::new(credentials));
            let channels = Channels::new(transport, ChannelOptions::default(), spawner.clone());
            let lock = persist(env, async || unlock::ask(channels.manager(&target.address).await?).await).await?;
            channels.close();
            Some(lock)
        }
    };
    Ok(Joined { root, node, lock })
}

/// Gets a certificate by a token. What a token asks for makes a node, so it is asked for once; a connection that is lost
/// while the outcome is waited for is made anew.
async fn admission(
    channels: &Channels,
    address: &str,
    root: &RootCa,
    token: &str,
    env: &Env,
) -> Result<NodeCertificate, JoinError> {
    let asked = persist(env, async || request::ask(channels.authority(address).await?, token, env).await).await?;
    persist(env, async || request::outcome(channels.authority(address).await?, &asked, root, env).await).await
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

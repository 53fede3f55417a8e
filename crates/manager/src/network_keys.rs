//! The keys that nodes encrypt the traffic of networks with: made, replaced, and kept in the cluster object by the leader.
//!
//! Each use of keys has a ring of a few. Nodes encrypt with one and decrypt with all, so a new one does no harm to those
//! that have not heard of it yet. When a ring was last turned is written beside the keys: a new leader does not begin to
//! count anew. The dispatcher tells the keys to every node.

mod run;

use std::time::{Duration, SystemTime};

use swarmkit_api::{Cluster, wire::EncryptionKey, wire::encryption_key::Algorithm};
use swarmkit_runtime::Env;

pub(crate) use run::run;

/// How long a ring stays as it is, as upstream.
const PERIOD: Duration = Duration::from_secs(12 * 3600);
/// How many keys a ring has, as upstream: the one before, the present one, and the next.
const RING_KEYS: usize = 3;
/// How long a key is: that of AES with 128 bits.
const KEY_BYTES: usize = 16;

/// What keys are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// What nodes tell each other about networks.
    Gossip,
    /// The packets of networks that are to be encrypted.
    Ipsec,
}

/// What has to be done about the keys of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// There are none: the first ones are made.
    Make,
    /// The oldest of each ring gives way to a new one.
    Turn,
    /// It is not known how old they are, or they are from the future: their time begins now.
    Stamp,
    /// Nothing, for so long.
    Nothing(Duration),
}

impl Use {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Gossip, Self::Ipsec];

    /// Its name on the wire.
    fn name(self) -> &'static str {
        match self {
            Self::Gossip => "networking:gossip",
            Self::Ipsec => "networking:ipsec",
        }
    }
}

/// Does to the keys of a cluster what is due now, and gives how long there will be nothing to do.
///
/// Keys of other uses are left alone.
pub(crate) fn keep(cluster: &mut Cluster, uses: &[Use], env: &Env) -> Duration {
    let now = env.now();
    match due(cluster, now) {
        Due::Nothing(pause) => return pause,
        Due::Stamp => {}
        Due::Make => {
            cluster.encryption_key_lamport_clock = first_time(env);
            for _ in 0..RING_KEYS {
                uses.iter().for_each(|&of| add_key(cluster, of, env));
            }
        }
        Due::Turn => {
            for &of in uses {
                drop_oldest(&mut cluster.network_bootstrap_keys, of);
                add_key(cluster, of, env);
            }
        }
    }
    cluster.network_keys_rotated_at = Some(now.into());
    PERIOD
}

fn due(cluster: &Cluster, now: SystemTime) -> Due {
    if cluster.network_bootstrap_keys.is_empty() {
        return Due::Make;
    }
    let since = cluster.network_keys_rotated_at.and_then(|at| SystemTime::try_from(at).ok());
    match since.and_then(|since| now.duration_since(since).ok()) {
        None => Due::Stamp,
        Some(age) if age >= PERIOD => Due::Turn,
        Some(age) => Due::Nothing(PERIOD.saturating_sub(age)),
    }
}

/// A number that clusters do not have in common, up to 65535, as upstream.
fn first_time(env: &Env) -> u64 {
    let mut drawn = [0; 2];
    env.fill_random(&mut drawn);
    u16::from_le_bytes(drawn).into()
}

/// Adds a key that is newer than all the others.
fn add_key(cluster: &mut Cluster, of: Use, env: &Env) {
    let newest = cluster.network_bootstrap_keys.iter().map(|key| key.lamport_time).max();
    let time = cluster.encryption_key_lamport_clock.max(newest.unwrap_or_default()).saturating_add(1);
    let mut key = vec![0; KEY_BYTES];
    env.fill_random(&mut key);
    cluster.encryption_key_lamport_clock = time;
    cluster.network_bootstrap_keys.push(EncryptionKey {
        subsystem: of.name().to_owned(),
        algorithm: Algorithm::Aes128Gcm.into(),
        key: key.into(),
        lamport_time: time,
    });
}

/// Drops the oldest keys of a ring, until there is room for another one.
fn drop_oldest(keys: &mut Vec<EncryptionKey>, of: Use) {
    let is_of = |key: &EncryptionKey| key.subsystem == of.name();
    while keys.iter().filter(|key| is_of(key)).count() >= RING_KEYS {
        let ring = keys.iter().enumerate().filter(|(_, key)| is_of(key));
        let Some((oldest, _)) = ring.min_by_key(|(_, key)| key.lamport_time) else { return };
        keys.remove(oldest);
    }
}

#[cfg(test)]
mod tests;

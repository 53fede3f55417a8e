//! Who gets which keys when, and over several leaders.

use std::sync::atomic::{AtomicU32, Ordering};

use swarmkit_runtime::Crew;
use swarmkit_store::{Applier, LocalProposer, Proposal, ProposeError, Proposer, Store};
use tokio_util::sync::CancellationToken;

use super::*;

const NOON: Duration = Duration::from_secs(swarmkit_testing::EPOCH_SECONDS);

/// The uses and times of the keys that a cluster has, in order.
fn told(cluster: &Cluster) -> Vec<(&str, u64)> {
    let first = cluster.network_bootstrap_keys.iter().map(|key| key.lamport_time).min().unwrap_or_default();
    cluster.network_bootstrap_keys.iter().map(|key| (&*key.subsystem, key.lamport_time - first)).collect()
}

/// A cluster whose keys for gossip have these times, and were turned so long ago.
fn with_keys(times: &[u64], age: Duration) -> Cluster {
    let mut cluster = swarmkit_testing::cluster();
    let key = |&time: &u64| EncryptionKey {
        subsystem: Use::Gossip.name().to_owned(),
        lamport_time: time,
        ..Default::default()
    };
    cluster.network_bootstrap_keys = times.iter().map(key).collect();
    cluster.encryption_key_lamport_clock = times.iter().copied().max().unwrap_or_default();
    cluster.network_keys_rotated_at = Some((SystemTime::UNIX_EPOCH + NOON - age).into());
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_keys_gets_three_for_each_use_each_newer_than_the_one_before() {
    let mut cluster = swarmkit_testing::cluster();
    assert_eq!(keep(&mut cluster, &Use::ALL, &swarmkit_testing::env()), PERIOD);
    let (gossip, ipsec) = ("networking:gossip", "networking:ipsec");
    assert_eq!(told(&cluster), [(gossip, 0), (ipsec, 1), (gossip, 2), (ipsec, 3), (gossip, 4), (ipsec, 5)]);
    let keys = &cluster.network_bootstrap_keys;
    assert_eq!(cluster.encryption_key_lamport_clock, keys[5].lamport_time);
    assert!(keys[0].lamport_time <= 1 << 16, "the first time is drawn from 16 bits");
    for key in keys {
        assert_eq!((key.key.len(), key.algorithm), (16, 0));
        assert_eq!(keys.iter().filter(|other| other.key == key.key).count(), 1, "every key is another one");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_drops_the_oldest_key_of_each_use_whatever_their_order() {
    let env = swarmkit_testing::env();
    let mut cluster = with_keys(&[9, 7, 8], PERIOD);
    cluster.network_bootstrap_keys.push(EncryptionKey { subsystem: "of others".to_owned(), ..Default::default() });
    assert_eq!(keep(&mut cluster, &Use::ALL, &env), PERIOD);
    let times: Vec<_> = cluster.network_bootstrap_keys.iter().map(|key| (&*key.subsystem, key.lamport_time)).collect();
    let gossip = "networking:gossip";
    assert_eq!(
        times,
        [(gossip, 9), (gossip, 8), ("of others", 0), (gossip, 10), ("networking:ipsec", 11)],
        "a ring that is not full grows, and a key of others stays"
    );
    assert_eq!(cluster.encryption_key_lamport_clock, 11);
    assert_eq!(keep(&mut cluster, &Use::ALL, &env), PERIOD, "and not twice at once");
    assert_eq!(cluster.encryption_key_lamport_clock, 11);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_with_one_use_has_keys_of_that_use_only() {
    let mut cluster = swarmkit_testing::cluster();
    keep(&mut cluster, &[Use::Ipsec], &swarmkit_testing::env());
    let ipsec = "networking:ipsec";
    assert_eq!(told(&cluster), [(ipsec, 0), (ipsec, 1), (ipsec, 2)]);
}

#[tokio::test(start_paused = true)]
async fn keys_of_an_unknown_age_or_from_the_future_are_kept_for_a_whole_period() {
    let env = swarmkit_testing::env();
    for at in [None, Some((SystemTime::UNIX_EPOCH + NOON + PERIOD).into())] {
        let mut cluster = with_keys(&[1, 2, 3], PERIOD);
        cluster.network_keys_rotated_at = at;
        let keys = cluster.network_bootstrap_keys.clone();
        assert_eq!(keep(&mut cluster, &Use::ALL, &env), PERIOD);
        assert_eq!(cluster.network_bootstrap_keys, keys);
        assert_eq!(cluster.network_keys_rotated_at, Some(env.now().into()));
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_turned_in_time_however_often_the_leader_changes() {
    let env = swarmkit_testing::env();
    let store = Store::local(env.clone());
    store.update(|tx| tx.create(with_keys(&[1, 2, 3], Duration::ZERO)).map(drop)).await.unwrap();
    let clock = || store.view().cluster().unwrap().encryption_key_lamport_clock;
    for _ in 0..3 {
        let mut term = Crew::under(&CancellationToken::new());
        term.spawn("network keys", |stop| run(env.clone(), store.clone(), stop));
        env.sleep(Duration::from_secs(3600 * 11 / 3)).await;
        assert_eq!(clock(), 3, "it is not time yet");
        term.stop().cancel();
        term.finish().await.unwrap();
    }
    let version = store.version();
    let mut term = Crew::under(&CancellationToken::new());
    term.spawn("network keys", |stop| run(env.clone(), store.clone(), stop));
    env.sleep(Duration::from_secs(3600 - 1)).await;
    assert_eq!(store.version(), version, "nothing was written before the time");
    env.sleep(Duration::from_secs(2)).await;
    assert_eq!(clock(), 5);
    env.sleep(PERIOD).await;
    assert_eq!(clock(), 7);
    term.stop().cancel();
    term.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_appears_later_gets_its_keys_at_once() {
    let env = swarmkit_testing::env();
    let store = Store::local(env.clone());
    let mut term = Crew::under(&CancellationToken::new());
    term.spawn("network keys", |stop| run(env.clone(), store.clone(), stop));
    env.sleep(Duration::from_secs(1)).await;
    store.update(|tx| tx.create(swarmkit_testing::cluster()).map(drop)).await.unwrap();
    let before = env.now();
    let mut updates = store.watch(swarmkit_api::Kind::Cluster);
    while updates.next().await.unwrap().view().cluster().unwrap().network_bootstrap_keys.len() < 6 {}
    assert_eq!(env.now(), before);
    term.stop().cancel();
    term.finish().await.unwrap();
}

/// Takes every second proposal only.
#[derive(Default)]
struct Moody(LocalProposer, AtomicU32);

impl Proposer for Moody {
    fn attach(&self, applier: Applier) {
        self.0.attach(applier);
    }

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        if self.1.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            return Err(ProposeError::Failed("not now".to_owned()));
        }
        self.0.propose(proposal)
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_not_written_is_made_once_when_it_can_be() {
    let env = swarmkit_testing::env();
    let store = Store::new(env.clone(), Moody(LocalProposer::new(), AtomicU32::new(1)));
    store.update(|tx| tx.create(with_keys(&[1, 2, 3], PERIOD)).map(drop)).await.unwrap();
    let mut term = Crew::under(&CancellationToken::new());
    term.spawn("network keys", |stop| run(env.clone(), store.clone(), stop));
    env.sleep(Duration::from_secs(60)).await;
    let times: Vec<_> =
        store.view().cluster().unwrap().network_bootstrap_keys.iter().map(|key| key.lamport_time).collect();
    assert_eq!(times, [2, 3, 4, 5], "the attempt that failed has left nothing behind");
    term.stop().cancel();
    term.finish().await.unwrap();
}

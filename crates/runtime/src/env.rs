//! Where a node's time, chance and ids come from.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, TryRng, rngs::SmallRng, rngs::StdRng, rngs::SysRng};

/// How many characters an id has: enough for 128 random bits in base 36.
const ID_CHARS: usize = 25;

/// The digits of an id.
const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Where wall-clock time comes from.
///
/// Monotonic time is tokio's ([`tokio::time::Instant`]), which a simulation pauses and advances; a clock answers only
/// what belongs into records and certificates.
pub trait Clock: Send + Sync + 'static {
    /// The time of day. May jump, in both directions.
    fn now(&self) -> SystemTime;

    /// Waits until `period` has passed on tokio's clock.
    fn sleep(&self, period: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(period))
    }
}

/// The clock of the machine.
struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The time, chance and ids that a node is given. Clones share one source.
#[derive(Clone)]
pub struct Env(Arc<Source>);

struct Source {
    clock: Box<dyn Clock>,
    seed: u64,
    secrets: Mutex<StdRng>,
}

// === impl Env ===

impl Env {
    /// The machine's clock, and chance from the operating system.
    ///
    /// # Panics
    ///
    /// When the operating system has no randomness to give: nothing secret could be made after that.
    #[must_use]
    pub fn real() -> Self {
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed).expect("invariant: the operating system provides randomness");
        let mut secrets = StdRng::from_seed(seed);
        let seed = secrets.next_u64();
        Self(Arc::new(Source { clock: Box::new(SystemClock), seed, secrets: Mutex::new(secrets) }))
    }

    /// A given clock, and all chance from `seed`: the same seed gives the same ids, jitter and keys.
    ///
    /// Not for production: whoever knows the seed knows every secret.
    #[must_use]
    pub fn seeded(seed: u64, clock: impl Clock) -> Self {
        Self(Arc::new(Source { clock: Box::new(clock), seed, secrets: Mutex::new(StdRng::seed_from_u64(seed)) }))
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.0.clock.now()
    }

    /// Waits until `period` has passed.
    pub async fn sleep(&self, period: Duration) {
        self.0.clock.sleep(period).await;
    }

    /// A fast generator for decisions and jitter, not for secrets.
    ///
    /// It depends on the seed and the label only, never on what else was drawn.
    #[must_use]
    pub fn rng(&self, label: &str) -> SmallRng {
        SmallRng::seed_from_u64(mix(self.0.seed, label))
    }

    /// Fills `buffer` with randomness fit for keys and tokens.
    pub fn fill_random(&self, buffer: &mut [u8]) {
        self.0.secrets.lock().fill_bytes(buffer);
    }

    /// A fresh identifier: 25 characters of `0-9a-z`, the first one of `0-f`, as the wire's clients expect.
    #[must_use]
    pub fn new_id(&self) -> String {
        let mut bits = [0; 16];
        self.fill_random(&mut bits);
        let mut rest = u128::from_le_bytes(bits);
        let mut digits = [b'0'; ID_CHARS];
        for digit in digits.iter_mut().rev() {
            *digit = BASE36[(rest % 36) as usize];
            rest /= 36;
        }
        digits.iter().map(|&digit| char::from(digit)).collect()
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}

/// Folds a label into a seed (FNV-1a, then one round of splitmix64 to spread the bits).
fn mix(seed: u64, label: &str) -> u64 {
    let folded = label
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut bits = folded.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(12 * 3600)
        }
    }

    #[test]
    fn an_id_has_25_digits_of_base_36() {
        let env = Env::real();
        for _ in 0..1000 {
            let id = env.new_id();
            assert_eq!(id.len(), 25);
            assert!(id.bytes().all(|c| BASE36.contains(&c)), "{id}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_ids_and_numbers() {
        let (a, b) = (Env::seeded(7, Noon), Env::seeded(7, Noon));
        assert_eq!(a.new_id(), b.new_id());
        assert_eq!(a.rng("jitter").next_u64(), b.rng("jitter").next_u64());
        assert_ne!(a.rng("jitter").next_u64(), a.rng("placement").next_u64());
        assert_ne!(Env::seeded(8, Noon).new_id(), Env::seeded(7, Noon).new_id());
    }

    #[test]
    fn numbers_of_a_label_do_not_depend_on_other_draws() {
        let env = Env::seeded(7, Noon);
        let before = env.rng("jitter").next_u64();
        let _ = env.new_id();
        let _ = env.rng("placement").next_u64();
        assert_eq!(env.rng("jitter").next_u64(), before);
    }
}

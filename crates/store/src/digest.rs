//! What a whole state comes to in eight bytes, so that replicas can tell whether they hold the same.

use std::fmt;

use swarmkit_api::{AnyObject, Kind, Version};

/// Names the way in which objects are encoded by this version. Digests are compared only between replicas that agree on
/// it. To be raised whenever the bytes of any object change; a test with fixed objects notices.
pub(crate) const ENCODING: u64 = 1;

/// The digest of a state: the sum of those of its objects.
///
/// A sum does not depend on order, so it is kept up to date by adding what a write brings and subtracting what it takes,
/// and two replicas with the same objects have the same digest however they came to them: by writing, from the log, or
/// from a snapshot. It is made to find faults, not attacks: whoever can choose objects can make two states meet.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub(crate) u64);

/// Two replicas at the same version that do not hold the same: one of them has a fault, in memory or in its code.
///
/// Every change set names the digest of the state that it was built on, so a replica notices by itself when it applies
/// the next one. Who is right cannot be told from here, so nothing stops: the operator is to be told, and a replica that
/// differs from all others is to be given a snapshot of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Where it was noticed.
    pub version: Version,
    /// What this replica's state comes to.
    pub own: Digest,
    /// What that of the change set's proposer came to.
    pub proposer: Digest,
}

/// Odd constants with about as many ones as zeros: the fractions of the square roots of 2, 3 and 5.
const ROOTS: [u64; 3] = [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b];

impl Digest {
    /// The digest as a number, for metrics and messages.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// Of one object, from its encoded form.
    pub(crate) fn of_bytes(kind: Kind, encoded: &[u8]) -> Self {
        let mut state = ROOTS[0] ^ fold(kind as u64 + 1, ROOTS[1]);
        let mut pairs = encoded.chunks_exact(16);
        for pair in &mut pairs {
            let (first, second) = pair.split_at(8);
            state = fold(word(first) ^ ROOTS[1], word(second) ^ state);
        }
        let (first, second) = pairs.remainder().split_at(pairs.remainder().len().min(8));
        state = fold(word(first) ^ ROOTS[1], word(second) ^ state);
        Self(fold(state ^ ROOTS[2], encoded.len() as u64 ^ ROOTS[0]))
    }

    /// Of one object, where its encoded form is not at hand.
    pub(crate) fn of(object: &AnyObject) -> Self {
        let mut encoded = Vec::new();
        object.encode(&mut encoded);
        Self::of_bytes(object.kind(), &encoded)
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Up to eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// Both halves of the product: every bit of the result depends on nearly every bit of both numbers.
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_flipped_bit_changes_about_half_of_the_digest() {
        let bytes: Vec<u8> = (0..100).collect();
        let whole = Digest::of_bytes(Kind::Task, &bytes);
        let mut flipped = 0;
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let distance = (Digest::of_bytes(Kind::Task, &other).0 ^ whole.0).count_ones();
            assert!(distance > 8, "bit {bit} changes {distance} bits only");
            flipped += distance;
        }
        let mean = flipped / 800;
        assert!((28..=36).contains(&mean), "a bit changes {mean} bits of 64");
    }

    #[test]
    fn length_kind_and_zeros_count() {
        let mut seen = BTreeSet::new();
        for length in 0..64 {
            for kind in Kind::ALL {
                assert!(
                    seen.insert(Digest::of_bytes(kind, &vec![0; length])),
                    "{length} zeros of a {kind} meet others"
                );
            }
        }
    }
}

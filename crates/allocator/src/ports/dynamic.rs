//! The numbers of ports without a wish, of one protocol.

use std::ops::RangeInclusive;

/// The numbers that ports without a wish get, as upstream.
pub const DYNAMIC_PORTS: RangeInclusive<u32> = 30_000..=32_767;

const FIRST: u32 = *DYNAMIC_PORTS.start();
const COUNT: u32 = *DYNAMIC_PORTS.end() - FIRST + 1;
const WORDS: usize = COUNT.div_ceil(u64::BITS) as usize;

/// One bit for each number, set where it is taken, and where the search for a free one begins: after the one given out
/// last, so that a number that was let go is not reused at once.
#[derive(Clone, Debug)]
pub(super) struct Dynamic {
    taken: [u64; WORDS],
    next: u32,
}

impl Default for Dynamic {
    fn default() -> Self {
        let mut taken = [0; WORDS];
        // What lies beyond the range is never free.
        for beyond in COUNT..WORDS as u32 * u64::BITS {
            taken[(beyond / u64::BITS) as usize] |= 1 << (beyond % u64::BITS);
        }
        Self { taken, next: 0 }
    }
}

// === impl Dynamic ===

impl Dynamic {
    /// Takes a number. Those outside of the range are no business of it.
    pub(super) fn take(&mut self, number: u32) {
        if DYNAMIC_PORTS.contains(&number) {
            let at = number - FIRST;
            self.taken[(at / u64::BITS) as usize] |= 1 << (at % u64::BITS);
            self.next = (at + 1) % COUNT;
        }
    }

    /// Takes a number back.
    pub(super) fn put_back(&mut self, number: u32) {
        if DYNAMIC_PORTS.contains(&number) {
            let at = number - FIRST;
            self.taken[(at / u64::BITS) as usize] &= !(1 << (at % u64::BITS));
        }
    }

    /// All free numbers, the next one first. Each costs a look at the words between it and the one before.
    pub(super) fn free(mut self) -> impl Iterator<Item = u32> {
        std::iter::from_fn(move || {
            let at = self.free_from(self.next).or_else(|| self.free_from(0))?;
            self.take(FIRST + at);
            Some(FIRST + at)
        })
    }

    /// The first free one that is not before `from`.
    fn free_from(&self, from: u32) -> Option<u32> {
        let first = (from / u64::BITS) as usize;
        (first..WORDS).find_map(|word| {
            let before = if word == first { !(u64::MAX << (from % u64::BITS)) } else { 0 };
            let bit = (self.taken[word] | before).trailing_ones();
            (bit < u64::BITS).then_some(word as u32 * u64::BITS + bit)
        })
    }
}

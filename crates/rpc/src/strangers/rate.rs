//! How often each address may ask: so many at once, and then one at each interval.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::block::Block;
use crate::limits::{ADDRESSES_COUNTED, ASKED_EVERY};

/// What each address has asked lately.
///
/// For each it is enough to know when all that it has asked will have been earned back: one moment, no counter that must be
/// kept up, and an address for which that moment has passed need not be kept at all.
pub(super) struct Rates {
    at_once: u32,
    earned: BTreeMap<Block, Instant>,
}

impl Rates {
    pub(super) fn new(at_once: u32) -> Self {
        Self { at_once, earned: BTreeMap::new() }
    }

    /// Whether an address may ask now. If so, it has.
    pub(super) fn ask(&mut self, block: Block, now: Instant) -> bool {
        let earned = self.earned.get(&block).copied().unwrap_or(now).max(now) + ASKED_EVERY;
        if earned - now > ASKED_EVERY * self.at_once {
            return false;
        }
        if self.earned.len() >= ADDRESSES_COUNTED && !self.earned.contains_key(&block) {
            self.forget(now);
        }
        self.earned.insert(block, earned);
        true
    }

    /// Gives an address some of what it has asked back.
    pub(super) fn give_back(&mut self, block: Block, questions: u32) {
        if let Some(earned) = self.earned.get_mut(&block) {
            *earned -= ASKED_EVERY * questions;
        }
    }

    /// Forgets who has earned back all, or else the eighth that has asked least: an eighth, so that not every newcomer costs a
    /// walk through all of them.
    fn forget(&mut self, now: Instant) {
        self.earned.retain(|_, earned| *earned > now);
        if self.earned.len() >= ADDRESSES_COUNTED {
            let mut moments: Vec<_> = self.earned.values().copied().collect();
            let (_, least, _) = moments.select_nth_unstable(ADDRESSES_COUNTED / 8);
            let least = *least;
            self.earned.retain(|_, earned| *earned > least);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use super::*;

    fn block(number: u32) -> Block {
        let ip = std::net::Ipv4Addr::from_bits(number);
        Block::of(Some(SocketAddr::from((ip, 1))))
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_and_then_one_at_each_interval() {
        let (mut rates, now) = (Rates::new(10), Instant::now());
        assert_eq!((0..100).filter(|_| rates.ask(block(1), now)).count(), 10);
        assert!(rates.ask(block(2), now), "each address for itself");
        let later = now + ASKED_EVERY * 3;
        assert_eq!((0..100).filter(|_| rates.ask(block(1), later)).count(), 3);
        let much_later = now + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| rates.ask(block(1), much_later)).count(), 10, "no more than that is saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_may_be_asked_again_and_is_not_saved_up() {
        let (mut rates, now) = (Rates::new(10), Instant::now() + Duration::from_secs(1));
        rates.give_back(block(1), 4);
        assert_eq!((0..100).filter(|_| rates.ask(block(1), now)).count(), 10);
        rates.give_back(block(1), 4);
        assert_eq!((0..100).filter(|_| rates.ask(block(1), now)).count(), 4);
        rates.give_back(block(1), 100);
        assert_eq!((0..100).filter(|_| rates.ask(block(1), now)).count(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_pays_nothing_for_it() {
        let (mut rates, now) = (Rates::new(1), Instant::now());
        assert!(rates.ask(block(1), now));
        assert!((0..1000).all(|_| !rates.ask(block(1), now)));
        assert!(rates.ask(block(1), now + ASKED_EVERY));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_addresses_are_kept_than_there_is_room_for_and_the_worst_longest() {
        let (mut rates, now) = (Rates::new(10), Instant::now());
        assert_eq!((0..100).filter(|_| rates.ask(block(0), now)).count(), 10);
        for number in 1..20_000 {
            assert!(rates.ask(block(number), now));
            assert!(rates.earned.len() <= ADDRESSES_COUNTED);
        }
        assert!(!rates.ask(block(0), now), "it is not forgotten for those that have asked less");
        assert!(rates.ask(block(0), now + Duration::from_secs(1)));
        rates.forget(now + Duration::from_secs(10));
        assert!(rates.earned.is_empty());
    }
}

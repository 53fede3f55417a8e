//! When to renew a certificate: long before it ends, and not all nodes at once.

use std::time::{Duration, SystemTime};

use rand::{RngExt as _, rngs::SmallRng};

use crate::certificate::Validity;

const MINUTE: Duration = Duration::from_secs(60);

/// A moment between 50 and 80 percent of the span, to the minute, drawn evenly. As upstream.
#[must_use]
pub fn renewal_time(validity: Validity, rng: &mut SmallRng) -> SystemTime {
    let span = validity.not_after.duration_since(validity.not_before).unwrap_or_default();
    let minutes = u32::try_from(span.as_secs() / MINUTE.as_secs()).unwrap_or(u32::MAX);
    let (earliest, latest) = (minutes / 2, (u64::from(minutes) * 4 / 5) as u32);
    let chosen = if earliest < latest { rng.random_range(earliest..latest) } else { earliest };
    validity.not_before + MINUTE * chosen
}

/// How long to wait from `now` until renewing: nothing when the drawn moment has passed.
#[must_use]
pub fn renewal_delay(validity: Validity, now: SystemTime, rng: &mut SmallRng) -> Duration {
    renewal_time(validity, rng).duration_since(now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;

    use super::*;

    fn validity(minutes: u32) -> Validity {
        let not_before = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Validity { not_before, not_after: not_before + MINUTE * minutes }
    }

    proptest! {
        #[test]
        fn the_moment_lies_between_50_and_80_percent(minutes in 10_u32..2_000_000, seed: u64) {
            let span = validity(minutes);
            let waited = renewal_time(span, &mut SmallRng::seed_from_u64(seed)).duration_since(span.not_before).unwrap();
            prop_assert!(waited >= MINUTE * (minutes / 2));
            prop_assert!(waited < MINUTE * (minutes * 4 / 5));
            prop_assert_eq!(waited.as_secs() % 60, 0);
        }
    }

    #[test]
    fn every_minute_of_the_window_is_drawn_and_no_other() {
        // ⌊0.5 · 61⌋ to ⌊0.8 · 61⌋, the end not included, whatever seconds are left over.
        let mut span = validity(61);
        span.not_after += Duration::from_secs(59);
        let mut rng = SmallRng::seed_from_u64(1);
        let drawn: std::collections::BTreeSet<u64> = (0..2_000)
            .map(|_| renewal_time(span, &mut rng).duration_since(span.not_before).unwrap().as_secs())
            .collect();
        assert_eq!(drawn, (30..48).map(|minute| minute * 60).collect());
    }

    #[test]
    fn a_span_too_short_to_choose_from_is_renewed_at_its_half() {
        let span = validity(1);
        assert_eq!(renewal_time(span, &mut SmallRng::seed_from_u64(1)), span.not_before);
    }

    #[test]
    fn a_moment_that_has_passed_means_now() {
        let span = validity(100);
        assert_eq!(renewal_delay(span, span.not_after, &mut SmallRng::seed_from_u64(1)), Duration::ZERO);
        assert!(renewal_delay(span, span.not_before, &mut SmallRng::seed_from_u64(1)) >= MINUTE * 50);
    }
}

//! Points in time: how long ago, and exactly when.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 12 * MONTH;
const LONG_WHILE: u64 = 37 * YEAR;

/// `3 minutes ago`, `2 weeks from now`, `now`. Empty without a time.
#[must_use]
pub fn relative(time: Option<&Timestamp>, now: SystemTime) -> String {
    let Some(time) = time.and_then(|time| SystemTime::try_from(*time).ok()) else { return String::new() };
    match now.duration_since(time) {
        Ok(age) => phrase(age, "ago"),
        Err(ahead) => phrase(ahead.duration(), "from now"),
    }
}

fn phrase(distance: Duration, direction: &str) -> String {
    let seconds = distance.as_secs();
    let (count, unit) = match seconds {
        0 => return "now".to_owned(),
        1..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        DAY..WEEK => (seconds / DAY, "day"),
        WEEK..MONTH => (seconds / WEEK, "week"),
        MONTH..YEAR => (seconds / MONTH, "month"),
        // One and a half years are called two, as existing tools do.
        YEAR..LONG_WHILE if seconds < 18 * MONTH => (1, "year"),
        YEAR..LONG_WHILE => ((seconds / YEAR).max(2), "year"),
        _ => return format!("a long while {direction}"),
    };
    format!("{count} {unit}{} {direction}", if count == 1 { "" } else { "s" })
}

/// UTC in the form of RFC 3339, with as many decimals as there are. Empty without a time.
#[must_use]
pub fn absolute(time: Option<&Timestamp>) -> String {
    let time = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

/// The time that has passed, in whole seconds of one or two units: `7s`, `3m12s`, `5h2m`, `4d3h`. Zero without a time.
#[must_use]
pub fn since(time: Option<&Timestamp>, now: SystemTime) -> String {
    let time = time.and_then(|time| SystemTime::try_from(*time).ok());
    let seconds = time.and_then(|time| now.duration_since(time).ok()).unwrap_or_default().as_secs();
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m{}s", seconds / MINUTE, seconds % MINUTE),
        HOUR..DAY => format!("{}h{}m", seconds / HOUR, seconds % HOUR / MINUTE),
        _ => format!("{}d{}h", seconds / DAY, seconds % DAY / HOUR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_told_in_their_largest_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100 * YEAR);
        for (seconds, text) in [
            (0, "now"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (2 * MINUTE, "2 minutes"),
            (HOUR, "1 hour"),
            (23 * HOUR, "23 hours"),
            (DAY, "1 day"),
            (6 * DAY, "6 days"),
            (WEEK, "1 week"),
            (29 * DAY, "4 weeks"),
            (MONTH, "1 month"),
            (359 * DAY, "11 months"),
            (YEAR, "1 year"),
            (18 * MONTH - 1, "1 year"),
            (18 * MONTH, "2 years"),
            (3 * YEAR, "3 years"),
            (37 * YEAR, "a long while"),
        ] {
            let past = Timestamp::from(now - Duration::from_secs(seconds));
            let future = Timestamp::from(now + Duration::from_secs(seconds));
            let (ago, ahead) = match seconds {
                0 => ("now".to_owned(), "now".to_owned()),
                _ => (format!("{text} ago"), format!("{text} from now")),
            };
            assert_eq!(relative(Some(&past), now), ago);
            assert_eq!(relative(Some(&future), now), ahead);
        }
        assert_eq!(relative(None, now), "");
    }

    #[test]
    fn ages_have_at_most_two_units() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR);
        for (seconds, text) in [(0, "0s"), (59, "59s"), (192, "3m12s"), (HOUR, "1h0m"), (4 * DAY + 3 * HOUR, "4d3h")] {
            let time = Timestamp::from(now - Duration::from_secs(seconds));
            assert_eq!(since(Some(&time), now), text);
        }
        assert_eq!(since(Some(&Timestamp::from(now + Duration::from_secs(5))), now), "0s");
    }

    #[test]
    fn exact_times_have_only_the_decimals_they_need() {
        let at = |seconds, nanos| absolute(Some(&Timestamp { seconds, nanos }));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_700_000_000, 120_000_000), "2023-11-14T22:13:20.12Z");
        assert_eq!(at(1_700_000_000, 1), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(absolute(None), "");
    }
}

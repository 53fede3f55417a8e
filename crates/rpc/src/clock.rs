//! How far the clocks of two machines are apart, as a manager tells whoever asks it for its roots or for a certificate.
//!
//! Certificates are valid by the clock, and a clock that is wrong by hours shows as a certificate that cannot be used. A
//! header of ours in two answers lets the other side name the cause; who does not know it is not disturbed.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use tonic::{
    Response,
    metadata::{MetadataMap, MetadataValue},
};

/// The header: milliseconds of the Unix epoch.
const TIME: &str = "swarmkit-time";
/// How many digits it has, until the year 2286. Always as many, so that no answer is longer than another.
const DIGITS: usize = 13;

/// From which difference on people are told. Certificates are back-dated by an hour and roots by five minutes, so less does
/// no harm.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Tells the caller what this machine's clock says.
pub fn tell_time<T>(answer: &mut Response<T>, now: SystemTime) {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let text = format!("{:0DIGITS$}", since.as_millis());
    if let Ok(value) = MetadataValue::try_from(text) {
        answer.metadata_mut().insert(TIME, value);
    }
}

/// Two clocks, read at the same moment as well as that can be had over a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Whose clock the other one is.
    pub address: String,
    /// What this machine's clock says.
    pub here: SystemTime,
    /// What the other one says.
    pub there: SystemTime,
}

impl ClockReading {
    /// Reads what an answer tells, if it tells anything. It was asked for when the clock here said `asked`, and came after
    /// `took`; half of that is taken for the way back.
    #[must_use]
    pub fn of(address: &str, told: &MetadataMap, asked: SystemTime, took: Duration) -> Option<Self> {
        let millis = told.get(TIME)?.to_str().ok()?.parse().ok()?;
        let there = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))?;
        Some(Self { address: address.to_owned(), here: asked.checked_add(took / 2)?, there })
    }

    /// How far apart they are, whichever is ahead.
    #[must_use]
    pub fn apart(&self) -> Duration {
        let behind = self.there.duration_since(self.here);
        behind.unwrap_or_else(|ahead| ahead.duration())
    }

    /// Whether that is more than [`CLOCK_TOLERANCE`].
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.apart() > CLOCK_TOLERANCE
    }
}

/// `this machine's clock is 3 h 12 min behind that of 10.0.0.1:4242`
impl fmt::Display for ClockReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.here < self.there { "behind" } else { "ahead of" };
        write!(f, "this machine's clock is {} {direction} that of {}", Coarse(self.apart()), self.address)
    }
}

/// A span in its two largest units.
struct Coarse(Duration);

impl fmt::Display for Coarse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
        let seconds = self.0.as_secs();
        let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
        let (unit, name) = UNITS[first];
        write!(f, "{} {name}", seconds / unit)?;
        match UNITS.get(first + 1).map(|(smaller, name)| (seconds % unit / smaller, name)) {
            Some((rest, name)) if rest > 0 => write!(f, " {rest} {name}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn reading(here: u64, there: u64) -> ClockReading {
        ClockReading { address: "10.0.0.1:4242".into(), here: at(here), there: at(there) }
    }

    #[test]
    fn what_is_told_is_read_with_half_the_way_taken_off() {
        let mut answer = Response::new(());
        tell_time(&mut answer, at(1_785_585_600));
        assert_eq!(answer.metadata().get(TIME).unwrap().to_str().unwrap(), "1785585600000");
        let read = ClockReading::of("m:1", answer.metadata(), at(1_785_585_590), Duration::from_secs(4)).unwrap();
        assert_eq!((read.here, read.there), (at(1_785_585_592), at(1_785_585_600)));
        assert_eq!(read.apart(), Duration::from_secs(8));
        tell_time(&mut answer, at(1));
        assert_eq!(answer.metadata().get(TIME).unwrap().to_str().unwrap().len(), DIGITS, "always as long");
    }

    #[test]
    fn nonsense_and_nothing_are_no_reading() {
        let mut told = MetadataMap::new();
        assert_eq!(ClockReading::of("m:1", &told, at(1), Duration::ZERO), None);
        for wrong in ["", "noon", "-1", "99999999999999999999999"] {
            told.insert(TIME, wrong.parse().unwrap());
            assert_eq!(ClockReading::of("m:1", &told, at(1), Duration::ZERO), None, "{wrong:?}");
        }
        told.insert(TIME, u64::MAX.to_string().parse().unwrap());
        drop(ClockReading::of("m:1", &told, at(1), Duration::ZERO));
    }

    #[test]
    fn a_difference_is_told_in_its_two_largest_units() {
        let behind = |seconds: u64| reading(1_000_000, 1_000_000 + seconds).to_string();
        let whole = "this machine's clock is 3 h 12 min behind that of 10.0.0.1:4242";
        assert_eq!(behind(3 * 3600 + 12 * 60 + 40), whole);
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (300, "5 min"), (3661, "1 h 1 min"), (200_000, "2 d 7 h")] {
            assert!(behind(seconds).contains(&format!(" {text} ")), "{}", behind(seconds));
        }
        let ahead = reading(7200, 0).to_string();
        assert_eq!(ahead, "this machine's clock is 2 h ahead of that of 10.0.0.1:4242");
    }

    #[test]
    fn five_minutes_are_tolerated_in_both_directions() {
        for (here, there) in [(300, 0), (0, 300)] {
            assert!(!reading(here, there).is_wrong());
        }
        for (here, there) in [(301, 0), (0, 301)] {
            assert!(reading(here, there).is_wrong());
        }
    }
}

//! Rules for requests, as pure functions over the wire's messages. Nothing here looks into the store.

mod container;
mod depends;
mod job;
mod name;
mod network;
mod payload;
mod placement;
mod priority;
mod rebalance;
mod service;
mod task;

pub(crate) use name::{dns_name, file_like_name};
pub(crate) use network::{PREDEFINED_LABEL, network};
pub(crate) use payload::{config, secret};
pub(crate) use placement::strategy;
pub(crate) use rebalance::rebalance_mode;
pub(crate) use service::service;

use prost_types::Duration;

use crate::ControlError;

type Checked = Result<(), ControlError>;

/// The longest duration that the wire knows, on either side: ten thousand years, in seconds.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;

/// How long a message says, in nanoseconds. `None` when it says nothing.
///
/// # Errors
///
/// When its two parts contradict each other, or it is beyond what the wire knows.
pub(crate) fn duration(field: &str, duration: Option<&Duration>) -> Result<Option<i128>, ControlError> {
    let Some(&Duration { seconds, nanos }) = duration else { return Ok(None) };
    let same_sign = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
    let in_range =
        (-DURATION_SECONDS_MAX..=DURATION_SECONDS_MAX).contains(&seconds) && nanos.unsigned_abs() < 1_000_000_000;
    if !same_sign || !in_range {
        return Err(ControlError::invalid(format!("{field}: duration is out of range")));
    }
    Ok(Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos)))
}

/// An absent or non-negative duration.
fn not_negative(field: &str, said: Option<&Duration>) -> Checked {
    if duration(field, said)?.is_some_and(|nanoseconds| nanoseconds < 0) {
        return Err(ControlError::invalid(format!("{field}: duration must not be negative")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_one_number_within_the_limits_of_the_wire() {
        let said = |seconds, nanos| duration("x", Some(&Duration { seconds, nanos })).map(Option::unwrap).ok();
        assert_eq!(said(1, 500), Some(1_000_000_500));
        assert_eq!(said(-1, -500), Some(-1_000_000_500));
        assert_eq!(said(0, -1), Some(-1));
        for (seconds, nanos) in [(1, -1), (-1, 1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0), (0, i32::MIN)] {
            assert_eq!(said(seconds, nanos), None, "{seconds} s {nanos} ns");
        }
    }
}

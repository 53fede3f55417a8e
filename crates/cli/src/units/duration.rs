//! Durations: `5s`, `1m30s`, `1.5h`.

use std::{fmt::Write as _, time::Duration};

/// The units, longest name first where one begins another.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The most fractional digits that can matter: an hour has 3.6e12 nanoseconds.
const FRACTION_DIGITS: usize = 12;

/// Reads a sequence of numbers with units, the largest unit being `h`. A bare `0` is fine, any other bare number is not.
///
/// # Errors
///
/// A sentence that names the fault, without the text itself.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as 10s, 500ms or 1m30s";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(EXPECTED.to_owned());
    }
    let mut nanos: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let Some(&(_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(EXPECTED.to_owned());
        };
        let part = scaled(number, factor).ok_or_else(|| EXPECTED.to_owned())?;
        nanos = nanos.saturating_add(part);
        rest = tail;
    }
    // As upstream, whose durations are signed 64-bit nanoseconds.
    i64::try_from(nanos)
        .map(|nanos| Duration::from_nanos(nanos.unsigned_abs()))
        .map_err(|_| "a duration cannot exceed 292 years".to_owned())
}

/// `number * factor`, cut off below one; `None` when `number` is no decimal number.
fn scaled(number: &str, factor: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let part: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let part = part * factor / 10_u128.pow(u32::try_from(digits.len()).ok()?);
    whole.checked_mul(factor)?.checked_add(part)
}

/// The form that existing tools print: `2160h0m0s`, `1m30s`, `1.5s`, `250ms`, `0s`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.subsec_nanos();
    let seconds = duration.as_secs();
    if seconds == 0 {
        return match nanos {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanos}ns"),
            1_000..1_000_000 => with_fraction(nanos / 1_000, nanos % 1_000, 3, "µs"),
            _ => with_fraction(nanos / 1_000_000, nanos % 1_000_000, 6, "ms"),
        };
    }
    let mut text = String::new();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if seconds >= 60 {
        let _ = write!(text, "{minutes}m");
    }
    text + &with_fraction(u32::try_from(seconds % 60).unwrap_or_default(), nanos, 9, "s")
}

fn with_fraction(whole: u32, fraction: u32, digits: usize, unit: &str) -> String {
    let text = format!("{whole}.{fraction:0digits$}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The wire's form.
#[must_use]
pub fn to_wire_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_commonly_written() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("2h45m10.5s", 9_910_500_000_000),
            ("1.5h", 5_400_000_000_000),
            ("500ms", 500_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("7ns", 7),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "5", "s", "5 s", "-5s", "1d", "1.2.3s", ".s", "5sec", "١s"] {
            assert_eq!(
                parse_duration(text),
                Err("expected a duration such as 10s, 500ms or 1m30s".to_owned()),
                "{text:?}"
            );
        }
        assert_eq!(parse_duration("9999999999h"), Err("a duration cannot exceed 292 years".to_owned()));
    }

    #[test]
    fn durations_are_printed_with_as_few_parts_as_needed() {
        for text in ["0s", "7ns", "1.5µs", "250ms", "1.5s", "59s", "1m0s", "1m30s", "1h0m0s", "2160h0m0s", "1h0m0.25s"]
        {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }
}

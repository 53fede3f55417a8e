//! Sizes, shares and times as people write them.

use std::time::Duration;

/// `64MiB`, `2GiB`, `512`: bytes.
pub(crate) fn bytes(text: &str) -> i64 {
    let (number, unit) = split(text);
    number
        * match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => panic!("`{text}` is no size: B, KiB, MiB or GiB"),
        }
}

/// `2`, `500m`: billionths of a processor.
pub(crate) fn nano_cpus(text: &str) -> i64 {
    let (number, unit) = split(text);
    number
        * match unit {
            "" => 1_000_000_000,
            "m" => 1_000_000,
            _ => panic!("`{text}` is no share of processors: a number, or thousandths with m"),
        }
}

/// `5s`, `100ms`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Duration {
    let (number, unit) = split(text);
    let number = u64::try_from(number).unwrap_or_else(|_| panic!("`{text}` is negative"));
    match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(60 * number),
        "h" => Duration::from_secs(3600 * number),
        _ => panic!("`{text}` is no time: ms, s, m or h"),
    }
}

pub(crate) fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn split(text: &str) -> (i64, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse().unwrap_or_else(|_| panic!("`{text}` has no number"));
    (number, &text[digits..])
}

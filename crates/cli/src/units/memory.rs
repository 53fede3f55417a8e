//! Sizes of memory: `512m`, `1.5g`, `64KiB`. Units are binary, as everywhere where memory is limited.

/// The prefixes, each 1024 times the one before.
const PREFIXES: &str = "kmgtp";

/// Reads a number with an optional unit (`b`, `k`, `m`, `g`, `t`, `p`, with or without `b` or `ib`, in any case).
///
/// # Errors
///
/// A sentence that names the fault, without the text itself.
pub fn parse_memory(text: &str) -> Result<i64, String> {
    const EXPECTED: &str = "expected a size such as 512m, 1.5g or a number of bytes";
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit == "ib" => None,
        "" => Some(0),
        prefix if prefix.chars().count() == 1 => PREFIXES.find(prefix).map(|index| index + 1),
        _ => None,
    };
    let factor = power.map(|power| 1024_u128.pow(u32::try_from(power).unwrap_or_default()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let (Some(factor), false) = (factor, whole.is_empty() || fraction.len() > 18 || fraction.contains('.')) else {
        return Err(EXPECTED.to_owned());
    };
    let whole: u128 = whole.parse().map_err(|_| EXPECTED.to_owned())?;
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| EXPECTED.to_owned())? };
    let part = part * factor / 10_u128.pow(u32::try_from(fraction.len()).unwrap_or_default());
    let bytes = whole.checked_mul(factor).and_then(|bytes| bytes.checked_add(part));
    bytes.and_then(|bytes| i64::try_from(bytes).ok()).ok_or_else(|| "a size cannot exceed 8 EiB".to_owned())
}

/// The form that existing tools print: `7.8 GiB`, `16 GiB`, `512 MiB`, `83 B`.
#[must_use]
pub fn format_memory(bytes: i64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let unit = bytes.ilog2() / 10;
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let value = (bytes as f64 / 1024_f64.powi(unit.cast_signed()) * 10.0 + 0.5).floor() / 10.0;
    let name = UNITS[unit as usize];
    if value < 10.0 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("64b", 64),
            ("1k", 1024),
            ("1kb", 1024),
            ("64KiB", 65_536),
            ("512m", 536_870_912),
            ("512M", 536_870_912),
            ("1.5g", 1_610_612_736),
            ("2 gb", 2_147_483_648),
            ("1t", 1_099_511_627_776),
        ] {
            assert_eq!(parse_memory(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "m", "-1m", "1x", "1kk", "1 ib", "1.2.3k", ".5g", "1e3", "1  g"] {
            let expected = "expected a size such as 512m, 1.5g or a number of bytes";
            assert_eq!(parse_memory(text), Err(expected.to_owned()), "{text:?}");
        }
        assert_eq!(parse_memory("9000000p"), Err("a size cannot exceed 8 EiB".to_owned()));
    }

    #[test]
    fn sizes_are_printed_with_one_decimal_below_ten() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (83, "83 B"),
            (1024, "1.0 KiB"),
            (536_870_912, "512 MiB"),
            (8_375_186_227, "7.8 GiB"),
            (17_179_869_184, "16 GiB"),
            (i64::MAX, "8.0 EiB"),
        ] {
            assert_eq!(format_memory(bytes), text);
        }
    }
}

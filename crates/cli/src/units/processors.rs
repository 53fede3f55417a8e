//! Shares of a processor: `0.5`, `2`, `1.25`, kept as billionths.

/// Reads a decimal number with at most nine decimals.
///
/// # Errors
///
/// A sentence that names the fault, without the text itself.
pub fn parse_processors(text: &str) -> Result<i64, String> {
    const EXPECTED: &str = "expected a number of processors such as 2 or 0.5";
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(EXPECTED.to_owned());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err("a number of processors has at most nine decimals".to_owned());
    }
    format!("{whole}{fraction:0<9}").parse().map_err(|_| "that many processors cannot be".to_owned())
}

/// The shortest decimal form.
#[must_use]
pub fn format_processors(nano_cpus: i64) -> String {
    let (whole, fraction) = (nano_cpus / 1_000_000_000, (nano_cpus % 1_000_000_000).abs());
    format!("{whole}.{fraction:09}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_exactly_and_printed_shortest() {
        for (text, nano, shortest) in [
            ("2", 2_000_000_000, "2"),
            ("0.5", 500_000_000, "0.5"),
            (".25", 250_000_000, "0.25"),
            ("1.", 1_000_000_000, "1"),
            ("0.000000001", 1, "0.000000001"),
            ("0.1000000000000", 100_000_000, "0.1"),
            ("0", 0, "0"),
        ] {
            assert_eq!(parse_processors(text), Ok(nano), "{text}");
            assert_eq!(format_processors(nano), shortest);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", ".", "two", "-1", "1e3", "1/2", "0,5"] {
            let expected = "expected a number of processors such as 2 or 0.5";
            assert_eq!(parse_processors(text), Err(expected.to_owned()), "{text:?}");
        }
        assert!(parse_processors("0.0000000001").unwrap_err().contains("nine decimals"));
        assert!(parse_processors("99999999999999999999").is_err());
    }
}

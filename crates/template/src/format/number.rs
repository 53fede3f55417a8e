//! Floating-point numbers as the language writes them.

/// From which exponent on a number has one, if as few digits are written as tell it from all others.
const EXPONENT_FROM: i32 = 6;

/// `%g`: with an exponent when it is very large or small. With a precision, so many digits; without, as few as tell it from
/// all others.
pub(super) fn general(number: f64, precision: Option<usize>) -> String {
    let scientific = match precision {
        Some(digits) => format!("{:.*e}", digits.max(1) - 1, number),
        None => format!("{number:e}"),
    };
    let Some((digits, exponent)) = scientific.split_once('e') else { return special(number) };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    let written = i32::try_from(digits.bytes().filter(u8::is_ascii_digit).count()).unwrap_or(i32::MAX);
    let limit = match precision {
        None => EXPONENT_FROM,
        Some(precision) => {
            let precision = i32::try_from(precision.max(1)).unwrap_or(i32::MAX);
            if precision > written && written > exponent { written } else { precision }
        }
    };
    if exponent < -4 || exponent >= limit {
        return with_exponent(&format!("{digits}e{exponent}"));
    }
    let decimals = usize::try_from(written - exponent - 1).unwrap_or(0);
    // The digits are rounded already: rounding them again where they end changes nothing.
    let rounded = format!("{digits}e{exponent}").parse().unwrap_or(number);
    format!("{rounded:.decimals$}")
}

/// `%e`
pub(super) fn scientific(number: f64, precision: usize) -> String {
    if number.is_finite() { with_exponent(&format!("{number:.precision$e}")) } else { special(number) }
}

/// `%f`
pub(super) fn fixed(number: f64, precision: usize) -> String {
    if number.is_finite() { format!("{number:.precision$}") } else { special(number) }
}

/// The same with a decimal point in any case, and so many digits in all.
pub(super) fn pointed(text: &str, digits: Option<usize>) -> String {
    let (number, exponent) = text.split_once('e').map_or((text, ""), |(number, _)| (number, &text[number.len()..]));
    let mut number = number.to_owned();
    if !number.contains('.') {
        number.push('.');
    }
    let significant = number.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    // Zero has one digit that counts.
    let missing = digits.unwrap_or(0).saturating_sub(significant.max(1));
    number.push_str(&"0".repeat(missing));
    number + exponent
}

fn special(number: f64) -> String {
    match number {
        number if number.is_nan() => "NaN".to_owned(),
        number if number < 0.0 => "-Inf".to_owned(),
        _ => "+Inf".to_owned(),
    }
}

/// `1e5` as `1e+05`.
fn with_exponent(scientific: &str) -> String {
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific.to_owned() };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

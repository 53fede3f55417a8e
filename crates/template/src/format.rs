//! Values as text, in the ways that templates ask for.

use crate::value::Value;

/// The widest field and the longest precision.
const WIDTH_MAX: usize = 1_000_000;

/// How a value goes to the output.
pub(crate) fn plain(value: &Value) -> Vec<u8> {
    match value {
        Value::Nil => b"<no value>".to_vec(),
        other => general(other),
    }
}

/// `%v`
fn general(value: &Value) -> Vec<u8> {
    match value {
        Value::Nil => b"<nil>".to_vec(),
        Value::Bool(value) => value.to_string().into_bytes(),
        Value::Int(number) => number.to_string().into_bytes(),
        Value::Float(number) => shortest(*number).into_bytes(),
        Value::Str(text) => text.to_vec(),
        Value::Map(map) => {
            let pairs: Vec<_> =
                map.iter().map(|(key, value)| [key, b":".as_slice(), &general(value)].concat()).collect();
            [b"map[".as_slice(), &pairs.join(&b' '), b"]"].concat()
        }
        Value::Struct(fields) => {
            let values: Vec<_> = fields.iter().map(|(_, value)| general(value)).collect();
            [b"{".as_slice(), &values.join(&b' '), b"}"].concat()
        }
    }
}

/// As few digits as tell the number from all others; with an exponent when it is very large or small.
fn shortest(number: f64) -> String {
    let scientific = format!("{number:e}");
    let exponent: i32 = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if number != 0.0 && !(-4..21).contains(&exponent) { with_exponent(&scientific) } else { number.to_string() }
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

/// All values one after the other, with a space between two that are no strings.
pub(crate) fn print(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Str(_));
        if number > 0 && !is_text(value) && !is_text(&values[number - 1]) {
            out.push(b' ');
        }
        out.extend(general(value));
    }
    out
}

/// All values with spaces between them, and a line end.
pub(crate) fn println(values: &[Value]) -> Vec<u8> {
    let mut out = values.iter().map(general).collect::<Vec<_>>().join(&b' ');
    out.push(b'\n');
    out
}

/// One `%…` of a layout.
#[derive(Default)]
struct Verb {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Fills a layout with values. What does not fit is shown in the text, as `%!d(string=x)`.
pub(crate) fn printf(layout: &[u8], values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut rest, mut used) = (layout, 0);
    while let Some(start) = rest.iter().position(|byte| *byte == b'%') {
        out.extend_from_slice(&rest[..start]);
        rest = &rest[start + 1..];
        let mut verb = Verb::default();
        while let Some(flag) = rest.first().filter(|byte| b"-+# 0".contains(byte)) {
            match flag {
                b'-' => (verb.minus, verb.zero) = (true, false),
                b'+' => verb.plus = true,
                b'#' => verb.sharp = true,
                b' ' => verb.space = true,
                _ => verb.zero = !verb.minus,
            }
            rest = &rest[1..];
        }
        verb.width = number(&mut rest, values, &mut used);
        if rest.first() == Some(&b'.') {
            rest = &rest[1..];
            verb.precision = Some(number(&mut rest, values, &mut used).unwrap_or(0));
        }
        let letter = match std::str::from_utf8(rest).map_or_else(|error| &rest[..error.valid_up_to()], str::as_bytes) {
            [] => {
                out.extend_from_slice(b"%!(NOVERB)");
                break;
            }
            valid => std::str::from_utf8(valid).ok().and_then(|text| text.chars().next()).unwrap_or('%'),
        };
        rest = &rest[letter.len_utf8()..];
        if letter == '%' {
            out.push(b'%');
            continue;
        }
        match values.get(used) {
            None => out.extend_from_slice(format!("%!{letter}(MISSING)").as_bytes()),
            Some(value) => {
                used += 1;
                out.extend(verb.show(letter, value));
            }
        }
    }
    out.extend_from_slice(rest);
    if used < values.len() {
        let extra: Vec<_> = values[used..].iter().map(described).collect();
        out.extend([b"%!(EXTRA ".as_slice(), &extra.join(b", ".as_slice()), b")"].concat());
    }
    out
}

/// A width or precision: digits, or `*` for the next value.
fn number(rest: &mut &[u8], values: &[Value], used: &mut usize) -> Option<usize> {
    if rest.first() == Some(&b'*') {
        *rest = &rest[1..];
        let value = values.get(*used);
        *used += usize::from(value.is_some());
        return match value {
            Some(Value::Int(number)) => usize::try_from(*number).ok().filter(|number| *number <= WIDTH_MAX),
            _ => None,
        };
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&rest[..digits]).unwrap_or_default();
    *rest = &rest[digits..];
    text.parse().ok().filter(|number| *number <= WIDTH_MAX)
}

/// A value with its type, where it is out of place.
fn described(value: &Value) -> Vec<u8> {
    match value {
        Value::Nil => b"<nil>".to_vec(),
        other => [other.kind().as_bytes(), b"=", &general(other)].concat(),
    }
}

impl Verb {
    fn show(&self, letter: char, value: &Value) -> Vec<u8> {
        let text = match (letter, value) {
            ('T', value) => value.kind().as_bytes().to_vec(),
            ('v', Value::Int(number)) => return self.integer(&number.unsigned_abs().to_string(), *number < 0),
            ('v' | 'g', Value::Float(number)) => return self.signed(&shortest(number.abs()), *number < 0.0),
            ('v', value) => general(value),
            ('t', Value::Bool(value)) => value.to_string().into_bytes(),
            ('d', Value::Int(number)) => return self.integer(&number.unsigned_abs().to_string(), *number < 0),
            ('x', Value::Int(number)) => return self.based("0x", &format!("{:x}", number.unsigned_abs()), *number < 0),
            ('X', Value::Int(number)) => return self.based("0X", &format!("{:X}", number.unsigned_abs()), *number < 0),
            ('o', Value::Int(number)) => return self.based("0", &format!("{:o}", number.unsigned_abs()), *number < 0),
            ('b', Value::Int(number)) => return self.based("0b", &format!("{:b}", number.unsigned_abs()), *number < 0),
            ('c', Value::Int(number)) => character(*number).to_string().into_bytes(),
            ('q', Value::Int(number)) => format!("{:?}", character(*number)).into_bytes(),
            ('U', Value::Int(number)) => format!("U+{number:04X}").into_bytes(),
            ('f' | 'F', Value::Float(number)) => {
                return self.signed(&format!("{:.*}", self.precision.unwrap_or(6), number.abs()), *number < 0.0);
            }
            ('e', Value::Float(number)) => {
                let scientific = format!("{:.*e}", self.precision.unwrap_or(6), number.abs());
                return self.signed(&with_exponent(&scientific), *number < 0.0);
            }
            ('s', Value::Str(text)) => self.cut(text),
            ('q', Value::Str(text)) => quoted(&self.cut(text)),
            ('x', Value::Str(text)) => text.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect(),
            ('X', Value::Str(text)) => text.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect(),
            ('s', value @ (Value::Map(_) | Value::Struct(_))) => general(value),
            (letter, value) => [format!("%!{letter}(").as_bytes(), &described(value), b")"].concat(),
        };
        self.pad(text, false)
    }

    /// As many characters of a text as the precision says.
    fn cut(&self, text: &[u8]) -> Vec<u8> {
        let Some(precision) = self.precision else { return text.to_vec() };
        match std::str::from_utf8(text) {
            Ok(text) => text.chars().take(precision).collect::<String>().into_bytes(),
            Err(_) => text.iter().take(precision).copied().collect(),
        }
    }

    fn based(&self, prefix: &str, digits: &str, negative: bool) -> Vec<u8> {
        if self.sharp { self.integer(&format!("{prefix}{digits}"), negative) } else { self.integer(digits, negative) }
    }

    /// Whole numbers: the precision is the least number of digits.
    fn integer(&self, digits: &str, negative: bool) -> Vec<u8> {
        match self.precision {
            Some(least) => self.pad([self.sign(negative), &format!("{digits:0>least$}")].concat().into_bytes(), false),
            None => self.signed(digits, negative),
        }
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    fn signed(&self, digits: &str, negative: bool) -> Vec<u8> {
        let sign = self.sign(negative);
        if self.zero {
            let width = self.width.unwrap_or(0).saturating_sub(sign.len());
            return format!("{sign}{digits:0>width$}").into_bytes();
        }
        self.pad(format!("{sign}{digits}").into_bytes(), false)
    }

    /// Fills up to the width, counted in characters.
    fn pad(&self, text: Vec<u8>, zeros: bool) -> Vec<u8> {
        let missing = self.width.unwrap_or(0).saturating_sub(String::from_utf8_lossy(&text).chars().count());
        let filler = vec![if zeros || self.zero { b'0' } else { b' ' }; missing];
        if self.minus { [text, vec![b' '; missing]].concat() } else { [filler, text].concat() }
    }
}

fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// A text in double quotes, with escapes.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = String::from("\"");
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{b}' => out.push_str("\\v"),
                '\u{c}' => out.push_str("\\f"),
                c if c.is_control() && c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out.into_bytes()
}

/// Makes a text safe within HTML.
pub(crate) fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            other => out.push(*other),
        }
    }
    out
}

/// Makes a text safe within a string of JavaScript.
pub(crate) fn js(text: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(text.len());
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.into_bytes()
}

/// Makes a text safe within the query of a URL.
pub(crate) fn urlquery(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b' ' => out.push(b'+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) => out.push(*byte),
            byte => out.extend(format!("%{byte:02X}").into_bytes()),
        }
    }
    out
}

//! Values as text, in the ways that templates ask for.

mod layout;
mod number;
mod quote;

pub(crate) use layout::printf;

use crate::value::Value;

/// The most that one value may hold. What grows beyond it is cut off, and refused by whoever asked for it.
pub(crate) const VALUE_BYTES_MAX: usize = 4 << 20;

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
        Value::Float(number) => number::general(*number, None).into_bytes(),
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
            c if !quote::is_shown(c) => out.push_str(&format!("\\u{:04X}", u32::from(c))),
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

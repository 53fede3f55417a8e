//! Texts in quotes, with escapes.

use std::fmt::Write as _;

/// A text in double quotes. With `ascii`, everything else is escaped.
pub(super) fn text(text: &[u8], ascii: bool) -> String {
    let mut out = String::from("\"");
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|c| escape(&mut out, c, '"', ascii));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// A character in single quotes.
pub(super) fn character(c: char, ascii: bool) -> String {
    let mut out = String::from("'");
    escape(&mut out, c, '\'', ascii);
    out.push('\'');
    out
}

/// A text in back quotes, if it can be written so.
pub(super) fn raw(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let plain = |c: char| c == '\t' || !(c.is_ascii_control() || c == '`' || c == '\u{feff}');
    text.chars().all(plain).then(|| format!("`{text}`"))
}

/// Whether a character can be shown as it is.
pub(super) fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{ad}' | '\u{a0}')
        && !('\u{e000}'..='\u{f8ff}').contains(&c)
}

fn escape(out: &mut String, c: char, quote: char, ascii: bool) {
    let short = match c {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        '\\' => '\\',
        c if c == quote => quote,
        c if c.is_ascii() && !c.is_ascii_control() || !c.is_ascii() && !ascii && is_shown(c) => return out.push(c),
        c => {
            // Writing to a text does not fail.
            let _ = match u32::from(c) {
                code @ 0..0x80 => write!(out, "\\x{code:02x}"),
                code @ 0x80..0x10000 => write!(out, "\\u{code:04x}"),
                code => write!(out, "\\U{code:08x}"),
            };
            return;
        }
    };
    out.extend(['\\', short]);
}

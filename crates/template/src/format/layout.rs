//! Layouts of `printf`: the verbs, flags, widths, precisions and argument numbers of <https://pkg.go.dev/fmt>.

use super::{VALUE_BYTES_MAX, number, quote};
use crate::value::Value;

/// The widest field, the longest precision and the highest argument number.
const NUMBER_MAX: usize = 1_000_000;
/// How many decimals there are unless the layout says so.
const DECIMALS: usize = 6;

/// One `%…` of a layout.
#[derive(Clone, Copy, Default)]
struct Verb {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%+v`: with the names of fields.
    names: bool,
    /// `%#v`: texts in quotes.
    quotes: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Reads a layout.
struct Reader<'a> {
    rest: &'a [u8],
    values: &'a [Value],
    /// The next value to be used.
    next: usize,
    /// Numbers of arguments were given.
    reordered: bool,
    /// The number that was given last for the present verb names a value.
    known: bool,
    out: Vec<u8>,
}

/// Fills a layout with values. What does not fit is shown in the text, as `%!d(string=x)`.
pub(crate) fn printf(layout: &[u8], values: &[Value]) -> Vec<u8> {
    let mut reader = Reader { rest: layout, values, next: 0, reordered: false, known: true, out: Vec::new() };
    while let Some(start) = reader.rest.iter().position(|byte| *byte == b'%') {
        if reader.out.len() > VALUE_BYTES_MAX {
            return reader.out;
        }
        reader.out.extend_from_slice(&reader.rest[..start]);
        reader.rest = &reader.rest[start + 1..];
        reader.verb();
    }
    reader.out.extend_from_slice(reader.rest);
    if !reader.reordered && reader.next < values.len() {
        let extra: Vec<_> = values[reader.next..].iter().map(|value| Verb::default().described(value)).collect();
        reader.out.extend([b"%!(EXTRA ".as_slice(), &extra.join(b", ".as_slice()), b")"].concat());
    }
    reader.out
}

impl Reader<'_> {
    fn verb(&mut self) {
        self.known = true;
        let mut verb = Verb::default();
        while let Some(flag) = self.rest.first().filter(|byte| b"-+# 0".contains(byte)) {
            match flag {
                b'-' => (verb.minus, verb.zero) = (true, false),
                b'+' => verb.plus = true,
                b'#' => verb.sharp = true,
                b' ' => verb.space = true,
                _ => verb.zero = !verb.minus,
            }
            self.rest = &self.rest[1..];
        }
        let mut numbered = self.argument_number();
        if self.take(b'*') {
            match self.integer() {
                Some(width) if width < 0 => (verb.minus, verb.zero, verb.width) = (true, false, size(width)),
                Some(width) => verb.width = size(width),
                None => self.out.extend_from_slice(b"%!(BADWIDTH)"),
            }
            numbered = false;
        } else {
            verb.width = self.digits();
            self.known &= !(numbered && verb.width.is_some());
        }
        if self.take(b'.') {
            self.known &= !numbered;
            numbered = self.argument_number();
            if self.take(b'*') {
                let precision = self.integer().filter(|precision| *precision >= 0);
                if precision.is_none() {
                    self.out.extend_from_slice(b"%!(BADPREC)");
                }
                verb.precision = precision.and_then(size);
                numbered = false;
            } else {
                verb.precision = Some(self.digits().unwrap_or(0));
            }
        }
        if !numbered {
            self.argument_number();
        }
        self.fill(verb);
    }

    /// Writes the value of a verb, whose letter comes next.
    fn fill(&mut self, verb: Verb) {
        let valid = self.rest.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let Some(letter) = valid.chars().next() else {
            self.rest = &[];
            return self.out.extend_from_slice(b"%!(NOVERB)");
        };
        self.rest = &self.rest[letter.len_utf8()..];
        let told = match (letter, self.values.get(self.next)) {
            ('%', _) => b"%".to_vec(),
            _ if !self.known => format!("%!{letter}(BADINDEX)").into_bytes(),
            (_, None) => format!("%!{letter}(MISSING)").into_bytes(),
            (_, Some(value)) => {
                self.next += 1;
                verb.of(letter).show(letter, value)
            }
        };
        self.out.extend(told);
    }

    /// `[n]`: the next value is the nth.
    fn argument_number(&mut self) -> bool {
        if self.rest.first() != Some(&b'[') {
            return false;
        }
        self.reordered = true;
        let Some(end) = self.rest.iter().position(|byte| *byte == b']') else {
            (self.known, self.rest) = (false, &self.rest[1..]);
            return false;
        };
        let number = std::str::from_utf8(&self.rest[1..end]).ok().and_then(|digits| digits.parse::<usize>().ok());
        self.rest = &self.rest[end + 1..];
        match number.and_then(|number| number.checked_sub(1)).filter(|index| *index < self.values.len()) {
            Some(index) => self.next = index,
            None => self.known = false,
        }
        true
    }

    /// The next value, for a width or precision.
    fn integer(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        match value {
            Value::Int(number) if size(*number).is_some() => Some(*number),
            _ => None,
        }
    }

    fn digits(&mut self) -> Option<usize> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&self.rest[..digits]).unwrap_or_default();
        self.rest = &self.rest[digits..];
        text.parse().ok().filter(|number| *number <= NUMBER_MAX)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.rest.first() == Some(&byte);
        self.rest = &self.rest[usize::from(is_next)..];
        is_next
    }
}

/// A width or precision, without its sign.
fn size(number: i64) -> Option<usize> {
    usize::try_from(number.unsigned_abs()).ok().filter(|number| *number <= NUMBER_MAX)
}

impl Verb {
    /// For `%v`, two flags mean something else.
    fn of(self, letter: char) -> Self {
        match letter {
            'v' => Self { names: self.plus, plus: false, quotes: self.sharp, sharp: false, ..self },
            _ => self,
        }
    }

    /// A value with its type, where it is out of place.
    fn described(self, value: &Value) -> Vec<u8> {
        match value {
            Value::Nil => b"<nil>".to_vec(),
            other => [other.kind().as_bytes(), b"=", &self.show('v', other)].concat(),
        }
    }

    fn show(self, letter: char, value: &Value) -> Vec<u8> {
        match (letter, value) {
            ('T', value) => self.pad(value.kind().as_bytes()),
            ('v', Value::Nil) => self.pad(b"<nil>"),
            ('v' | 't', Value::Bool(value)) => self.pad(value.to_string().as_bytes()),
            (_, Value::Int(number)) => self.int(letter, *number),
            (_, Value::Float(number)) => self.float(letter, *number),
            (_, Value::Str(text)) => self.text(letter, text),
            (_, Value::Map(map)) if letter != 'p' => {
                let mut out = b"map[".to_vec();
                for (number, (key, value)) in map.iter().enumerate() {
                    if out.len() > VALUE_BYTES_MAX {
                        break;
                    }
                    out.extend_from_slice(if number > 0 { b" " } else { b"" });
                    out.extend(self.text(letter, key));
                    out.push(b':');
                    out.extend(self.show(letter, value));
                }
                out.push(b']');
                out
            }
            (_, Value::Struct(fields)) if letter != 'p' => {
                let name = |name: &str| if self.names || self.quotes { format!("{name}:") } else { String::new() };
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(field, value)| [name(field).as_bytes(), &self.show(letter, value)].concat())
                    .collect();
                [b"{".as_slice(), &fields.join(&b' '), b"}"].concat()
            }
            _ => self.misplaced(letter, value),
        }
    }

    fn misplaced(self, letter: char, value: &Value) -> Vec<u8> {
        [format!("%!{letter}(").as_bytes(), &self.described(value), b")"].concat()
    }

    fn int(self, letter: char, number: i64) -> Vec<u8> {
        let size = number.unsigned_abs();
        match letter {
            'v' | 'd' => self.digits("", &size.to_string(), number),
            'b' => self.digits("0b", &format!("{size:b}"), number),
            'o' => self.digits("0", &format!("{size:o}"), number),
            'O' => Self { sharp: true, ..self }.digits("0o", &format!("{size:o}"), number),
            'x' => self.digits("0x", &format!("{size:x}"), number),
            'X' => self.digits("0X", &format!("{size:X}"), number),
            'c' => self.pad(character(number).to_string().as_bytes()),
            'q' => self.pad(quote::character(character(number), self.plus).as_bytes()),
            'U' => {
                let code = format!("U+{number:0width$X}", width = self.precision.unwrap_or(0).max(4));
                let shown =
                    u32::try_from(number).ok().and_then(char::from_u32).filter(|c| self.sharp && quote::is_shown(*c));
                let shown = shown.map(|c| format!(" '{c}'")).unwrap_or_default();
                Self { zero: false, ..self }.pad(format!("{code}{shown}").as_bytes())
            }
            _ => self.misplaced(letter, &Value::Int(number)),
        }
    }

    /// A whole number: the precision is the least number of digits.
    fn digits(self, prefix: &str, digits: &str, number: i64) -> Vec<u8> {
        if self.precision == Some(0) && number == 0 {
            return vec![b' '; self.width.unwrap_or(0)];
        }
        let sign = self.sign(number < 0);
        let zeros = self.width.filter(|_| self.zero).map(|width| width.saturating_sub(sign.len()));
        let least = self.precision.or(zeros).unwrap_or(0);
        let digits = format!("{digits:0>least$}");
        let prefix = if self.sharp && !(prefix == "0" && digits.starts_with('0')) { prefix } else { "" };
        Self { zero: false, ..self }.pad(format!("{sign}{prefix}{digits}").as_bytes())
    }

    fn float(self, letter: char, number: f64) -> Vec<u8> {
        let (size, precision) = (number.abs(), self.precision);
        let mut text = match letter {
            'v' | 'g' | 'G' => number::general(size, precision),
            'e' | 'E' => number::scientific(size, precision.unwrap_or(DECIMALS)),
            'f' | 'F' => number::fixed(size, precision.unwrap_or(DECIMALS)),
            _ => return self.misplaced(letter, &Value::Float(number)),
        };
        if self.sharp {
            let digits = matches!(letter, 'v' | 'g' | 'G').then(|| precision.unwrap_or(DECIMALS));
            text = number::pointed(&text, digits);
        }
        if letter.is_ascii_uppercase() {
            text.make_ascii_uppercase();
        }
        let sign = self.sign(number.is_sign_negative());
        match self.width {
            Some(width) if self.zero => {
                format!("{sign}{text:0>width$}", width = width.saturating_sub(sign.len())).into_bytes()
            }
            _ => self.pad(format!("{sign}{text}").as_bytes()),
        }
    }

    fn text(self, letter: char, text: &[u8]) -> Vec<u8> {
        match letter {
            'v' if !self.quotes => self.pad(&self.cut(text)),
            's' => self.pad(&self.cut(text)),
            'q' | 'v' => {
                let text = self.cut(text);
                let raw = quote::raw(&text).filter(|_| self.sharp);
                self.pad(raw.unwrap_or_else(|| quote::text(&text, self.plus)).as_bytes())
            }
            'x' | 'X' => self.pad(&self.hex(letter, &text[..text.len().min(self.precision.unwrap_or(usize::MAX))])),
            _ => self.misplaced(letter, &Value::text(text)),
        }
    }

    fn hex(self, letter: char, text: &[u8]) -> Vec<u8> {
        let prefix = if self.sharp { format!("0{letter}") } else { String::new() };
        let pairs = text.iter().map(|byte| if letter == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
        if self.space {
            return pairs.map(|pair| format!("{prefix}{pair}")).collect::<Vec<_>>().join(" ").into_bytes();
        }
        let digits: String = pairs.collect();
        if digits.is_empty() { Vec::new() } else { (prefix + &digits).into_bytes() }
    }

    /// As many characters of a text as the precision says.
    fn cut(self, text: &[u8]) -> Vec<u8> {
        let Some(precision) = self.precision else { return text.to_vec() };
        match std::str::from_utf8(text) {
            Ok(text) => text.chars().take(precision).collect::<String>().into_bytes(),
            Err(_) => text.iter().take(precision).copied().collect(),
        }
    }

    fn sign(self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    /// Fills up to the width, counted in characters.
    fn pad(self, text: &[u8]) -> Vec<u8> {
        let missing = self.width.unwrap_or(0).saturating_sub(String::from_utf8_lossy(text).chars().count());
        let filler = vec![if self.zero { b'0' } else { b' ' }; missing];
        if self.minus { [text, &filler].concat() } else { [&filler, text].concat() }
    }
}

fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

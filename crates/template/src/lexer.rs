//! From a template's text to tokens.

use crate::error::Fault;

/// A position in a template, in bytes.
pub(crate) type Offset = usize;

/// The longest piece of a template that is quoted in an error, in characters.
const QUOTE_CHARS: usize = 20;

/// A piece of a template: text, or a token of an action.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// Goes to the output as it is.
    Text(Vec<u8>),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A bare word: a keyword, a function, `true`, `false` or `nil`.
    Word(String),
    /// `.Name`
    Field(String),
    /// `.`
    Dot,
    /// `$` or `$name`, without the dollar sign.
    Variable(String),
    Int(i64),
    Float(f64),
    Str(Vec<u8>),
    /// `(` `)` `|` `,` `:=` `=`
    Mark(&'static str),
}

/// A token and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    pub(crate) at: Offset,
    /// Whether white space comes before it: `$x.Name` is one operand, `$x .Name` are two.
    pub(crate) spaced: bool,
}

/// Splits a template into tokens.
pub(crate) fn tokens(source: &[u8]) -> Result<Vec<Lexeme>, Fault> {
    let mut lexer = Lexer { source, at: 0, out: Vec::new() };
    let mut trim = false;
    while lexer.at < source.len() {
        let text = &source[lexer.at..];
        let end = find(text, b"{{").map_or(source.len(), |end| lexer.at + end);
        let trims_before = source[end..].starts_with(b"{{-") && source.get(end + 3).is_some_and(is_space);
        lexer.text(end, trim, trims_before);
        if end == source.len() {
            break;
        }
        lexer.at = end + 2 + usize::from(trims_before);
        trim = lexer.action(end)?;
    }
    Ok(lexer.out)
}

struct Lexer<'a> {
    source: &'a [u8],
    at: Offset,
    out: Vec<Lexeme>,
}

impl Lexer<'_> {
    fn rest(&self) -> &[u8] {
        &self.source[self.at..]
    }

    fn push(&mut self, token: Token, at: Offset, spaced: bool) {
        self.out.push(Lexeme { token, at, spaced });
    }

    /// Takes the text up to `end`, without the white space that the actions around it want gone.
    fn text(&mut self, end: Offset, trim_start: bool, trim_end: bool) {
        let mut text = &self.source[self.at..end];
        if trim_start {
            text = text.trim_ascii_start();
        }
        if trim_end {
            text = text.trim_ascii_end();
        }
        if !text.is_empty() {
            self.push(Token::Text(text.to_vec()), self.at, false);
        }
        self.at = end;
    }

    /// Takes an action up to its `}}`; whether it wants the white space after it gone.
    fn action(&mut self, open: Offset) -> Result<bool, Fault> {
        let spaces = self.rest().iter().take_while(|byte| is_space(byte)).count();
        if self.rest()[spaces..].starts_with(b"/*") {
            self.at += spaces;
            return self.comment();
        }
        self.push(Token::Open, open, false);
        loop {
            let spaces = self.rest().iter().take_while(|byte| is_space(byte)).count();
            self.at += spaces;
            let at = self.at;
            if spaces > 0 && self.rest().starts_with(b"-}}") {
                self.at += 3;
                self.push(Token::Close, at, true);
                return Ok(true);
            }
            if self.rest().starts_with(b"}}") {
                self.at += 2;
                self.push(Token::Close, at, spaces > 0);
                return Ok(false);
            }
            if self.rest().is_empty() {
                return Err(Fault::at(open, "this action is not closed"));
            }
            let token = self.token()?;
            self.push(token, at, spaces > 0);
        }
    }

    /// Leaves out a comment, which is an action of its own.
    fn comment(&mut self) -> Result<bool, Fault> {
        let open = self.at;
        let end = find(self.rest(), b"*/").ok_or_else(|| Fault::at(open, "this comment is not closed"))?;
        self.at += end + 2;
        let trims = self.rest().first().is_some_and(is_space) && self.rest().trim_ascii_start().starts_with(b"-}}");
        if trims {
            self.at += self.rest().iter().take_while(|byte| is_space(byte)).count() + 1;
        }
        if !self.rest().starts_with(b"}}") {
            return Err(Fault::at(self.at, "a comment ends before the closing braces"));
        }
        self.at += 2;
        Ok(trims)
    }

    fn token(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        for mark in [":=", "(", ")", "|", ",", "="] {
            if self.rest().starts_with(mark.as_bytes()) {
                self.at += mark.len();
                return Ok(Token::Mark(mark));
            }
        }
        match self.rest()[0] {
            b'"' => self.quoted(b'"').map(Token::Str),
            b'`' => self.raw(),
            b'\'' => self.character(),
            b'.' if !self.rest().get(1).is_some_and(u8::is_ascii_digit) => {
                self.at += 1;
                let name = self.word()?;
                Ok(if name.is_empty() { Token::Dot } else { Token::Field(name) })
            }
            b'$' => {
                self.at += 1;
                Ok(Token::Variable(self.word()?))
            }
            b'.' | b'0'..=b'9' | b'+' | b'-' => self.number(),
            _ => {
                let word = self.word()?;
                if word.is_empty() {
                    return Err(Fault::at(at, format!("unexpected {}", quote(self.rest()))));
                }
                Ok(Token::Word(word))
            }
        }
    }

    /// Letters, digits and underscores, of any script.
    fn word(&mut self) -> Result<String, Fault> {
        let rest = self.rest();
        let end = rest.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii()));
        let (at, end) = (self.at, end.unwrap_or(rest.len()));
        let word = std::str::from_utf8(&rest[..end]).map_err(|_| Fault::at(at, "an action must be UTF-8"))?;
        if let Some(odd) = word.chars().find(|c| !(c.is_alphanumeric() || *c == '_')) {
            return Err(Fault::at(at, format!("unexpected {odd:?}")));
        }
        let word = word.to_owned();
        self.at += end;
        Ok(word)
    }

    /// Text in back quotes, in which nothing is special.
    fn raw(&mut self) -> Result<Token, Fault> {
        let open = self.at;
        let end = self.rest()[1..].iter().position(|byte| *byte == b'`');
        let end = end.ok_or_else(|| Fault::at(open, "this text is not closed"))?;
        let text = self.rest()[1..=end].to_vec();
        self.at += end + 2;
        Ok(Token::Str(text))
    }

    /// Text in quotes, with escapes.
    fn quoted(&mut self, quote: u8) -> Result<Vec<u8>, Fault> {
        let open = self.at;
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.rest().first() {
                None | Some(b'\n') => return Err(Fault::at(open, "this text is not closed")),
                Some(b'\\') => self.escape(&mut text)?,
                Some(byte) if *byte == quote => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(byte) => {
                    text.push(*byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Fault> {
        let at = self.at;
        let wrong = || Fault::at(at, "unknown escape");
        let kind = *self.rest().get(1).ok_or_else(wrong)?;
        self.at += 2;
        let (digits, radix) = match kind {
            b'x' => (2, 16),
            b'u' => (4, 16),
            b'U' => (8, 16),
            b'0'..=b'7' => {
                self.at -= 1;
                (3, 8)
            }
            _ => {
                let plain = [(b'a', 7), (b'b', 8), (b'f', 12), (b'n', 10), (b'r', 13), (b't', 9), (b'v', 11)];
                let simple = plain.iter().find(|(letter, _)| *letter == kind).map(|(_, byte)| *byte);
                let same = [b'\\', b'"', b'\''].contains(&kind).then_some(kind);
                text.push(simple.or(same).ok_or_else(wrong)?);
                return Ok(());
            }
        };
        let number = self.rest().get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = number.and_then(|digits| u32::from_str_radix(digits, radix).ok()).ok_or_else(wrong)?;
        self.at += digits;
        if matches!(kind, b'u' | b'U') {
            let character = char::from_u32(number).ok_or_else(wrong)?;
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            text.push(u8::try_from(number).map_err(|_| wrong())?);
        }
        Ok(())
    }

    /// A character in single quotes, which is a number.
    fn character(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        let text = self.quoted(b'\'')?;
        let mut characters = std::str::from_utf8(&text).unwrap_or_default().chars();
        match (characters.next(), characters.next()) {
            (Some(one), None) => Ok(Token::Int(i64::from(u32::from(one)))),
            _ => Err(Fault::at(at, "one character belongs between single quotes")),
        }
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        let is_part = |index: usize, byte: u8, rest: &[u8]| {
            let exponent_before = index > 0 && matches!(rest[index - 1], b'e' | b'E' | b'p' | b'P');
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'.' | b'_')
                || (matches!(byte, b'+' | b'-') && (index == 0 || exponent_before))
        };
        let rest = self.rest();
        let end = (0..rest.len()).find(|index| !is_part(*index, rest[*index], rest)).unwrap_or(rest.len());
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        let token = read_number(&text).ok_or_else(|| Fault::at(at, format!("{text:?} is not a number")))?;
        self.at += end;
        Ok(token)
    }
}

/// Reads a number as its language does: `0x1f`, `0b1`, `0o17`, `017`, `1_000`, `1.5e3`.
fn read_number(text: &str) -> Option<Token> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let plain = digits.replace('_', "").to_ascii_lowercase();
    let bases = [("0x", 16), ("0b", 2), ("0o", 8)];
    let (base, number) = bases
        .iter()
        .find_map(|(prefix, base)| plain.strip_prefix(prefix).map(|number| (*base, number)))
        .or_else(|| plain.strip_prefix('0').filter(|rest| !rest.is_empty()).map(|rest| (8, rest)))
        .unwrap_or((10, &plain));
    if number.starts_with(['+', '-']) {
        return None;
    }
    let signed = if negative { format!("-{number}") } else { number.to_owned() };
    if let Ok(number) = i64::from_str_radix(&signed, base) {
        return Some(Token::Int(number));
    }
    // Not what is too large for a whole number.
    let is_whole = plain.bytes().all(|byte| byte.is_ascii_digit());
    if is_whole || !plain.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let float = plain.parse::<f64>().ok().filter(|float| float.is_finite())?;
    Some(Token::Float(if negative { -float } else { float }))
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// The beginning of something, for an error.
fn quote(text: &[u8]) -> String {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let short: String = String::from_utf8_lossy(line).chars().take(QUOTE_CHARS).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<Token> {
        tokens(source.as_bytes()).unwrap().into_iter().map(|lexeme| lexeme.token).collect()
    }

    #[test]
    fn an_action_is_split_into_its_parts() {
        let expected = [
            Token::Text(b"a".to_vec()),
            Token::Open,
            Token::Word("if".into()),
            Token::Field("Service".into()),
            Token::Field("Name".into()),
            Token::Mark("|"),
            Token::Variable("x".into()),
            Token::Mark(":="),
            Token::Dot,
            Token::Close,
            Token::Text(b"b}}".to_vec()),
        ];
        assert_eq!(kinds("a{{if .Service.Name|$x:= .}}b}}"), expected);
    }

    #[test]
    fn numbers_and_texts_are_read_in_all_their_forms() {
        let one = |source: &str| kinds(&format!("{{{{{source}}}}}"))[1].clone();
        for (source, number) in [
            ("12", 12),
            ("-7", -7),
            ("+7", 7),
            ("0x1F", 31),
            ("017", 15),
            ("0b11", 3),
            ("1_000", 1000),
            ("'a'", 97),
            ("'\\n'", 10),
        ] {
            assert_eq!(one(source), Token::Int(number), "{source}");
        }
        assert_eq!(one("1.5e3"), Token::Float(1500.0));
        assert_eq!(one(".5"), Token::Float(0.5));
        assert_eq!(one(r#""a\t\x41\u00e9\101\"""#), Token::Str("a\tAéA\"".as_bytes().to_vec()));
        assert_eq!(one(r"`a\t`"), Token::Str(br"a\t".to_vec()));
    }

    #[test]
    fn trim_marks_take_white_space_away() {
        assert_eq!(
            kinds("a \n {{- 1 -}} \t b"),
            [Token::Text(b"a".to_vec()), Token::Open, Token::Int(1), Token::Close, Token::Text(b"b".to_vec()),]
        );
        assert_eq!(kinds("{{-1}}")[1], Token::Int(-1), "without a space it is a sign");
        assert_eq!(kinds("a {{- /* note */ -}} b"), [Token::Text(b"a".to_vec()), Token::Text(b"b".to_vec())]);
    }

    #[test]
    fn what_is_malformed_is_told_where() {
        for (source, at) in [
            ("ab{{", 2),
            ("{{ \"x }}", 3),
            ("{{ `x }}", 3),
            ("{{/* x }}", 2),
            ("{{ 1x }}", 3),
            ("{{ # }}", 3),
            ("{{'ab'}}", 2),
            ("{{\"\\q\"}}", 3),
        ] {
            let Err(Fault::At(offset, _)) = tokens(source.as_bytes()) else { panic!("{source}") };
            assert_eq!(offset, at, "{source}");
        }
    }
}

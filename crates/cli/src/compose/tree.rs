//! A YAML document as a tree in which every node knows where it stands, and scalars keep their text.
//!
//! Values are not typed here: whoever reads a key knows what it should hold, and `3.10` must stay `3.10` when a string
//! is wanted.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

/// A place in a file, both numbers counting from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The line.
    pub line: u64,
    /// The character in it.
    pub column: u64,
}

/// One node of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it begins.
    pub(super) at: At,
    /// What it holds.
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing: `~`, `null`, or no text at all.
    Null,
    /// A string, number or boolean, by its text.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the document.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key stands.
    pub(super) at: At,
    /// Its value.
    pub(super) node: Node,
}

/// Why a text is no YAML document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Where, when the parser knows.
    pub(super) at: Option<At>,
    /// What is wrong.
    pub(super) message: String,
}

/// Parses one document. An empty text is [`Value::Null`].
///
/// # Errors
///
/// What is not YAML, has a key twice, or is nested or aliased beyond reason (as the parser's budget defines it).
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node { at: At { line: 1, column: 1 }, value: Value::Null });
    }
    let raw: Spanned<Raw> = serde_saphyr::from_str(text).map_err(|error| {
        let message = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
        // The parser ends its messages with the place, which belongs at the front of ours.
        let message = message.split(" at line ").next().unwrap_or_default().replace('\n', "; ");
        SyntaxError { at: error.location().map(place), message }
    })?;
    Ok(to_node(raw, text))
}

/// A value as the parser types it.
enum Raw {
    Null,
    /// A plain number or boolean, printed again; its own text is taken from the document.
    Typed(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn place(location: Location) -> At {
    At { line: location.line(), column: location.column() }
}

fn to_node(raw: Spanned<Raw>, source: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text),
        Raw::Typed(printed) => Value::Scalar(slice(source, raw.defined).map_or(printed, str::to_owned)),
        Raw::List(items) => Value::List(items.into_iter().map(|item| to_node(item, source)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry { at: place(key.referenced), key: key.value, node: to_node(value, source) })
                .collect(),
        ),
    };
    Node { at: place(raw.referenced), value }
}

/// The text at `location`, if it is a bare word as numbers and booleans are.
fn slice(source: &str, location: Location) -> Option<&str> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    let text = source.get(start..end)?.trim();
    (!text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "!&*'\"".contains(c))).then_some(text)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(line: u64, column: u64, text: &str) -> Node {
        Node { at: At { line, column }, value: Value::Scalar(text.to_owned()) }
    }

    fn entry(line: u64, column: u64, key: &str, node: Node) -> Entry {
        Entry { at: At { line, column }, key: key.to_owned(), node }
    }

    #[test]
    fn keys_and_values_know_their_place_and_scalars_keep_their_text() {
        let Value::Map(entries) = parse("a: 3.10\nb:\n  - 0440\n  - 'x y'\nc: ~\nd: yes\n").unwrap().value else {
            panic!("a mapping")
        };
        let list = Value::List(vec![scalar(3, 5, "0440"), scalar(4, 5, "x y")]);
        assert_eq!(entries[0], entry(1, 1, "a", scalar(1, 4, "3.10")));
        assert_eq!(entries[1].node.value, list);
        assert_eq!(entries[2].node.value, Value::Null);
        assert_eq!(entries[3], entry(6, 1, "d", scalar(6, 4, "yes")));
    }

    #[test]
    fn anchors_and_merges_are_expanded() {
        let Value::Map(entries) = parse("base: &b {n: 1.50}\nweb:\n  <<: *b\n  m: 2\n").unwrap().value else {
            panic!("a mapping")
        };
        let Value::Map(web) = &entries[1].node.value else { panic!("a mapping") };
        let mut values: Vec<_> = web.iter().map(|entry| (entry.key.as_str(), &entry.node.value)).collect();
        values.sort_by_key(|(key, _)| *key);
        let text = |text: &str| Value::Scalar(text.to_owned());
        assert_eq!(values, [("m", &text("2")), ("n", &text("1.50"))]);
    }

    #[test]
    fn a_document_without_content_is_null() {
        for text in ["", "\n \n", "# only a remark\n"] {
            assert_eq!(parse(text).unwrap().value, Value::Null, "{text:?}");
        }
    }

    #[test]
    fn faults_of_syntax_have_a_place() {
        for (text, expected) in [
            ("a: 1\na: 2\n", "2:1: duplicate mapping key `a` is not allowed here"),
            ("a: [1\nb: 2\n", "2:2: illegal placement of ':' indicator"),
            ("a: *nobody\n", "1:4: reference to unknown value"),
            ("a: &x [*x]\n", "1:8: Recursive reference not allowed here"),
            ("a: 1\n---\nb: 2\n", "3:1: only single YAML document expected but multiple found"),
            ("a: 'open\n", "1:4: unclosed quote"),
            ("a: b: c\n", "1:5: mapping values are not allowed in this context"),
            ("? [a]\n: b\n", "1:3: expected string scalar"),
            ("<<: 3\n", "1:5: YAML merge value must be mapping or sequence of mappings"),
        ] {
            let error = parse(text).unwrap_err();
            let at = error.at.unwrap();
            assert_eq!(format!("{}:{}: {}", at.line, at.column, error.message), expected, "{text:?}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused_and_does_not_overflow_the_stack() {
        let error = parse(&"[".repeat(100_000)).unwrap_err();
        assert!(!error.message.is_empty());
    }
}

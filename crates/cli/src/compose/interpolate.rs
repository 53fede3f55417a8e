//! Variables in values: `$NAME`, `${NAME}`, `${NAME:-default}` and their kin; `$$` is one dollar sign.

/// How deep a default may hold further variables.
const NESTING_MAX: usize = 8;

/// What expanding a text gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    /// The text with its variables replaced.
    pub(super) text: String,
    /// Variables that had no value and no default, and became nothing.
    pub(super) unset: Vec<String>,
}

/// Replaces the variables of `text` by what `lookup` says.
///
/// # Errors
///
/// A form that does not exist, a brace that is not closed, or a variable that the text declares mandatory
/// (`${NAME:?why}`) and that has no value.
pub(super) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, String> {
    let mut expanded = Expanded::default();
    expand_into(text, lookup, 0, &mut expanded)?;
    Ok(expanded)
}

fn expand_into(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    depth: usize,
    out: &mut Expanded,
) -> Result<(), String> {
    if depth > NESTING_MAX {
        return Err(format!("variables are nested more than {NESTING_MAX} deep"));
    }
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.text.push_str(&rest[..dollar]);
        let tail = &rest[dollar + 1..];
        if let Some(tail) = tail.strip_prefix('$') {
            out.text.push('$');
            rest = tail;
        } else if let Some(braced) = tail.strip_prefix('{') {
            let end = closing_brace(braced).ok_or_else(|| format!("\"{}\" is not closed", &rest[dollar..]))?;
            expand_braced(&braced[..end], lookup, depth, out)?;
            rest = &braced[end + 1..];
        } else {
            let (name, tail) = take_name(tail);
            if name.is_empty() {
                return Err(format!("\"{}\" is no variable; write $$ for a dollar sign", first_word(&rest[dollar..])));
            }
            substitute(name, lookup(name), out);
            rest = tail;
        }
    }
    out.text.push_str(rest);
    Ok(())
}

/// Expands what stands between `${` and `}`.
fn expand_braced(
    body: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    depth: usize,
    out: &mut Expanded,
) -> Result<(), String> {
    let (name, operation) = take_name(body);
    let value = lookup(name);
    // With a colon an empty value counts as none.
    let (operator, present) = match operation.strip_prefix(':') {
        Some(operator) => (operator, value.as_ref().is_some_and(|value| !value.is_empty())),
        None => (operation, value.is_some()),
    };
    let word = operator.get(1..).unwrap_or_default();
    match operator.bytes().next() {
        _ if name.is_empty() => return Err(format!("\"${{{body}}}\" names no variable")),
        None if operation.is_empty() => substitute(name, value, out),
        Some(b'-') if present => substitute(name, value, out),
        Some(b'-') => expand_into(word, lookup, depth + 1, out)?,
        Some(b'+') if present => expand_into(word, lookup, depth + 1, out)?,
        Some(b'+') => {}
        Some(b'?') if present => substitute(name, value, out),
        Some(b'?') if word.is_empty() => return Err(format!("the variable {name} has no value")),
        Some(b'?') => return Err(format!("the variable {name} has no value: {word}")),
        _ => return Err(format!("\"${{{body}}}\" is no known form of a variable")),
    }
    Ok(())
}

fn substitute(name: &str, value: Option<String>, out: &mut Expanded) {
    match value {
        Some(value) => out.text.push_str(&value),
        None => out.unset.push(name.to_owned()),
    }
}

/// The brace that closes what began just before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0;
    let bytes = text.as_bytes();
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if index > 0 && bytes[index - 1] == b'$' => open += 1,
            b'}' if open == 0 => return Some(index),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn take_name(text: &str) -> (&str, &str) {
    let end = text
        .char_indices()
        .find(|&(index, c)| !(c == '_' || c.is_ascii_alphabetic() || index > 0 && c.is_ascii_digit()))
        .map_or(text.len(), |(index, _)| index);
    text.split_at(end)
}

fn first_word(text: &str) -> &str {
    text.split(char::is_whitespace).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, String> {
        let lookup = |name: &str| match name {
            "USER" => Some("ada".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expand(text, &lookup).map(|expanded| match expanded.unset.join(" ") {
            unset if unset.is_empty() => expanded.text,
            unset => format!("{} (unset {unset})", expanded.text),
        })
    }

    #[test]
    fn every_form_is_expanded() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$USER", "ada"),
            ("a${USER}b", "aadab"),
            ("$$USER $${USER}", "$USER ${USER}"),
            ("[$NONE]", "[] (unset NONE)"),
            ("${USER:-x} ${EMPTY:-x} ${NONE:-x}", "ada x x"),
            ("${USER-x} ${EMPTY-x} ${NONE-x}", "ada  x"),
            ("${USER:+x} ${EMPTY:+x} ${NONE:+x}", "x  "),
            ("${USER+x} ${EMPTY+x} ${NONE+x}", "x x "),
            ("${USER:?why} ${EMPTY?why}", "ada "),
            ("${NONE:-a ${USER} ${MORE:-b}}", "a ada b"),
            ("${NONE:-{\"a\": 1}", "{\"a\": 1"),
            ("$USER_X", " (unset USER_X)"),
            ("größe $USER", "größe ada"),
        ] {
            assert_eq!(check(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for (text, expected) in [
            ("costs 5$ each", "\"$\" is no variable; write $$ for a dollar sign"),
            ("$1 x", "\"$1\" is no variable; write $$ for a dollar sign"),
            ("${", "\"${\" is not closed"),
            ("${}", "\"${}\" names no variable"),
            ("${USER", "\"${USER\" is not closed"),
            ("${USER!x}", "\"${USER!x}\" is no known form of a variable"),
            ("${USER:}", "\"${USER:}\" is no known form of a variable"),
            ("${USER:ß}", "\"${USER:ß}\" is no known form of a variable"),
            ("${NONE:?set it}", "the variable NONE has no value: set it"),
            ("${EMPTY:?}", "the variable EMPTY has no value"),
        ] {
            assert_eq!(check(text), Err(expected.to_owned()), "{text}");
        }
        assert!(check(&"${A:-".repeat(20)).is_err());
        let nested = format!("{}x{}", "${A:-".repeat(20), "}".repeat(20));
        assert_eq!(check(&nested), Err("variables are nested more than 8 deep".to_owned()));
    }
}

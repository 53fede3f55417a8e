//! Several values in one argument, separated by commas, with the quoting rules of CSV.

/// Splits one record. A value that begins with `"` runs to the closing quote, in which `""` stands for one quote.
///
/// # Errors
///
/// A quote that is not closed, or that is followed by more of the value.
pub fn split_csv(text: &str) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let (value, tail) = match rest.strip_prefix('"') {
            Some(quoted) => take_quoted(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        values.push(value);
        match tail.strip_prefix(',') {
            Some(tail) => rest = tail,
            None if tail.is_empty() => return Ok(values),
            None => return Err(format!("a comma must follow the closing quote in {text:?}")),
        }
    }
}

fn take_quoted(mut rest: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    loop {
        let Some(end) = rest.find('"') else { return Err("a quote is not closed".to_owned()) };
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(tail) => {
                value.push('"');
                rest = tail;
            }
            None => return Ok((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_split_at_commas_outside_quotes() {
        for (text, values) in [
            ("", vec![""]),
            ("a", vec!["a"]),
            ("a,b", vec!["a", "b"]),
            ("a,,b", vec!["a", "", "b"]),
            (r#""a,b",c"#, vec!["a,b", "c"]),
            (r#""say ""hi""""#, vec![r#"say "hi""#]),
            (r#"echo "hi""#, vec![r#"echo "hi""#]),
        ] {
            assert_eq!(split_csv(text).unwrap(), values, "{text}");
        }
    }

    #[test]
    fn a_broken_quote_is_refused() {
        assert_eq!(split_csv(r#""a"#), Err("a quote is not closed".to_owned()));
        assert_eq!(split_csv(r#""a"b"#), Err(r#"a comma must follow the closing quote in "\"a\"b""#.to_owned()));
    }
}

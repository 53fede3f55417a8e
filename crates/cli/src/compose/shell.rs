//! How a command that is written as one string becomes words: quotes and backslashes as in a shell, nothing else.

/// Splits at blanks. No variables, no patterns, no operators: those need `sh -c`.
///
/// # Errors
///
/// A quote without its partner, or a backslash at the very end.
pub(super) fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => take_until_single_quote(&mut chars, word.get_or_insert_default())?,
            '"' => take_until_double_quote(&mut chars, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("the text ends with a backslash")?),
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn take_until_single_quote(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    loop {
        match chars.next() {
            Some('\'') => return Ok(()),
            Some(c) => word.push(c),
            None => return Err("a single quote is not closed".to_owned()),
        }
    }
}

fn take_until_double_quote(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    const UNCLOSED: &str = "a double quote is not closed";
    loop {
        match chars.next().ok_or(UNCLOSED)? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or(UNCLOSED)? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        for (text, words) in [
            ("", vec![]),
            ("  ", vec![]),
            ("sleep 60", vec!["sleep", "60"]),
            ("sh -c 'echo  \"hi\"'", vec!["sh", "-c", "echo  \"hi\""]),
            (r#"sh -c "echo \"$HOME\" \n""#, vec!["sh", "-c", r#"echo "$HOME" \n"#]),
            (r"a\ b c", vec!["a b", "c"]),
            ("a''b \"\"", vec!["ab", ""]),
            ("one\ntwo\n", vec!["one", "two"]),
        ] {
            assert_eq!(split_words(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn what_is_open_at_the_end_is_refused() {
        assert_eq!(split_words("echo 'a").unwrap_err(), "a single quote is not closed");
        assert_eq!(split_words("echo \"a").unwrap_err(), "a double quote is not closed");
        assert_eq!(split_words("echo \"a\\").unwrap_err(), "a double quote is not closed");
        assert_eq!(split_words("echo a\\").unwrap_err(), "the text ends with a backslash");
    }
}

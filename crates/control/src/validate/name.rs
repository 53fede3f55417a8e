//! What an object may be called.

use super::Checked;
use crate::ControlError;

/// The longest name of a service or network, in bytes: one label of a domain name.
const DNS_LABEL_MAX: usize = 63;

/// The longest name of a secret or config, in bytes.
const FILE_LIKE_MAX: usize = 64;

/// Names of services and networks, which other tasks look up: letters, digits, and `-` or `_` between them.
pub(crate) fn dns_name(name: &str) -> Checked {
    if name.is_empty() {
        return Err(ControlError::invalid("meta: name must be provided"));
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !ends_are_alphanumeric(name) || !name.chars().all(inner) {
        return Err(ControlError::invalid("name must be valid as a DNS name component"));
    }
    if name.len() > DNS_LABEL_MAX {
        return Err(ControlError::invalid(format!("name must be {DNS_LABEL_MAX} characters or fewer")));
    }
    Ok(())
}

/// Names of secrets and configs, which may look like file names.
pub(crate) fn file_like_name(kind: &str, name: &str) -> Checked {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > FILE_LIKE_MAX || !ends_are_alphanumeric(name) || !name.chars().all(inner) {
        return Err(ControlError::invalid(format!(
            "invalid name, only {FILE_LIKE_MAX} [a-zA-Z0-9-_.] characters allowed, and the start and end character \
             must be [a-zA-Z0-9]: {kind} {name:?}"
        )));
    }
    Ok(())
}

fn ends_are_alphanumeric(name: &str) -> bool {
    let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    alphanumeric(name.chars().next()) && alphanumeric(name.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_name_has_letters_digits_and_inner_dashes() {
        for good in ["a", "web", "web-1", "web__x", "0a", &"a".repeat(63)] {
            assert!(dns_name(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", "meta: name must be provided"),
            ("-web", "name must be valid as a DNS name component"),
            ("web-", "name must be valid as a DNS name component"),
            ("web.x", "name must be valid as a DNS name component"),
            ("wéb", "name must be valid as a DNS name component"),
            (&"a".repeat(64), "name must be 63 characters or fewer"),
        ] {
            assert_eq!(dns_name(bad).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn a_secret_may_have_a_dot_in_its_name_but_not_at_an_end() {
        assert!(file_like_name("secret", "tls.key").is_ok());
        for bad in ["", ".key", "key.", "a b", &"a".repeat(65)] {
            assert!(file_like_name("secret", bad).is_err(), "{bad}");
        }
    }
}

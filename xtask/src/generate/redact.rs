//! `redact.rs`: a `Debug` without secrets for every message that has a field marked `.swarmkit.secret`.
use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Result, bail};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::{HEADER, OPTIONS_PACKAGE, option};

/// The messages whose `Debug` is written here: those with a secret field, and those nested in them, since prost's
/// switch for `Debug` reaches these too. In order of their names.
pub(super) fn messages(pool: &DescriptorPool) -> Result<Vec<MessageDescriptor>> {
    let mut found = BTreeMap::new();
    for message in pool.all_messages().filter(|message| message.fields().any(|field| is_secret(&field))) {
        add_with_nested(&message, &mut found)?;
    }
    Ok(found.into_values().collect())
}

fn add_with_nested(message: &MessageDescriptor, found: &mut BTreeMap<String, MessageDescriptor>) -> Result<()> {
    let name = message.full_name().to_owned();
    if message.oneofs().any(|oneof| !oneof.is_synthetic()) {
        bail!("{name} has a secret field and a oneof: give the secret field a message of its own");
    }
    if found.insert(name, message.clone()).is_none() {
        for nested in message.child_messages().filter(|nested| !nested.is_map_entry()) {
            add_with_nested(&nested, found)?;
        }
    }
    Ok(())
}

/// The enums nested in those messages: they need their `Debug` back.
pub(super) fn enums(messages: &[MessageDescriptor]) -> Vec<String> {
    let enums = messages.iter().flat_map(MessageDescriptor::child_enums);
    enums.map(|kind| format!(".{}", kind.full_name())).collect()
}

fn is_secret(field: &FieldDescriptor) -> bool {
    matches!(option(&field.options(), &format!("{OPTIONS_PACKAGE}.secret")), Some(Value::Bool(true)))
}

/// The implementations, one per message.
pub(super) fn generate(messages: &[MessageDescriptor]) -> String {
    let mut text = HEADER.to_owned();
    text.push_str("use std::fmt;\n\nuse crate::redact::{choice, length};\n");
    for message in messages {
        let path = rust_path(message);
        let name = camel(message.name());
        let _ = writeln!(text, "\nimpl fmt::Debug for {path} {{");
        let _ = writeln!(text, "    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {{");
        let _ = writeln!(text, "        f.debug_struct(\"{name}\")");
        for field in message.fields() {
            let name = snake(field.name());
            let _ = writeln!(text, "            .field(\"{}\", {})", name.trim_start_matches("r#"), value(&field));
        }
        let _ = writeln!(text, "            .finish()\n    }}\n}}");
    }
    text.push_str(&table(messages));
    text
}

/// A table for the test that no secret byte shows: how to decode and print each of the messages.
fn table(messages: &[MessageDescriptor]) -> String {
    let mut text = String::from("\n#[cfg(test)]\n");
    text.push_str("pub(crate) static PRINTERS: &[(&str, fn(&[u8]) -> Result<String, ::prost::DecodeError>)] = &[\n");
    for message in messages {
        let (name, path) = (message.full_name(), rust_path(message));
        let _ = writeln!(text, "    (\"{name}\", crate::redact::tests::print::<{path}>),");
    }
    text.push_str("];\n");
    text
}

/// The expression that prints a field.
fn value(field: &FieldDescriptor) -> String {
    let name = snake(field.name());
    match field.kind() {
        _ if is_secret(field) => format!("&length(&self.{name})"),
        Kind::Enum(kind) if !field.supports_presence() && !field.is_list() => {
            let parent = kind.parent_message().map(|parent| format!("{}::", module_path(&parent)));
            let package = format!("super::{}::", kind.package_name().replace('.', "::"));
            format!("&choice::<{}{}>(self.{name})", parent.unwrap_or(package), camel(kind.name()))
        }
        _ => format!("&self.{name}"),
    }
}

/// The path of the struct that prost makes of a message, seen from `generated/redact.rs`.
fn rust_path(message: &MessageDescriptor) -> String {
    let outer = match message.parent_message() {
        Some(parent) => module_path(&parent),
        None => format!("super::{}", message.package_name().replace('.', "::")),
    };
    format!("{outer}::{}", camel(message.name()))
}

/// The path of the module that prost makes for what is nested in a message.
fn module_path(message: &MessageDescriptor) -> String {
    let path = rust_path(message);
    let (outer, name) = path.rsplit_once("::").expect("invariant: the path starts with `super::`");
    format!("{outer}::{}", snake(name))
}

/// `SnakeCase` of what the marked messages hold; a word may be an abbreviation in capitals. What it gets wrong does
/// not compile.
fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, letter) in letters.iter().enumerate() {
        let starts_word = letter.is_uppercase()
            && i > 0
            && letters[i - 1] != '_'
            && (!letters[i - 1].is_uppercase() || letters.get(i + 1).is_some_and(|next| next.is_lowercase()));
        if starts_word {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    if out == "type" { "r#type".to_owned() } else { out }
}

/// `CamelCase` as prost writes it: `RootCA` is `RootCa`.
fn camel(name: &str) -> String {
    let mut out = String::new();
    for word in snake(name).split('_') {
        let mut letters = word.chars();
        out.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{camel, snake};

    #[test]
    fn names_become_those_of_prost() {
        assert_eq!(snake("AcceptancePolicy"), "acceptance_policy");
        assert_eq!(snake("CAConfig"), "ca_config");
        assert_eq!(snake("RootCA"), "root_ca");
        assert_eq!(snake("signing_ca_key"), "signing_ca_key");
        assert_eq!(snake("Type"), "r#type");
        assert_eq!(camel("RootCA"), "RootCa");
        assert_eq!(camel("SecretSpec"), "SecretSpec");
    }
}

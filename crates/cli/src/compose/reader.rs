//! Reading keys off a mapping, while noting every fault and every key that nobody asked for.

use std::fmt;

use super::{
    interpolate::expand,
    suggest::nearest,
    tree::{At, Entry, Node, Value},
};

/// Something to tell about a place in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The place. `None` concerns the file as a whole.
    pub at: Option<At>,
    /// What is the matter: lower case, no full stop.
    pub message: String,
}

/// What has come up while reading one file.
pub(super) struct Reader<'a> {
    pub(super) errors: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
    variables: &'a dyn Fn(&str) -> Option<String>,
}

/// The entries of one mapping that nobody has asked for yet.
pub(super) struct Fields {
    /// Dotted path of the mapping; empty at the top.
    pub(super) path: String,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(variables: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { errors: Vec::new(), warnings: Vec::new(), variables }
    }

    pub(super) fn error(&mut self, at: At, message: impl Into<String>) {
        self.errors.push(Finding { at: Some(at), message: message.into() });
    }

    pub(super) fn warn(&mut self, at: At, message: impl Into<String>) {
        self.warnings.push(Finding { at: Some(at), message: message.into() });
    }

    /// A mapping with fixed keys. Nothing at all counts as an empty one.
    pub(super) fn fields(&mut self, node: Node, path: &str) -> Fields {
        let entries = match node.value {
            Value::Map(entries) => entries,
            Value::Null => Vec::new(),
            value => {
                self.wrong_kind(node.at, path, "a mapping", &value);
                Vec::new()
            }
        };
        Fields { path: path.to_owned(), entries, known: Vec::new() }
    }

    /// A mapping whose keys are names that the user chose.
    pub(super) fn named(&mut self, node: Node, path: &str) -> Vec<Entry> {
        let mut entries = self.fields(node, path).entries;
        entries.retain(|entry| !entry.key.starts_with("x-"));
        entries
    }

    /// A sequence.
    pub(super) fn list(&mut self, node: Node, path: &str) -> Vec<Node> {
        match node.value {
            Value::List(items) => items,
            Value::Null => Vec::new(),
            value => {
                self.wrong_kind(node.at, path, "a list", &value);
                Vec::new()
            }
        }
    }

    /// A scalar with its variables replaced; `None` when it is null or no scalar.
    pub(super) fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = match &node.value {
            Value::Scalar(text) => text,
            Value::Null => return None,
            value => {
                self.wrong_kind(node.at, path, "a single value", value);
                return None;
            }
        };
        match expand(text, self.variables) {
            Ok(expanded) => {
                for name in expanded.unset {
                    self.warn(node.at, format!("the variable {name} is not set; using an empty string in {path}"));
                }
                Some(expanded.text)
            }
            Err(fault) => {
                self.error(node.at, format!("{fault}, in {path}"));
                None
            }
        }
    }

    /// The value of a variable of the environment that the file was read in.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name)
    }

    /// A scalar that `parse` understands.
    pub(super) fn value<T>(
        &mut self,
        node: &Node,
        path: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(node, path)?;
        parse(&text).map_err(|fault| self.error(node.at, format!("{path} is {text:?}: {fault}"))).ok()
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, node: &Node, path: &str, words: &[(&str, T)]) -> Option<T> {
        self.value(node, path, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("expected {}{}", one_of(&words), hint(nearest(text, words)))
            })
        })
    }

    pub(super) fn wrong_kind(&mut self, at: At, path: &str, expected: &str, found: &Value) {
        let found = match found {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        };
        let path = if path.is_empty() { "the file" } else { path };
        self.error(at, format!("{path} must be {expected}, not {found}"));
    }

    /// Ends the reading of a mapping: keys of `unsupported` are warned of, any other that is left is refused.
    pub(super) fn finish(&mut self, fields: Fields, unsupported: &[&'static str]) {
        for entry in &fields.entries {
            let place = if fields.path.is_empty() { String::new() } else { format!(" in {}", fields.path) };
            if unsupported.contains(&entry.key.as_str()) {
                self.warn(entry.at, format!("{:?}{place} is not supported yet and is ignored", entry.key));
            } else if !entry.key.starts_with("x-") {
                let known = fields.known.iter().chain(unsupported).copied();
                let hint = hint(nearest(&entry.key, known));
                self.error(entry.at, format!("unknown key {:?}{place}{hint}", entry.key));
            }
        }
    }
}

// === impl Fields ===

impl Fields {
    /// The value of a key, which is known from now on.
    pub(super) fn take(&mut self, key: &'static str) -> Option<(Node, String)> {
        self.take_entry(key).map(|entry| (entry.node, self.path_of(key)))
    }

    /// The same with the place of the key.
    pub(super) fn take_entry(&mut self, key: &'static str) -> Option<Entry> {
        self.known.push(key);
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Where a key stands that has not been taken.
    pub(super) fn place_of(&self, key: &str) -> Option<At> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.at)
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// ` (did you mean "x"?)`, or nothing.
pub(super) fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|word| format!(" (did you mean {word:?}?)")).unwrap_or_default()
}

fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}:{}: {}", at.line, at.column, self.message),
            None => f.write_str(&self.message),
        }
    }
}

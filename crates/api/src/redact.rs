//! What the generated `Debug` of a message with secrets prints instead of them.
use std::{collections::BTreeMap, fmt};

use bytes::Bytes;

/// Stands for a secret value in `Debug`: tells its length, or that it is not set, and nothing else.
pub(crate) fn length(secret: &impl Secret) -> Redacted {
    Redacted(secret.length())
}

/// Prints the name of an enum's value, or the bare number of one that this build does not know.
pub(crate) fn choice<E: TryFrom<i32> + fmt::Debug>(number: i32) -> Choice<E> {
    E::try_from(number).map_or(Choice::Unknown(number), Choice::Known)
}

/// The types that a secret field may have.
pub(crate) trait Secret {
    /// Length in bytes; `None` if the field is absent.
    fn length(&self) -> Option<usize>;
}

impl Secret for Bytes {
    fn length(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl Secret for String {
    fn length(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl Secret for Vec<String> {
    fn length(&self) -> Option<usize> {
        Some(self.iter().map(String::len).sum())
    }
}

impl Secret for BTreeMap<String, String> {
    fn length(&self) -> Option<usize> {
        Some(self.values().map(String::len).sum())
    }
}

impl<S: Secret> Secret for Option<S> {
    fn length(&self) -> Option<usize> {
        self.as_ref().and_then(Secret::length)
    }
}

/// See [`length`].
pub(crate) struct Redacted(Option<usize>);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None | Some(0) => f.write_str("empty"),
            Some(1) => f.write_str("1 secret byte"),
            Some(length) => write!(f, "{length} secret bytes"),
        }
    }
}

/// See [`choice`].
pub(crate) enum Choice<E> {
    Known(E),
    Unknown(i32),
}

impl<E: fmt::Debug> fmt::Debug for Choice<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Unknown(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use prost::Message;
    use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

    use super::*;
    use crate::wire;

    /// Seen nowhere else in the output, as text or as a list of bytes.
    const SECRET: &str = "Zq7Zq7Zq7";

    /// Decodes a message and prints it in both forms; the generated table is made of these.
    pub(crate) fn print<M: Message + Default + fmt::Debug>(bytes: &[u8]) -> Result<String, prost::DecodeError> {
        let message = M::decode(bytes)?;
        Ok(format!("{message:?} {message:#?}"))
    }

    fn assert_hidden(name: &str, text: &str) {
        assert!(!text.contains("Zq7"), "{name}: {text}");
        assert!(!text.contains("90, 113, 55"), "{name}: {text}");
        assert!(text.contains("9 secret bytes"), "{name}: {text}");
    }

    fn proto() -> DescriptorPool {
        fn find(dir: &Path, into: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(dir).expect("a folder of proto/") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { find(&path, into) } else { into.push(path) }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
        let mut files = Vec::new();
        find(&root, &mut files);
        files.sort();
        let mut compiler = protox::Compiler::new([&root]).expect("a compiler");
        compiler.include_imports(true).open_files(files).expect("proto/ compiles");
        compiler.descriptor_pool()
    }

    fn secret_fields(pool: &DescriptorPool, message: &MessageDescriptor) -> Vec<FieldDescriptor> {
        let option = pool.get_extension_by_name("swarmkit.secret").expect("the option");
        message.fields().filter(|field| field.options().get_extension(&option).as_bool() == Some(true)).collect()
    }

    fn secret(field: &FieldDescriptor) -> Value {
        let value = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let value = secret(&entry.map_entry_value_field());
                return Value::Map([(MapKey::String("key".to_owned()), value)].into());
            }
            Kind::String => Value::String(SECRET.to_owned()),
            Kind::Bytes => Value::Bytes(Bytes::from_static(SECRET.as_bytes())),
            kind => panic!("{} is a {kind:?}: a secret is a string or bytes", field.full_name()),
        };
        if field.is_list() { Value::List(vec![value]) } else { value }
    }

    #[test]
    fn no_byte_of_a_field_marked_secret_appears_in_debug() {
        let pool = proto();
        let marked = pool.all_messages().filter(|message| !secret_fields(&pool, message).is_empty());
        let mut checked = 0;
        for message in marked {
            let name = message.full_name();
            let (_, print) = wire::PRINTERS.iter().find(|(known, _)| *known == name).expect("the message is generated");
            for field in secret_fields(&pool, &message) {
                let mut filled = DynamicMessage::new(message.clone());
                filled.set_field(&field, secret(&field));
                assert_hidden(field.full_name(), &print(&filled.encode_to_vec()).expect("it decodes"));
                checked += 1;
            }
        }
        assert!(checked >= 16, "{checked} fields are marked: some marks were lost");
    }

    #[test]
    fn a_message_that_carries_one_with_a_secret_is_safe_too() {
        let spec = wire::SecretSpec { data: Bytes::from_static(SECRET.as_bytes()), ..Default::default() };
        let secret = wire::Secret { spec: Some(spec), ..Default::default() };
        let item = wire::assignment::Item::Secret(secret);
        let assignment = wire::Assignment { item: Some(item) };
        let change = wire::AssignmentChange { assignment: Some(assignment), action: 0 };
        assert_hidden("AssignmentChange", &format!("{change:?} {change:#?}"));
    }

    #[test]
    fn what_is_not_secret_is_still_told() {
        let key = wire::EncryptionKey { subsystem: "networking:gossip".into(), lamport_time: 7, ..Default::default() };
        assert_eq!(
            format!("{key:?}"),
            "EncryptionKey { subsystem: \"networking:gossip\", algorithm: Aes128Gcm, key: empty, lamport_time: 7 }"
        );
        let unknown = wire::EncryptionKey { algorithm: 99, ..Default::default() };
        assert!(format!("{unknown:?}").contains("algorithm: 99"));
    }
}

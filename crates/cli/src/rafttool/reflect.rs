//! Messages that are shown without knowing their types: as protobuf's text and JSON forms, with secrets taken out.

use std::fmt::Write as _;

use bytes::Bytes;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, MapKey, SerializeOptions, Value,
};
use swarmkit_api::wire;

/// What stands for a secret.
const REDACTED: &str = "[redacted]";

/// Fields that are hidden beside those which `proto/` marks as secret, as upstream.
const ALSO_HIDDEN: [&str; 4] = [
    "docker.swarmkit.v1.ConfigSpec.data",
    "docker.swarmkit.v1.ContainerSpec.env",
    "docker.swarmkit.v1.ClusterSpec.ca_config",
    "docker.swarmkit.v1.Cluster.root_ca",
];

/// All messages of the wire.
pub(super) struct Schema {
    pool: DescriptorPool,
    secret: ExtensionDescriptor,
}

impl Schema {
    pub(super) fn new() -> Self {
        let pool = DescriptorPool::decode(wire::DESCRIPTORS).expect("invariant: the descriptors are generated");
        let secret = pool.get_extension_by_name("swarmkit.secret").expect("invariant: proto/ defines it");
        Self { pool, secret }
    }

    /// Reads a message of a type by its name within `docker.swarmkit.v1`. `None` if the bytes are none.
    pub(super) fn read(&self, name: &str, bytes: &[u8]) -> Option<DynamicMessage> {
        let descriptor = self.pool.get_message_by_name(&format!("docker.swarmkit.v1.{name}"))?;
        DynamicMessage::decode(descriptor, bytes).ok()
    }

    /// Takes out every key, token, payload, environment and registry credential.
    pub(super) fn redact(&self, message: &mut DynamicMessage) {
        self.redact_within(message, false);
    }

    fn redact_within(&self, message: &mut DynamicMessage, all: bool) {
        for (field, value) in message.fields_mut() {
            self.redact_value(value, all || self.is_secret(&field));
        }
    }

    fn redact_value(&self, value: &mut Value, all: bool) {
        match value {
            Value::Message(message) => self.redact_within(message, all),
            Value::List(values) => values.iter_mut().for_each(|value| self.redact_value(value, all)),
            Value::Map(values) => values.values_mut().for_each(|value| self.redact_value(value, all)),
            Value::String(text) if all && !text.is_empty() => REDACTED.clone_into(text),
            Value::Bytes(bytes) if all && !bytes.is_empty() => *bytes = Bytes::from_static(REDACTED.as_bytes()),
            // Numbers are no secrets.
            _ => {}
        }
    }

    fn is_secret(&self, field: &FieldDescriptor) -> bool {
        let marked = field.options().get_extension(&self.secret).as_bool() == Some(true);
        marked || ALSO_HIDDEN.contains(&field.full_name())
    }
}

/// Protobuf's JSON form: names as in `proto/`, defaults left out, bytes in base64.
pub(super) fn json(message: &DynamicMessage) -> serde_json::Value {
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("invariant: messages have keys that JSON can express")
}

/// Protobuf's text form, one field a line, maps in the order of their keys.
pub(super) fn text(message: &DynamicMessage, indent: usize) -> String {
    let mut out = String::new();
    put_message(&mut out, message, indent);
    out
}

fn put_message(out: &mut String, message: &DynamicMessage, indent: usize) {
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(|(field, _)| field.number());
    for (field, value) in fields {
        match value {
            Value::List(values) => values.iter().for_each(|value| put_field(out, &field, value, indent)),
            Value::Map(values) => {
                let mut values: Vec<_> = values.iter().map(|(key, value)| (map_key(key), value)).collect();
                values.sort_by(|(a, _), (b, _)| a.cmp(b));
                for (key, value) in values {
                    let _ = writeln!(out, "{:indent$}{} {{", "", field.name());
                    let _ = writeln!(out, "{:indent$}  key: {key}", "");
                    put_named(out, "value", &field, value, indent + 2);
                    let _ = writeln!(out, "{:indent$}}}", "");
                }
            }
            value => put_field(out, &field, value, indent),
        }
    }
}

fn put_field(out: &mut String, field: &FieldDescriptor, value: &Value, indent: usize) {
    put_named(out, field.name(), field, value, indent);
}

fn put_named(out: &mut String, name: &str, field: &FieldDescriptor, value: &Value, indent: usize) {
    if let Value::Message(message) = value {
        let _ = writeln!(out, "{:indent$}{name} {{", "");
        put_message(out, message, indent + 2);
        let _ = writeln!(out, "{:indent$}}}", "");
        return;
    }
    let _ = writeln!(out, "{:indent$}{name}: {}", "", scalar(field, value));
}

fn scalar(field: &FieldDescriptor, value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::String(text) => quoted(text.as_bytes()),
        Value::Bytes(bytes) => quoted(bytes),
        Value::EnumNumber(number) => {
            let kind = field.kind();
            let known = kind.as_enum().and_then(|values| values.get_value(*number));
            known.map_or_else(|| number.to_string(), |value| value.name().to_owned())
        }
        Value::Message(message) => format!("{{ {} }}", text(message, 0).trim_end().replace('\n', " ")),
        Value::List(_) | Value::Map(_) => unreachable!("invariant: lists and maps are taken apart before"),
    }
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => quoted(key.as_bytes()),
    }
}

/// As C would write it. Text that is UTF-8 stays readable.
fn quoted(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return format!("\"{}\"", bytes.escape_ascii()) };
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => letter.to_string().bytes().for_each(|byte| {
                let _ = write!(out, "\\{byte:03o}");
            }),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn service() -> wire::Object {
        let container = wire::ContainerSpec {
            image: "nginx".to_owned(),
            labels: [("b", "2"), ("a", "ö\"\n")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            env: vec!["PASSWORD=swordfish".to_owned()],
            pull_options: Some(wire::container_spec::PullOptions { registry_auth: "swordfish".to_owned() }),
            ..Default::default()
        };
        let task = wire::TaskSpec {
            runtime: Some(wire::task_spec::Runtime::Container(container)),
            restart: Some(wire::RestartPolicy { condition: 1, max_attempts: 3, ..Default::default() }),
            ..Default::default()
        };
        let spec = wire::ServiceSpec { task: Some(task), ..Default::default() };
        let service = wire::Service { id: "s1".to_owned(), spec: Some(spec), ..Default::default() };
        wire::Object { object: Some(wire::object::Object::Service(service)) }
    }

    #[test]
    fn an_object_is_shown_as_text_with_its_maps_in_order() {
        let schema = Schema::new();
        let message = schema.read("Object", &service().encode_to_vec()).unwrap();
        let expected = "service {\n  id: \"s1\"\n  spec {\n    task {\n      container {\n        image: \"nginx\"\n        \
                        labels {\n          key: \"a\"\n          value: \"ö\\\"\\n\"\n        }\n        labels {\n          \
                        key: \"b\"\n          value: \"2\"\n        }\n        env: \"PASSWORD=swordfish\"\n        \
                        pull_options {\n          registry_auth: \"swordfish\"\n        }\n      }\n      restart {\n        \
                        condition: ON_FAILURE\n        max_attempts: 3\n      }\n    }\n  }\n}\n";
        assert_eq!(text(&message, 0), expected);
        assert_eq!(json(&message)["service"]["spec"]["task"]["restart"]["max_attempts"], 3);
    }

    #[test]
    fn redaction_leaves_no_environment_credential_key_token_or_payload() {
        let schema = Schema::new();
        let redacted = |object: wire::Object| {
            let mut message = schema.read("Object", &object.encode_to_vec()).unwrap();
            schema.redact(&mut message);
            let (text, json) = (text(&message, 0), json(&message).to_string());
            assert!(text.contains(REDACTED), "{text}");
            assert!(!text.contains("swordfish") && !json.contains("swordfish"), "{text}");
            text
        };
        let text = redacted(service());
        assert!(text.contains("image: \"nginx\"") && text.contains("key: \"b\""), "what is no secret stays: {text}");

        let secret = wire::SecretSpec { data: "swordfish".into(), ..Default::default() };
        let secret = wire::Secret { id: "s".into(), spec: Some(secret), ..Default::default() };
        redacted(wire::Object { object: Some(wire::object::Object::Secret(secret)) });
        let config = wire::ConfigSpec { data: "swordfish".into(), ..Default::default() };
        let config = wire::Config { id: "c".into(), spec: Some(config), ..Default::default() };
        redacted(wire::Object { object: Some(wire::object::Object::Config(config)) });

        let key = || wire::EncryptionKey { key: "swordfish".into(), ..Default::default() };
        let tokens = wire::JoinTokens { worker: "swordfish".into(), manager: "swordfish".into() };
        let cluster = wire::Cluster {
            id: "c".into(),
            spec: Some(wire::ClusterSpec {
                ca_config: Some(wire::CaConfig { signing_ca_cert: "swordfish".into(), ..Default::default() }),
                ..Default::default()
            }),
            root_ca: Some(wire::RootCa {
                ca_key: "swordfish".into(),
                ca_cert: "swordfish".into(),
                join_tokens: Some(tokens),
                ..Default::default()
            }),
            network_bootstrap_keys: vec![key()],
            unlock_keys: vec![key()],
            ..Default::default()
        };
        let text = redacted(wire::Object { object: Some(wire::object::Object::Cluster(cluster)) });
        assert_eq!(text.matches(REDACTED).count(), 7, "{text}");
    }
}

//! An object that went to the wire and back equals itself, whatever it holds.
//!
//! The objects come from random messages, made field by field from the descriptors, so that a field which the conversion
//! forgets is noticed here without anybody having to think of it.

use std::sync::{Arc, LazyLock};

use proptest::{prelude::*, test_runner::TestRng};
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind as Type, MapKey, MessageDescriptor,
    ReflectMessage as _, Value, prost::Message as _,
};
use swarmkit_api::{AnyObject, Kind, Object, Sharing, Task, wire};

/// How deep a random message is filled. Deeper parts stay absent.
const DEPTH_MAX: usize = 7;

/// One random message of each kind.
fn random(descriptor: &MessageDescriptor, rng: &mut TestRng, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        // The wire keeps one member of a oneof; everything else is filled two times in three.
        let filled = field.name() == "id" && depth == 0 || rng.random_ratio(2, 3);
        if filled && depth < DEPTH_MAX {
            let value = random_value(&field, rng, depth);
            message.set_field(&field, value);
        }
    }
    message
}

fn random_value(field: &FieldDescriptor, rng: &mut TestRng, depth: usize) -> Value {
    if field.is_map() {
        let Type::Message(entry) = field.kind() else { unreachable!("a map's entries are messages") };
        let value = entry.map_entry_value_field();
        return Value::Map(
            (0..rng.random_range(0..3))
                .map(|i| (MapKey::String(format!("key{i}")), scalar(&value, rng, depth)))
                .collect(),
        );
    }
    if field.cardinality() == Cardinality::Repeated {
        return Value::List((0..rng.random_range(0..3)).map(|_| scalar(field, rng, depth)).collect());
    }
    scalar(field, rng, depth)
}

fn scalar(field: &FieldDescriptor, rng: &mut TestRng, depth: usize) -> Value {
    match field.kind() {
        Type::Message(message) => Value::Message(random(&message, rng, depth + 1)),
        Type::Enum(values) => {
            let values: Vec<_> = values.values().map(|value| value.number()).collect();
            Value::EnumNumber(values[rng.random_range(0..values.len())])
        }
        Type::String => Value::String(format!("text{}", rng.random_range(0..1000_u32))),
        Type::Bytes => Value::Bytes(rng.next_u32().to_le_bytes().to_vec().into()),
        Type::Bool => Value::Bool(rng.random()),
        Type::Int32 => Value::I32(rng.random_range(0..1000)),
        Type::Int64 => Value::I64(rng.random()),
        Type::Uint32 => Value::U32(rng.random()),
        Type::Uint64 => Value::U64(rng.random()),
        Type::Float => Value::F32(rng.random_range(0.0..1.0)),
        other => unreachable!("the wire has no field of type {other:?}"),
    }
}

/// Compiled once: it takes longer than all the cases.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(crate::wire::proto);

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn an_object_survives_the_wire(seed in any::<[u8; 32]>()) {
        let mut rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
        for kind in Kind::ALL {
            let name = format!("docker.swarmkit.v1.{}", capitalized(kind.as_str()));
            let descriptor = POOL.get_message_by_name(&name).expect("every kind has a message");
            let message = random(&descriptor, &mut rng, 0);
            let bytes = message.encode_to_vec();

            let object = AnyObject::decode(kind, bytes.as_slice()).expect("the message holds known values");
            let mut encoded = Vec::new();
            object.encode(&mut encoded);
            prop_assert_eq!(encoded.len(), object.encoded_len());
            let read = AnyObject::decode(kind, encoded.as_slice()).unwrap();
            prop_assert_eq!(&read, &object);
            // Replicas compare what they hold by these bytes, wherever they have it from.
            let mut again = Vec::new();
            read.encode(&mut again);
            prop_assert_eq!(&again, &encoded);

            // Nothing that was in the message is lost: each field that was set is set to the same value.
            let after = DynamicMessage::decode(descriptor.clone(), encoded.as_slice()).unwrap();
            for (field, before) in message.fields() {
                prop_assert_eq!(normal(before), normal(&after.get_field(&field)), "{}.{}", name, field.name());
            }
        }
    }

    #[test]
    fn shared_parts_are_encoded_like_their_copies(seed in any::<[u8; 32]>()) {
        let mut rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
        let descriptor = POOL.get_message_by_name("docker.swarmkit.v1.Task").expect("tasks have a message");
        let bytes = random(&descriptor, &mut rng, 0).encode_to_vec();
        let wire = <wire::Task as prost_reflect::prost::Message>::decode(bytes.as_slice()).unwrap();
        let task = Task::from_wire(wire).unwrap();
        let mut in_place = Vec::new();
        task.encode(&mut in_place);
        let decoded = <wire::Task as prost_reflect::prost::Message>::decode(in_place.as_slice()).unwrap();
        prop_assert_eq!(decoded, task.to_wire());
    }

    #[test]
    fn tasks_that_share_parts_are_read_as_each_by_itself(seeds in prop::collection::vec(any::<[u8; 32]>(), 1..6)) {
        let descriptor = POOL.get_message_by_name("docker.swarmkit.v1.Task").expect("tasks have a message");
        let mut sharing = Sharing::default();
        for seed in seeds {
            let mut rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
            let message = random(&descriptor, &mut rng, 0).encode_to_vec();
            let AnyObject::Task(mut task) = AnyObject::decode(Kind::Task, message.as_slice()).unwrap() else { unreachable!() };
            // All of one service, and each followed by its twin, and by one that differs in nothing else.
            Arc::make_mut(&mut task).service_id = Some("one".into());
            let mut other = Task::clone(&task);
            Arc::make_mut(&mut other.spec).force_update += 1;
            for task in [task.as_ref(), task.as_ref(), &other] {
                let bytes = task.to_wire().encode_to_vec();
                let read = AnyObject::decode_sharing(Kind::Task, &bytes, &mut sharing).unwrap();
                prop_assert_eq!(&read, &AnyObject::decode(Kind::Task, bytes.as_slice()).unwrap());
                let mut twice = Vec::new();
                task.encode(&mut twice);
                task.encode(&mut twice);
                let merged = AnyObject::decode(Kind::Task, twice.as_slice()).unwrap();
                prop_assert_eq!(AnyObject::decode_sharing(Kind::Task, &twice, &mut sharing).unwrap(), merged);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_task_are_refused_as_the_generated_code_refuses_them(
        mut bytes in any::<[u8; 32]>().prop_map(|seed| {
            let mut rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
            let descriptor = POOL.get_message_by_name("docker.swarmkit.v1.Task").expect("tasks have a message");
            random(&descriptor, &mut rng, 0).encode_to_vec()
        }),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let read = AnyObject::decode_sharing(Kind::Task, &bytes, &mut Sharing::default()).ok();
        prop_assert_eq!(read, AnyObject::decode(Kind::Task, bytes.as_slice()).ok());
    }
}

/// A message without its empty parts: absent and default mean the same in this wire.
fn normal(value: &Value) -> String {
    match value {
        Value::Message(message) => {
            let fields: Vec<_> = message
                .fields()
                .map(|(field, value)| (field.number(), normal(value)))
                .filter(|(_, value)| !value.is_empty())
                .map(|(number, value)| format!("{number}:{value}"))
                .collect();
            if fields.is_empty() && message.descriptor().fields().len() > 0 {
                String::new()
            } else {
                format!("{{{}}}", fields.join(","))
            }
        }
        Value::List(items) if items.is_empty() => String::new(),
        Value::Map(entries) if entries.is_empty() => String::new(),
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key:?}={}", normal(value))).collect();
            entries.sort();
            entries.join(",")
        }
        Value::List(items) => items.iter().map(|item| format!("[{}]", normal(item))).collect(),
        Value::EnumNumber(0) | Value::I32(0) | Value::I64(0) | Value::U32(0) | Value::U64(0) | Value::Bool(false) => {
            String::new()
        }
        other => format!("{other:?}"),
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[test]
fn an_unknown_enum_number_is_refused() {
    let wire = wire::Task { id: "t".into(), desired_state: 5, ..Default::default() };
    assert_eq!(Task::from_wire(wire).unwrap_err().to_string(), "task.desired_state holds the unknown value 5");
}

#[test]
fn an_object_without_an_id_is_refused() {
    assert_eq!(Task::from_wire(wire::Task::default()).unwrap_err().to_string(), "a task without an id");
}

//! Limits.

use serde_json::json;
use swarmkit_api::wire::{
    DiscreteGenericResource, GenericResource, ResourceRequirements, Resources, container_spec::Ulimit,
    generic_resource::Resource,
};

use super::*;

/// What a task with those resources asks for, or why it is refused.
fn resources(resources: ResourceRequirements) -> Result<Value, String> {
    beyond(&task(plain(), TaskSpec { resources: Some(resources), ..Default::default() }), NEW)
}

fn memory(bytes: i64) -> Option<Resources> {
    Some(Resources { memory_bytes: bytes, ..Default::default() })
}

#[test]
fn a_limit_of_0_is_none_and_a_reservation_is_the_schedulers_business() {
    let limits = Some(Resources { nano_cpus: 500_000_000, memory_bytes: 1 << 20, ..Default::default() });
    let both = ResourceRequirements { limits, reservations: memory(1 << 10), ..Default::default() };
    assert_eq!(resources(both).unwrap(), json!({ "NanoCpus": 500_000_000, "Memory": 1 << 20 }));
    assert_eq!(resources(ResourceRequirements { limits: memory(0), ..Default::default() }).unwrap(), json!({}));
}

#[test]
fn swap_is_counted_together_with_memory() {
    let swap = |limits, swap_bytes| resources(ResourceRequirements { limits, swap_bytes, ..Default::default() });
    assert_eq!(swap(memory(1000), Some(500)).unwrap(), json!({ "Memory": 1000, "MemorySwap": 1500 }));
    assert_eq!(swap(memory(1000), Some(0)).unwrap(), json!({ "Memory": 1000, "MemorySwap": 1000 }));
    assert_eq!(swap(None, Some(-1)).unwrap(), json!({ "MemorySwap": -1 }));
    let text = "the engine cannot do: swap limit without a memory limit";
    assert_eq!(swap(None, Some(500)).unwrap_err(), text);
    assert_eq!(swap(memory(1), Some(-2)).unwrap_err(), "the engine cannot do: negative swap limit");
}

#[test]
fn swappiness_is_0_to_100_or_as_the_machine_has_it() {
    let swappiness = |memory_swappiness| resources(ResourceRequirements { memory_swappiness, ..Default::default() });
    assert_eq!(swappiness(Some(0)).unwrap(), json!({ "MemorySwappiness": 0 }));
    assert_eq!(swappiness(Some(-1)).unwrap(), json!({}));
    let text = "the engine cannot do: memory swappiness beyond 0 to 100";
    assert_eq!(swappiness(Some(101)).unwrap_err(), text);
}

#[test]
fn what_is_counted_for_each_process_is_limited_as_asked() {
    let nofile = Ulimit { name: "nofile".into(), soft: 100, hard: -1 };
    let expected = json!({ "Ulimits": [{ "Name": "nofile", "Soft": 100, "Hard": -1 }] });
    assert_eq!(asked(|spec| spec.ulimits = vec![nofile]), expected);
    assert_eq!(asked(|spec| spec.pids_limit = 10), json!({ "PidsLimit": 10 }));
    assert_eq!(asked(|spec| spec.pids_limit = -1), json!({}));
    assert_eq!(asked(|spec| spec.oom_score_adj = -500), json!({ "OomScoreAdj": -500 }));
}

#[test]
fn generic_resources_are_reserved_and_cannot_be_limited() {
    let count = DiscreteGenericResource { kind: "licence".into(), value: 2 };
    let generic = vec![GenericResource { resource: Some(Resource::DiscreteResourceSpec(count)) }];
    let some = || Some(Resources { generic: generic.clone(), ..Default::default() });
    let reserved = ResourceRequirements { reservations: some(), ..Default::default() };
    assert_eq!(resources(reserved).unwrap(), json!({}));
    let limited = ResourceRequirements { limits: some(), ..Default::default() };
    let text = "the engine cannot do: limits of generic resources (reserve them)";
    assert_eq!(resources(limited).unwrap_err(), text);
}

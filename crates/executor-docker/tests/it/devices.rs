//! Devices of the node inside a container.

use std::path::Path;

use swarmkit_api::{Task, wire};
use swarmkit_executor::{Device, Devices, Executor as _};

use crate::world::{World, task};

/// Devices that machines have and containers have not.
const DEVICES: [&str; 3] = ["/dev/fuse", "/dev/loop-control", "/dev/kmsg"];

/// A task that was given a unit of `kind`.
fn given(script: &str, kind: &str, value: &str) -> Task {
    let mut task = task(script, |_, _| {});
    let unit = wire::NamedGenericResource { kind: kind.into(), value: value.into() };
    let resource = Some(wire::generic_resource::Resource::NamedResourceSpec(unit));
    task.assigned_generic_resources = vec![wire::GenericResource { resource }];
    task
}

#[tokio::test]
async fn a_device_that_a_task_was_given_is_in_its_container_and_can_be_used_as_far_as_it_may() {
    let Some(path) = DEVICES.into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("skipped: this machine has no device that containers do not have");
        return;
    };
    let device: Device = format!("dev={path}:r").parse().unwrap();
    let devices = Devices::new([device, "dev=/dev/nonexistent".parse().unwrap()]).unwrap();
    let Some(world) = World::with_devices(devices).await else { return };

    let described = world.executor.describe().await.unwrap().resources.unwrap().generic;
    assert_eq!(described, given("", "dev", path).assigned_generic_resources, "what is not there is not offered");

    let script = format!(
        "echo $DOCKER_RESOURCE_DEV; test -c {path} && echo there; (: <{path}) 2>/dev/null && echo reads; \
         (: >{path}) 2>/dev/null || echo does not write"
    );
    let output = world.output(given(&script, "dev", path)).await;
    assert_eq!(output, format!("{path}\nthere\nreads\ndoes not write\n"));
    let output = world.output(task(&format!("test -e {path} || echo not there"), |_, _| {})).await;
    assert_eq!(output, "not there\n", "who was given none has none");
    world.end().await;
}

#[tokio::test]
async fn a_device_that_is_none_of_the_node_or_not_there_fails_the_preparation_by_its_name() {
    let devices = Devices::new(["dev=/dev/nonexistent".parse().unwrap()]).unwrap();
    let Some(world) = World::with_devices(devices).await else { return };
    let refusal = world.refusal(given("true", "dev", "/dev/null")).await;
    assert_eq!(refusal.to_string(), "this node has no device dev=/dev/null");
    let refusal = world.refusal(given("true", "dev", "/dev/nonexistent")).await;
    assert!(refusal.to_string().starts_with("device /dev/nonexistent (dev) cannot be handed over: "), "{refusal}");
    assert!(!refusal.is_temporary());
    world.end().await;
}

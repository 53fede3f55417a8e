//! Devices of the node, and who may use them.

use std::{fs, os::unix::fs::symlink, sync::Arc};

use swarmkit_api::{Task, wire};
use swarmkit_executor::{Assignment, Controller as _, Devices, ExecError, Executor as _};
use swarmkit_executor_process::ProcessExecutor;

use crate::world::{SUPERVISOR, World, is_root, task, within};

async fn world(devices: &[&str]) -> World {
    let dir = tempfile::tempdir().unwrap();
    let devices = Devices::new(devices.iter().map(|text| text.parse().unwrap())).unwrap();
    let builder = ProcessExecutor::builder(dir.path()).supervisor_program(SUPERVISOR);
    World { executor: builder.devices(devices).open().await.unwrap(), dir }
}

fn unit(kind: &str, value: &str) -> wire::GenericResource {
    let unit = wire::NamedGenericResource { kind: kind.into(), value: value.into() };
    wire::GenericResource { resource: Some(wire::generic_resource::Resource::NamedResourceSpec(unit)) }
}

/// A task that was given those units.
fn given(task: Arc<Task>, units: &[wire::GenericResource]) -> Arc<Task> {
    let mut task = Arc::unwrap_or_clone(task);
    task.assigned_generic_resources = units.to_vec();
    Arc::new(task)
}

async fn refusal(world: &World, task: Arc<Task>) -> ExecError {
    let controller = world.executor.controller(Assignment::new(task)).await.unwrap();
    within(controller.prepare()).await.unwrap_err()
}

#[tokio::test]
async fn a_process_is_told_the_paths_of_the_devices_that_it_was_given() {
    let world = world(&["dev=/dev/zero:r", "dev=/dev/full", "dev=/dev/null"]).await;
    let described = world.executor.describe().await.unwrap().resources.unwrap().generic;
    assert_eq!(described, ["/dev/zero", "/dev/full", "/dev/null"].map(|path| unit("dev", path)));
    let script = "echo $DOCKER_RESOURCE_DEV; for path in ${DOCKER_RESOURCE_DEV/,/ }; do head -c 3 $path | wc -c; done";
    let script = script.replace("${DOCKER_RESOURCE_DEV/,/ }", "$(echo $DOCKER_RESOURCE_DEV | tr , ' ')");
    let units = [unit("dev", "/dev/zero"), unit("dev", "/dev/null")];
    assert_eq!(world.output(given(task(&script, |_, _| {}), &units)).await, "/dev/zero,/dev/null\n3\n0\n");
}

#[tokio::test]
async fn a_device_that_was_unplugged_is_no_longer_offered_and_fails_the_preparation_by_its_name() {
    let plugs = tempfile::tempdir().unwrap();
    let plug = plugs.path().join("plug");
    symlink("/dev/zero", &plug).unwrap();
    let name = plug.to_str().unwrap();
    let world = world(&[&format!("dev={name}")]).await;
    let offered = async || world.executor.describe().await.unwrap().resources.unwrap().generic;
    assert_eq!(offered().await, [unit("dev", name)]);
    fs::remove_file(&plug).unwrap();
    assert_eq!(offered().await, []);
    let error = refusal(&world, given(task("true", |_, _| {}), &[unit("dev", name)])).await;
    assert!(
        error.to_string().starts_with(&format!("device {name} (dev) cannot be handed over: No such file")),
        "{error}"
    );
    assert!(!error.is_temporary());
    symlink("/dev/zero", &plug).unwrap();
    assert_eq!(offered().await, [unit("dev", name)]);
}

#[tokio::test]
async fn a_task_that_was_given_what_its_node_does_not_hand_over_is_refused() {
    let world = world(&["dev=/dev/zero"]).await;
    // It is there, and nobody has made it a unit: who decides that is the node.
    let error = refusal(&world, given(task("true", |_, _| {}), &[unit("dev", "/dev/null")])).await;
    assert_eq!(error.to_string(), "this node has no device dev=/dev/null");
}

#[tokio::test]
async fn a_device_that_the_user_of_a_task_may_not_open_is_refused() {
    if !is_root() || !fs::exists("/dev/loop-control").unwrap() {
        eprintln!("skipped: needs root, and a device that is root's own");
        return;
    }
    let world = world(&["dev=/dev/loop-control:rw", "dev=/dev/zero:rw"]).await;
    let as_nobody = |unit| given(task("true", |spec, _| spec.user = "65534:65534".into()), &[unit]);
    let error = refusal(&world, as_nobody(unit("dev", "/dev/loop-control"))).await;
    let text = "device /dev/loop-control cannot be used for \"rw\" by the user of the task: permission denied";
    assert_eq!(error.to_string(), text);
    assert_eq!(world.output(as_nobody(unit("dev", "/dev/zero"))).await, "");
}

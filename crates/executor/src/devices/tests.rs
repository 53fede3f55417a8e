//! What is a device, which are offered, and which are handed over.

use swarmkit_api::{TaskId, wire::DiscreteGenericResource};

use super::*;

fn devices(texts: &[&str]) -> Result<Devices, String> {
    Devices::new(texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?)
}

fn count(kind: &str, value: i64) -> GenericResource {
    let unit = DiscreteGenericResource { kind: kind.to_owned(), value };
    GenericResource { resource: Some(Resource::DiscreteResourceSpec(unit)) }
}

/// What a task that was given those units is handed, or why it is not.
fn handed(devices: &Devices, given: &[GenericResource]) -> Result<Vec<String>, String> {
    let mut task = Task::new(TaskId::from("t1"), swarmkit_api::wire::TaskSpec::default());
    task.assigned_generic_resources = given.to_vec();
    let files = devices.of(&task).map_err(|error| {
        assert!(!error.is_temporary(), "trying again on this node does not help: {error}");
        error.to_string()
    })?;
    Ok(files.iter().map(ToString::to_string).collect())
}

#[test]
fn a_device_is_a_kind_and_files_each_with_what_may_be_done() {
    let device: Device = "gpu = /dev/a , /dev/b:r,/dev/disk/by-path/pci-0000:00:1f.2:rw".parse().unwrap();
    let files: Vec<_> = device.files().iter().map(ToString::to_string).collect();
    assert_eq!((device.kind(), device.name()), ("gpu", "/dev/a"));
    assert_eq!(files, ["/dev/a:rwm", "/dev/b:r", "/dev/disk/by-path/pci-0000:00:1f.2:rw"]);
    // What looks like a part of the path is one.
    assert_eq!("bus=/dev/usb:001".parse::<Device>().unwrap().name(), "/dev/usb:001");
}

#[test]
fn what_is_no_device_is_refused() {
    let refusal = |text: &str| text.parse::<Device>().unwrap_err();
    assert_eq!(refusal("/dev/a"), "device \"/dev/a\" is not KIND=PATH");
    assert_eq!(refusal("=/dev/a"), "device \"=/dev/a\" is of no kind");
    for path in ["dev/a", "", "/dev/../etc/shadow", ":rw"] {
        assert!(refusal(&format!("gpu={path}")).ends_with("of a device is not absolute"), "{path}");
    }
    assert!(refusal("gpu=/dev/a,").ends_with("of a device is not absolute"));
    assert_eq!(
        devices(&["a=/dev/null", "b=/dev/null", "a=/dev/null"]).unwrap_err(),
        "device a=/dev/null is said twice"
    );
}

#[test]
fn only_devices_that_are_there_are_offered_by_kind_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let (no_device, gone) = (format!("gpu={}", file.display()), format!("gpu=/dev/full,{}/gone", dir.path().display()));
    let devices = devices(&["null=/dev/null", "gpu=/dev/zero", &no_device, &gone, "gpu=/dev/null"]).unwrap();
    let offered = [named("gpu", "/dev/zero"), named("gpu", "/dev/null"), named("null", "/dev/null")];
    assert_eq!(devices.present(), offered);
    let missing = devices.missing();
    assert_eq!(missing.len(), 2);
    assert_eq!(missing[0], format!("gpu={0}: {0}: it is no device", file.display()));
    assert!(
        missing[1].starts_with(&format!("gpu=/dev/full: {}/gone: No such file", dir.path().display())),
        "{missing:?}"
    );
}

#[test]
fn a_task_is_handed_the_files_of_its_units_and_each_file_once() {
    let devices = devices(&["gpu=/dev/zero,/dev/full:r", "gpu=/dev/null:r,/dev/full:w", "tpu=/dev/random"]).unwrap();
    let given = [named("gpu", "/dev/zero"), named("gpu", "/dev/null"), named("fpga", "/dev/random"), count("slot", 2)];
    assert_eq!(handed(&devices, &given).unwrap(), ["/dev/zero:rwm", "/dev/full:rw", "/dev/null:r"]);
    assert_eq!(handed(&devices, &[]).unwrap(), Vec::<String>::new());
}

#[test]
fn what_is_no_unit_of_this_node_is_refused_by_its_name() {
    let devices = devices(&["gpu=/dev/zero", "gpu=/dev/nonexistent"]).unwrap();
    // It exists, but nobody made it a unit.
    assert_eq!(handed(&devices, &[named("gpu", "/dev/null")]).unwrap_err(), "this node has no device gpu=/dev/null");
    let gone = handed(&devices, &[named("gpu", "/dev/nonexistent")]).unwrap_err();
    assert!(gone.starts_with("device /dev/nonexistent (gpu) cannot be handed over: No such file"), "{gone}");
    assert_eq!(handed(&devices, &[count("gpu", 1)]).unwrap_err(), "was given a number of gpu, and not which devices");
    assert_eq!(
        handed(&Devices::default(), &[count("gpu", 1), named("gpu", "/dev/null")]).unwrap(),
        Vec::<String>::new()
    );
}

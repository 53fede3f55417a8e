//! Mounts, and the files of secrets and configs.

use serde_json::json;
use swarmkit_api::wire::{
    ConfigReference, Driver, Mount, SecretReference, VolumeAttachment,
    mount::{BindOptions, Consistency, TmpfsOptions, Type, VolumeOptions, bind_options::Propagation},
};

use super::*;

fn mount(kind: Type, source: &str) -> Mount {
    Mount { r#type: kind.into(), source: source.into(), target: "/data".into(), ..Default::default() }
}

/// What a mount asks for.
fn mounted(mount: Mount) -> Value {
    asked(|spec| spec.mounts = vec![mount])
}

#[test]
fn a_path_is_bound_with_the_propagation_that_is_asked_for() {
    let plain = json!({ "Type": "bind", "Source": "/srv", "Target": "/data" });
    assert_eq!(mounted(mount(Type::Bind, "/srv")), json!({ "Mounts": [plain] }));
    for (propagation, word) in [
        (Propagation::Rprivate, "rprivate"),
        (Propagation::Private, "private"),
        (Propagation::Rshared, "rshared"),
        (Propagation::Shared, "shared"),
        (Propagation::Rslave, "rslave"),
        (Propagation::Slave, "slave"),
    ] {
        let options = BindOptions { propagation: propagation.into(), ..Default::default() };
        let bound = mounted(Mount { bind_options: Some(options), readonly: true, ..mount(Type::Bind, "/srv") });
        let options = json!({ "Propagation": word });
        let expected =
            json!({ "Type": "bind", "Source": "/srv", "Target": "/data", "ReadOnly": true, "BindOptions": options });
        assert_eq!(bound, json!({ "Mounts": [expected] }));
    }
}

#[test]
fn options_that_the_engine_is_too_old_for_are_refused() {
    let bind = |options| Mount { bind_options: Some(options), ..mount(Type::Bind, "/srv") };
    let all = BindOptions {
        nonrecursive: true,
        createmountpoint: true,
        readonlynonrecursive: true,
        readonlyforcerecursive: true,
        ..Default::default()
    };
    let asked = mounted(bind(all));
    let expected = json!({
        "Propagation": "rprivate", "NonRecursive": true, "CreateMountpoint": true,
        "ReadOnlyNonRecursive": true, "ReadOnlyForceRecursive": true,
    });
    assert_eq!(asked["Mounts"][0]["BindOptions"], expected);
    let create = BindOptions { createmountpoint: true, ..Default::default() };
    let text = "the engine cannot do: making the source of a bind mount (needs API 1.42, the engine has 1.41)";
    assert_eq!(refused(OLD, |spec| spec.mounts = vec![bind(create)]), text);
    let subpath = VolumeOptions { subpath: "a".into(), ..Default::default() };
    let volume = Mount { volume_options: Some(subpath), ..mount(Type::Volume, "v") };
    let text = "the engine cannot do: volume subpath (needs API 1.45, the engine has 1.41)";
    assert_eq!(refused(OLD, |spec| spec.mounts = vec![volume]), text);
}

#[test]
fn a_volume_is_made_as_its_options_say() {
    let options = VolumeOptions {
        nocopy: true,
        labels: [("a".to_owned(), "b".to_owned())].into(),
        driver_config: Some(Driver { name: "nfs".into(), options: [("o".to_owned(), "ro".to_owned())].into() }),
        subpath: "sub".into(),
    };
    let asked = mounted(Mount { volume_options: Some(options), ..mount(Type::Volume, "v") });
    let options = json!({
        "NoCopy": true, "Labels": { "a": "b" }, "Subpath": "sub",
        "DriverConfig": { "Name": "nfs", "Options": { "o": "ro" } },
    });
    let expected = json!({ "Type": "volume", "Source": "v", "Target": "/data", "VolumeOptions": options });
    assert_eq!(asked, json!({ "Mounts": [expected] }));
    let anonymous = json!({ "Mounts": [{ "Type": "volume", "Target": "/data" }] });
    assert_eq!(mounted(mount(Type::Volume, "")), anonymous);
}

#[test]
fn memory_is_mounted_and_with_options_in_the_words_of_mount() {
    let with = |options| Mount { tmpfs_options: Some(options), readonly: true, ..mount(Type::Tmpfs, "") };
    let plain = TmpfsOptions { size_bytes: 4096, mode: 0o1777, options: String::new() };
    let options = json!({ "SizeBytes": 4096, "Mode": 0o1777 });
    let expected = json!({ "Type": "tmpfs", "Target": "/data", "ReadOnly": true, "TmpfsOptions": options });
    assert_eq!(mounted(with(plain)), json!({ "Mounts": [expected] }));
    let exec = TmpfsOptions { size_bytes: 4096, mode: 0o1777, options: "exec,noatime".into() };
    let expected = json!({ "Tmpfs": { "/data": "ro,mode=1777,size=4096,exec,noatime" } });
    assert_eq!(mounted(with(exec)), expected);
}

#[test]
fn a_pipe_of_windows_and_the_consistency_are_passed_on() {
    let mut pipe = mount(Type::Npipe, r"\\.\pipe\a");
    pipe.set_consistency(Consistency::Cached);
    let expected = json!({ "Type": "npipe", "Source": r"\\.\pipe\a", "Target": "/data", "Consistency": "cached" });
    assert_eq!(mounted(pipe), json!({ "Mounts": [expected] }));
    let other = mounted(mount(Type::Npipe, "//./pipe/a"));
    assert_eq!(other["Mounts"][0]["Source"], "//./pipe/a");
}

#[test]
fn options_of_another_kind_of_mount_are_refused() {
    let odd = Mount { tmpfs_options: Some(TmpfsOptions::default()), ..mount(Type::Bind, "/srv") };
    let text = "the engine cannot do: tmpfs options on the mount at /data";
    assert_eq!(refused(NEW, |spec| spec.mounts = vec![odd]), text);
    let odd = Mount { volume_options: Some(VolumeOptions::default()), ..mount(Type::Cluster, "v") };
    let text = "the engine cannot do: volume options on the mount at /data";
    let mut task = task(ContainerSpec { mounts: vec![odd], ..plain() }, TaskSpec::default());
    task.volumes = vec![VolumeAttachment { id: "v1".into(), source: "v".into(), target: "/data".into() }];
    assert_eq!(beyond(&task, NEW).unwrap_err(), text);
    let text = "the engine cannot do: a source on the mount at /data";
    assert_eq!(refused(NEW, |spec| spec.mounts = vec![mount(Type::Tmpfs, "/srv")]), text);
}

#[test]
fn a_volume_of_the_cluster_is_bound_from_where_it_was_published() {
    let mut container = plain();
    container.mounts = vec![mount(Type::Cluster, "group:fast")];
    let mut task = task(container, TaskSpec::default());
    let text = "no cluster volume was chosen for group:fast at /data";
    assert_eq!(beyond(&task, NEW).unwrap_err(), text);
    task.volumes = vec![VolumeAttachment { id: "v1".into(), source: "group:fast".into(), target: "/data".into() }];
    let expected = json!({ "Type": "bind", "Source": "/published/v1", "Target": "/data" });
    assert_eq!(beyond(&task, NEW).unwrap(), json!({ "Mounts": [expected] }));
}

#[test]
fn secrets_and_configs_are_files_that_cannot_be_written_to() {
    let asked = asked(|spec| {
        spec.secrets = vec![SecretReference { secret_id: "s1".into(), secret_name: "db".into(), target: None }];
        spec.configs = vec![ConfigReference { config_id: "c1".into(), config_name: "site".into(), target: None }];
    });
    let file = |source: &str, target: &str| json!({ "Type": "bind", "Source": format!("/shelf/t1/{source}"), "Target": target, "ReadOnly": true });
    let expected = [file("secret-0", "/run/secrets/db"), file("config-1", "/site")];
    assert_eq!(asked, json!({ "Mounts": expected }));
}

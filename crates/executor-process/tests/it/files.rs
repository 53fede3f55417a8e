//! Secrets and configs.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use swarmkit_api::wire::{self, FileTarget, config_reference, secret_reference};
use swarmkit_executor::{Controller as _, FixedDependencies};

use crate::world::{World, is_root, task, within};

fn with_secret(spec: &mut wire::ContainerSpec) {
    let file = FileTarget { name: "password".into(), uid: "0".into(), gid: "0".into(), mode: 0 };
    let target = Some(secret_reference::Target::File(file));
    spec.secrets = vec![wire::SecretReference { secret_id: "s1".into(), secret_name: "db".into(), target }];
    let file = FileTarget { name: "/etc/site.conf".into(), ..Default::default() };
    let target = Some(config_reference::Target::File(file));
    spec.configs = vec![wire::ConfigReference { config_id: "c1".into(), config_name: "site".into(), target }];
}

fn dependencies() -> FixedDependencies {
    FixedDependencies::new().with_secret("s1", b"hush-hush").with_config("c1", b"listen 80")
}

/// Whether any file below `dir` holds `text`.
fn holds(dir: &Path, text: &str) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match fs::symlink_metadata(&path).unwrap().file_type() {
            kind if kind.is_dir() => holds(&path, text),
            kind if kind.is_file() => String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(text),
            _ => false,
        }
    })
}

#[tokio::test]
async fn secrets_and_configs_are_files_that_go_with_the_task() {
    let world = World::new().await;
    let script = "echo $SWARMKIT_SECRETS_DIR; wc -c < $SWARMKIT_SECRETS_DIR/password; \
                  cat $SWARMKIT_CONFIGS_DIR/etc/site.conf; echo; exec sleep 3600";
    let run = world.prepared_with(task(script, |spec, _| with_secret(spec)), dependencies()).await;
    within(run.controller.start()).await.unwrap();
    run.says("listen 80").await;
    let output = run.output().await;
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[1..], ["9", "listen 80"]);
    let secret = Path::new(lines[0]).join("password");
    let metadata = fs::metadata(&secret).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o400);
    if !secret.starts_with(world.dir.path().canonicalize().unwrap()) {
        assert!(!holds(world.dir.path(), "hush-hush"), "where there is a place in memory, no secret is on a disk");
    }
    run.removed().await;
    assert!(!secret.exists() && !secret.parent().unwrap().parent().unwrap().exists());
}

#[tokio::test]
async fn another_user_can_read_the_secrets_of_its_task_and_nobody_else_can() {
    if !is_root() {
        eprintln!("skipped: only root can run tasks as others");
        return;
    }
    let world = World::new().await;
    let script = "id -u; cat $SWARMKIT_SECRETS_DIR/password; echo; stat -c '%u %a' $SWARMKIT_SECRETS_DIR/..";
    let readable = task(script, |spec, _| {
        with_secret(spec);
        spec.user = "65534:65534".into();
    });
    let run = world.prepared_with(readable, dependencies()).await;
    within(run.controller.start()).await.unwrap();
    run.wait().await.unwrap();
    assert_eq!(run.output().await, "65534\nhush-hush\n65534 700\n");
    run.removed().await;
}

#[tokio::test]
async fn preparing_again_renews_the_files() {
    let world = World::new().await;
    let spec = task("cat $SWARMKIT_SECRETS_DIR/password", |spec, _| with_secret(spec));
    let run = world.prepared_with(spec.clone(), dependencies()).await;
    drop(run);
    let renewed = FixedDependencies::new().with_secret("s1", b"new").with_config("c1", b"");
    let run = world.prepared_with(spec, renewed).await;
    within(run.controller.start()).await.unwrap();
    run.wait().await.unwrap();
    assert_eq!(run.output().await, "new");
    run.removed().await;
}

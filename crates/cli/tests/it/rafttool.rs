//! `swarm-rafttool` on the state directories of managers: whole, damaged, in the middle of a change of keys.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use prost::Message as _;
use serde_json::Value;
use swarmkit_api::{Volume, wire};
use swarmkit_executor::InertExecutor;
use swarmkit_node::Node;
use swarmkit_raft::RaftOptions;
use swarmkit_runtime::Crew;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::directory;

/// Seen nowhere but in what is secret.
const SECRET: &str = "swordfish";

pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn rafttool(state_dir: &Path, args: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarm-rafttool"));
    let output = command.args(args).arg("--state-dir").arg(state_dir).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Told { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

pub(crate) fn ok(state_dir: &Path, args: &[&str]) -> String {
    let told = rafttool(state_dir, args);
    assert_eq!((told.code, told.err.as_str()), (0, ""), "{args:?}: {}", told.out);
    told.out
}

pub(crate) fn json(state_dir: &Path, args: &[&str]) -> Vec<Value> {
    let text = ok(state_dir, &[args, &["--format", "json"]].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a manager leaves behind that has written so many services, a secret, a config and a volume. Snapshots are
/// written every `interval` entries.
pub(crate) async fn state(services: u32, interval: u64) -> (TempDir, PathBuf) {
    let dir = directory();
    let (state_dir, stop) = (dir.path().join("state"), CancellationToken::new());
    let options = RaftOptions { snapshot_interval: interval, kept_entries: 5, ..RaftOptions::default() };
    let node = Node::builder(&state_dir, Arc::new(InertExecutor::new())).listen_remote("127.0.0.1:0").raft(options);
    let node = node.start(&stop).await.unwrap();
    let handle = node.handle();
    let mut crew = Crew::under(&stop);
    crew.spawn("node", |stop| node.run(stop));
    handle.ready().await.unwrap();

    let mut control = handle.control().unwrap();
    let named = |name: String| Some(wire::Annotations { name, ..Default::default() });
    for number in 0..services {
        let container = wire::ContainerSpec {
            image: "image".into(),
            env: vec![format!("PASSWORD={SECRET}")],
            ..Default::default()
        };
        let spec = wire::ServiceSpec {
            annotations: named(format!("web{number}")),
            task: Some(wire::TaskSpec {
                runtime: Some(wire::task_spec::Runtime::Container(container)),
                ..Default::default()
            }),
            mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas: 0 })),
            ..Default::default()
        };
        control.create_service(wire::CreateServiceRequest { spec: Some(spec) }).await.unwrap();
    }
    let data = || bytes::Bytes::from_static(SECRET.as_bytes());
    let spec = wire::SecretSpec { annotations: named("key".into()), data: data(), ..Default::default() };
    control.create_secret(wire::CreateSecretRequest { spec: Some(spec) }).await.unwrap();
    let spec = wire::ConfigSpec { annotations: named("file".into()), data: data(), ..Default::default() };
    control.create_config(wire::CreateConfigRequest { spec: Some(spec) }).await.unwrap();
    let driver = Some(wire::Driver { name: "csi".into(), ..Default::default() });
    let spec = wire::VolumeSpec { annotations: named("disk".into()), driver, ..Default::default() };
    let volume = Volume { spec: Arc::new(spec), ..Volume::new("volume1".into()) };
    handle.store().unwrap().update(|tx| tx.create(volume)).await.unwrap();
    stop.cancel();
    crew.finish().await.unwrap();
    (dir, state_dir)
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path))
        } else {
            files.push((path.clone(), fs::read(path).unwrap()))
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn a_whole_log_is_verified_and_every_kind_of_object_can_be_dumped() {
    let (_dir, state) = state(3, 10_000).await;
    let before = files(&state);
    let told = ok(&state, &["verify"]);
    assert!(told.contains(".log: ") && told.contains("everything is whole"), "{told}");

    for (kind, count) in [("node", 1), ("service", 3), ("cluster", 1), ("secret", 1), ("config", 1), ("volume", 1)] {
        let objects = json(&state, &["dump-object", kind]);
        assert_eq!(objects.len(), count, "{kind}");
        assert!(objects.iter().all(|object| object[kind]["id"].is_string()), "{objects:?}");
    }
    let text = ok(&state, &["dump-object", "service", "--name", "web1"]);
    assert!(text.starts_with(" service {\n") && text.contains("name: \"web1\""), "{text}");
    let id =
        json(&state, &["dump-object", "service", "--name", "web1"])[0]["service"]["id"].as_str().unwrap().to_owned();
    assert_eq!(ok(&state, &["dump-object", "service", "--id", &id]), text);

    for (args, expected) in [
        (&["dump-object", "task"][..], "Error: no matching objects found\n"),
        (&["dump-object", "service", "--id", "nothing"], "Error: no matching objects found\n"),
        (&["dump-snapshot"], "Error: no snapshot found\n"),
    ] {
        let told = rafttool(&state, args);
        assert_eq!((told.code, told.out.as_str(), told.err.as_str()), (255, "", expected), "{args:?}");
    }
    let told = rafttool(&state, &["dump-object", "pod"]);
    assert!(told.code == 255 && told.err.contains("invalid value 'pod'"), "{}", told.err);
    assert_eq!(files(&state), before, "nothing was changed");
}

#[tokio::test]
async fn a_range_of_the_log_is_dumped() {
    let (_dir, state) = state(3, 10_000).await;
    let all = json(&state, &["dump-wal"]);
    let indexes: Vec<_> = all.iter().map(|entry| entry["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..all.len() as u64).collect::<Vec<_>>());
    assert_eq!(all[0]["type"], "membership");
    assert_eq!(all[0]["members"][0]["voter"], true);
    let range = json(&state, &["dump-wal", "--start", "2", "--end", "4"]);
    assert_eq!(range, all[2..=4]);
    let text = ok(&state, &["dump-wal", "--start", "2", "--end", "2"]);
    assert!(text.starts_with("Entry Index=2, Term=1, Type=Changes:\n"), "{text}");
}

#[tokio::test]
async fn redaction_hides_secrets_and_nothing_else() {
    let (_dir, state) = state(3, 10_000).await;
    for args in [&["dump-wal"][..], &["dump-object", "service"], &["dump-wal", "--format", "json"]] {
        assert!(ok(&state, args).contains(SECRET) || args.contains(&"json"), "{args:?}");
        let redacted = ok(&state, &[args, &["--redact"]].concat());
        assert!(!redacted.contains(SECRET) && redacted.contains("web2"), "{args:?}: {redacted}");
    }
    let cluster = ok(&state, &["dump-object", "cluster"]);
    assert!(cluster.contains("PRIVATE KEY") && cluster.contains("SWMTKN-"), "{cluster}");
    let cluster = ok(&state, &["dump-object", "cluster", "--redact"]);
    assert!(!cluster.contains("PRIVATE KEY") && !cluster.contains("SWMTKN-"), "{cluster}");
}

#[tokio::test]
async fn a_snapshot_is_shown_and_decrypted_beside_the_log_after_it() {
    let (dir, state) = state(30, 20).await;
    let shown = json(&state, &["dump-snapshot"]);
    let index = shown[0]["index"].as_u64().unwrap();
    assert!(index >= 19 && shown[0]["members"][0]["addr"].is_string(), "{}", shown[0]);
    assert!(shown[1..].iter().any(|object| object["cluster"].is_object()));
    assert_eq!(json(&state, &["dump-object", "service"]).len(), 30, "snapshot and log together");

    let out = dir.path().join("clear");
    let decrypt = ["decrypt", "--output-dir", out.to_str().unwrap()];
    ok(&state, &decrypt);
    let decrypted = files(&out);
    let [(snapshot, data), (_, log)] = &decrypted[..] else { panic!("{decrypted:?}") };
    assert!(snapshot.starts_with(out.join("snap-decrypted")), "{}", snapshot.display());
    let snapshot = wire::StoreSnapshot::decode(data.as_slice()).unwrap();
    assert_eq!(snapshot.clusters.len(), 1);
    assert!(!snapshot.services.is_empty());
    let (mut entries, mut rest) = (0, log.as_slice());
    while !rest.is_empty() {
        let entry = wire::swarmkit::raft::v1::Entry::decode_length_delimited(&mut rest).unwrap();
        entries += u32::from(entry.payload.is_some());
    }
    assert!(entries >= 5, "{entries}");

    ok(&state, &decrypt);
    assert!(out.join("wal-decrypted.1").is_dir() && out.join("wal-decrypted").is_dir(), "the old one was moved aside");
}

#[tokio::test]
async fn damage_is_named_with_its_file_and_offset() {
    let (dir, state) = state(3, 10_000).await;
    let log = state.join("raft").join(format!("{:016x}.log", 0));
    let mut content = fs::read(&log).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&log, content).unwrap();

    let told = rafttool(&state, &["verify"]);
    assert_eq!((told.code, told.err.as_str()), (255, "Error: damage was found, places: 1\n"));
    let line = told.out.lines().find(|line| line.contains("is damaged at byte")).unwrap();
    let offset: usize = line.split("byte ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
    assert!(offset <= middle, "{line}");
    let told = rafttool(&state, &["dump-wal"]);
    assert!(told.code == 255 && told.err.contains("is damaged at byte"), "{}", told.err);
    assert!(told.out.contains("Entry Index=0") && told.out.lines().count() > 50, "what can be read is shown");
    let out = dir.path().join("clear");
    assert_eq!(rafttool(&state, &["decrypt", "-o", out.to_str().unwrap()]).code, 255);
    assert!(!out.exists());
}

#[tokio::test]
async fn both_keys_are_tried_while_the_key_is_being_changed_and_a_wrong_one_opens_nothing() {
    let (dir, state) = state(3, 10_000).await;
    let path = state.join("certificates/swarm-node.key");
    let text = fs::read_to_string(&path).unwrap();
    let other = "raft-dek: CAASIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";
    let line = text.lines().find(|line| line.starts_with("raft-dek:")).unwrap();
    let pending = line.replace("raft-dek:", "raft-dek-pending:");

    fs::write(&path, text.replace(line, &format!("{other}\n{pending}"))).unwrap();
    assert!(ok(&state, &["verify"]).contains("everything is whole"));

    fs::write(&path, text.replace(line, other)).unwrap();
    let told = rafttool(&state, &["verify"]);
    assert!(told.code == 255 && told.out.contains("none of the keys opens it"), "{}{}", told.out, told.err);
    let out = dir.path().join("clear");
    assert_eq!(rafttool(&state, &["decrypt", "-o", out.to_str().unwrap()]).code, 255);
    assert!(!out.exists(), "a wrong key writes nothing");
}

#[test]
fn what_is_no_manager_is_told_so() {
    let dir = directory();
    let told = rafttool(dir.path(), &["verify"]);
    let expected = format!(
        "Error: {} is no folder: the node has no log, or the state directory is another one (--state-dir)\n",
        dir.path().join("raft").display()
    );
    assert_eq!((told.code, told.err), (255, expected));
}

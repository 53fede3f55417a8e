//! What a task finds inside its container, and what is told of it outside.

use std::{fs, path::Path};

use swarmkit_api::{Task, wire};
use swarmkit_executor::{Controller as _, ExecError, Executor as _, FixedDependencies, Workload};

use crate::world::{World, task, within};

#[tokio::test]
async fn the_surroundings_are_those_of_the_specification() {
    let Some(world) = World::find().await else { return };
    let script = "hostname; id -u; id -g; id -G; pwd; echo $A; cat /proc/sys/net/core/somaxconn; ulimit -n; \
                  grep 'db$' /etc/hosts; grep ndots /etc/resolv.conf; echo x >/file || echo read-only; \
                  grep -c ' /memory tmpfs ' /proc/mounts; echo y >/memory/file && cat /memory/file";
    let asked = |spec: &mut wire::ContainerSpec, _: &mut wire::TaskSpec| {
        spec.hostname = "web-2".into();
        spec.user = "1000:1001".into();
        spec.groups = vec!["1002".into()];
        spec.dir = "/etc".into();
        spec.env = vec!["A=b c".into()];
        spec.sysctls = [("net.core.somaxconn".to_owned(), "1234".to_owned())].into();
        spec.ulimits = vec![wire::container_spec::Ulimit { name: "nofile".into(), soft: 100, hard: 200 }];
        spec.hosts = vec!["10.0.0.9 db".into()];
        let options = vec!["ndots:2".into()];
        spec.dns_config = Some(wire::container_spec::DnsConfig { options, ..Default::default() });
        spec.read_only = true;
        let options = wire::mount::TmpfsOptions { mode: 0o1777, ..Default::default() };
        spec.mounts = vec![wire::Mount {
            r#type: wire::mount::Type::Tmpfs.into(),
            target: "/memory".into(),
            tmpfs_options: Some(options),
            ..Default::default()
        }];
    };
    let output = world.output(task(script, asked)).await;
    let expected =
        "web-2\n1000\n1001\n1001 1002\n/etc\nb c\n1234\n100\n10.0.0.9\tdb\noptions ndots:2\nread-only\n1\ny\n";
    assert_eq!(output, expected);
    world.end().await;
}

#[tokio::test]
async fn privileges_are_taken_away_as_asked() {
    let Some(world) = World::find().await else { return };
    let script = "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status";
    let asked = |spec: &mut wire::ContainerSpec, _: &mut wire::TaskSpec| {
        spec.capability_drop = vec!["ALL".into()];
        spec.capability_add = vec!["CHOWN".into()];
        let mode = wire::privileges::seccomp_opts::SeccompMode::Unconfined.into();
        let seccomp = wire::privileges::SeccompOpts { mode, ..Default::default() };
        let privileges = wire::Privileges { no_new_privileges: true, seccomp: Some(seccomp), ..Default::default() };
        spec.privileges = Some(privileges);
    };
    let output = world.output(task(script, asked)).await;
    assert_eq!(output, "CapEff:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t0\n");
    world.end().await;
}

#[tokio::test]
async fn a_bind_mount_and_a_volume_are_there() {
    let Some(world) = World::find().await else { return };
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "from outside").unwrap();
    let asked = |spec: &mut wire::ContainerSpec, _: &mut wire::TaskSpec| {
        let mount = |kind: wire::mount::Type, source: &Path, target: &str| wire::Mount {
            r#type: kind.into(),
            source: source.to_str().unwrap().into(),
            target: target.into(),
            readonly: kind == wire::mount::Type::Bind,
            ..Default::default()
        };
        let anonymous = mount(wire::mount::Type::Volume, Path::new(""), "/volume");
        spec.mounts = vec![mount(wire::mount::Type::Bind, dir.path(), "/bound"), anonymous];
    };
    let script =
        "cat /bound/file; echo; echo x >/bound/file || echo read-only; echo y >/volume/file && cat /volume/file";
    assert_eq!(world.output(task(script, asked)).await, "from outside\nread-only\ny\n");
    world.end().await;
}

/// A user that files can be given to: only root can give them to others.
fn reader() -> String {
    let own = rustix::process::geteuid().as_raw();
    if own == 0 { "1000".to_owned() } else { own.to_string() }
}

fn with_files(spec: &mut wire::ContainerSpec, _: &mut wire::TaskSpec) {
    let file =
        |name: &str, uid: &str, mode| wire::FileTarget { name: name.into(), uid: uid.into(), gid: uid.into(), mode };
    spec.secrets = vec![wire::SecretReference {
        secret_id: "s1".into(),
        secret_name: "password".into(),
        target: Some(wire::secret_reference::Target::File(file("db", &reader(), 0o400))),
    }];
    spec.configs = vec![wire::ConfigReference {
        config_id: "c1".into(),
        config_name: "site".into(),
        target: Some(wire::config_reference::Target::File(file("/etc/site.conf", "", 0o444))),
    }];
    spec.user = reader();
}

#[tokio::test]
async fn secrets_and_configs_are_files_in_memory_that_go_with_the_task() {
    let Some(world) = World::find().await else { return };
    let script = "cat /run/secrets/db /etc/site.conf; stat -c '%u %g %a' /run/secrets/db; \
                  grep -c ' /run/secrets/db tmpfs ro' /proc/mounts; echo x >/etc/site.conf || echo read-only; sleep 3600";
    let dependencies = FixedDependencies::new().with_secret("s1", b"hush\n").with_config("c1", b"open\n");
    let run = world.started(task(script, with_files), dependencies).await;
    run.says("read-only").await;
    let id = reader();
    assert_eq!(run.output().await, format!("hush\nopen\n{id} {id} 400\n1\nread-only\n"));
    let shelf = shelf_of(&run.task).expect("the files are in memory");
    within(run.controller.remove()).await.unwrap();
    assert!(!shelf.exists(), "nothing is left of them");
    world.end().await;
}

/// Where the files of a task are.
fn shelf_of(task: &Task) -> Option<std::path::PathBuf> {
    let shelves = ["/run", "/dev/shm"].into_iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    let ours = shelves.filter(|entry| entry.file_name().to_string_lossy().starts_with("swarmkit-"));
    let executors = ours.filter_map(|entry| fs::read_dir(entry.path()).ok()).flatten().flatten();
    executors.map(|entry| entry.path().join(task.id.as_str())).find(|path| path.exists())
}

#[tokio::test]
async fn a_secret_that_is_missing_rejects_the_task_and_leaves_nothing() {
    let Some(world) = World::find().await else { return };
    let error = world.refusal(task("true", with_files)).await;
    assert!(matches!(error, ExecError::Rejected(_)), "{error:?}");
    assert_eq!(error.to_string(), "secret s1 not found");
    world.end().await;
}

#[tokio::test]
async fn a_host_port_is_told_as_the_engine_has_bound_it() {
    let Some(world) = World::find().await else { return };
    if !world.ground.has_bridge().await {
        return;
    }
    let mut task = task("exec sleep 3600", |_, _| {});
    let port = wire::PortConfig {
        target_port: 80,
        publish_mode: wire::port_config::PublishMode::Host.into(),
        ..Default::default()
    };
    task.endpoint = Some(wire::Endpoint { ports: vec![port.clone()], ..Default::default() }.into());
    let run = world.started(task, FixedDependencies::new()).await;
    let ports = run.status().await.ports.expect("it runs").ports;
    let published = ports.first().expect("one is bound").published_port;
    assert!(published > 0);
    assert_eq!(ports, [wire::PortConfig { published_port: published, ..port }]);
    within(run.controller.shutdown()).await.unwrap();
    assert_eq!(run.status().await.ports, None, "an ended task has none");
    world.end().await;
}

#[tokio::test]
async fn the_code_and_the_cause_of_an_end_are_told() {
    let Some(world) = World::find().await else { return };
    let run = world.started(task("exit 7", |_, _| {}), FixedDependencies::new()).await;
    let error = within(run.controller.wait()).await.unwrap_err();
    assert_eq!(error.to_string(), "task: non-zero exit (7)");
    let container = run.status().await.container.expect("it ran");
    assert_eq!((container.exit_code, container.pid, container.container_id.len()), (7, 0, 64));

    let missing = |spec: &mut wire::ContainerSpec, _: &mut wire::TaskSpec| {
        spec.command = vec!["/nonexistent".into()];
        spec.init = None;
    };
    let run = world.controller(task("", missing), FixedDependencies::new()).await;
    within(run.controller.prepare()).await.unwrap();
    let error = within(run.controller.start()).await.unwrap_err();
    assert!(matches!(error, ExecError::Failed(_)) && error.to_string().contains("/nonexistent"), "{error:?}");
    world.end().await;
}

#[tokio::test]
async fn a_task_that_becomes_unwell_is_stopped_and_says_what_the_check_wrote() {
    let Some(world) = World::find().await else { return };
    let checked = |spec: &mut wire::ContainerSpec, _: &mut wire::TaskSpec| {
        spec.healthcheck = Some(wire::HealthConfig {
            test: vec!["CMD-SHELL".into(), "test ! -e /ill || { echo has a cold; exit 1; }".into()],
            interval: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }),
            retries: 1,
            ..Default::default()
        });
    };
    // It falls ill when it was seen to be well.
    let script = "while [ ! -e /go ]; do sleep 0.1; done; echo >/ill; exec sleep 3600";
    let run = world.started(task(script, checked), FixedDependencies::new()).await;
    world.ground.touch(&run.task, "/go").await;
    let error = within(run.controller.wait()).await.unwrap_err();
    assert!(matches!(error, ExecError::Failed(_)), "{error:?}");
    assert_eq!(error.to_string(), "unhealthy container: has a cold");
    let again = within(run.controller.wait()).await.unwrap_err();
    assert_eq!(again.to_string(), error.to_string(), "the verdict stands");
    world.end().await;
}

#[tokio::test]
async fn a_terminal_is_one_stream() {
    let Some(world) = World::find().await else { return };
    let output = world.output(task("echo out; echo err >&2", |spec, _| spec.tty = true)).await;
    assert_eq!(output, "out\r\nerr\r\n");
    world.end().await;
}

#[tokio::test]
async fn the_node_is_described_by_its_engine() {
    let Some(world) = World::find().await else { return };
    let description = within(world.executor.describe()).await.unwrap();
    assert!(Workload::Container.runs_on(&description) && !Workload::Process.runs_on(&description));
    let resources = description.resources.unwrap();
    assert!(resources.nano_cpus >= 1_000_000_000 && resources.memory_bytes > 1 << 20, "{resources:?}");
    assert_eq!(description.platform.unwrap().os, "linux");
    let engine = description.engine.unwrap();
    assert!(!engine.engine_version.is_empty());
    assert!(engine.plugins.iter().any(|plugin| plugin.r#type == "Volume" && plugin.name == "local"));
}

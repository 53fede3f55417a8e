//! Tasks with mounts, processes and a host name of their own, on the machine's root.

use std::{fs, path::Path, sync::Arc};

use swarmkit_api::{Task, wire};
use swarmkit_executor::{Assignment, Controller as _, ExecError, Executor as _, FixedDependencies, NoDependencies};
use swarmkit_executor_process::{IsolationMode, ProcessExecutor};

use crate::world::{SUPERVISOR, World, is_running, open, processes_of, task, until, within};

/// Whether this machine can isolate. Says so where it cannot.
pub(crate) async fn is_possible() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let executor = open(dir.path()).await;
    let plugins = executor.describe().await.unwrap().engine.unwrap().plugins;
    let possible = plugins.iter().any(|plugin| plugin.name == "process-image");
    if !possible {
        eprintln!("skipped: this machine does not let us make namespaces");
    }
    possible
}

pub(crate) fn bind(source: &Path, target: &str, readonly: bool) -> wire::Mount {
    wire::Mount { source: source.to_str().unwrap().into(), target: target.into(), readonly, ..Default::default() }
}

pub(crate) fn of_type(kind: wire::mount::Type, source: &str, target: &str) -> wire::Mount {
    wire::Mount { r#type: kind.into(), source: source.into(), target: target.into(), ..Default::default() }
}

pub(crate) async fn refusal(world: &World, task: Arc<Task>) -> String {
    let controller = world.executor.controller(Assignment::new(task)).await.unwrap();
    let error = within(controller.prepare()).await.unwrap_err();
    assert!(matches!(error, ExecError::Rejected(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_task_has_processes_a_host_name_and_mounts_of_its_own() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    let files = tempfile::tempdir().unwrap();
    fs::write(files.path().join("file"), "text\n").unwrap();
    fs::create_dir(files.path().join("memory")).unwrap();
    let place = files.path().join("place");
    fs::create_dir(&place).unwrap();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let (at, memory) = (place.to_str().unwrap(), files.path().join("memory"));
    let memory = memory.to_str().unwrap();
    let script = format!(
        "hostname; cat /etc/hosts | tail -n 1; cat {at}/file; touch {at}/new 2>/dev/null || echo sealed; \
         echo x > {memory}/x && df -k {memory} | tail -n 1 | tr -s ' ' | cut -d' ' -f2; ls /proc | grep -c '^[0-9]'"
    );
    let output = world
        .output(task(&script, |spec, _| {
            spec.hostname = "box".into();
            let mut tmpfs = of_type(wire::mount::Type::Tmpfs, "", memory);
            tmpfs.tmpfs_options = Some(wire::mount::TmpfsOptions { size_bytes: 1 << 20, ..Default::default() });
            spec.mounts = vec![tmpfs, bind(files.path(), at, true)];
            spec.hosts = vec!["10.1.2.3 db".into()];
        }))
        .await;
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[..5], ["box", "127.0.1.1 box", "text", "sealed", "1024"], "{output}");
    assert!(lines[5].parse::<u32>().unwrap() <= 8, "it sees few processes: {output}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before, "the machine keeps its name");
    assert!(!files.path().join("memory/x").exists(), "and its files");
}

#[tokio::test]
async fn a_read_only_root_can_be_written_to_only_where_something_is_mounted() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    let (sealed, open) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (at, open_at) = (sealed.path().to_str().unwrap(), open.path().to_str().unwrap());
    let script = format!("touch {at}/x || echo sealed; touch {open_at}/x && echo open; echo > /dev/null && echo null");
    let output = world
        .output(task(&script, |spec, _| {
            spec.read_only = true;
            spec.mounts = vec![bind(open.path(), open_at, false)];
        }))
        .await;
    assert_eq!(output, "sealed\nopen\nnull\n");
    assert!(open.path().join("x").exists());
}

#[tokio::test]
async fn a_volume_is_a_directory_that_outlives_its_tasks_unless_it_has_no_name() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    let place = tempfile::tempdir().unwrap();
    let at = place.path().to_str().unwrap().to_owned();
    let mounted = |source: &str| {
        let (source, at) = (source.to_owned(), at.clone());
        task(&format!("ls {at}; echo more >> {at}/kept"), move |spec, _| {
            spec.mounts = vec![of_type(wire::mount::Type::Volume, &source, &at)];
        })
    };
    assert_eq!(world.output(mounted("data")).await, "");
    assert_eq!(world.output(mounted("data")).await, "kept\n");
    assert_eq!(fs::read_to_string(world.dir.path().join("volumes/data/kept")).unwrap(), "more\nmore\n");
    assert_eq!(world.output(mounted("")).await, "");
    assert_eq!(world.output(mounted("")).await, "", "one without a name goes with its task");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing is written to what is covered");
}

#[tokio::test]
async fn a_cluster_volume_is_mounted_from_where_it_is_published() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    let (published, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(published.path().join("file"), "text\n").unwrap();
    let at = place.path().to_str().unwrap().to_owned();
    let mount = of_type(wire::mount::Type::Cluster, "group:fast", &at);
    let mut task = Task::clone(&task(&format!("cat {at}/file"), |spec, _| spec.mounts = vec![mount]));
    task.volumes = vec![wire::VolumeAttachment { id: "v1".into(), source: "group:fast".into(), target: at }];
    let task = Arc::new(task);
    let missing = world.executor.controller(Assignment::new(task.clone())).await.unwrap();
    assert_eq!(within(missing.prepare()).await.unwrap_err().to_string(), "volume v1 not found");
    drop(missing);
    let run = world.prepared_with(task, FixedDependencies::new().with_volume("v1", published.path())).await;
    within(run.controller.start()).await.unwrap();
    run.wait().await.unwrap();
    assert_eq!(run.output().await, "text\n");
}

#[tokio::test]
async fn an_isolated_task_is_stopped_by_its_signal_and_told_by_its_end() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    let named = |script: &str| task(script, |spec, _| spec.hostname = "box".into());
    let run = world.started(named("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done")).await;
    run.says("ready").await;
    within(run.controller.shutdown()).await.unwrap();
    assert_eq!(run.wait().await.unwrap_err().exit_code(), Some(5));
    run.removed().await;
    let run = world.started(named("exec sleep 3600")).await;
    within(run.controller.shutdown()).await.unwrap();
    assert_eq!(run.wait().await.unwrap_err().to_string(), "task: non-zero exit (143): killed by SIGTERM");
    let run = world.started(named("exit 137")).await;
    assert_eq!(run.wait().await.unwrap_err().to_string(), "task: non-zero exit (137)", "nobody has killed it");
    let run = world.started(named("setsid sleep 3600 & sleep 3600 & echo left; exit 0")).await;
    run.wait().await.unwrap();
    assert_eq!(processes_of(&run.task), [0; 0], "what it leaves behind ends with it");
}

#[tokio::test]
async fn a_task_without_an_init_is_the_first_process_itself() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    let output = world
        .output(task("echo $$", |spec, _| {
            spec.hostname = "box".into();
            spec.init = Some(false);
        }))
        .await;
    assert_eq!(output, "1\n");
    let with_init = world.output(task("echo $$", |spec, _| spec.hostname = "box".into())).await;
    assert_ne!(with_init, "1\n");
}

#[tokio::test]
async fn a_health_check_is_asked_inside() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    let place = tempfile::tempdir().unwrap();
    let at = place.path().to_str().unwrap().to_owned();
    let well = task(&format!("sleep 0.1; touch {at}/well; exec sleep 3600"), |spec, _| {
        spec.mounts = vec![of_type(wire::mount::Type::Tmpfs, "", &at)];
        spec.healthcheck = Some(wire::HealthConfig {
            test: vec!["CMD-SHELL".into(), format!("test -e {at}/well -a -n \"$SWARMKIT_TASK_ID\"")],
            interval: Some(prost_types::Duration { seconds: 0, nanos: 20_000_000 }),
            retries: 1000,
            ..Default::default()
        });
    });
    let run = world.started(well).await;
    assert!(!place.path().join("well").exists(), "it is seen inside only");
    run.removed().await;
}

#[tokio::test]
async fn nothing_of_an_isolated_task_outlives_its_supervisor() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    let run = world.started(task("setsid sleep 3600 & sleep 3600", |spec, _| spec.hostname = "box".into())).await;
    let pid = run.pid().await;
    until("all of them sleep", || processes_of(&run.task).len() >= 4).await;
    let supervisor = world.record(&run.task, "started.json")["supervisor"].to_string();
    assert!(std::process::Command::new("kill").args(["-9", &supervisor]).status().unwrap().success());
    let error = run.wait().await.unwrap_err().to_string();
    assert_eq!(error, "the task's supervisor was ended, so its exit code is not known");
    assert_eq!(processes_of(&run.task), [0; 0]);
    until("its init ends too", || !is_running(pid)).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_and_a_place_that_is_not_there_fail_the_start_by_name() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    let start = async |task: Arc<Task>| {
        let run = world.prepared_with(task, NoDependencies).await;
        let error = within(run.controller.start()).await.unwrap_err().to_string();
        run.removed().await;
        error
    };
    let place = tempfile::tempdir().unwrap();
    let nowhere = place.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let error = start(task("true", |spec, _| spec.mounts = vec![bind(place.path(), nowhere, false)])).await;
    assert_eq!(
        error,
        format!("mount {nowhere}: this machine has no such place; make it there, or run the task in an image")
    );
    let error = start(task("", |spec, _| {
        spec.command = vec!["no-such-program".into()];
        spec.mounts = vec![bind(place.path(), place.path().to_str().unwrap(), false)];
    }))
    .await;
    assert!(error.starts_with("program \"no-such-program\" not found in "), "{error}");
}

#[tokio::test]
async fn what_isolation_cannot_give_is_refused_by_name() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    type Change = fn(&mut wire::ContainerSpec);
    let cases: [(&str, Change); 12] = [
        ("\"a b\" cannot be a host name", |spec| spec.hostname = "a b".into()),
        ("a process cannot have the sysctl net.ipv4.ip_forward: it is the machine's", |spec| {
            spec.sysctls = [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into();
        }),
        ("host \"db\" is not an address and a name", |spec| spec.hosts = vec!["db".into()]),
        ("mount x: \"x\" is not an absolute path", |spec| spec.mounts = vec![bind(Path::new("/"), "x", false)]),
        ("mount /: \"/\" is the root", |spec| spec.mounts = vec![bind(Path::new("/"), "/", false)]),
        ("mount /mnt/../etc: \"/mnt/../etc\" is not an absolute path", |spec| {
            spec.mounts = vec![bind(Path::new("/"), "/mnt/../etc", false)];
        }),
        ("mount /mnt: source /nonexistent does not exist on this machine", |spec| {
            spec.mounts = vec![bind(Path::new("/nonexistent"), "/mnt", false)];
        }),
        ("mount /mnt: two mounts have this target", |spec| spec.mounts = vec![bind(Path::new("/"), "/mnt", false); 2]),
        ("mount /mnt: a process cannot have volumes of the driver \"nfs\"", |spec| {
            let mut mount = of_type(wire::mount::Type::Volume, "data", "/mnt");
            let driver = wire::Driver { name: "nfs".into(), ..Default::default() };
            mount.volume_options =
                Some(wire::mount::VolumeOptions { driver_config: Some(driver), ..Default::default() });
            spec.mounts = vec![mount];
        }),
        ("mount /mnt: \"../data\" is no name of a volume", |spec| {
            spec.mounts = vec![of_type(wire::mount::Type::Volume, "../data", "/mnt")];
        }),
        ("mount /mnt: a process cannot have memory with the option \"uid=0\"", |spec| {
            let mut mount = of_type(wire::mount::Type::Tmpfs, "", "/mnt");
            mount.tmpfs_options = Some(wire::mount::TmpfsOptions { options: "uid=0".into(), ..Default::default() });
            spec.mounts = vec![mount];
        }),
        ("mount /mnt: a process cannot have a propagation other than private", |spec| {
            let mut mount = bind(Path::new("/"), "/mnt", false);
            let mut options = wire::mount::BindOptions::default();
            options.set_propagation(wire::mount::bind_options::Propagation::Rshared);
            mount.bind_options = Some(options);
            spec.mounts = vec![mount];
        }),
    ];
    for (text, change) in cases {
        assert_eq!(refusal(&world, task("true", |spec, _| change(spec))).await, text);
    }
}

#[tokio::test]
async fn a_node_that_does_not_isolate_refuses_what_needs_it_and_runs_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let builder = ProcessExecutor::builder(dir.path()).supervisor_program(SUPERVISOR);
    let executor = builder.isolation(IsolationMode::Never).open().await.unwrap();
    let world = World { dir, executor };
    let error = refusal(&world, task("true", |spec, _| spec.hostname = "box".into())).await;
    assert_eq!(error, "a process cannot have here: hostname (isolation is switched off on this node)");
    assert_eq!(world.output(task("echo plain", |_, _| {})).await, "plain\n");
}

#[tokio::test]
async fn kernel_settings_are_those_of_the_task() {
    if !is_possible().await {
        return;
    }
    let world = World::new().await;
    let before = fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let sysctls = [("kernel.msgmax".to_owned(), "4096".to_owned())];
    let output = world.output(task("cat /proc/sys/kernel/msgmax", |spec, _| spec.sysctls = sysctls.into())).await;
    assert_eq!(output, "4096\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), before);
}

//! What a process finds when it runs, and what is known of it.

use std::{sync::Arc, time::SystemTime};

use futures_util::TryStreamExt as _;
use swarmkit_api::{Endpoint, Task, wire};
use swarmkit_executor::{Assignment, Controller as _, ExecError, Executor as _, LogOptions, LogSource, LogStart};

use crate::world::{World, processes_of, task, until, within};

#[tokio::test]
async fn a_process_has_its_arguments_environment_and_directory_and_nothing_to_read() {
    let world = World::new().await;
    let output = world
        .output(task("echo \"$0|$1|$GREETING|$(pwd)|$(cat | wc -c)\"", |spec, _| {
            spec.args = vec!["zero".into(), "one two".into()];
            spec.env = vec!["GREETING=good day".into()];
            spec.dir = "/usr".into();
        }))
        .await;
    assert_eq!(output, "zero|one two|good day|/usr|0\n");
}

#[tokio::test]
async fn a_process_inherits_nothing_from_the_program_around_the_executor() {
    let world = World::new().await;
    let open = world.output(task("ls /proc/self/fd | wc -l; env | cut -d= -f1 | sort | tr '\\n' ' '", |_, _| {})).await;
    let (files, names) = open.split_once('\n').unwrap();
    assert_eq!(files, "4", "the three streams, and the directory that ls reads");
    for name in names.split_whitespace().filter(|name| !name.starts_with("SWARMKIT_")) {
        assert!(["HOME", "PATH", "PWD", "USER", "_", "OLDPWD", "SHLVL"].contains(&name), "{name}");
    }
}

#[tokio::test]
async fn a_process_leads_a_session_and_a_group_of_its_own() {
    let world = World::new().await;
    let run = world.script("exec sleep 3600").await;
    let pid = run.pid().await;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<i32> =
        stat.rsplit_once(") ").unwrap().1.split(' ').skip(1).take(3).map(|n| n.parse().unwrap()).collect();
    assert_ne!(fields[0], i32::try_from(std::process::id()).unwrap(), "its parent is its supervisor");
    assert_eq!(fields[1..], [pid, pid], "it leads its group and its session");
    until("the shell becomes the program", || processes_of(&run.task) == [pid]).await;
    run.removed().await;
}

#[tokio::test]
async fn the_end_is_told_by_its_code_or_its_signal() {
    let world = World::new().await;
    let run = world.script("exit 42").await;
    let error = run.wait().await.unwrap_err();
    assert_eq!(error.to_string(), "task: non-zero exit (42)");
    let run = world.script("kill -9 $$").await;
    let error = run.wait().await.unwrap_err();
    assert_eq!(error.to_string(), "task: non-zero exit (137): killed by SIGKILL");
    let container = run.controller.status().await.unwrap().container.unwrap();
    assert_eq!((container.pid, container.exit_code), (0, 137));
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_named() {
    let world = World::new().await;
    let prepare = async |task: Arc<Task>| {
        let controller = world.executor.controller(Assignment::new(task)).await.unwrap();
        within(controller.prepare()).await.map(|()| controller)
    };
    let error = prepare(task("", |spec, _| spec.command = vec!["no-such-program".into()])).await.unwrap_err();
    assert!(matches!(&error, ExecError::Rejected(_)), "{error:?}");
    assert!(error.to_string().starts_with("program \"no-such-program\" not found in /usr/local/sbin:"), "{error}");

    // Found only when it is tried.
    let file = world.dir.path().join("not-a-program");
    std::fs::write(&file, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = file.to_str().unwrap().to_owned();
    let controller = prepare(task("", |spec, _| spec.command = vec![path.clone()])).await.unwrap();
    for _ in 0..2 {
        let error = within(controller.start()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot run {path}: No such file or directory (os error 2)"));
        assert!(matches!(error, ExecError::Failed(_)));
    }

    let controller = prepare(task("true", |spec, _| spec.dir = "/no/such/directory".into())).await.unwrap();
    let error = within(controller.start()).await.unwrap_err();
    assert_eq!(error.to_string(), "directory /no/such/directory: No such file or directory (os error 2)");
}

#[tokio::test]
async fn what_is_not_a_process_is_not_taken() {
    let world = World::new().await;
    let image = task("true", |spec, _| spec.image = "nginx".into());
    let error = world.executor.controller(Assignment::new(image)).await.unwrap_err();
    assert_eq!(error.to_string(), "this node runs processes, and the task is \"nginx\"");
    let mut odd = Task::clone(&task("true", |_, _| {}));
    odd.id = "../escape".into();
    let error = world.executor.controller(Assignment::new(Arc::new(odd))).await.unwrap_err();
    assert_eq!(error.to_string(), "the task id \"../escape\" cannot be the name of a directory");
}

#[tokio::test]
async fn ports_of_the_machine_are_told_while_it_runs() {
    let world = World::new().await;
    let port = wire::PortConfig {
        target_port: 8080,
        publish_mode: wire::port_config::PublishMode::Host.into(),
        ..Default::default()
    };
    let mut listening = Task::clone(&task("exec sleep 3600", |_, _| {}));
    listening.endpoint = Some(Arc::new(Endpoint { ports: vec![port.clone()], ..Default::default() }));
    let run = world.started(Arc::new(listening)).await;
    let ports = run.controller.status().await.unwrap().ports.unwrap().ports;
    assert_eq!(ports, [wire::PortConfig { published_port: 8080, ..port }]);
    within(run.controller.terminate()).await.unwrap();
    assert_eq!(run.controller.status().await.unwrap().ports, None);
}

#[tokio::test]
async fn output_is_told_in_order_with_its_time() {
    let before = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let world = World::new().await;
    let run = world.script("echo one; echo two; printf three").await;
    run.wait().await.unwrap();
    let options = LogOptions { start: LogStart::Last(2), follow: true, ..Default::default() };
    let records: Vec<_> = run.controller.logs(options).await.unwrap().try_collect().await.unwrap();
    let texts: Vec<_> = records.iter().map(|record| record.data.as_ref()).collect();
    assert_eq!(texts, [b"two\n".as_slice(), b"three"], "the last one has no line end");
    assert!(records.iter().all(|record| record.source == LogSource::Stdout));
    let time = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(before <= time(records[0].timestamp) && time(records[0].timestamp) <= time(records[1].timestamp));
}

#[tokio::test]
async fn a_task_that_writes_without_end_is_followed_bounded_and_stopped() {
    let world = World::new().await;
    let chatty = task("while :; do echo 0123456789012345678901234567890123456789; done", |_, spec| {
        let options = [("max-size", "16k"), ("max-file", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        spec.log_driver = Some(wire::Driver { name: "json-file".into(), options: options.into() });
    });
    let mut chatty = Task::clone(&chatty);
    chatty.log_driver = chatty.spec.log_driver.clone();
    let run = world.started(Arc::new(chatty)).await;
    let mut followed = run.controller.logs(LogOptions { follow: true, ..Default::default() }).await.unwrap();
    for _ in 0..5000 {
        let record = within(followed.try_next()).await.unwrap().unwrap();
        assert_eq!(record.data.len(), 41);
    }
    drop(followed);
    within(run.controller.shutdown()).await.unwrap();
    let logs = world.dir.path().join("tasks").join(run.task.id.as_str()).join("log");
    let sizes: Vec<u64> =
        std::fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(sizes.len(), 2);
    // A file is full when it has passed the limit, by at most what is read at a time and its line heads.
    assert!(sizes.iter().all(|size| *size < 64 << 10), "{sizes:?}");
}

#[tokio::test]
async fn the_machine_is_described() {
    let world = World::new().await;
    let description = world.executor.describe().await.unwrap();
    let resources = description.resources.unwrap();
    assert!(resources.nano_cpus >= 1_000_000_000 && resources.nano_cpus % 1_000_000_000 == 0);
    assert!(resources.memory_bytes > 64 << 20);
    assert_eq!(description.platform.unwrap().os, "linux");
    let plugins = description.engine.unwrap().plugins;
    let plugins: Vec<_> = plugins.iter().map(|plugin| (plugin.r#type.as_str(), plugin.name.as_str())).collect();
    let plain: Vec<_> = plugins.iter().filter(|plugin| plugin.1 != "process-image").copied().collect();
    assert_eq!(plain, [("Executor", "process"), ("Log", "json-file"), ("Log", "local")]);
    let isolates = crate::isolated::is_possible().await;
    assert_eq!(plugins.contains(&("Executor", "process-image")), isolates, "images are for nodes that can isolate");
    assert!(!description.hostname.is_empty());
}

#[tokio::test]
async fn a_state_directory_has_one_executor() {
    let world = World::new().await;
    let error = swarmkit_executor_process::ProcessExecutor::builder(world.dir.path()).open().await.unwrap_err();
    assert!(error.to_string().ends_with("is in use by another executor"), "{error}");
}

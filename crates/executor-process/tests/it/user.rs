//! Running tasks as others, and as a plain user.

use std::{fs, os::unix::fs::PermissionsExt as _, os::unix::process::CommandExt as _, path::Path, process::Command};

use swarmkit_api::wire;
use swarmkit_executor::{Assignment, Controller as _, Executor as _};
use swarmkit_executor_process::ProcessExecutor;

use crate::world::{SUPERVISOR, World, is_root, task, within};

/// Set for the copy of the test that plays the plain user; names its directory.
const PLAIN_USER: &str = "SWARMKIT_TEST_PLAIN_USER";

#[tokio::test]
async fn a_task_runs_as_the_user_and_with_the_groups_that_it_asks_for() {
    if !is_root() {
        eprintln!("skipped: only root can run tasks as others");
        return;
    }
    let world = World::new().await;
    let output = world
        .output(task("grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr '\\n\\t' '  '; echo; cd /; pwd", |spec, _| {
            spec.user = "1234:2345".into();
            spec.groups = vec!["77".into(), "66".into()];
        }))
        .await;
    assert_eq!(output, "Uid: 1234 1234 1234 1234 Gid: 2345 2345 2345 2345 Groups: 66 77  \n/\n");
    let home = world.output(task("echo $HOME $USER", |spec, _| spec.user = "root".into())).await;
    assert_eq!(home, "/root root\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_user_runs_tasks_and_cannot_run_them_as_others() {
    if let Some(dir) = std::env::var_os(PLAIN_USER) {
        return as_plain_user(Path::new(&dir)).await;
    }
    if !is_root() {
        return as_plain_user(tempfile::tempdir().unwrap().path()).await;
    }
    // As root, this test plays the plain user by running itself as one, from a place that one can read.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let this = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &this).unwrap();
    fs::copy(SUPERVISOR, dir.path().join("supervisor")).unwrap();
    let mut plain = Command::new(&this);
    plain.args(["--exact", "user::a_plain_user_runs_tasks_and_cannot_run_them_as_others", "--nocapture"]);
    plain.env(PLAIN_USER, dir.path()).env_remove("XDG_RUNTIME_DIR").current_dir("/").uid(65534).gid(65534);
    let output = tokio::task::block_in_place(|| plain.output().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

async fn as_plain_user(dir: &Path) {
    let copy = dir.join("supervisor");
    let supervisor = if copy.exists() { copy } else { SUPERVISOR.into() };
    let state = tempfile::tempdir_in(dir).unwrap();
    let executor = ProcessExecutor::builder(state.path()).supervisor_program(supervisor).open().await.unwrap();
    let world = World { dir: state, executor };
    let own = String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap();
    assert_ne!(own.trim(), "0");
    assert_eq!(world.output(task("id -u", |_, _| {})).await, own);

    let other = task("id -u", |spec, _| spec.user = "1:1".into());
    let controller = world.executor.controller(Assignment::new(other)).await.unwrap();
    let error = within(controller.prepare()).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot run as user \"1:1\": this node runs as user "), "{error}");
}

/// Set for the copy of the test that plays the plain user who isolates tasks; names its directory.
const PLAIN_ISOLATED: &str = "SWARMKIT_TEST_PLAIN_ISOLATED";

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_user_isolates_tasks_where_the_machine_allows_it() {
    if let Some(dir) = std::env::var_os(PLAIN_ISOLATED) {
        return isolated_as_plain_user(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    if !is_root() {
        return isolated_as_plain_user(dir.path()).await;
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let this = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &this).unwrap();
    fs::copy(SUPERVISOR, dir.path().join("supervisor")).unwrap();
    let mut plain = Command::new(&this);
    plain.args(["--exact", "user::a_plain_user_isolates_tasks_where_the_machine_allows_it", "--nocapture"]);
    plain.env(PLAIN_ISOLATED, dir.path()).env_remove("XDG_RUNTIME_DIR").current_dir("/").uid(65534).gid(65534);
    let output = tokio::task::block_in_place(|| plain.output().unwrap());
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
}

async fn isolated_as_plain_user(dir: &Path) {
    let copy = dir.join("supervisor");
    let supervisor = if copy.exists() { copy } else { SUPERVISOR.into() };
    let state = tempfile::tempdir_in(dir).unwrap();
    let executor = ProcessExecutor::builder(state.path()).supervisor_program(supervisor).open().await.unwrap();
    let plugins = executor.describe().await.unwrap().engine.unwrap().plugins;
    let world = World { dir: state, executor };
    if !plugins.iter().any(|plugin| plugin.name == "process-image") {
        eprintln!("skipped: this machine lets plain users make no namespaces");
        let error = crate::isolated::refusal(&world, task("true", |spec, _| spec.hostname = "box".into())).await;
        assert!(error.starts_with("a process cannot have here: hostname ("), "{error}");
        return;
    }
    let own = rustix::process::geteuid().as_raw();
    let place = tempfile::tempdir_in(dir).unwrap();
    let at = place.path().to_str().unwrap().to_owned();
    let script =
        format!("hostname; id -u; touch {at}/x; ls {at}; grep CapEff /proc/self/status; touch /etc/x || echo sealed");
    let output = world
        .output(task(&script, |spec, _| {
            spec.hostname = "box".into();
            spec.read_only = true;
            spec.mounts = vec![crate::isolated::of_type(wire::mount::Type::Tmpfs, "", &at)];
        }))
        .await;
    assert_eq!(output, format!("box\n{own}\nx\nCapEff:\t0000000000000000\nsealed\n"));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    if !crate::image::busybox_is_there() {
        return;
    }
    crate::image::busybox_root(&world.dir.path().join("images/box"));
    for (user, uid) in [("", "0"), ("web", "33")] {
        let boxed = task(
            "id -u; echo x > /tmp/x; stat -c %u /tmp/x; cat /proc/1/exe > /dev/null 2>&1 || echo closed",
            |spec, _| {
                (spec.image, spec.user) = ("swarmkit.process/image/box".into(), user.into());
                spec.healthcheck = Some(wire::HealthConfig {
                    test: vec!["CMD-SHELL".into(), "test $(id -u) = $(id -u)".into()],
                    ..Default::default()
                });
            },
        );
        assert_eq!(world.output(boxed).await, format!("{uid}\n{uid}\nclosed\n"), "it is who it wants to be, inside");
    }
    let run = world.started(task("setsid sleep 3600 & sleep 3600", |spec, _| spec.hostname = "box".into())).await;
    within(run.controller.terminate()).await.unwrap();
    assert_eq!(crate::world::processes_of(&run.task), [0; 0]);
    run.removed().await;
}

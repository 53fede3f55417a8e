//! `swarmd dev`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Signal, kill_process};

use crate::harness::{ctl, directory, mark, now, pid_of, sleepers, stop, swarmd, wait_for, wait_until};

/// `swarmd dev` with its temporary files in a directory that can be looked at afterwards.
fn dev(temporary: &Path, file: &Path, flags: &[&str]) -> Command {
    let mut command = swarmd();
    command.arg("dev").arg(file).args(flags).env("TMPDIR", temporary);
    command
}

fn run(temporary: &Path, file: &Path, flags: &[&str]) -> Output {
    let output = dev(temporary, file, flags).output().unwrap();
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0, "temporary state is removed");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_example_comes_up_and_everything_is_gone_afterwards() {
    let temporary = directory();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/compose.yaml");
    let output = run(temporary.path(), &file, &["--check"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    let table: Vec<_> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for row in
        ["ticker ticker.1 RUNNING", "ticker ticker.3 RUNNING", "setup setup COMPLETE", "watchman watchman RUNNING"]
    {
        assert!(table.iter().any(|line| line.starts_with(row)), "{row}: {out}");
    }
    assert!(!err.contains("warning"), "{err}");
}

#[test]
fn services_of_a_file_start_in_the_order_that_they_need() {
    let (temporary, data) = (directory(), directory());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ordered/compose.yaml");
    let output = dev(temporary.path(), &file, &["--check"]).env("DATA", data.path().join("db")).output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    // None of them is tried twice, so a task that came too early would fail the check.
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert!(!err.contains("warning"), "{err}");
    let line =
        |words: &str| out.lines().position(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {out}"));
    let order = [" db.1 is RUNNING", " schema is COMPLETE", " shop.1 is "].map(line);
    assert!(order.is_sorted(), "{out}");
    assert!(fs::read_to_string(data.path().join("db/schema")).unwrap().starts_with("create table"));
}

#[test]
fn a_broken_file_is_refused_with_its_place_and_nothing_is_started() {
    let temporary = directory();
    let dir = directory();
    let file = dir.path().join("compose.yaml");
    fs::write(&file, "services:\n  web:\n    comand: sleep 1\n").unwrap();
    let output = run(temporary.path(), &file, &["--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let file = file.display();
    let expected = format!(
        "swarmd: {file}:2:3: services.web has neither an image nor a command\n\
         {file}:3:5: unknown key \"comand\" in services.web (did you mean \"command\"?)\n"
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn what_the_cluster_refuses_is_told_with_its_place_in_the_file() {
    let temporary = directory();
    let dir = directory();
    let file = dir.path().join("compose.yaml");
    let placement = "deploy: { placement: { constraints: [node.id] } }";
    fs::write(
        &file,
        format!("services:\n  good: {{ command: sleep 1 }}\n  bad: {{ command: sleep 1, {placement} }}\n"),
    )
    .unwrap();
    let output = run(temporary.path(), &file, &["--check"]);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.starts_with(&format!("swarmd: {}:3:3: services.bad: ", file.display())), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn a_task_that_never_runs_fails_the_check_with_its_reason() {
    let temporary = directory();
    let dir = directory();
    let file = dir.path().join("compose.yaml");
    let services =
        "services:\n  good: { command: sleep 1000 }\n  bad:\n    command: /no/such/program\n    restart: always\n";
    fs::write(&file, services).unwrap();
    let output = run(temporary.path(), &file, &["--check", "--timeout", "5s"]);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("\"restart\" in services.bad is not supported yet and is ignored"), "{err}");
    assert!(err.contains("swarmd: not everything runs after 5s\n  bad: 0 of 1 tasks run\n"), "{err}");
    assert!(err.contains("/no/such/program"), "{err}");
}

#[test]
fn an_interrupt_stops_every_task_and_exits_with_success_within_five_seconds() {
    let temporary = directory();
    let dir = directory();
    let file = dir.path().join("compose.yaml");
    let mark = mark();
    // One that ends when asked, and one that does not.
    let stubborn = format!("trap '' TERM; sleep {mark} & wait");
    let services = format!(
        "services:\n  web: {{ command: sleep {mark}, deploy: {{ replicas: 3 }} }}\n  deaf: {{ command: [sh, -c, \"{stubborn}\"] }}\n"
    );
    fs::write(&file, services).unwrap();
    let mut child = dev(temporary.path(), &file, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("all tasks to run", || sleepers(&mark).len() == 4);
    let socket = wait_for("the control socket", || {
        let dirs = fs::read_dir(temporary.path()).unwrap().flatten();
        dirs.map(|dir| dir.path().join("swarmd.sock")).find(|socket| socket.exists())
    });
    assert!(ctl(&socket, &["service", "scale", "web=4"]).status.success());
    wait_until("the scaled service to run", || sleepers(&mark).len() == 5);

    let asked = now();
    let status = stop(&mut child, Signal::INT);
    let took = asked.elapsed();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(status.code(), Some(0), "{out}\n{err}");
    assert!(took < Duration::from_secs(5), "{took:?}\n{out}\n{err}");
    assert_eq!(sleepers(&mark), []);
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "temporary state is removed");
    assert!(out.contains("web.1 is RUNNING") && out.contains(&socket.display().to_string()), "{out}");
}

#[test]
fn a_second_interrupt_kills_what_does_not_want_to_stop() {
    let temporary = directory();
    let dir = directory();
    let file = dir.path().join("compose.yaml");
    let mark = mark();
    let stubborn = format!("trap '' TERM; sleep {mark} & wait; wait");
    fs::write(&file, format!("services:\n  deaf: {{ command: [sh, -c, \"{stubborn}\"] }}\n")).unwrap();
    let mut child = dev(temporary.path(), &file, &[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("deaf.1 is RUNNING")));
    let asked = now();
    kill_process(pid_of(&child), Signal::INT).unwrap();
    // The first one is being answered when the service is gone.
    let socket = fs::read_dir(temporary.path()).unwrap().flatten().next().unwrap().path().join("swarmd.sock");
    wait_until("the service to be removed", || {
        let services = ctl(&socket, &["service", "ls", "-q"]);
        services.status.success() && services.stdout.is_empty()
    });
    assert_eq!(stop(&mut child, Signal::INT).code(), Some(0));
    // It would have been given 2.5 s after the first.
    assert!(asked.elapsed() < Duration::from_millis(2400), "{:?}", asked.elapsed());
    assert_eq!(sleepers(&mark), []);
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "temporary state is removed");
}

#[test]
fn a_kept_state_directory_is_used_again() {
    let temporary = directory();
    let dir = directory();
    let (file, state) = (dir.path().join("compose.yaml"), dir.path().join("state"));
    fs::write(
        &file,
        "services: { web: { command: sleep 1000, secrets: [s] } }\nsecrets: { s: { file: compose.yaml } }\n",
    )
    .unwrap();
    let flags = ["--check", "--state-dir", state.to_str().unwrap()];
    for _ in 0..2 {
        let output = run(temporary.path(), &file, &flags);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(state.exists());
    }
}

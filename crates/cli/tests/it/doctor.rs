//! `swarmd doctor` on nodes that are well, and on nodes with something really broken.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    cluster::{manager, node_state},
    harness::{Daemon, directory, swarmd, wait_until},
    rafttool::state,
};

/// What the doctor has said: its exit code, and each finding.
struct Diagnosis {
    code: i32,
    findings: Vec<Value>,
}

fn doctor(dir: &Path, flags: &[&str]) -> Diagnosis {
    let output = swarmd()
        .arg("doctor")
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--listen-control-api")
        .arg(dir.join("swarmd.sock"))
        .args(["--format", "json"])
        .args(flags)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let findings = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Diagnosis { code: output.status.code().unwrap(), findings }
}

impl Diagnosis {
    /// The findings of one kind, as they are told.
    fn told(&self, check: &str, verdict: &str) -> Vec<&str> {
        let of = |finding: &&Value| finding["check"] == check && finding["verdict"] == verdict;
        self.findings.iter().filter(of).map(|finding| finding["text"].as_str().unwrap()).collect()
    }

    /// The only problem that there is: its check, its text, and what mends it.
    fn problem(&self) -> (&str, &str, &str) {
        let problems: Vec<&Value> = self.findings.iter().filter(|finding| finding["verdict"] == "problem").collect();
        let [problem] = problems[..] else { panic!("one problem: {:#?}", self.findings) };
        assert_eq!(self.code, 1, "{:#?}", self.findings);
        let text = |name: &str| problem[name].as_str().unwrap_or_default();
        (text("check"), text("text"), text("mend"))
    }
}

/// Every file below a folder, with its content and its mode.
fn files(folder: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), mode, fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_manager_that_runs_and_is_well_has_no_problem() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let id = node.json(&["node", "ls"])[0]["id"].as_str().unwrap().to_owned();
    let diagnosis = doctor(dir.path(), &[]);
    assert_eq!(diagnosis.code, 0, "{:#?}", diagnosis.findings);
    let [used] = diagnosis.told("state directory", "ok")[..] else { panic!("{:#?}", diagnosis.findings) };
    assert!(used.contains(": in use by the node of process "), "{used}");
    let certificate = diagnosis.told("certificates", "ok");
    assert!(certificate[0].starts_with(&format!("node {id}, swarm-manager of cluster ")), "{certificate:?}");
    assert_eq!(diagnosis.told("log", "ok").len(), 1);
    assert_eq!(diagnosis.told("control socket", "ok"), ["it answers"]);
    let led = format!("led by node {id}; nodes: 1");
    assert_eq!(diagnosis.told("cluster", "ok"), [led.as_str(), "this node is READY"]);
}

#[tokio::test]
async fn people_see_the_report_in_lines_without_colour_where_nobody_looks() {
    let (dir, state) = state(1, 10_000).await;
    let output = swarmd().arg("doctor").arg("--state-dir").arg(&state).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let first = text.lines().next().unwrap();
    assert_eq!(first, format!("ok       state directory  {}: no node runs on it", state.display()));
    assert!(!text.contains('\x1b'), "{text}");
    assert!(text.contains("\nskipped  cluster          no node runs here that could be asked\n"), "{text}");
    drop(dir);
}

#[tokio::test]
async fn looking_changes_nothing_and_each_broken_file_is_named() {
    let (dir, state) = state(1, 10_000).await;
    let certificates = state.join("certificates");
    let (key, root) = (certificates.join("swarm-node.key"), certificates.join("swarm-root-ca.crt"));
    let well = files(&state);
    assert_eq!(doctor(dir.path(), &[]).code, 0);

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let before = files(&state);
    let (check, text, mend) = doctor(dir.path(), &[]).problem_owned();
    assert_eq!(check, "certificates");
    assert_eq!(text, "other users of this machine may read the private key (mode 644)");
    assert_eq!(mend, format!("chmod 600 {}", key.display()));
    assert_eq!(files(&state), before, "it only looks");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let content = fs::read(&key).unwrap();
    fs::write(&key, "garbage").unwrap();
    let diagnosis = doctor(dir.path(), &[]);
    assert_eq!(diagnosis.code, 1);
    let told = diagnosis.told("certificates", "problem");
    assert!(told[0].starts_with("certificate and private key cannot be used: "), "{told:?}");
    fs::write(&key, content).unwrap();

    let content = fs::read(&root).unwrap();
    fs::write(&root, "garbage").unwrap();
    let (check, text, _) = doctor(dir.path(), &[]).problem_owned();
    assert_eq!(check, "certificates");
    assert!(text.starts_with("the cluster's root certificate cannot be used: "), "{text}");
    fs::write(&root, content).unwrap();

    fs::write(state.join("state.json"), "{").unwrap();
    let (check, text, mend) = doctor(dir.path(), &[]).problem_owned();
    assert!(check == "managers" && text.contains("state.json is damaged"), "{text}");
    assert_eq!(mend, "remove the file, and start the node with --join-addr HOST:PORT");
    fs::remove_file(state.join("state.json")).unwrap();

    fs::write(state.join("worker/tasks.redb"), "garbage").unwrap();
    let (check, text, _) = doctor(dir.path(), &[]).problem_owned();
    assert_eq!(
        (check.as_str(), text.as_str()),
        ("task database", "worker/tasks.redb is something else than a database")
    );
    let tasks = well.iter().find(|(path, ..)| path.ends_with("worker/tasks.redb")).unwrap();
    fs::write(&tasks.0, &tasks.2).unwrap();

    let log = well.iter().map(|(path, ..)| path).find(|path| path.starts_with(state.join("raft"))).unwrap();
    let mut bytes = fs::read(log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(log, bytes).unwrap();
    let (check, text, mend) = doctor(dir.path(), &[]).problem_owned();
    let name = log.file_name().unwrap().to_str().unwrap();
    assert!(check == "log" && text.contains(name), "{text}");
    assert!(mend.ends_with(&format!("swarm-rafttool --state-dir {} verify", state.display())), "{mend}");
}

#[tokio::test]
async fn a_certificate_of_another_cluster_and_a_lost_one_are_told_apart() {
    let (dir, state) = state(1, 10_000).await;
    let (_other, foreign) = self::state(1, 10_000).await;
    let root = "certificates/swarm-root-ca.crt";
    fs::copy(foreign.join(root), state.join(root)).unwrap();
    let (check, text, _) = doctor(dir.path(), &[]).problem_owned();
    assert!(check == "certificates" && text.ends_with("certificate signed by unknown authority"), "{text}");
    fs::remove_dir_all(state.join("certificates")).unwrap();
    let diagnosis = doctor(dir.path(), &[]);
    let told = diagnosis.told("certificates", "problem");
    assert_eq!(told, ["there is the log of a manager, and no certificate of a node"]);
}

#[test]
fn a_worker_is_told_whether_it_reaches_its_managers_and_a_token_is_looked_at() {
    let (one, two) = (directory(), directory());
    let (mut manager, address, token) = manager(one.path());
    let mut worker = Daemon::start(two.path(), &["--join-addr", &address, "--join-token", &token]);
    let name = two.path().file_name().unwrap().to_str().unwrap();
    wait_until("the worker to be ready", || node_state(&manager, name).as_deref() == Some("READY"));

    let diagnosis = doctor(two.path(), &["--join-addr", &address, "--join-token", &token]);
    assert_eq!(diagnosis.code, 0, "{:#?}", diagnosis.findings);
    let trusts = format!("{address} is reached, and each trusts the other");
    assert!(diagnosis.told("managers", "ok").contains(&trusts.as_str()), "{:#?}", diagnosis.findings);
    assert!(!diagnosis.told("clock", "ok").is_empty() && diagnosis.told("join token", "ok").len() == 1);
    let other = format!("SWMTKN-1-{}-{}", "1".repeat(50), "1".repeat(25));
    let (check, text, _) = doctor(two.path(), &["--join-addr", &address, "--join-token", &other]).problem_owned();
    assert!(check == "join token" && text.starts_with("it is of another cluster than "), "{text}");
    let (check, text, _) = doctor(two.path(), &["--join-addr", &address, "--join-token", "nonsense"]).problem_owned();
    assert_eq!((check.as_str(), text.as_str()), ("join token", "invalid join token"));

    assert!(worker.stop(Signal::TERM).success() && manager.stop(Signal::TERM).success());
    let (check, text, mend) = doctor(two.path(), &[]).problem_owned();
    assert_eq!((check.as_str(), text), ("managers", format!("cannot reach {address}: connection refused")));
    assert!(mend.starts_with("no manager listens there"), "{mend}");
}

#[tokio::test]
async fn a_locked_node_is_looked_at_with_its_key() {
    let (dir, state) = state(1, 10_000).await;
    let key = crate::mending::lock(&state).to_text();
    let diagnosis = doctor(dir.path(), &[]);
    assert_eq!(diagnosis.code, 0, "locked is not broken: {:#?}", diagnosis.findings);
    assert_eq!((diagnosis.told("certificates", "warning").len(), diagnosis.told("log", "warning").len()), (1, 1));
    let file = dir.path().join("key");
    fs::write(&file, &*key).unwrap();
    let diagnosis = doctor(dir.path(), &["--unlock-key-file", file.to_str().unwrap()]);
    assert_eq!((diagnosis.told("certificates", "ok").len(), diagnosis.told("log", "ok").len()), (1, 1));
    let other = format!("SWMKEY-1-{}", "A".repeat(43));
    let diagnosis = doctor(dir.path(), &["--unlock-key", &other]);
    let told = diagnosis.told("certificates", "problem");
    assert_eq!(told, ["the private key is locked, and the unlock key that was given is another one"]);
}

#[test]
fn a_directory_that_is_not_there_is_a_problem_unless_the_machine_is_new() {
    let dir = directory();
    let (check, text, _) = doctor(dir.path(), &[]).problem_owned();
    assert_eq!(
        (check.as_str(), text),
        ("state directory", format!("{} is not there", dir.path().join("state").display()))
    );
    fs::write(dir.path().join("state"), "").unwrap();
    let (_, text, _) = doctor(dir.path(), &[]).problem_owned();
    assert!(text.ends_with("is no directory"), "{text}");
    assert!(!dir.path().join("swarmd.sock").exists());
}

impl Diagnosis {
    fn problem_owned(&self) -> (String, String, String) {
        let (check, text, mend) = self.problem();
        (check.to_owned(), text.to_owned(), mend.to_owned())
    }
}

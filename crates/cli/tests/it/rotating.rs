//! A cluster whose root of trust is replaced by `swarmctl`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::{manager, node_state},
    harness::{Daemon, directory, mark, sleepers, stop, swarmctl, wait_for, wait_until},
};

const ROTATE: [&str; 4] = ["cluster", "update", "default", "--rotate-ca"];
const COUNTED: &str = "1 of 2 nodes have a certificate of the next root";
const REPLACED: &str = "the root certificate is replaced; nodes join with new tokens from now on";

/// The root certificate that the node in a directory trusts.
fn root(dir: &TempDir) -> String {
    fs::read_to_string(dir.path().join("state/certificates/swarm-root-ca.crt")).unwrap()
}

fn name(dir: &TempDir) -> &str {
    dir.path().file_name().unwrap().to_str().unwrap()
}

fn cluster(manager: &Daemon) -> Value {
    manager.json(&["cluster", "inspect"]).remove(0)
}

/// The join tokens of workers and of managers.
fn tokens(manager: &Daemon) -> (String, String) {
    let cluster = cluster(manager);
    let token = |name: &str| cluster[name].as_str().unwrap().to_owned();
    (token("worker_join_token"), token("manager_join_token"))
}

/// A worker that is ready.
fn worker(manager: &Daemon, dir: &TempDir, addr: &str, token: &str) -> Daemon {
    let worker = Daemon::start(dir.path(), &["--join-addr", addr, "--join-token", token]);
    wait_until("the worker to be ready", || node_state(manager, name(dir)).as_deref() == Some("READY"));
    worker
}

/// Waits until nothing is being replaced any more, and everything of the cluster is new.
fn wait_replaced(manager: &Daemon, dir: &TempDir, before: &(String, (String, String))) {
    wait_until("the root to be replaced", || cluster(manager)["root_rotation"].is_null());
    let after = tokens(manager);
    assert!(after.0 != before.1.0 && after.1 != before.1.1, "{after:?}");
    wait_until("the manager to trust the new root", || root(dir) != before.0);
}

/// A `swarmctl` that runs beside the test.
struct Waiting {
    child: Child,
    told: PathBuf,
    _dir: TempDir,
}

impl Waiting {
    fn start(manager: &Daemon, args: &[&str]) -> Self {
        let dir = directory();
        let told = dir.path().join("told");
        let mut command = swarmctl(&manager.socket, args);
        let child = command.stdout(Stdio::null()).stderr(File::create(&told).unwrap()).spawn().unwrap();
        Self { child, told, _dir: dir }
    }

    /// What it has said on standard error.
    fn told(&self) -> String {
        fs::read_to_string(&self.told).unwrap()
    }

    fn wait_told(&self, text: &str) {
        wait_until(text, || self.told().contains(text));
    }

    fn wait_end(&mut self) -> ExitStatus {
        wait_for("swarmctl to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It has ended already, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn whoever_replaces_the_root_sees_how_far_it_is_and_tasks_run_on_and_old_tokens_are_refused() {
    let (a, b, c, d) = (directory(), directory(), directory(), directory());
    let (manager, addr, token) = manager(a.path());
    let worker_node = worker(&manager, &b, &addr, &token);
    let mark = mark();
    manager.ok(&["service", "create", "--name", "web", "--replicas", "2", "--", "sleep", &mark]);
    let ids = |tasks: &[Value]| tasks.iter().map(|task| (task["id"].clone(), task["node"].clone())).collect::<Vec<_>>();
    let tasks = ids(&manager.wait_running("web", 2));
    let (processes, before) = (sleepers(&mark), (root(&a), tokens(&manager)));
    assert_eq!((processes.len(), &root(&b)), (2, &before.0));

    // The worker is held up, so that there is something to wait for.
    worker_node.signal(Signal::STOP);
    let mut waiting = Waiting::start(&manager, &ROTATE);
    waiting.wait_told(COUNTED);
    assert_eq!(tokens(&manager), before.1, "nothing is new before the end");
    worker_node.signal(Signal::CONT);
    assert_eq!(waiting.wait_end().code(), Some(0), "{}", waiting.told());
    let told = waiting.told();
    let (last, progress) = told.lines().collect::<Vec<_>>().split_last().map(|(l, p)| (*l, p.to_vec())).unwrap();
    assert_eq!(last, REPLACED, "{told}");
    let is_progress = |line: &&str| line.contains(" of 2 nodes have a certificate of the next root");
    assert!(progress.iter().all(is_progress) && !told.contains(['\x1b', '\r']), "{told:?}");
    assert!(told.contains(&format!("{COUNTED}; waiting for {}\n", name(&b))), "{told}");

    wait_replaced(&manager, &a, &before);
    wait_until("the worker to trust the same root", || root(&b) == root(&a));
    let flags = ["--join-addr", &addr, "--join-token", &token, "--log-level", "error"];
    let mut refused = Daemon::launch(c.path(), &flags);
    assert_eq!(refused.wait_end().code(), Some(1), "{}", refused.log());
    let log = refused.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    let cause = "the token is of another cluster, or of a time before this one changed its root";
    assert!(log.contains("remote CA does not match fingerprint") && log.contains(cause), "{log}");
    let _joined = worker(&manager, &d, &addr, &tokens(&manager).0);
    assert_eq!(root(&d), root(&a));
    assert_eq!((ids(&manager.wait_running("web", 2)), sleepers(&mark)), (tasks, processes), "not one was restarted");
    manager.ok(&["service", "remove", "web"]);
    wait_until("the tasks to be gone", || sleepers(&mark).is_empty());
}

#[test]
fn a_replacement_that_nobody_waits_for_names_the_node_that_holds_it_up_until_that_is_removed() {
    let (a, b) = (directory(), directory());
    let (manager, addr, token) = manager(a.path());
    // So that it is soon found out who is down.
    manager.ok(&["cluster", "update", "--heartbeatperiod", "1s"]);
    let mut lost = worker(&manager, &b, &addr, &token);
    let nodes = manager.json(&["node", "ls"]);
    let id = &nodes.iter().find(|node| node["hostname"] == name(&b)).unwrap()["id"];
    let before = (root(&a), tokens(&manager));
    lost.kill();
    wait_until("the worker to be down", || node_state(&manager, name(&b)).as_deref() == Some("DOWN"));

    let output = manager.ctl(&[&ROTATE[..], &["--detach"]].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let told = (output.status.code(), text(output.stdout), text(output.stderr));
    let cluster_id = manager.ok(&["cluster", "ls", "-q"]);
    assert_eq!(told, (Some(0), format!("{cluster_id}\n"), String::new()));
    let held_up = json!({"nodes": 2, "converged": 1, "waiting": [], "down": [id]});
    wait_until("all others to have turned", || cluster(&manager)["root_rotation"] == held_up);
    let line = format!("  Root Rotation: {COUNTED}; down, to be brought back or removed: {}", name(&b));
    let shown = manager.ok(&["cluster", "inspect"]);
    assert!(shown.lines().any(|shown| shown == line), "{shown}");
    manager.ok(&["cluster", "update", "--taskhistory", "3"]);
    assert_eq!(cluster(&manager)["root_rotation"], held_up, "another change neither waits for it nor ends it");
    assert_eq!((root(&a), tokens(&manager)), before);

    manager.ok(&["node", "rm", name(&b)]);
    wait_replaced(&manager, &a, &before);
}

#[test]
fn whoever_interrupts_the_waiting_is_told_that_the_replacement_goes_on() {
    let (a, b) = (directory(), directory());
    let (manager, addr, token) = manager(a.path());
    let mut lost = worker(&manager, &b, &addr, &token);
    let before = (root(&a), tokens(&manager));
    lost.kill();
    let mut waiting = Waiting::start(&manager, &[&ROTATE[..], &["--autolock"]].concat());
    waiting.wait_told(COUNTED);
    assert_eq!(stop(&mut waiting.child, Signal::INT).code(), Some(255));
    let told = waiting.told();
    assert!(told.starts_with("Managers need the unlock key after a restart from now on."), "it comes first: {told}");
    let last = "Error: interrupted; the root certificate is being replaced all the same, and `swarmctl cluster inspect` \
                shows how far";
    assert_eq!(told.lines().last(), Some(last), "{told}");
    assert_eq!(cluster(&manager)["root_rotation"]["converged"], 1);
    manager.ok(&["node", "rm", "--force", name(&b)]);
    wait_replaced(&manager, &a, &before);
}

/// A root on P-384 and its key, in files.
fn own_root(dir: &Path, name: &str) -> (String, String) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let file = |kind: &str, content: String| {
        let path = dir.join(format!("{name}.{kind}"));
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    (file("crt", params.self_signed(&key).unwrap().pem()), file("key", key.serialize_pem()))
}

#[test]
fn a_root_of_ones_own_takes_the_place_of_the_clusters_and_a_key_that_is_not_its_own_is_refused() {
    let (a, b, safe) = (directory(), directory(), directory());
    let (manager, addr, _) = manager(a.path());
    let (certificate, key) = own_root(safe.path(), "own");
    let (_, other) = own_root(safe.path(), "other");
    let (before, known) = ((root(&a), tokens(&manager)), cluster(&manager));
    let with = |key: &str| manager.ctl(&["cluster", "update", "--ca-cert", &certificate, "--ca-key", key]);
    let refused = with(&other);
    assert_eq!(String::from_utf8(refused.stderr).unwrap(), "Error: certificate key mismatch\n");
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(255), 0));
    assert_eq!((cluster(&manager), root(&a)), (known, before.0.clone()), "nothing has changed");

    let output = with(&key);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.lines().last()), (Some(0), Some(REPLACED)), "{told}");
    wait_replaced(&manager, &a, &before);
    let given = swarmkit_ca::normalize_pem(&fs::read_to_string(&certificate).unwrap()).unwrap();
    assert_eq!(root(&a), given);
    let _worker = worker(&manager, &b, &addr, &tokens(&manager).0);
    assert_eq!(root(&b), given);
}

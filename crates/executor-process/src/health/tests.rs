//! Specifications in, checks out; commands in, verdicts out.

use std::{collections::BTreeMap, path::PathBuf};

use super::*;
use crate::logs::LogLimits;

fn check(test: &[&str], change: impl FnOnce(&mut wire::HealthConfig)) -> Result<Option<HealthCheck>, String> {
    let mut config =
        wire::HealthConfig { test: test.iter().map(|word| (*word).to_owned()).collect(), ..Default::default() };
    change(&mut config);
    let spec = wire::ContainerSpec { healthcheck: Some(config), ..Default::default() };
    HealthCheck::of(&spec).map_err(|error| error.to_string())
}

fn fast(script: &str, retries: i32) -> HealthCheck {
    let quick = Some(prost_types::Duration { seconds: 0, nanos: 10_000_000 });
    check(&["CMD-SHELL", script], |config| (config.interval, config.retries) = (quick, retries)).unwrap().unwrap()
}

fn plan() -> Plan {
    Plan {
        task: "t1".into(),
        program: PathBuf::from("/bin/true"),
        argv: vec!["true".into()],
        env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into()), ("WHO".into(), "me".into())]),
        dir: PathBuf::from("/"),
        identity: None,
        rlimits: Vec::new(),
        oom_score_adj: 0,
        cgroups: Vec::new(),
        logs: LogLimits::default(),
        isolation: None,
        capabilities: None,
        no_new_privileges: false,
        stop_signal: None,
    }
}

#[test]
fn a_check_is_read_as_engines_write_it() {
    let read = check(&["CMD", "curl", "-f", "http://x"], |_| {}).unwrap().unwrap();
    assert_eq!(read.argv, ["curl", "-f", "http://x"]);
    assert_eq!((read.interval, read.timeout, read.retries), (INTERVAL, TIMEOUT, 3));
    assert_eq!((read.start_period, read.start_interval), (Duration::ZERO, START_INTERVAL));
    assert_eq!(check(&["CMD-SHELL", "exit 1"], |_| {}).unwrap().unwrap().argv, ["/bin/sh", "-c", "exit 1"]);
    for none in [&[][..], &["NONE"]] {
        assert!(check(none, |_| {}).unwrap().is_none());
    }
    assert!(HealthCheck::of(&wire::ContainerSpec::default()).unwrap().is_none());
    for wrong in [&["CMD"][..], &["CMD-SHELL"], &["CMD-SHELL", "a", "b"], &["PING"]] {
        assert!(check(wrong, |_| {}).is_err(), "{wrong:?}");
    }
    let negative = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    assert!(check(&["CMD", "x"], |config| config.timeout = negative).is_err());
}

#[tokio::test]
async fn a_task_that_answers_well_is_well_at_once() {
    let (check, mut health) = (fast("test \"$WHO\" = me", 1), Health::new());
    check.until_well(&plan(), &mut health).await.unwrap();
    assert_eq!(health.verdict(), None);
}

#[tokio::test]
async fn a_task_is_unhealthy_after_so_many_failures_in_a_row_and_the_last_one_is_told() {
    let (check, mut health) = (fast("echo no answer; exit 7", 2), Health::new());
    let verdict = check.until_well(&plan(), &mut health).await.unwrap_err();
    assert_eq!(verdict.to_string(), "unhealthy: 2 checks failed: exit code 7: no answer");
    assert_eq!(health.verdict(), Some(&verdict));
}

#[tokio::test]
async fn success_takes_failures_back() {
    let dir = tempfile::tempdir().unwrap();
    // Fails twice, is well once, and fails from then on.
    let script = format!("cd {}; echo >> n; test $(wc -l < n) = 4", dir.path().display());
    let (check, mut health) = (fast(&script, 3), Health::new());
    check.until_well(&plan(), &mut health).await.unwrap();
    let verdict = check.until_unhealthy(&plan(), &mut health).await;
    assert!(verdict.to_string().starts_with("unhealthy: 3 checks failed"), "{verdict}");
    let asked = std::fs::read_to_string(dir.path().join("n")).unwrap().lines().count();
    assert_eq!(asked, 1 + 2 + 1 + 3, "the first one that fails does not count");
}

#[tokio::test]
async fn failures_while_starting_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("cd {}; echo >> n; test $(wc -l < n) = 5", dir.path().display());
    let quick = Some(prost_types::Duration { seconds: 0, nanos: 10_000_000 });
    let period = Some(prost_types::Duration { seconds: 600, nanos: 0 });
    let check = check(&["CMD-SHELL", &script], |config| {
        (config.start_interval, config.start_period, config.retries) = (quick, period, 1);
    });
    check.unwrap().unwrap().until_well(&plan(), &mut Health::new()).await.unwrap();
}

#[tokio::test]
async fn a_check_that_hangs_is_killed_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("sleep 3600 & echo $! > {}/pid; wait", dir.path().display());
    let mut check = fast(&script, 1);
    check.timeout = Duration::from_millis(300);
    let verdict = check.until_well(&plan(), &mut Health::new()).await.unwrap_err();
    assert_eq!(verdict.to_string(), "unhealthy: 1 checks failed: no answer within 300ms");
    let pid: i32 = std::fs::read_to_string(dir.path().join("pid")).unwrap().trim().parse().unwrap();
    // A killed process is there until somebody buries it; that it sleeps on would show in its state.
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let gone = async {
        while !state().is_empty() && !state().contains(") Z") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("what the check has started is killed");
}

#[tokio::test]
async fn a_check_that_cannot_be_run_fails() {
    let mut check = fast("", 1);
    check.argv = vec!["/nonexistent/check".into()];
    let verdict = check.until_well(&plan(), &mut Health::new()).await.unwrap_err().to_string();
    assert!(verdict.starts_with("unhealthy: 1 checks failed: /nonexistent/check: No such file"), "{verdict}");
}

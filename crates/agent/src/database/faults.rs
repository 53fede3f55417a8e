//! Kills at every write, full disks, and disks that keep nothing.

use std::collections::BTreeMap;

use swarmkit_api::{Task, TaskId, TaskState, TaskStatus, wire};

use super::{
    Change, Database, Fate,
    stage::{Stage, Trouble},
};
use crate::records::Records;

/// A task for which the file has to grow now and then.
fn assigned(id: &str) -> Change {
    let mut spec = wire::TaskSpec::default();
    spec.log_driver.get_or_insert_default().name = id.repeat(700);
    let task = Task::new(TaskId::from(id), spec);
    Change { task: Some(task.into()), fate: Some(Fate::Assigned), status: Some(TaskStatus::default()) }
}

fn at(state: TaskState) -> Change {
    Change { status: Some(TaskStatus { state, ..TaskStatus::default() }), ..Change::default() }
}

fn fate(fate: Fate) -> Change {
    Change { fate: Some(fate), ..Change::default() }
}

/// What happens to some tasks, commit by commit.
fn story() -> Vec<Vec<(&'static str, Change)>> {
    vec![
        vec![("a", assigned("a")), ("b", assigned("b"))],
        vec![("a", at(TaskState::Running))],
        (0..30).map(|n| (["c", "d", "e"][n % 3], assigned(["c", "d", "e"][n % 3]))).collect(),
        vec![("b", at(TaskState::Running)), ("c", at(TaskState::Preparing))],
        vec![("a", fate(Fate::Released))],
        vec![("a", fate(Fate::Deleted)), ("f", assigned("f"))],
        vec![("f", at(TaskState::Failed)), ("d", fate(Fate::Released))],
        vec![("d", assigned("d"))],
    ]
}

/// What a database holds, in words.
fn told(database: &Database) -> Vec<(String, TaskState, bool)> {
    let records = database.load().unwrap().into_iter();
    records.map(|record| (record.task.id.to_string(), record.task.status.state, record.assigned)).collect()
}

#[test]
fn a_kill_at_any_write_keeps_every_commit_before_it_and_halves_none() {
    let stage = Stage::default();
    let database = Database::on(&stage).unwrap();
    let mut commits = vec![(0, Vec::new())];
    for changes in story() {
        let mut merged: BTreeMap<TaskId, Change> = BTreeMap::new();
        for (id, change) in changes {
            merged.entry(id.into()).or_default().absorb(change);
        }
        database.write(&merged).unwrap();
        commits.push((stage.writes().len(), told(&database)));
    }
    let writes = stage.writes();
    assert!(writes.len() > 40, "{}", writes.len());
    for done in 0..=writes.len() {
        let found = told(&Database::on(&Stage::after(&writes, done)).unwrap());
        let last = commits.iter().rposition(|(count, _)| *count <= done).unwrap();
        let next = commits.get(last + 1).unwrap_or(&commits[last]);
        assert!(
            found == commits[last].1 || found == next.1,
            "killed after {done} writes of {}: {found:?}",
            writes.len()
        );
    }
}

/// Puts the whole story into records of a stage, and gives what they should hold in the end.
async fn tell_all(records: &Records) -> Vec<(String, TaskState, bool)> {
    for (id, change) in story().into_iter().flatten() {
        records.put(&id.into(), change);
        // A disk that is full is told, and the change stays queued.
        let _ = records.commit().await;
    }
    [("b", TaskState::Running), ("c", TaskState::Preparing), ("d", TaskState::New), ("e", TaskState::New)]
        .into_iter()
        .chain([("f", TaskState::Failed)])
        .map(|(id, state)| (id.to_owned(), state, true))
        .collect()
}

/// What the next agent finds.
fn found(stage: &Stage) -> Vec<(String, TaskState, bool)> {
    let writes = stage.writes();
    told(&Database::on(&Stage::after(&writes, writes.len())).unwrap())
}

#[tokio::test]
async fn a_disk_that_is_full_is_told_and_everything_is_written_when_there_is_room() {
    for writes in 1..60 {
        let stage = Stage::default();
        let records = Records::new(Database::on(&stage).unwrap());
        stage.set(Trouble::FullAfter(writes));
        let expected = tell_all(&records).await;
        if writes < 40 {
            records.put(&"e".into(), at(TaskState::New));
            records.commit().await.unwrap_err();
        }
        stage.set(Trouble::None);
        records.commit().await.unwrap();
        assert_eq!(found(&stage), expected, "full after {writes} writes");
    }
}

#[tokio::test]
async fn a_database_that_was_spoilt_under_an_agent_is_written_anew() {
    let stage = Stage::default();
    let records = Records::new(Database::on(&stage).unwrap());
    let expected = tell_all(&records).await;
    stage.set(Trouble::FullAfter(0));
    records.put(&"e".into(), at(TaskState::New));
    records.commit().await.unwrap_err();
    stage.spoil();
    stage.set(Trouble::None);
    records.commit().await.unwrap();
    assert_eq!(found(&stage), expected);
}

#[tokio::test]
async fn a_disk_that_does_not_take_what_the_kernel_has_loses_nothing_of_a_killed_agent() {
    let stage = Stage::default();
    stage.set(Trouble::SyncFails);
    assert_eq!(Database::on(&stage).unwrap().sync().unwrap_err().to_string(), "the disk is broken");
    let records = Records::new(Database::on(&stage).unwrap());
    let expected = tell_all(&records).await;
    records.finish().await;
    assert_eq!(found(&stage), expected);
}

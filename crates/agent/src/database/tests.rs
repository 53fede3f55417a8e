//! What the task database keeps, and what it does with a file that it cannot use.

use std::fs;

use swarmkit_api::TaskState;

use super::{
    place::{DAMAGED, FILE},
    *,
};

fn task(id: &str) -> Arc<Task> {
    Arc::new(Task { slot: 7, ..Task::new(TaskId::from(id), wire::TaskSpec::default()) })
}

fn status(state: TaskState) -> TaskStatus {
    TaskStatus { state, ..TaskStatus::default() }
}

fn write(database: &Database, id: &str, change: Change) {
    database.write(&BTreeMap::from([(TaskId::from(id), change)])).unwrap();
}

fn assigned(id: &str) -> Change {
    Change { task: Some(task(id)), fate: Some(Fate::Assigned), ..Change::default() }
}

#[test]
fn an_empty_database_holds_nothing() {
    assert_eq!(Database::in_memory().unwrap().load().unwrap(), []);
}

#[test]
fn a_task_comes_back_with_its_last_status_after_the_database_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    write(&database, "a", assigned("a"));
    write(&database, "a", Change { status: Some(status(TaskState::Running)), ..Change::default() });
    drop(database);
    let records = Database::open(dir.path()).unwrap().load().unwrap();
    let expected = Task { status: status(TaskState::Running), ..task("a").as_ref().clone() };
    assert_eq!(records, [Record { task: Arc::new(expected), assigned: true }]);
}

#[test]
fn a_new_definition_of_a_task_leaves_its_status_alone() {
    let database = Database::in_memory().unwrap();
    write(&database, "a", Change { status: Some(status(TaskState::Ready)), ..assigned("a") });
    let newer = Arc::new(Task { desired_state: TaskState::Shutdown, ..task("a").as_ref().clone() });
    write(&database, "a", Change { task: Some(newer), ..Change::default() });
    let [record] = &database.load().unwrap()[..] else { panic!("one task") };
    assert_eq!((record.task.status.state, record.task.desired_state), (TaskState::Ready, TaskState::Shutdown));
}

#[test]
fn a_released_task_stays_until_it_is_deleted() {
    let database = Database::in_memory().unwrap();
    write(&database, "a", assigned("a"));
    write(&database, "a", Change { fate: Some(Fate::Released), ..Change::default() });
    assert!(!database.load().unwrap()[0].assigned);
    write(&database, "a", Change { fate: Some(Fate::Deleted), ..Change::default() });
    assert_eq!(database.load().unwrap(), []);
}

#[test]
fn what_was_written_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    write(&database, "a", assigned("a"));
    // A kill leaves the file as it is at this moment, and gives up the lock.
    let copy = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join(FILE), copy.path().join(FILE)).unwrap();
    assert_eq!(Database::open(copy.path()).unwrap().load().unwrap().len(), 1);
}

#[test]
fn a_damaged_database_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), [7; 8192]).unwrap();
    let database = Database::open(dir.path()).unwrap();
    assert_eq!(database.load().unwrap(), []);
    assert_eq!(fs::read(dir.path().join(DAMAGED)).unwrap().len(), 8192);
}

#[test]
fn one_database_has_one_agent() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Database::open(dir.path()).unwrap();
    assert!(matches!(Database::open(dir.path()), Err(AgentError::InUse { .. })));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Database::open(&file.join("worker")).err().unwrap();
    assert!(error.to_string().ends_with("file/worker"), "{error}");
}

#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("worker");
    drop(Database::open(&state).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
}

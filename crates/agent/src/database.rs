//! The task database on disk: which tasks this node has, and how far each of them is.
//!
//! It outlives the agent's process, not the machine's power. That is all it is for: after the process was killed the
//! tasks still run and have to be found; after a power cut nothing runs any more, and managers send everything again.
//! So a commit goes to the kernel in the database's own order, where no kill can undo it, and is not waited for on its
//! way to the disk. The disk is told later, now and then. A database that a power cut has damaged is recognised by its
//! checksums and set aside.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    ops::Bound,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

use prost::Message as _;
use redb::{
    Builder, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageBackend, TableDefinition,
    backends::{FileBackend, InMemoryBackend},
};
use swarmkit_api::{Object as _, Task, TaskId, TaskStatus, wire};

use crate::AgentError;

/// The file in the state directory.
const FILE: &str = "tasks.redb";
/// Where a damaged one is put.
const DAMAGED: &str = "tasks.redb.damaged";
/// The memory that the database may use to keep pages. Tasks are in memory anyway.
const CACHE_BYTES: usize = 1 << 20;

/// Tasks by id, their status left out.
const TASKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tasks/1");
/// The last status of each task.
const STATUSES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("statuses/1");
/// Tasks that this node shall no longer have, and that may still have left something on the machine.
const RELEASED: TableDefinition<'_, &str, ()> = TableDefinition::new("released/1");

/// See the module's purpose. All calls block.
pub(crate) struct Database {
    db: redb::Database,
    /// The same file, for telling the disk. `None` in memory.
    file: Option<File>,
}

/// What the database knows of one task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// The task, with the status of when it was written last.
    pub(crate) task: Arc<Task>,
    /// This node shall have it.
    pub(crate) assigned: bool,
}

/// What has to be written of one task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) task: Option<Arc<Task>>,
    pub(crate) status: Option<TaskStatus>,
    pub(crate) fate: Option<Fate>,
}

/// What becomes of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// This node shall have it.
    Assigned,
    /// This node shall not have it; what it left on the machine is not yet gone.
    Released,
    /// Nothing is left of it.
    Deleted,
}

// === impl Database ===

impl Database {
    /// Opens the database in `dir`, which is made if it is not there. One that is damaged is set aside.
    pub(crate) fn open(dir: &Path) -> Result<Self, AgentError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| AgentError::StateDir { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
        let path = dir.join(FILE);
        match Self::open_file(&path) {
            Err(OpenError::Redb(DatabaseError::DatabaseAlreadyOpen)) => Err(AgentError::InUse { path }),
            Err(OpenError::Io(source)) => Err(AgentError::StateDir { path, source }),
            Err(OpenError::Redb(error)) => {
                tracing::warn!(%error, path = %path.display(), "the task database is damaged, beginning a new one");
                fs::rename(&path, dir.join(DAMAGED)).map_err(failed(&path))?;
                Self::open_file(&path).map_err(|error| match error {
                    OpenError::Redb(error) => AgentError::Database(Box::new(error.into())),
                    OpenError::Io(source) => AgentError::StateDir { path, source },
                })
            }
            Ok(database) => Ok(database),
        }
    }

    /// A database that is forgotten with the process.
    pub(crate) fn in_memory() -> Result<Self, AgentError> {
        let db = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(InMemoryBackend::new())
            .map_err(|error| AgentError::Database(Box::new(error.into())))?;
        Ok(Self { db, file: None })
    }

    fn open_file(path: &Path) -> Result<Self, OpenError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let backend = Unhurried(FileBackend::new(file.try_clone()?)?);
        let db = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
        let database = Self { db, file: Some(file) };
        database.load().map_err(|error| match error {
            redb::Error::Io(error) => OpenError::Io(error),
            error => OpenError::Redb(DatabaseError::Storage(redb::StorageError::Corrupted(error.to_string()))),
        })?;
        Ok(database)
    }

    /// Whether calls are quick enough to be made anywhere.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.file.is_none()
    }

    /// Every task, with its status. A record that cannot be read is told and left out.
    pub(crate) fn load(&self) -> Result<Vec<Record>, redb::Error> {
        let transaction = self.db.begin_read()?;
        let tasks = match transaction.open_table(TASKS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            opened => opened?,
        };
        let statuses = transaction.open_table(STATUSES)?;
        let released = transaction.open_table(RELEASED)?;
        let mut records = Vec::new();
        for row in tasks.iter()? {
            let (id, task) = row?;
            let status = statuses.get(id.value())?;
            let assigned = released.get(id.value())?.is_none();
            match decode(task.value(), status.as_ref().map(redb::AccessGuard::value)) {
                Ok(task) => records.push(Record { task: Arc::new(task), assigned }),
                Err(error) => tracing::warn!(task = id.value(), %error, "a stored task cannot be read, ignoring it"),
            }
        }
        Ok(records)
    }

    /// Writes all of it or nothing. Afterwards no kill of this process can undo it.
    pub(crate) fn write(&self, changes: &BTreeMap<TaskId, Change>) -> Result<(), redb::Error> {
        let transaction = self.db.begin_write()?;
        {
            let mut tasks = transaction.open_table(TASKS)?;
            let mut statuses = transaction.open_table(STATUSES)?;
            let mut released = transaction.open_table(RELEASED)?;
            for (id, change) in changes {
                let id = id.as_str();
                if change.fate == Some(Fate::Deleted) {
                    tasks.remove(id)?;
                    statuses.remove(id)?;
                    released.remove(id)?;
                    continue;
                }
                if let Some(task) = &change.task {
                    tasks.insert(id, encode(task).as_slice())?;
                }
                if let Some(status) = &change.status {
                    statuses.insert(id, status.to_wire().encode_to_vec().as_slice())?;
                }
                match change.fate {
                    Some(Fate::Released) => drop(released.insert(id, ())?),
                    Some(Fate::Assigned) => drop(released.remove(id)?),
                    Some(Fate::Deleted) | None => {}
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Waits until everything is on the disk itself.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }
}

/// Why a file could not be opened as a database.
enum OpenError {
    Io(io::Error),
    Redb(DatabaseError),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DatabaseError> for OpenError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
                Self::Io(error)
            }
            error => Self::Redb(error),
        }
    }
}

impl Change {
    /// Puts a later change on top.
    pub(crate) fn absorb(&mut self, later: Self) {
        self.task = later.task.or(self.task.take());
        self.status = later.status.or(self.status.take());
        self.fate = later.fate.or(self.fate.take());
    }
}

fn encode(task: &Task) -> Vec<u8> {
    let bare = Task { status: TaskStatus::default(), ..task.clone() };
    let mut bytes = Vec::with_capacity(bare.encoded_len());
    bare.encode(&mut bytes);
    bytes
}

fn decode(task: &[u8], status: Option<&[u8]>) -> Result<Task, swarmkit_api::DecodeError> {
    let mut task = Task::from_wire(wire::Task::decode(task)?)?;
    if let Some(status) = status {
        task.status = TaskStatus::from_wire(wire::TaskStatus::decode(status)?)?;
    }
    Ok(task)
}

/// A file whose writes are not waited for on their way to the disk. See the module's purpose.
#[derive(Debug)]
struct Unhurried(FileBackend);

impl StorageBackend for Unhurried {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, redb::BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, redb::BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), redb::BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), redb::BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), redb::BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, redb::BackendError> {
        self.0.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::TaskState;

    use super::*;

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
}

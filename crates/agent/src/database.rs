//! The task database on disk: which tasks this node has, and how far each of them is.
//!
//! It outlives the agent's process, not the machine's power. That is all it is for: after the process was killed the
//! tasks still run and have to be found; after a power cut nothing runs any more, and managers send everything again.
//! So a commit goes to the kernel in the database's own order, where no kill can undo it, and is not waited for on its
//! way to the disk. The disk is told later, now and then. A database that a power cut has damaged is recognised by its
//! checksums and set aside.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use parking_lot::Mutex;
use prost::Message as _;
use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition};
use swarmkit_api::{Object as _, Task, TaskId, TaskStatus, wire};
use swarmkit_runtime::PartError;

use crate::AgentError;
use place::{Opened, Place};

mod place;
#[cfg(test)]
pub(crate) mod stage;

/// Tasks by id, their status left out.
const TASKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tasks/1");
/// The last status of each task.
const STATUSES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("statuses/1");
/// Tasks that this node shall no longer have, and that may still have left something on the machine.
const RELEASED: TableDefinition<'_, &str, ()> = TableDefinition::new("released/1");

/// See the module's purpose. All calls block.
///
/// After a write that failed the file is closed, and opened again by the next: what was half written is undone by that.
pub(crate) struct Database {
    place: Place,
    state: Mutex<State>,
}

struct State {
    /// `None` after a write that failed.
    opened: Option<Opened>,
    /// See [`Database::reopenings`].
    reopenings: u64,
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
        Self::at(Place::Dir(dir.to_owned()))
    }

    /// A database that is forgotten with the process.
    pub(crate) fn in_memory() -> Result<Self, AgentError> {
        Self::at(Place::Memory)
    }

    /// A database on a stage.
    #[cfg(test)]
    pub(crate) fn on(stage: &stage::Stage) -> Result<Self, AgentError> {
        Self::at(Place::Stage(stage.clone()))
    }

    fn at(place: Place) -> Result<Self, AgentError> {
        let opened = Some(place.open()?);
        Ok(Self { place, state: Mutex::new(State { opened, reopenings: 0 }) })
    }

    /// Whether calls are quick enough to be made anywhere.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory)
    }

    /// Every task, with its status. A record that cannot be read is told and left out.
    pub(crate) fn load(&self) -> Result<Vec<Record>, PartError> {
        Ok(read_all(&self.state.lock().opened(&self.place)?.db)?)
    }

    /// Writes all of it or nothing. Afterwards no kill of this process can undo it.
    pub(crate) fn write(&self, changes: &BTreeMap<TaskId, Change>) -> Result<(), PartError> {
        let mut state = self.state.lock();
        let written = write_all(&state.opened(&self.place)?.db, changes);
        if written.is_err() {
            state.opened = None;
        }
        Ok(written?)
    }

    /// How often the file was opened again. It may have been damaged, or be another one, and then what was written before
    /// has to be written again.
    pub(crate) fn reopenings(&self) -> u64 {
        self.state.lock().reopenings
    }

    /// Waits until everything is on the disk itself.
    pub(crate) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Place::Stage(stage) = &self.place {
            return stage.sync();
        }
        let file = self.state.lock().opened.as_ref().and_then(|opened| opened.file.clone());
        file.map_or(Ok(()), |file| file.sync_data())
    }
}

impl State {
    fn opened(&mut self, place: &Place) -> Result<&Opened, AgentError> {
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => {
                self.reopenings += 1;
                place.open()?
            }
        };
        Ok(self.opened.insert(opened))
    }
}

fn read_all(db: &redb::Database) -> Result<Vec<Record>, redb::Error> {
    let transaction = db.begin_read()?;
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

fn write_all(db: &redb::Database, changes: &BTreeMap<TaskId, Change>) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
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

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;

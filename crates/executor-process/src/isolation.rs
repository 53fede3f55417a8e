//! How far a task is kept apart from the machine: what of it, if anything, it sees of its own.
//!
//! A task is isolated when its specification asks for what only isolation can give (mounts, a host name, an image, …), or
//! when the executor isolates all tasks. It then has namespaces of its own for mounts, processes, host name and
//! inter-process communication, all four or none. The network is always the machine's.

mod decide;
mod mounts;
mod texts;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use decide::{Asked, Decided, Directory, decide, needs};

/// Whether tasks are isolated. See [`Builder::isolation`](crate::Builder::isolation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationMode {
    /// Those whose specification asks for what only isolation can give, as far as the machine allows it.
    #[default]
    Auto,
    /// All of them. A machine that cannot do it runs none.
    Always,
    /// None. Those that ask for it are refused.
    Never,
}

/// What a task has of its own. Part of the plan that its supervisor carries out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Isolation {
    pub(crate) root: Root,
    /// Nothing can be written but what is mounted writable.
    pub(crate) read_only: bool,
    /// Who the task is inside, where a plain user isolates it: then it has a user namespace too.
    pub(crate) map: Option<UserMap>,
    pub(crate) hostname: Option<String>,
    /// What is mounted, in this order.
    pub(crate) attaches: Vec<Attach>,
    pub(crate) sysctls: BTreeMap<String, String>,
    /// The first process is ours, which passes on signals and buries orphans. Otherwise it is the task's program.
    pub(crate) init: bool,
}

/// What a task has as `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Root {
    /// The machine's.
    Machine,
    /// A directory that is never written to, and one that takes what the task writes.
    Layers {
        lower: PathBuf,
        /// Holds `upper`, `work`, and `root`, where both are put together.
        own: PathBuf,
    },
}

/// The one user and group that there are in a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserMap {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) outside_uid: u32,
    pub(crate) outside_gid: u32,
}

/// Something that is mounted for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attach {
    pub(crate) target: PathBuf,
    pub(crate) what: Attached,
    pub(crate) read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Attached {
    /// A file or directory of the machine.
    Path {
        source: PathBuf,
        /// With everything that is mounted below it.
        recursive: bool,
    },
    /// Memory.
    Memory {
        /// In bytes; 0 is as the kernel has it.
        size: u64,
        mode: u32,
        exec: bool,
        devices: bool,
        set_user_id: bool,
    },
}

//! Why the log cannot be opened, or cannot go on.

use std::{io, sync::Arc};

/// What is wrong with the log on the disk, or with the disk.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A file holds something that was never written there. Its manager must get its state from the others again.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// The file, relative to the folder of the log.
        file: String,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// A file between others is missing.
    #[error("{file} is missing")]
    Missing {
        /// The file, relative to the folder of the log.
        file: String,
    },
    /// The files are sealed with another key.
    #[error("{file} is sealed with another key")]
    WrongKey {
        /// The file, relative to the folder of the log.
        file: String,
    },
    /// A newer version wrote the file.
    #[error("{file} has format {format}, which this version cannot read")]
    Format {
        /// The file, relative to the folder of the log.
        file: String,
        /// The version of the format.
        format: u32,
    },
    /// The disk failed. Nothing can be made durable from here on; what was in flight has an unknown fate.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file, relative to the folder of the log.
        file: String,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    pub(crate) fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, file: file.to_owned(), source: Arc::new(source) }
    }

    pub(crate) fn damaged(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what: what.into() }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::Io { source, .. } => source.kind(),
            LogError::Closed => io::ErrorKind::BrokenPipe,
            LogError::Damaged { .. }
            | LogError::Missing { .. }
            | LogError::WrongKey { .. }
            | LogError::Format { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
